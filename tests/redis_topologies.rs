//! Sign-ins with the store on a cluster, behind Sentinel, and over TLS.

use stack::{Authority, Front, Redis, RedisCluster, RedisOptions, RedisSentinel};

use crate::oauth::{ALICE, ALICES_PASSWORD, WEB, grant_is_dead, is_alive, own_tokens};
use crate::outage::{answered_at_last, refreshes_at_last};
use crate::server::{Server, until};

/// The user of `docs/operations.md`.
const ACL: &str = include_str!("../docs/redis.acl");

/// Signs Alice in through the pages, and goes on to the end of all that she is given.
fn signs_in_and_out(server: &Server) {
    let _log = server.log_on_failure();
    let first = WEB.tokens_at_last(server, "openid profile offline_access");
    is_alive(server, &first.access);
    let second = refreshes_at_last(server, &first.refresh);
    is_alive(server, &second.access);
    let told = answered_at_last(|| WEB.introspect(server, &second.access)).expect(200).json();
    assert_eq!((told["active"].as_bool(), told["client_id"].as_str()), (Some(true), Some("web")));
    answered_at_last(|| WEB.revoke(server, &second.refresh)).expect(200);
    grant_is_dead(server, &WEB, &second);

    let (code, tokens) = WEB.redeemed_at_last(server, "openid");
    answered_at_last(|| WEB.redeem(server, &code)).refused(400, "invalid_grant");
    grant_is_dead(server, &WEB, &tokens);

    let reused = WEB.tokens_at_last(server, "openid");
    let next = refreshes_at_last(server, &reused.refresh);
    is_alive(server, &next.access);
    let answer = answered_at_last(|| WEB.refresh(server, &reused.refresh));
    answer.refused(400, "invalid_grant");
    grant_is_dead(server, &WEB, &next);

    let log_in = |password: &str| answered_at_last(|| own_tokens(server, ALICE, password));
    log_in("a-wrong-password").refused(400, "invalid_grant");
    log_in(ALICES_PASSWORD).expect(200);
    answered_at_last(|| server.get("/readyz").send()).expect(200);
}

#[test]
fn on_a_cluster() {
    let cluster = RedisCluster::start();
    signs_in_and_out(&Server::start_on(&cluster.url(), Front::Edge, |_| ()));
}

#[test]
fn behind_sentinel() {
    let system = RedisSentinel::start();
    let server = Server::start_on(&system.url(), Front::Edge, |origin| {
        origin.set("CADENCE_REDIS_WAIT", "1");
    });
    signs_in_and_out(&server);
    system.fail_over();
    system.wait_whole();
    until("the server is ready again", || server.get("/readyz").send().status == 200);
    // It reads before the new primary's replica has what it asks for.
    until("writes are answered", || own_tokens(&server, ALICE, ALICES_PASSWORD).status == 200);
    signs_in_and_out(&server);
}

/// The user of `docs/operations.md` has the rights that all of this takes.
#[test]
fn over_tls() {
    let (authority, port) = (Authority::new(), stack::free_port());
    let own = authority.certify("127.0.0.1");
    let options = RedisOptions::default().with_tls(port, &authority, &own, true);
    let redis = Redis::start_with(options.with_user(ACL, "opensesame"));
    let shown = authority.certify("cadence");
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "opensesame\n").unwrap();
    let url = format!("rediss://cadence@127.0.0.1:{port}");
    let server = Server::start_on(&url, Front::Edge, |origin| {
        for (name, file) in [
            ("CADENCE_REDIS_PASSWORD_FILE", password.path()),
            ("CADENCE_REDIS_CA_FILE", &authority.file()),
            ("CADENCE_REDIS_CLIENT_CERT_FILE", &shown.certificate),
            ("CADENCE_REDIS_CLIENT_KEY_FILE", &shown.key),
        ] {
            origin.set(name, &file.display().to_string());
        }
    });
    signs_in_and_out(&server);
    let connected = redis.command(&["CLIENT", "LIST"]);
    assert!(connected.contains(" user=cadence "), "{connected}");
    assert_eq!(redis.command(&["ACL", "LOG"]), "*0\r\n", "nothing was refused");
}
