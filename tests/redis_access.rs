//! F12: Redis does not let the origin in any more.

use stack::{Authority, Front, Redis, RedisOptions};

use crate::oauth::{ALICE, ALICES_PASSWORD, Tokens, WEB, is_alive, own_tokens};
use crate::outage::is_unavailable;
use crate::server::{Server, until};

const PASSWORD: &str = "a-password-of-redis-itself";

/// Nobody is told no, and then everything goes on.
fn is_an_outage(server: &Server, tokens: &Tokens) {
    until("the outage is noticed", || server.get("/readyz").send().status == 503);
    is_unavailable(&WEB.refresh(server, &tokens.refresh));
    is_unavailable(&WEB.revoke(server, &tokens.access));
    is_unavailable(&server.get("/oauth2/userinfo").bearer(&tokens.access).send());
    is_unavailable(&own_tokens(server, ALICE, ALICES_PASSWORD));
    server.get("/healthz").send().expect(200);
}

/// Waits until the log says something of an outage that goes on, behind the bytes that were there before. It does so when the breaker opens,
/// after some requests in vain within a second.
fn is_logged(server: &Server, before: usize, words: &str) {
    until("the breaker opens", || {
        server.get("/readyz").send().expect(503);
        server.origin.log()[before..].contains(words)
    });
}

fn goes_on(server: &Server, tokens: &Tokens) -> Tokens {
    until("the server is ready again", || server.get("/readyz").send().status == 200);
    until("statuses are known again", || {
        server.get("/oauth2/userinfo").bearer(&tokens.access).send().status != 503
    });
    is_alive(server, &tokens.access);
    Tokens::of(&WEB.refresh(server, &tokens.refresh))
}

#[test]
fn a_user_without_rights_and_a_changed_password_are_outages_and_in_no_log() {
    let redis = Redis::start_with(RedisOptions::default().at(stack::free_port()));
    let set = |rights: &[&str]| {
        let words = [&["ACL", "SETUSER", "cadence"], rights].concat();
        assert_eq!(redis.command(&words), "+OK\r\n");
    };
    set(&["on", &format!(">{PASSWORD}"), "~cadence:*", "+@all"]);
    let url = format!("redis://cadence:{PASSWORD}@127.0.0.1:{}", redis.port());
    let server = Server::start_on(&url, Front::Edge, |origin| origin.set("CADENCE_LOG", "trace"));
    let _log = server.log_on_failure();
    let mut tokens = WEB.tokens(&server, "openid");

    set(&["-@all"]);
    is_an_outage(&server, &tokens);
    set(&["+@all"]);
    tokens = goes_on(&server, &tokens);

    let before = server.origin.log().len();
    set(&["resetpass", ">another-password-of-redis"]);
    assert!(redis.command(&["CLIENT", "KILL", "USER", "cadence"]).starts_with(':'));
    is_an_outage(&server, &tokens);
    is_logged(&server, before, "Redis is away");
    set(&["resetpass", &format!(">{PASSWORD}")]);
    tokens = goes_on(&server, &tokens);

    set(&["off"]);
    assert!(redis.command(&["CLIENT", "KILL", "USER", "cadence"]).starts_with(':'));
    is_an_outage(&server, &tokens);
    set(&["on"]);
    goes_on(&server, &tokens);

    let told = format!("{}{}", server.origin.log(), server.origin.metrics());
    assert!(!told.contains(PASSWORD), "the password is told");
}

#[test]
fn a_certificate_that_expires_is_an_outage_until_it_is_renewed() {
    let (authority, port) = (Authority::new(), stack::free_port());
    let with =
        |certificate| RedisOptions::default().with_tls(port, &authority, &certificate, false);
    let mut redis = Redis::start_with(with(authority.certify("127.0.0.1")));
    let server = Server::start_on(&format!("rediss://127.0.0.1:{port}"), Front::Edge, |origin| {
        origin.set("CADENCE_REDIS_CA_FILE", &authority.file().display().to_string());
    });
    let _log = server.log_on_failure();
    let mut tokens = WEB.tokens(&server, "openid");
    redis.restart_with(with(authority.certify_for_the_past("127.0.0.1")));
    is_an_outage(&server, &tokens);
    redis.restart_with(with(authority.certify("127.0.0.1")));
    tokens = goes_on(&server, &tokens);
    let before = server.origin.log().len();
    redis.restart_with(with(Authority::new().certify("127.0.0.1")));
    is_an_outage(&server, &tokens);
    is_logged(&server, before, "certificate");
    redis.restart_with(with(authority.certify("127.0.0.1")));
    goes_on(&server, &tokens);
}
