//! Servers that fail, hang, evict, or forbid.

use std::time::Duration;

use stack::{Redis as RedisServer, RedisCluster, RedisOptions, RedisSentinel};

use super::topologies::connect;
use super::*;

async fn fails(store: &AnyStore) -> String {
    store.ping().await.unwrap_err().to_string()
}

/// Lets 20 requests wait for a server that is silent.
async fn wait_together(store: &AnyStore) {
    let answers = contract::race(20, |_| {
        let store = store.clone();
        async move { store.ping().await.is_err() }
    })
    .await;
    assert_eq!(answers, [true; 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_not_asked_by_everybody() {
    let server = Server::start().await;
    let store = server.store().await;
    server.signal("STOP");
    wait_together(&store).await;
    let mut refused_at_once = 0;
    for _ in 0..20 {
        let error = store.ping().await.unwrap_err();
        let is_refused = error.to_string().contains("has not answered lately");
        assert_eq!(error.may_be_done(), !is_refused, "{error}");
        refused_at_once += u32::from(is_refused);
    }
    assert!(refused_at_once >= 15, "{refused_at_once} of 20");
    server.signal("CONT");
    until_it_answers(async || store.ping().await).await;
    Party::begun(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_a_cluster_that_is_away_takes_no_other_with_it() {
    let mut cluster = RedisCluster::start();
    let store = connect(&cluster.url()).await;
    let owner = |party: &Party| cluster.owner(&grant_key(&party.grant_id));
    let lost = Party::begun(&store).await;
    let mut spared = Party::begun(&store).await;
    while owner(&spared) == owner(&lost) {
        spared = Party::begun(&store).await;
    }
    let (gone, heir) = (owner(&lost), cluster.replica_of(owner(&lost)));
    // What the heir has not yet been told is lost.
    let rows = |node: usize| cluster.nodes[node].command(&["DBSIZE"]);
    while rows(gone) != rows(heir) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.nodes[gone].kill();
    for _ in 0..30 {
        store.find_grant(&lost.grant_id, NOW).await.unwrap_err();
        assert!(store.find_grant(&spared.grant_id, NOW).await.unwrap().is_some());
    }
    let found = until_it_answers(async || store.find_grant(&lost.grant_id, NOW).await).await;
    assert_eq!(found, Some(lost.grant()));
    assert_eq!(cluster.owner(&grant_key(&lost.grant_id)), heir);
    let rotated = contract::rotate(&store, &lost, 1, NOW).await;
    assert!(matches!(rotated, Rotated::Next { .. }), "{rotated:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_no_replica_has_is_never_acknowledged() {
    let system = RedisSentinel::start();
    let settings = RedisSettings { wait: 1, ..settings(&system.url()) };
    let store: AnyStore = Arc::new(Redis::connect(&settings).await.unwrap());
    keep_all_promises(&store).await;
    let (party, other) = (Party::begun(&store).await, Party::begun(&store).await);

    let replica = &system.nodes[1 - system.primary()];
    replica.signal("STOP");
    let error = store.revoke_grant(&party.grant_id, NOW).await.unwrap_err();
    assert!(error.to_string().contains("too few replicas"), "{error}");
    store.rotate_refresh(&other.rotation(1, NOW), NOW).await.unwrap_err();
    store.put_session(&contract::session(1_000), NOW).await.unwrap_err();
    let many = contract::race(100, |_| {
        let store = store.clone();
        async move { store.put_session(&contract::session(1_000), NOW).await.is_err() }
    });
    // Whoever only asks does not wait for those that write.
    let (refused, ()) = tokio::join!(many, async {
        for _ in 0..50 {
            assert_eq!(store.find_grant(&party.grant_id, NOW).await.unwrap(), None);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(refused, [true; 100]);

    replica.signal("CONT");
    until_it_answers(async || store.revoke_grant(&party.grant_id, NOW).await).await;
    // What was not acknowledged has happened all the same, and is repeated.
    let rotated = contract::rotate(&store, &other, 1, NOW).await;
    assert!(matches!(rotated, Rotated::Repeated { .. }), "{rotated:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_evicts_rows_is_refused() {
    let policy = |policy| RedisOptions::default().with(&["--maxmemory-policy", policy]);
    for evicts in ["allkeys-lru", "volatile-ttl", "volatile-random"] {
        let server = RedisServer::start_with(policy(evicts));
        let error = Redis::connect(&settings(&server.url())).await.unwrap_err().to_string();
        assert!(error.contains(evicts) && error.contains("set noeviction"), "{error}");
    }

    let mut server = RedisServer::start_with(policy("noeviction"));
    let redis = Arc::new(Redis::connect(&settings(&server.url())).await.unwrap());
    let store: AnyStore = redis.clone();
    let watch = tokio::spawn(async move { redis.watch().await });
    let party = Party::begun(&store).await;
    let set = |policy| server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
    assert_eq!(set("allkeys-lfu"), "+OK\r\n");
    let began = Instant::now();
    while store.ping().await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody has noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = fails(&store).await;
    assert!(error.contains("allkeys-lfu"), "{error}");
    // It is not ready, but goes on.
    assert!(store.find_grant(&party.grant_id, NOW).await.unwrap().is_some());
    assert_eq!(set("noeviction"), "+OK\r\n");
    until_it_answers(async || store.ping().await).await;

    // One that is away when the store is opened is looked at later.
    server.kill();
    let late = Arc::new(Redis::connect(&settings(&server.url())).await.unwrap());
    let late_watch = tokio::spawn({
        let late = late.clone();
        async move { late.watch().await }
    });
    server.restart_with(policy("allkeys-random"));
    let began = Instant::now();
    while !late.ping().await.is_err_and(|error| error.to_string().contains("allkeys-random")) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody has noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    watch.abort();
    late_watch.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_are_an_outage_that_tells_no_secret() {
    const SECRETS: [&str; 2] = ["opensesame", "changed-meanwhile"];
    let server = RedisServer::start_with(RedisOptions::default());
    let user = |rights: &[&str]| {
        let answer = server.command(&[&["ACL", "SETUSER", "cadence"], rights].concat());
        assert_eq!(answer, "+OK\r\n");
    };
    user(&["on", ">opensesame", "~cadence:*", "+@all"]);
    let url = server.url().replace("unix://", "redis+unix://") + "?user=cadence&pass=opensesame";
    let store = connect(&url).await;
    let party = Party::begun(&store).await;
    let find = async || {
        let found = store.find_grant(&party.grant_id, NOW).await;
        found.map_err(|error| format!("{error} {error:?}"))
    };
    let is_refused = async |word: &str| {
        let error = find().await.unwrap_err();
        assert!(error.contains(word), "{error}");
        assert!(!SECRETS.iter().any(|secret| error.contains(secret)), "{error}");
    };
    for (rights, word, back) in [
        (&["-@all"][..], "NoPerm", &["+@all"][..]),
        (&["resetkeys", "~other:*"], "NoPerm", &["resetkeys", "~cadence:*"]),
    ] {
        user(rights);
        is_refused(word).await;
        user(back);
        assert_eq!(find().await.unwrap(), Some(party.grant()));
    }
    // A new password is asked for with the next connection.
    user(&["resetpass", ">changed-meanwhile"]);
    assert_eq!(find().await.unwrap(), Some(party.grant()));
    assert_eq!(server.command(&["CLIENT", "KILL", "USER", "cadence"]), ":1\r\n");
    for _ in 0..10 {
        let error = find().await.unwrap_err();
        assert!(!SECRETS.iter().any(|secret| error.contains(secret)), "{error}");
    }
    user(&["resetpass", ">opensesame"]);
    until_it_answers(async || store.ping().await).await;
    assert_eq!(find().await.unwrap(), Some(party.grant()));
}
