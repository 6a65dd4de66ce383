//! The key set at the edge: one that cannot be had, one that is behind, and keys that are revoked.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use stack::Stopwatch;

use crate::between::Between;
use crate::http::{Answer, Request};
use crate::oauth::{Tokens, WEB, is_alive, jwt_part};
use crate::outage::{answered_at_last, refreshes_at_last};
use crate::scripted::{Received, Scripted, reply};
use crate::server::{Server, until, until_within};
use crate::signer::Thief;

/// An upstream, and the setting that has it at `/api/up`.
fn upstream() -> (Scripted, String) {
    let upstream = Scripted::start(|_, stream| reply(stream, "200 OK", &[], "hello"));
    let setting = format!(
        r#"[{{"prefix":"/api/up","url":"{}","audience":"https://api.example"}}]"#,
        upstream.url()
    );
    (upstream, setting)
}

fn kid(access: &str) -> String {
    jwt_part(access, 0)["kid"].as_str().unwrap().to_owned()
}

/// What becomes of a request for the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    AsTheyAre,
    ServerError,
    Page,
    Empty,
    WithoutAny,
    Half,
    Rubbish,
    NeverThere,
    Slow,
}

const BROKEN: [Keys; 8] = [
    Keys::ServerError,
    Keys::Page,
    Keys::Empty,
    Keys::WithoutAny,
    Keys::Half,
    Keys::Rubbish,
    Keys::NeverThere,
    Keys::Slow,
];

/// Answers for the key set, with the name of the request, as the origin itself would.
fn answer(keys: Keys, received: &Received, stream: &mut TcpStream) -> bool {
    use std::io::Write as _;
    let id = received.header("x-request-id").concat();
    let json = [("content-type", "application/json"), ("x-request-id", id.as_str())];
    match keys {
        Keys::AsTheyAre => return false,
        Keys::ServerError => reply(stream, "500 Internal Server Error", &json, "{}"),
        Keys::Page => {
            let html = [("content-type", "text/html"), ("x-request-id", id.as_str())];
            reply(stream, "200 OK", &html, "<h1>It works!</h1>");
        }
        Keys::Empty => reply(stream, "200 OK", &json, r#"{"keys":[]}"#),
        Keys::WithoutAny => reply(stream, "200 OK", &json, "{}"),
        Keys::Half => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nx-request-id: {id}\r\ncontent-length: 900\r\n\r\n{{\"keys\":[{{"
            );
            let _ = stream.write_all(head.as_bytes());
        }
        Keys::Rubbish => reply(stream, "200 OK", &json, "{\"keys\":[{\"kty\":\"EC\"}]}"),
        Keys::NeverThere => {}
        Keys::Slow => {
            std::thread::sleep(Duration::from_secs(4));
            return false;
        }
    }
    true
}

/// ED13, JW25, ED16: whatever comes in the place of the key set, the last good one stays: nobody is
/// refused for it, and nobody is told that a key is unknown while that cannot be looked up. An edge
/// that has no set tells nobody anything, and keeps none of what it was given.
#[test]
fn what_is_no_key_set_takes_the_place_of_none() {
    let keys = Arc::new(Mutex::new(Keys::AsTheyAre));
    let (_upstream, setting) = upstream();
    let chosen = Arc::clone(&keys);
    let (mut server, between) = Between::start(
        |edge| edge.set("CADENCE_UPSTREAMS", &setting),
        move |received, stream| {
            let keys = *chosen.lock().unwrap();
            received.target == "/oauth2/jwks" && answer(keys, received, stream)
        },
    );
    let tokens = WEB.tokens(&server, "openid");
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "nobody-knows-it" });
    let unknown = Thief::new().sign(&header, &jwt_part(&tokens.access, 1));
    let ask =
        |server: &Server, token: &str| -> Answer { server.get("/api/up").bearer(token).send() };
    ask(&server, &tokens.access).expect(200);
    let good = server.get("/oauth2/jwks").send().expect(200).body;
    // Until the set is older than what is fresh.
    std::thread::sleep(Duration::from_secs(11));
    for broken in BROKEN {
        *keys.lock().unwrap() = broken;
        let before = between.asked_for("/oauth2/jwks");
        until("the keys are asked for twice", || {
            let answer = ask(&server, &tokens.access);
            assert_eq!(answer.status, 200, "{broken:?}: {answer:?}");
            between.asked_for("/oauth2/jwks") > before + 1
        });
        let answer = ask(&server, &unknown);
        assert_eq!(answer.status, 503, "{broken:?}: {answer:?}");
        assert_eq!(server.get("/oauth2/jwks").send().expect(200).body, good, "{broken:?}");
    }
    for broken in BROKEN {
        *keys.lock().unwrap() = broken;
        server.edge.as_mut().unwrap().restart();
        for token in [&tokens.access, &unknown] {
            let answer = ask(&server, token);
            assert_eq!(answer.status, 503, "{broken:?}: {answer:?}");
            answer.refused(503, "temporarily_unavailable");
        }
        server.get("/oauth2/jwks").send().refused(503, "temporarily_unavailable");
        *keys.lock().unwrap() = Keys::AsTheyAre;
        until("the keys are there", || ask(&server, &tokens.access).status == 200);
        ask(&server, &unknown).refused(401, "invalid_token");
        assert_eq!(server.get("/oauth2/jwks").send().expect(200).body, good, "{broken:?}");
    }
}

