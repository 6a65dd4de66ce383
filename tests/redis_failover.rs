//! F8, F11: another server becomes the primary, and slots move, while clients come and go.

use std::time::{Duration, Instant};

use stack::{Front, Redis, RedisCluster, RedisOptions, RedisSentinel};

use crate::http::Answer;
use crate::oauth::{LATER_THAN_THE_GRACE, Tokens, WEB, grant_is_dead, is_alive, is_dead};
use crate::outage::{answered_at_last, is_unavailable, refreshes_at_last};
use crate::redis_load::under_load;
use crate::server::{Server, until, until_within};

/// How long after the new primary is there clients may still be told that nothing works.
const RECOVERY: Duration = Duration::from_secs(5);

/// How long a server is silent before another takes its place.
const SILENCE: Duration = Duration::from_secs(1);

fn waits_for_a_replica(origin: &mut stack::OriginSettings) {
    origin.set("CADENCE_REDIS_WAIT", "1");
}

/// Waits until the server is ready, which it must be soon.
fn recovers(server: &Server) {
    let began = Instant::now();
    until_within("the server is ready again", RECOVERY, || {
        server.get("/readyz").send().status == 200
    });
    println!("ready {:?} after the failover", began.elapsed());
}

/// F11: the primary dies under load. With a replica that has every answered write, nothing that was
/// answered is lost.
#[test]
fn a_primary_that_dies_under_load_loses_nothing_that_a_replica_has() {
    let mut system = RedisSentinel::start_failing_over_after(SILENCE, 2);
    let server = Server::start_on(&system.url(), Front::Direct, waits_for_a_replica);
    let _log = server.log_on_failure();
    let told = under_load(&server, || {
        let primary = system.primary();
        system.nodes[primary].kill();
        system.wait_other_primary(primary);
        recovers(&server);
    });
    assert!(told.unavailable > 0, "somebody asked meanwhile");
}

/// I3: while no replica is there, nothing that is written is answered; a refresh token whose rotation
/// could not be stays good until it can, however long that takes.
#[test]
fn a_replica_that_is_away_for_longer_than_the_grace_ends_no_session() {
    let start = || Redis::start_with(RedisOptions::default().at(stack::free_port()));
    let (primary, mut replica) = (start(), start());
    let follow = |replica: &Redis| {
        let port = primary.port().to_string();
        assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "+OK\r\n");
    };
    follow(&replica);
    until("the replica follows", || replica.info("replication", "master_link_status") == "up");
    let server = Server::start_on(&primary.url(), Front::Direct, waits_for_a_replica);
    let _log = server.log_on_failure();
    let tokens = WEB.tokens_at_last(&server, "openid");
    replica.kill();
    is_unavailable(&WEB.refresh(&server, &tokens.refresh));
    std::thread::sleep(LATER_THAN_THE_GRACE);
    is_unavailable(&WEB.refresh(&server, &tokens.refresh));
    replica.restart();
    follow(&replica);
    let next = refreshes_at_last(&server, &tokens.refresh);
    is_alive(&server, &next.access);
    refreshes_at_last(&server, &next.refresh);
}

/// F2, F8: the primary hangs under load, and comes back as a replica. What was sent to it while it
/// hung, and is done when it wakes, hurts nobody.
#[test]
fn a_primary_that_hangs_under_load_is_replaced() {
    let system = RedisSentinel::start_failing_over_after(SILENCE, 2);
    let server = Server::start_on(&system.url(), Front::Direct, waits_for_a_replica);
    let _log = server.log_on_failure();
    let told = under_load(&server, || {
        let primary = system.primary();
        system.nodes[primary].signal(stack::Signal::STOP);
        system.wait_other_primary(primary);
        recovers(&server);
        system.nodes[primary].signal(stack::Signal::CONT);
        system.wait_whole();
    });
    assert!(told.unavailable > 0, "somebody asked meanwhile");
}

/// F8: of a cluster, one primary after the other dies under load and comes back.
#[test]
fn primaries_of_a_cluster_that_die_under_load_are_replaced() {
    let mut cluster = RedisCluster::start_failing_over_after(SILENCE);
    let server = Server::start_on(&cluster.url(), Front::Direct, |_| ());
    let _log = server.log_on_failure();
    let status_lists = "cadence:status-lists:{status}";
    for key in [status_lists, "cadence:session:{x}"] {
        let told = under_load(&server, || {
            let gone = cluster.owner(key);
            let heir = cluster.replica_of(gone);
            cluster.nodes[gone].kill();
            until("the replica has taken over", || cluster.primaries().contains(&heir));
            recovers(&server);
            cluster.nodes[gone].restart();
            cluster.wait_whole();
        });
        assert!(told.unavailable > 0, "somebody asked meanwhile");
    }
}

