//! What may be kept by whoever lies between, and that nobody chooses what others are given.

use std::net::TcpStream;

use crate::http::{Answer, Request};
use crate::oauth::{ALICE, ALICES_PASSWORD, WEB, own_tokens};
use crate::scripted::{Received, Scripted, reply};
use crate::server::Server;

/// Documents that are the same for everybody.
const PUBLIC: [&str; 3] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/oauth2/jwks",
];

/// Headers with which somebody may try to choose what the next one is given.
const UNKEYED: [(&str, &str); 14] = [
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "gopher"),
    ("x-forwarded-prefix", "/evil"),
    ("forwarded", "host=evil.example"),
    ("x-original-url", "/evil"),
    ("x-rewrite-url", "/evil"),
    ("x-http-method-override", "DELETE"),
    ("accept", "text/html"),
    ("accept-language", "tlh"),
    ("accept-encoding", "identity"),
    ("origin", "https://evil.example"),
    ("if-none-match", "*"),
    ("cache-control", "only-if-cached"),
    ("cookie", "cadence_session=evil"),
];

fn is_stored(answer: &Answer) -> bool {
    let control = answer.header("cache-control").unwrap_or_default();
    !control.split(", ").any(|it| it == "no-store")
}

scenarios! { doors:
    /// ED08: what is everybody's depends on the path alone; whatever somebody has sent before.
    fn nobody_chooses_what_the_next_one_is_given(server) {
        for path in PUBLIC {
            let clean = server.get(path).send().expect(200);
            assert!(is_stored(&clean), "{clean:?}");
            for (name, value) in UNKEYED {
                let poisoned = server.get(path).header(name, value).send();
                assert!(matches!(poisoned.status, 200 | 304), "{name}: {poisoned:?}");
                assert!(!poisoned.body.contains("evil"), "{name}: {poisoned:?}");
                let next = server.get(path).send().expect(200);
                assert_eq!(next.body, clean.body, "{path}, {name}");
            }
            for query in ["?cb=1", "?callback=evil", "?x=%3Cscript%3E", "?"] {
                let poisoned = server.get(&format!("{path}{query}")).send().expect(200);
                assert_eq!(poisoned.body, clean.body, "{path}{query}");
            }
            // A part is never given for the whole.
            let part = server.get(path).header("range", "bytes=0-3").send().expect(200);
            assert_eq!(part.body, clean.body, "{path}");
            let next = server.get(path).send().expect(200);
            assert_eq!(next.body, clean.body, "{path}");
        }
    }

    /// ED08: no spelling makes a personal answer look like a file that may be kept.
    fn no_personal_answer_looks_like_a_file(server) {
        let tokens = own_tokens(server, ALICE, ALICES_PASSWORD).expect(200).json();
        let access = tokens["access_token"].as_str().unwrap();
        for path in [
            "/oauth2/userinfo/a.js",
            "/oauth2/userinfo/.css",
            "/oauth2/userinfo;a.css",
            "/oauth2/userinfo%2Fa.js",
            "/oauth2/userinfo%3Fa.js",
            "/oauth2/userinfo.js",
            "/api/me/a.css",
            "/api/me;x.css",
            "/api/me.css",
            "/oauth2/jwks/x.css",
            "/.well-known/jwks.json/x.css",
            "/account/a.css",
        ] {
            let answer = server.get(path).bearer(access).send();
            assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
            assert!(!answer.body.contains("alice"), "{path}: {answer:?}");
        }
        let query = WEB.authorization("openid").query();
        for (path, with_token) in [
            ("/oauth2/userinfo", true),
            ("/oauth2/userinfo?a.js", true),
            ("/oauth2/userinfo", false),
            ("/api/me", true),
            ("/api/me", false),
            ("/account", false),
            ("/oauth2/consent", false),
            ("/oauth2/logout", false),
            ("/oauth2/login", false),
            (&format!("/oauth2/authorize?{query}"), false),
            ("/oauth2/authorize", false),
        ] {
            let request = server.get(path);
            let answer = if with_token { request.bearer(access) } else { request }.send();
            assert!(!is_stored(&answer), "{path}: {answer:?}");
        }
    }
}

/// ED08, BF11: the edge itself keeps nothing of an API's, whatever the API says about it.
#[test]
fn the_edge_keeps_no_answer_of_an_upstream() {
    let upstream = Scripted::start(|received: &Received, stream: &mut TcpStream| {
        let whose = received.header("authorization").concat();
        let forever = [("cache-control", "public, max-age=31536000, immutable"), ("etag", "\"1\"")];
        reply(stream, "200 OK", &forever, &whose[whose.len() - 8..]);
    });
    let (server, tokens) = crate::gateway::in_front_of(&upstream);
    let other = WEB.tokens(&server, "openid");
    for path in ["/api/up", "/api/up/a.css", "/api/up?cb=1"] {
        let before = upstream.received().len();
        for token in [&tokens.access, &other.access, &tokens.access] {
            let request = Request::new("GET", format!("{}{path}", server.url)).bearer(token);
            let answer = request.header("accept", "text/css").send().expect(200);
            assert_eq!(answer.body, token[token.len() - 8..], "{path}");
        }
        assert_eq!(upstream.received().len(), before + 3, "each was asked for: {path}");
        server.get(path).send().refused(401, "invalid_token");
    }
}
