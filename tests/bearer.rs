//! Access tokens at `/oauth2/userinfo` and `/api/*`: RFC 6750, RFC 8725, RFC 9068.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::oauth::{OWN, Tokens, WEB, is_alive, is_dead, jwt_part, own_tokens};
use crate::server::{Server, now, until_within};
use crate::signer::{self, Key, Signer, Thief};

const PROTECTED: [&str; 2] = ["/oauth2/userinfo", "/api/me"];

/// The longest token that is looked at, bytes.
const LONGEST: usize = 8 * 1024;

/// How soon what is refused unread is answered, by the quickest of some tries.
const AT_ONCE: Duration = Duration::from_millis(50);

/// How soon a disabled user's tokens are worth nothing: the origin believes for two seconds what it
/// knew of the user, and a machine that is busy answers later.
pub(crate) const DISABLED_IN: Duration = Duration::from_secs(3);

scenarios! { everywhere:
    /// BR07, BR09.
    fn userinfo_tells_what_the_scope_allows(server) {
        let tokens = WEB.tokens(server, "openid");
        let sub = jwt_part(&tokens.id, 1)["sub"].clone();
        let told = server.get("/oauth2/userinfo").bearer(&tokens.access).send().expect(200);
        assert_eq!(told.json(), json!({ "sub": sub }));
        let posted = server.post("/oauth2/userinfo").bearer(&tokens.access).send().expect(200);
        assert_eq!(posted.body, told.body);

        let tokens = WEB.tokens(server, "openid profile email");
        let told = server.get("/oauth2/userinfo").bearer(&tokens.access).send().expect(200).json();
        assert_eq!(told["sub"], sub);
        assert_eq!(told["email"], "alice@example.test");
        assert_eq!(told["preferred_username"], "alice@example.test");

        let me = server.get("/api/me").bearer(&tokens.access).send().expect(200);
        assert_eq!(me.json()["sub"], sub);
        assert_eq!(me.header("cache-control"), Some("no-store"));
    }

    /// The protected API's own logout ends the grant of the token.
    fn the_api_ends_the_grant_of_its_token(server) {
        let tokens = WEB.tokens(server, "openid");
        let answer = server.request("DELETE", "/api/auth/logout").bearer(&tokens.access).send();
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        crate::oauth::grant_is_dead(server, &WEB, &tokens);
        let again = server.request("DELETE", "/api/auth/logout").bearer(&tokens.access).send();
        again.refused(401, "invalid_token");
    }
}