/// Slots move from server to server under load, those of grants and those of all status lists:
/// whoever is not answered in time is told 503, and nothing is lost.
#[test]
fn a_cluster_is_resharded_under_load() {
    let cluster = RedisCluster::start();
    let server = Server::start_on(&cluster.url(), Front::Edge, |_| ());
    let _log = server.log_on_failure();
    under_load(&server, || {
        let primaries: [usize; 3] = cluster.primaries().try_into().expect("there are three");
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            cluster.move_slots(primaries[from], primaries[to], 200);
        }
        let mut keys: Vec<String> = ["cadence:status-lists:{status}", "cadence:notices:{notices}"]
            .map(str::to_owned)
            .into();
        for primary in primaries {
            let grants = cluster.nodes[primary].command(&["KEYS", "cadence:grant:*"]);
            let grants = grants.lines().filter(|line| line.starts_with("cadence:"));
            keys.extend(grants.take(20).map(str::to_owned));
        }
        for _ in 0..2 {
            for key in &keys {
                let owner = cluster.owner(key);
                let other = primaries.into_iter().find(|at| *at != owner).expect("another one");
                cluster.move_slot_of(key, other);
            }
        }
    });
}

/// What clients do after the replica was cut off, and what they were told.
struct AfterTheCut {
    revoked: Tokens,
    revocation: Answer,
    refreshed: Tokens,
    refresh: Answer,
    code: String,
    redemption: Answer,
}

impl AfterTheCut {
    fn of(server: &Server, system: &RedisSentinel) -> Self {
        let revoked = WEB.tokens_at_last(server, "openid");
        let refreshed = WEB.tokens_at_last(server, "openid");
        let code = WEB.code_at_last(server, "openid");
        // What a replica has not been sent yet would be lost, too.
        system.wait_replicated();
        system.cut_replicas();
        Self {
            revocation: WEB.revoke(server, &revoked.refresh),
            refresh: WEB.refresh(server, &refreshed.refresh),
            redemption: WEB.redeem(server, &code),
            revoked,
            refreshed,
            code,
        }
    }
}

fn replaces(system: &mut RedisSentinel, server: &Server) {
    let primary = system.primary();
    system.nodes[primary].kill();
    system.wait_other_primary(primary);
    recovers(server);
}

/// F11: what a failover to a replica that was cut off loses, as `docs/operations.md` says: all that
/// was answered since then, and nothing before.
#[test]
fn a_failover_loses_what_the_replica_had_not_been_sent() {
    let mut system = RedisSentinel::start_failing_over_after(SILENCE, 1);
    let server = Server::start_on(&system.url(), Front::Direct, |_| ());
    let _log = server.log_on_failure();
    let before = WEB.tokens_at_last(&server, "openid");
    let before_dead = WEB.tokens_at_last(&server, "openid");
    answered_at_last(|| WEB.revoke(&server, &before_dead.refresh)).expect(200);
    let after = AfterTheCut::of(&server, &system);
    after.revocation.expect(200);
    let lost = Tokens::of(&after.refresh);
    let first = Tokens::of(&after.redemption);

    replaces(&mut system, &server);

    grant_is_dead(&server, &WEB, &before_dead);
    refreshes_at_last(&server, &before.refresh);
    // The revocation is undone, and is done by asking again.
    is_alive(&server, &after.revoked.access);
    answered_at_last(|| WEB.revoke(&server, &after.revoked.refresh)).expect(200);
    grant_is_dead(&server, &WEB, &after.revoked);
    // A refresh token of after the cut is unknown, which is nobody's fault: its grant lives.
    is_dead(&server, &lost.access);
    let refresh = |token: &str| answered_at_last(|| WEB.refresh(&server, token));
    refresh(&lost.refresh).refused(400, "invalid_grant");
    refreshes_at_last(&server, &after.refreshed.refresh);
    // So is the redemption of the code.
    is_dead(&server, &first.access);
    refresh(&first.refresh).refused(400, "invalid_grant");
    Tokens::of(&WEB.redeem(&server, &after.code));
    answered_at_last(|| WEB.redeem(&server, &after.code)).refused(400, "invalid_grant");
}

/// F11: with `redis_wait`, nothing is answered that such a failover loses.
#[test]
fn what_no_replica_has_is_not_answered() {
    let mut system = RedisSentinel::start_failing_over_after(SILENCE, 2);
    let server = Server::start_on(&system.url(), Front::Edge, waits_for_a_replica);
    let _log = server.log_on_failure();
    let read = WEB.tokens_at_last(&server, "openid");
    let after = AfterTheCut::of(&server, &system);
    for answer in [&after.revocation, &after.refresh, &after.redemption] {
        is_unavailable(answer);
    }
    // What only reads goes on.
    is_alive(&server, &read.access);
    // Whichever becomes the primary, the other one follows it.
    for node in &system.nodes {
        assert_eq!(node.command(&["CONFIG", "SET", "masterauth", ""]), "+OK\r\n");
    }

    replaces(&mut system, &server);

    until("the revocation is answered", || {
        WEB.revoke(&server, &after.revoked.refresh).status == 200
    });
    grant_is_dead(&server, &WEB, &after.revoked);
    refreshes_at_last(&server, &after.refreshed.refresh);
}
