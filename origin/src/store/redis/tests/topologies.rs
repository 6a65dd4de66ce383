//! The contract on a cluster, behind Sentinel, and with TLS as a user of few rights; and what is
//! each one's own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use stack::{
    Authority, Redis as RedisServer, RedisCluster, RedisOptions, RedisSentinel, free_port,
};

use super::*;

/// The user of `docs/operations.md`.
const ACL: &str = include_str!("../../../../../docs/redis.acl");

pub(super) async fn connect_patiently(settings: &RedisSettings) -> Result<Redis, StoreError> {
    Redis::connect_within(settings, patient()).await
}

pub(super) async fn connect(url: &str) -> AnyStore {
    Arc::new(connect_patiently(&settings(url)).await.unwrap())
}

/// Arguments of redis-server that let in nobody but the user of the documentation, with this
/// password, and an administrator for the tests.
fn with_users(options: RedisOptions, password: &str) -> RedisOptions {
    options.with_user(ACL, password).with(&[
        "--user",
        "default",
        "on",
        "nopass",
        "sanitize-payload",
        "+@all",
        "~*",
        "&*",
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_every_promise() {
    let cluster = RedisCluster::start();
    let store = connect(&cluster.url()).await;
    keep_all_promises(&store).await;
    for primary in cluster.primaries() {
        let keys = cluster.nodes[primary].command(&["DBSIZE"]);
        let keys: u64 = keys.trim().trim_start_matches(':').parse().unwrap();
        assert!(keys > 20, "rows are spread over the servers: {keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_sentinels_name_keeps_every_promise_before_and_after_a_failover() {
    let system = RedisSentinel::start();
    let redis = Arc::new(connect_patiently(&settings(&system.url())).await.unwrap());
    let store: AnyStore = redis.clone();
    keep_all_promises(&store).await;
    let party = Party::begun(&store).await;
    let before = system.primary();
    let heir = 1 - before;
    // What the heir has not yet been told is lost.
    let exists = ["EXISTS", &*grant_key(&party.grant_id)];
    stack::wait_until("the heir to have the grant", PATIENCE, || {
        system.nodes[heir].command(&exists) == ":1\r\n"
    });
    system.fail_over();
    // The one before takes writes until the sentinels have made it a replica.
    system.wait_whole();
    until_it_answers(async || {
        redis.servers.check().await;
        store.put_session(&contract::session(1_000), NOW).await
    })
    .await;
    // What was written before is there, and is written on at the other server.
    let rotated = contract::rotate(&store, &party, 1, NOW).await;
    assert!(matches!(rotated, Rotated::Next { .. }), "{rotated:?}");
    let scripts = |node: usize| system.nodes[node].info("commandstats", "cmdstat_evalsha");
    let (old, new) = (scripts(before), scripts(heir));
    keep_all_promises(&store).await;
    assert_eq!(scripts(before), old, "nobody writes to the one before");
    assert_ne!(scripts(heir), new);
    assert_eq!(system.primary(), heir);
}

/// The sentinel that leads a failover does not end it while a replica cannot follow the new primary.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_does_not_end_leads_to_the_new_primary_all_the_same() {
    let system = RedisSentinel::start_failing_over_after(Duration::from_secs(3), 2);
    let redis = Arc::new(connect_patiently(&settings(&system.url())).await.unwrap());
    let store: AnyStore = redis.clone();
    Party::begun(&store).await;
    let before = system.primary();
    system.begin_endless_failover();
    let scripts = |node: usize| system.nodes[node].info("commandstats", "cmdstat_evalsha");
    redis.servers.check().await;
    let old = scripts(before);
    for _ in 0..5 {
        redis.servers.check().await;
        until_it_answers(async || store.put_session(&contract::session(1_000), NOW).await).await;
    }
    assert_eq!(scripts(before), old, "nobody writes to the one before");
    let role = system.nodes[before].command(&["ROLE"]);
    assert!(role.contains("master"), "the failover has ended: {role}");
}

/// A sentinel that says what it is told to, or nothing.
struct ToldSentinel {
    port: u16,
    talks: Arc<AtomicBool>,
}

impl ToldSentinel {
    /// Starts a silent one that would name the primary at this port, in this epoch.
    fn start(primary: u16, epoch: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let talks = Arc::new(AtomicBool::new(false));
        let is_talking = talks.clone();
        let texts = |words: &[&str]| {
            let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
            format!("*{}\r\n{}", words.len(), words.collect::<String>())
        };
        let address = texts(&["127.0.0.1", &primary.to_string()]);
        let fields = texts(&["config-epoch", &epoch.to_string()]);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (is_talking, answers) = (is_talking.clone(), [address.clone(), fields.clone()]);
                std::thread::spawn(move || {
                    let mut asked = [0; 1024];
                    while let Ok(read @ 1..) = stream.read(&mut asked) {
                        let asked = String::from_utf8_lossy(&asked[..read]);
                        let [address, fields] = &answers;
                        let asks_for_address = asked.contains("GET-MASTER-ADDR-BY-NAME");
                        let answer = if asks_for_address { address } else { fields };
                        let talks = is_talking.load(Ordering::Relaxed);
                        if talks && stream.write_all(answer.as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { port, talks }
    }

    fn talk(&self, talks: bool) {
        self.talks.store(talks, Ordering::Relaxed);
    }
}

fn url_of(sentinels: &[ToldSentinel]) -> String {
    let addresses: Vec<String> =
        sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
    format!("redis+sentinel://{}/cadence", addresses.join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_believed_while_more_than_half_of_the_sentinels_answer() {
    let primary = RedisServer::start_with(RedisOptions::default().at(free_port()));
    let replaced = RedisServer::start_with(RedisOptions::default().at(free_port()));
    let sentinels = [
        ToldSentinel::start(replaced.port(), 1),
        ToldSentinel::start(primary.port(), 2),
        ToldSentinel::start(primary.port(), 2),
    ];
    let deadlines = Deadlines { sentinel: Deadlines::default().sentinel, ..patient() };
    let settings = settings(&url_of(&sentinels));
    let redis = Arc::new(Redis::connect_within(&settings, deadlines).await.unwrap());
    let store: AnyStore = redis.clone();
    sentinels[0].talk(true);
    for _ in 0..3 {
        store.ping().await.unwrap_err();
    }
    // From before it is believed: what is slow here makes the time longer, and never shorter.
    let began = Instant::now();
    sentinels[1].talk(true);
    until_it_answers(async || store.ping().await).await;
    let party = Party::begun(&store).await;
    assert_eq!(replaced.command(&["DBSIZE"]), ":0\r\n", "nobody writes to the one before");

    // One that was believed a moment ago still is.
    sentinels[1].talk(false);
    redis.servers.check().await;
    assert!(store.find_grant(&party.grant_id, NOW).await.unwrap().is_some());
    let is_doubted = |error: StoreError| error.to_string().contains("sentinels name a primary");
    while !store.ping().await.is_err_and(is_doubted) {
        assert!(began.elapsed() < PATIENCE, "it is believed for ever");
        redis.servers.check().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(3), "a short silence is no outage");

    sentinels[2].talk(true);
    until_it_answers(async || store.ping().await).await;
    assert!(store.find_grant(&party.grant_id, NOW).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_is_the_only_one_is_believed() {
    let primary = RedisServer::start_with(RedisOptions::default().at(free_port()));
    let sentinels = [ToldSentinel::start(primary.port(), 1)];
    sentinels[0].talk(true);
    let store = connect(&url_of(&sentinels)).await;
    Party::begun(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_few_rights_keeps_every_promise_over_tls() {
    let (authority, port) = (Authority::new(), free_port());
    let options =
        RedisOptions::default().with_tls(port, &authority, &authority.certify("127.0.0.1"), true);
    let server = RedisServer::start_with(with_users(options, "opensesame"));
    let shown = authority.certify("cadence");
    let settings = RedisSettings {
        password: Some(Secret("opensesame".to_owned())),
        ca_file: Some(authority.file()),
        client_cert_file: Some(shown.certificate),
        client_key_file: Some(shown.key),
        ..settings(&format!("rediss://cadence@127.0.0.1:{port}"))
    };
    let redis = Arc::new(connect_patiently(&settings).await.unwrap());
    let store: AnyStore = redis.clone();
    keep_all_promises(&store).await;
    redis.servers.check().await;
    let refused = server.command(&["ACL", "LOG"]);
    assert_eq!(refused, "*0\r\n", "nothing was refused");
    let denied = server.command(&["ACL", "DRYRUN", "cadence", "KEYS", "*"]);
    assert!(denied.contains("has no permissions"), "{denied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_verify_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let url = async |certificate| {
        let port = free_port();
        let options = RedisOptions::default().with_tls(port, &authority, &certificate, false);
        (RedisServer::start_with(options), format!("rediss://127.0.0.1:{port}"))
    };
    let ping = async |url: &str, known: &Authority| {
        let settings = RedisSettings { ca_file: Some(known.file()), ..settings(url) };
        connect_patiently(&settings).await.unwrap().ping().await
    };
    let (_good, good_url) = url(authority.certify("127.0.0.1")).await;
    ping(&good_url, &authority).await.unwrap();
    let (_other, other_url) = url(authority.certify("redis.example")).await;
    let (_past, past_url) = url(authority.certify_for_the_past("127.0.0.1")).await;
    for (what, url, known) in [
        ("signed by somebody else", &good_url, &stranger),
        ("of another host", &other_url, &authority),
        ("expired", &past_url, &authority),
    ] {
        let error = ping(url, known).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{what}: {error}");
    }
}