scenarios! { doors:
    /// BR01, BR14: without credentials the challenge names no error.
    fn without_credentials_there_is_a_challenge(server) {
        for path in PROTECTED {
            for request in [
                server.get(path),
                server.get(path).header("authorization", "DPoP abc"),
                server.get(path).header("authorization", "Basic d2ViOng="),
            ] {
                let answer = request.send().expect(401);
                let challenge = answer.header("www-authenticate").unwrap_or_default();
                assert!(challenge.starts_with("Bearer realm="), "{answer:?}");
                assert!(!challenge.contains("error="), "{answer:?}");
            }
        }
        let answer = server.request("DELETE", "/api/auth/logout").send().expect(401);
        assert!(answer.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer ")));
    }

    /// BR03.
    fn userinfo_needs_the_openid_scope(server) {
        let tokens = WEB.tokens(server, "profile");
        let answer = server.get("/oauth2/userinfo").bearer(&tokens.access).send();
        answer.refused(403, "insufficient_scope");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{answer:?}");
        assert!(challenge.contains("scope=\"openid\""), "{answer:?}");
        server.get("/api/me").bearer(&tokens.access).send().expect(200);
    }

    /// BR04 to BR06: one token, in the header. A form's is not read, as RFC 6750 §2.2 leaves open.
    fn there_is_one_way_to_send_a_token(server) {
        let tokens = WEB.tokens(server, "openid");
        let good = &*tokens.access;
        for path in PROTECTED {
            let twice = server.get(path).bearer(good).bearer(good).send();
            twice.refused(400, "invalid_request");
            let spaced = server.get(path).header("authorization", &format!("Bearer {good} x"));
            spaced.send().refused(400, "invalid_request");
            let empty = server.get(path).header("authorization", "Bearer  x").send();
            empty.refused(400, "invalid_request");
            // Never read, so the answer is the one of a request without a token.
            let query = server.get(&format!("{path}?access_token={good}")).send().expect(401);
            assert_eq!(query.header("www-authenticate"), Some("Bearer realm=\"cadence\""));
            server.get(path).header("authorization", &format!("bearer {good}")).send().expect(200);
        }
        let both = server.post("/oauth2/userinfo").bearer(good).form(&[("access_token", good)]);
        both.send().refused(400, "invalid_request");
        let body = server.post("/oauth2/userinfo").form(&[("access_token", good)]).send();
        let part = "content-disposition: form-data; name=\"access_token\"";
        let multipart = server.post("/oauth2/userinfo").body(
            "multipart/form-data; boundary=x",
            format!("--x\r\n{part}\r\n\r\n{good}\r\n--x--\r\n"),
        );
        for answer in [body, multipart.send()] {
            let answer = answer.expect(401);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"cadence\""));
        }
    }

    /// BR12: what is longer than any token is refused unread, though its issuer has signed it, and
    /// holds nobody up.
    fn an_endless_token_is_refused_at_once(server) {
        let tokens = WEB.tokens(server, "openid");
        let claims = jwt_part(&tokens.access, 1);
        let signer = Signer::of(server);
        let padded = |length: usize| padded(signer.key("ES256"), &claims, length);
        for path in PROTECTED {
            for length in [4_000, LONGEST] {
                server.get(path).bearer(&padded(length)).send().expect(200);
            }
            for length in [LONGEST + 3, 16 * 1024] {
                let token = padded(length);
                is_at_once(&format!("{path}, {length}"), || {
                    server.get(path).bearer(&token).send().refused(401, "invalid_token");
                });
            }
            // Heads of such a length are not read to their end, by whatever reads heads.
            for length in [128 * 1024, 1024 * 1024] {
                let token = padded(length);
                let ask = || {
                    let answer = status_line(&server.url, path, &token);
                    assert!(answer.starts_with("HTTP/1.1 431 "), "{path}, {length}: {answer}");
                };
                ask();
                // The platform of the edge may listen for a second more before it says so.
                if server.edge.is_none() {
                    is_at_once(&format!("{path}, {length}"), ask);
                }
            }
        }
        is_alive(server, &tokens.access);
    }

    /// BR02, BR11: a token that is no good is told so; `jwt` has every way to be none.
    fn a_bad_token_is_told_so(server) {
        let tokens = WEB.tokens(server, "openid");
        let good = &*tokens.access;
        let key = Signer::of(server);
        let key = key.key("ES256");
        let header = json!({ "typ": "at+jwt" });
        let (claims, signature) = (jwt_part(good, 1), good.rsplit('.').next().unwrap());
        let with = |name: &str, to: Value| {
            let mut claims = claims.clone();
            claims[name] = to;
            claims
        };
        let expired = {
            let mut claims = with("exp", json!(now() - 60));
            claims["iat"] = json!(now() - 360);
            key.sign(&header, &claims)
        };
        let unsigned = signer::message(r#"{"alg":"none","typ":"at+jwt"}"#, &claims.to_string());
        let mut bad = vec![
            tokens.id.clone(),
            tokens.refresh.clone(),
            "a.b.c".into(),
            "..".into(),
            expired,
            format!("{unsigned}."),
            good[..good.len() - 1].to_owned(),
            format!("{good}A"),
            format!("{good}.{signature}"),
            format!("{good}=="),
        ];
        // The signature of another message.
        for (name, value) in [
            ("sub", json!("somebody-else")),
            ("scope", json!("openid admin")),
            ("exp", json!(claims["exp"].as_u64().unwrap() + 1)),
            ("client_id", json!("other")),
        ] {
            let header = key.named(&header).to_string();
            let message = signer::message(&header, &with(name, value).to_string());
            bad.push(format!("{message}.{signature}"));
        }
        bad.push(Thief::new().sign(&key.named(&header), &claims));
        for token in bad {
            is_dead(server, &token);
        }
        is_alive(server, &key.sign(&header, &claims));
        is_alive(server, good);
        WEB.revoke(server, good).expect(200);
        is_dead(server, good);
    }

    /// BR10, IN10: nobody is deleted here, but disabled.
    fn the_token_of_a_disabled_user_opens_nothing(server) {
        let name = server.new_user("nora");
        let tokens = Tokens::of(&own_tokens(server, &name, "a-passphrase-for-tests"));
        is_alive(server, &tokens.access);
        let told = || OWN.introspect(server, &tokens.access).expect(200);
        assert_eq!(told().json()["active"], json!(true));
        server.cadence(&["user", "disable", &name]);
        until_within("the token is not active", DISABLED_IN, || {
            told().body == r#"{"active":false}"#
        });
        is_dead(server, &tokens.access);
    }

    /// Other methods, unknown paths.
    fn the_api_has_the_methods_that_it_has(server) {
        for (method, path, allow) in [
            ("PUT", "/oauth2/userinfo", "GET, POST"),
            ("DELETE", "/oauth2/userinfo", "GET, POST"),
            ("POST", "/api/me", "GET"),
            ("GET", "/api/auth/logout", "DELETE"),
            ("POST", "/api/auth/logout", "DELETE"),
        ] {
            let answer = server.request(method, path).send().expect(405);
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        }
        for path in
            ["/", "/api", "/api/me/", "/api/me/x.css", "/oauth2", "/oauth2/token/", "/OAUTH2/token", "/metrics"]
        {
            let mut told = String::new();
            let answer = server.get(path).send();
            write!(told, "{answer:?}").unwrap();
            assert!(matches!(answer.status, 401 | 404), "{told}");
        }
    }
}

/// Signs these claims with padding among them: a good token of `length` characters, or up to two
/// fewer.
fn padded(key: &Key, claims: &Value, length: usize) -> String {
    let sign = |padding: usize| {
        let mut claims = claims.clone();
        claims["padding"] = json!("x".repeat(padding));
        key.sign(&json!({ "typ": "at+jwt" }), &claims)
    };
    sign((length - sign(0).len()) * 3 / 4)
}

/// Asserts that something is answered within [`AT_ONCE`]. Any try may have waited for the machine, but
/// none takes less than the server needs: one that is quick is enough, of those of ten seconds.
#[track_caller]
pub(crate) fn is_at_once(what: &str, mut attempt: impl FnMut()) {
    let began = Instant::now();
    let mut quickest = Duration::MAX;
    while quickest >= AT_ONCE {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}: {quickest:?}");
        let tried = Instant::now();
        attempt();
        quickest = quickest.min(tried.elapsed());
    }
}

/// Sends a token and returns the beginning of what is answered, if anything is before the end.
fn status_line(url: &str, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    // The server may have closed the connection already.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).unwrap_or_default();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}
