//! Servers that fail, hang, evict, or forbid.

use std::time::Duration;

use stack::{Redis as RedisServer, RedisCluster, RedisOptions, RedisSentinel, Signal};

use super::topologies::{connect, connect_patiently};
use super::*;

async fn fails(store: &AnyStore) -> String {
    store.ping().await.unwrap_err().to_string()
}

/// Lets 20 requests at once ask a server that is silent.
async fn fail_together(store: &AnyStore) -> Vec<StoreError> {
    contract::race(20, |_| {
        let store = store.clone();
        async move { store.ping().await.unwrap_err() }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_not_asked_by_everybody() {
    let server = Server::start().await;
    let store = server.store_within(Deadlines::default()).await;
    server.signal("STOP");
    fail_together(&store).await;
    let mut refused_at_once = 0;
    for error in fail_together(&store).await {
        let is_refused = error.to_string().contains("has not answered lately");
        assert_eq!(error.may_be_done(), !is_refused, "{error}");
        refused_at_once += u32::from(is_refused);
    }
    assert!(refused_at_once >= 15, "{refused_at_once} of 20");
    server.signal("CONT");
    until_it_answers(async || store.ping().await).await;
    until_it_answers(async || store.put_session(&contract::session(1_000), NOW).await).await;
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
    // When the others notice that one is gone, all of them refuse until its heir is in its place.
    let let_notice_after = |cluster: &RedisCluster, milliseconds: &str| {
        for node in cluster.nodes.iter().filter(|node| node.runs()) {
            let words = ["CONFIG", "SET", "cluster-node-timeout", milliseconds];
            assert_eq!(node.command(&words), "+OK\r\n");
        }
    };
    let_notice_after(&cluster, "5000");
    let killed_at = Instant::now();
    cluster.nodes[gone].kill();
    let mut rounds = 0;
    while rounds < 30 {
        let of_lost = store.find_grant(&lost.grant_id, NOW).await;
        let of_spared = store.find_grant(&spared.grant_id, NOW).await;
        if killed_at.elapsed() > Duration::from_secs(4) {
            break;
        }
        of_lost.unwrap_err();
        assert!(of_spared.unwrap().is_some());
        rounds += 1;
    }
    assert!(rounds >= 3, "{rounds} rounds before anybody notices");
    let_notice_after(&cluster, "1000");
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
    let store: AnyStore = Arc::new(connect_patiently(&settings).await.unwrap());
    keep_all_promises(&store).await;
    let deadlines = Deadlines { replicas: Duration::from_secs(1), ..patient() };
    let hasty: AnyStore = Arc::new(Redis::connect_within(&settings, deadlines).await.unwrap());
    let (party, other) = (Party::begun(&store).await, Party::begun(&store).await);

    let replica = &system.nodes[1 - system.primary()];
    replica.signal(Signal::STOP);
    let error = hasty.revoke_grant(&party.grant_id, NOW).await.unwrap_err();
    assert!(error.to_string().contains("too few replicas"), "{error}");
    hasty.rotate_refresh(&other.rotation(1, NOW), NOW).await.unwrap_err();
    hasty.put_session(&contract::session(1_000), NOW).await.unwrap_err();
    let writer = hasty.clone();
    let many = tokio::spawn(contract::race(100, move |_| {
        let store = writer.clone();
        async move { store.put_session(&contract::session(1_000), NOW).await.is_err() }
    }));
    // Whoever only asks does not wait for those that write: else there were one answer for each
    // batch of writes, of which there are two or three.
    let mut answers = 0;
    while !many.is_finished() {
        assert_eq!(hasty.find_grant(&party.grant_id, NOW).await.unwrap(), None);
        answers += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(many.await.unwrap(), [true; 100]);
    assert!(answers >= 10, "{answers} answers while others write");

    replica.signal(Signal::CONT);
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
        let error = connect_patiently(&settings(&server.url())).await.unwrap_err().to_string();
        assert!(error.contains(evicts) && error.contains("set noeviction"), "{error}");
    }

    let mut server = RedisServer::start_with(policy("noeviction"));
    let redis = Arc::new(connect_patiently(&settings(&server.url())).await.unwrap());
    let store: AnyStore = redis.clone();
    let watch = tokio::spawn(async move { redis.watch().await });
    let party = Party::begun(&store).await;
    let set = |policy| server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
    assert_eq!(set("allkeys-lfu"), "+OK\r\n");
    let began = Instant::now();
    while store.ping().await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "nobody has noticed");
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
    let late = Arc::new(connect_patiently(&settings(&server.url())).await.unwrap());
    let late_watch = tokio::spawn({
        let late = late.clone();
        async move { late.watch().await }
    });
    server.restart_with(policy("allkeys-random"));
    let began = Instant::now();
    while !late.ping().await.is_err_and(|error| error.to_string().contains("allkeys-random")) {
        assert!(began.elapsed() < PATIENCE, "nobody has noticed");
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
