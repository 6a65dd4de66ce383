//! The contract on a cluster, behind Sentinel, and with TLS as a user of few rights; and what is
//! each one's own.

use stack::{
    Authority, Redis as RedisServer, RedisCluster, RedisOptions, RedisSentinel, free_port,
};

use super::*;

/// The user of `docs/operations.md`.
const ACL: &str = include_str!("../../../../../docs/redis.acl");

pub(super) async fn connect(url: &str) -> AnyStore {
    Arc::new(Redis::connect(&settings(url)).await.unwrap())
}

/// Asks until the store answers.
pub(super) async fn until_it_answers(store: &AnyStore) {
    let began = Instant::now();
    while let Err(error) = store.ping().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Arguments of redis-server that let in nobody but the user of the documentation, with this
/// password, and an administrator for the tests.
fn with_users(options: RedisOptions, password: &str) -> RedisOptions {
    let user = ACL.replace("PASSWORD", password);
    let words: Vec<&str> = user.split_whitespace().collect();
    assert_eq!(words[..2], ["user", "cadence"], "the file is one ACL rule");
    let mut arguments = vec!["--user"];
    arguments.extend(&words[1..]);
    options.with(&arguments).with(&[
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
    let store = connect(&system.url()).await;
    keep_all_promises(&store).await;
    let party = Party::begun(&store).await;
    let before = system.primary();
    system.fail_over();
    until_it_answers(&store).await;
    // What was written before is there, and is written on at the other server.
    let rotated = contract::rotate(&store, &party, 1, NOW).await;
    assert!(matches!(rotated, Rotated::Next { .. }), "{rotated:?}");
    keep_all_promises(&store).await;
    assert_ne!(system.primary(), before);
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
    let redis = Arc::new(Redis::connect(&settings).await.unwrap());
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
        Redis::connect(&settings).await.unwrap().ping().await
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
