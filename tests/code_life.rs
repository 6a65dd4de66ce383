//! How long a code lives, and how long it is remembered: RFC 6749 §4.1.2 and §10.5. These tests
//! wait a minute, all of them the same one.

use std::time::{Duration, Instant};

use crate::oauth::{Tokens, WEB, grant_is_dead, is_alive};
use crate::server::{Server, until};

/// CD02, CD08: a code that nobody has redeemed is worth nothing after a minute; one that somebody
/// has redeemed ends what it began whenever it is presented again, by its own client, also after its
/// life. Nothing ends by itself meanwhile.
fn codes_live_a_minute(server: &Server) {
    let _log = server.log_on_failure();
    let redeemed = || {
        let code = WEB.code(server, "openid");
        let tokens = Tokens::of(&WEB.redeem(server, &code));
        (code, tokens)
    };
    let (soon, soons) = redeemed();
    let (late, lates) = redeemed();
    let (_, bystanders) = redeemed();
    let [unused, in_time] = [(); 2].map(|()| WEB.code(server, "openid"));
    let began = Instant::now();
    let sleep_until = |seconds: u64| {
        std::thread::sleep(Duration::from_secs(seconds).saturating_sub(began.elapsed()));
    };

    sleep_until(31);
    is_alive(server, &soons.access);
    WEB.redeem(server, &soon).refused(400, "invalid_grant");
    grant_is_dead(server, &WEB, &soons);
    WEB.redeem(server, &in_time).expect(200);

    sleep_until(61);
    is_alive(server, &lates.access);
    let before = server.asked_of_origin();
    for code in [&unused, &late] {
        WEB.redeem(server, code).refused(400, "invalid_grant");
    }
    if server.edge.is_some() {
        assert_eq!(server.asked_of_origin(), before, "the edge says so alone");
    }
    // The origin hears of it behind the edge's answer.
    until("the grant is revoked", || {
        server.get("/oauth2/userinfo").bearer(&lates.access).send().status == 401
    });
    grant_is_dead(server, &WEB, &lates);
    is_alive(server, &bystanders.access);
    Tokens::of(&WEB.refresh(server, &bystanders.refresh));
}

#[test]
fn codes_live_a_minute_at_the_edge() {
    codes_live_a_minute(&Server::start_edge());
}

#[test]
fn codes_live_a_minute_at_the_origin() {
    codes_live_a_minute(&Server::start_origin());
}

#[test]
fn codes_live_a_minute_in_the_embedded_store() {
    codes_live_a_minute(&Server::start_embedded());
}
