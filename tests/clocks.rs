//! Clocks that differ: of an edge and its origin, and of whoever has signed a token.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use stack::{Clock, Front, Redis, RedisOptions};

use crate::between::Between;
use crate::forge;
use crate::oauth::{Tokens, WEB, jwt_part};
use crate::outage::answered_at_last;
use crate::scripted::{Received, Scripted, reply};
use crate::server::{Server, now, until};
use crate::signer::Signer;

fn offset(seconds: i64) -> u64 {
    now().checked_add_signed(seconds).unwrap()
}

/// Signs a request anew, as an edge whose clock differs so much.
fn sign_again(received: &mut Received, nonce: i64, seconds: i64) {
    let Some((_, signature)) =
        received.headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("cadence-edge"))
    else {
        return;
    };
    let address = signature.split(';').nth(3).unwrap().to_owned();
    let mut fresh = [0; 16];
    fresh[..8].copy_from_slice(&nonce.to_be_bytes());
    let parts = (received.method.as_str(), received.target.as_str(), received.body.as_slice());
    *signature = forge::signature_over(offset(seconds), fresh, &address, parts);
}

/// ED19: an edge whose clock is twenty seconds off is believed. One that is a minute off is not, and
/// nobody is told that a good token is bad for it: it is an outage, and ends without a trace.
#[test]
fn an_edge_with_another_clock_refuses_nobody() {
    let (seconds, nonce) = (Arc::new(AtomicI64::new(0)), AtomicI64::new(1));
    let off = Arc::clone(&seconds);
    let (server, _between) = Between::start(
        |_| (),
        move |received, _: &mut TcpStream| {
            let nonce = nonce.fetch_add(1, Ordering::Relaxed);
            sign_again(received, nonce, off.load(Ordering::Relaxed));
            false
        },
    );
    let _log = server.log_on_failure();
    let mut tokens = WEB.tokens(&server, "openid");
    for differs in [20, -20, 60, -60, 0] {
        seconds.store(differs, Ordering::Relaxed);
        let userinfo = server.get("/oauth2/userinfo").bearer(&tokens.access).send();
        let refreshed = WEB.refresh(&server, &tokens.refresh);
        if differs.abs() < 30 {
            userinfo.expect(200);
            tokens = Tokens::of(&refreshed);
        } else {
            userinfo.refused(503, "temporarily_unavailable");
            refreshed.refused(503, "temporarily_unavailable");
        }
        // What is wrong in itself is so by any clock.
        server.get("/oauth2/userinfo").bearer("a.b.c").send().refused(401, "invalid_token");
        WEB.refresh(&server, "x").refused(400, "invalid_grant");
    }
    until("all is as before", || {
        server.get("/oauth2/userinfo").bearer(&tokens.access).send().status == 200
    });
}

/// ED19: tokens that an origin with another clock would have signed, at the edge, which alone guards
/// an upstream: fresh ones are good up to ten seconds either way, expired ones never for longer.
#[test]
fn a_token_of_another_clock_is_good_within_ten_seconds() {
    let upstream = Scripted::start(|_: &Received, stream: &mut TcpStream| {
        reply(stream, "200 OK", &[], "hello");
    });
    let (server, tokens) = crate::gateway::in_front_of(&upstream);
    let signer = Signer::of(&server);
    let issued = |seconds: i64, age: i64| -> String {
        let mut claims: Value = jwt_part(&tokens.access, 1);
        claims["iat"] = json!(offset(seconds - age));
        claims["exp"] = json!(offset(seconds - age + 300));
        signer.key("ES256").sign(&json!({ "typ": "at+jwt" }), &claims)
    };
    for (differs, age, status) in [
        (0, 0, 200),
        (8, 0, 200),
        (-8, 0, 200),
        // Ahead by a minute: not yet good. Behind by a minute: good, and over a minute early.
        (60, 0, 401),
        (-60, 0, 200),
        (60, 61, 200),
        (-60, 239, 200),
        (-60, 252, 401),
        (0, 312, 401),
        (8, 320, 401),
        (60, 372, 401),
    ] {
        let answer = server.get("/api/up").bearer(&issued(differs, age)).send();
        assert_eq!(answer.status, status, "{differs} s ahead, {age} s old: {answer:?}");
    }
}

/// Asserts that an origin goes by a clock that is so many seconds off, and signs people in by it.
#[track_caller]
fn signs_in_by_a_clock(server: &Server, seconds: i64) {
    let before = offset(seconds);
    let tokens = WEB.tokens_at_last(server, "openid");
    let issued = jwt_part(&tokens.access, 1)["iat"].as_u64().unwrap();
    assert!((before..=offset(seconds)).contains(&issued), "{issued}, {seconds} s off");
}

/// F17: a code that has expired is gone from Redis, and no clock that is set back makes it good again.
/// Time passes by the clocks of both, for which nobody has to wait; then the origin's alone goes back
/// into the code's life.
#[test]
fn a_clock_that_is_set_back_brings_no_code_back() {
    /// A code's life, the ten seconds for which its row outlives it, and some.
    const PASSED: i64 = 90;

    let folder = tempfile::tempdir().unwrap();
    let clock = |name| Clock::new(folder.path(), name);
    let (of_the_origin, of_redis) = (clock("origin"), clock("redis"));
    let redis = Redis::start_with(RedisOptions::default().by_clock(&of_redis));
    let server = Server::start_on(&redis.url(), Front::Direct, |origin| {
        origin.by_clock(&of_the_origin);
    });
    let _log = server.log_on_failure();
    let code = || WEB.code_at_last(&server, "openid");
    let is_worth_nothing = |code: &str| {
        answered_at_last(|| WEB.redeem(&server, code)).refused(400, "invalid_grant");
    };
    signs_in_by_a_clock(&server, 0);
    // One is asked for whenever time passes, the others once, after a step back.
    let asked_for = code();
    let back = [30, 50, 70, PASSED].map(|seconds| (seconds, code()));

    for clock in [&of_redis, &of_the_origin] {
        clock.set(PASSED);
    }
    let before = offset(PASSED);
    let told = redis.command(&["TIME"]);
    let told: u64 = told.lines().nth(2).unwrap().trim().parse().unwrap();
    // Redis may have looked at its clock a little before.
    assert!((before - 1..=offset(PASSED)).contains(&told), "{told}, not {before} or later");
    signs_in_by_a_clock(&server, PASSED);
    is_worth_nothing(&asked_for);
    for (seconds, code) in back {
        of_the_origin.set(PASSED - seconds);
        signs_in_by_a_clock(&server, PASSED - seconds);
        is_worth_nothing(&code);
        is_worth_nothing(&asked_for);
    }
}