/// ED12: a key that nobody knew, and is there now, is known within the ten seconds in which an
/// isolate does not ask again; whoever has asked for what in between.
#[test]
fn a_key_that_was_unknown_is_known_in_time() {
    let (_upstream, setting) = upstream();
    let server = Server::start_tuned(|_| (), |edge| edge.set("CADENCE_UPSTREAMS", &setting));
    let _log = server.log_on_failure();
    let mut tokens = WEB.tokens(&server, "openid");
    let before = kid(&tokens.access);
    let ask = |token: &str| server.get("/api/up").bearer(token).send();
    ask(&tokens.access).expect(200);
    server.cadence(&["key", "rotate", "--signs-in", "0"]);
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "nobody-knows-it" });
    let unknown = Thief::new().sign(&header, &jwt_part(&tokens.access, 1));
    until("the new key signs", || {
        ask(&unknown).refused(401, "invalid_token");
        tokens = refreshes_at_last(&server, &tokens.refresh);
        kid(&tokens.access) != before
    });
    until_within("the new key is known", Duration::from_secs(12), || {
        ask(&tokens.access).status == 200
    });
}

/// JW24: a key that is revoked, and with it everything that it has signed, is dead at an origin within
/// five seconds, and at an isolate that nobody has asked meanwhile within 35; whoever refreshes goes on.
#[test]
fn a_revoked_key_opens_nothing_in_time() {
    let (_upstream, setting) = upstream();
    let twin = stack::free_port();
    let server = Server::start_tuned(
        |_| (),
        |edge| {
            edge.set("CADENCE_UPSTREAMS", &setting);
            edge.twin_at(twin);
        },
    );
    let _log = server.log_on_failure();
    let twin = server.edge.as_ref().unwrap().twin_url();
    let tokens = WEB.tokens(&server, "openid");
    let idle = |token: &str| Request::new("GET", format!("{twin}/api/up")).bearer(token).send();
    let busy = |token: &str| server.get("/api/up").bearer(token).send();
    let origin = |token: &str| {
        let url = format!("{}/oauth2/userinfo", server.origin.url());
        Request::new("GET", url).bearer(token).send()
    };
    for ask in [&idle as &dyn Fn(&str) -> Answer, &busy, &origin] {
        ask(&tokens.access).expect(200);
    }
    server.cadence(&["key", "revoke", &kid(&tokens.access)]);
    let began = Stopwatch::start();
    until_within("the origin refuses it", Duration::from_secs(6), || {
        origin(&tokens.access).status == 401
    });
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    assert_ne!(kid(&next.access), kid(&tokens.access));
    origin(&next.access).expect(200);
    until("the edge refuses it", || busy(&tokens.access).status == 401);
    assert!(began.elapsed() < Duration::from_secs(35), "{:?}", began.elapsed());
    until("the edge knows the new key", || busy(&next.access).status == 200);
    is_alive(&server, &next.access);
    std::thread::sleep(Duration::from_secs(36).saturating_sub(began.elapsed()));
    answered_at_last(|| idle(&tokens.access)).refused(401, "invalid_token");
    answered_at_last(|| idle(&next.access)).expect(200);
    let set = server.get("/oauth2/jwks").send().expect(200).body;
    assert!(!set.contains(&kid(&tokens.access)), "{set}");
    // ID tokens of other keys, and the keys themselves, are where they were.
    let refused = server.try_cadence(&["key", "revoke", &kid(&tokens.access)]);
    assert!(!refused.status.success());
}
