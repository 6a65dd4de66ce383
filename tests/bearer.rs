//! Access tokens at `/oauth2/userinfo` and `/api/*`: RFC 6750, RFC 8725, RFC 9068.

use std::fmt::Write as _;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::http::Answer;
use crate::oauth::{Tokens, WEB, is_dead, jwt_part, own_tokens};
use crate::server::{Server, until};

const PROTECTED: [&str; 2] = ["/oauth2/userinfo", "/api/me"];

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

    /// BR04 to BR06, BR12: one token, in the header, of a sane size.
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
            let query = server.get(&format!("{path}?access_token={good}")).send();
            assert!(matches!(query.status, 400 | 401), "{query:?}");
            for length in [8 * 1024 + 1, 12 * 1024] {
                let long = server.get(path).bearer(&"A".repeat(length)).send();
                assert!(matches!(long.status, 401 | 431), "{long:?}");
            }
            server.get(path).header("authorization", &format!("bearer {good}")).send().expect(200);
        }
        let both = server.post("/oauth2/userinfo").bearer(good).form(&[("access_token", good)]);
        both.send().refused(400, "invalid_request");
        let body = server.post("/oauth2/userinfo").form(&[("access_token", good)]).send();
        assert!(matches!(body.status, 200 | 400 | 401), "{body:?}");
        let multipart = server
            .post("/oauth2/userinfo")
            .body("multipart/form-data; boundary=x", format!("--x\r\n\r\n{good}\r\n--x--"));
        assert!(matches!(multipart.send().status, 400 | 401));
    }

    /// BR02, BR11, JW01 to JW04, JW06 to JW18: whatever is changed, nothing opens.
    fn no_other_token_opens_anything(server) {
        let tokens = WEB.tokens(server, "openid");
        let good = &*tokens.access;
        let (header, claims) = (jwt_part(good, 0), jwt_part(good, 1));
        let signature = good.rsplit('.').next().unwrap();
        let with = |value: &Value, name: &str, to: Value| {
            let mut value = value.clone();
            value[name] = to;
            value
        };
        let without = |value: &Value, name: &str| {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove(name);
            value
        };
        let mut bad = vec![tokens.id.clone(), tokens.refresh.clone(), "a.b.c".into(), "..".into()];
        // Signed by nobody.
        for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "RS256", "EdDSA", "ES384"] {
            let header = with(&header, "alg", alg.into());
            bad.push(jwt(&header, &claims, ""));
            bad.push(jwt(&header, &claims, signature));
        }
        bad.push(jwt(&without(&header, "alg"), &claims, signature));
        bad.push(jwt(&with(&header, "alg", json!(["ES256"])), &claims, signature));
        // The signature of another message, and no signature at all.
        for (name, value) in [
            ("sub", json!("somebody-else")),
            ("scope", json!("openid admin")),
            ("exp", json!(claims["exp"].as_u64().unwrap() + 1)),
            ("client_id", json!("other")),
        ] {
            bad.push(jwt(&header, &with(&claims, name, value), signature));
        }
        bad.push(jwt(&header, &claims, &URL_SAFE_NO_PAD.encode([0; 64])));
        bad.push(jwt(&header, &claims, &URL_SAFE_NO_PAD.encode([0; 63])));
        bad.push(jwt(&header, &claims, &URL_SAFE_NO_PAD.encode([255; 64])));
        bad.push(good[..good.len() - 1].to_owned());
        bad.push(format!("{good}A"));
        bad.push(format!("{good}.{signature}"));
        bad.push(format!("{good}=="));
        // Signed, with somebody else's key: under our kid, another, none, and one brought along.
        let thief = Thief::new();
        for header in [
            header.clone(),
            with(&header, "kid", "other".into()),
            with(&header, "kid", "../../dev/null".into()),
            with(&header, "kid", "' OR 1=1 --".into()),
            with(&header, "kid", "__proto__".into()),
            with(&header, "kid", 1.into()),
            with(&header, "kid", "k".repeat(2_000).into()),
            without(&header, "kid"),
            with(&header, "jku", "http://127.0.0.1:9/jwks".into()),
            with(&header, "x5u", "http://127.0.0.1:9/x5u".into()),
            with(&header, "jwk", json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" })),
            with(&header, "crit", json!(["exp"])),
            with(&header, "crit", json!([])),
            with(&header, "b64", false.into()),
            with(&header, "zip", "DEF".into()),
            with(&header, "typ", "JWT".into()),
            without(&header, "typ"),
        ] {
            bad.push(thief.sign(&header, &claims));
        }
        for token in bad {
            is_dead(server, &token);
        }
        server.get("/oauth2/userinfo").bearer(good).send().expect(200);
    }

    /// BR10.
    fn the_token_of_a_disabled_user_opens_nothing(server) {
        let name = server.new_user("nora");
        let tokens = Tokens::of(&own_tokens(server, &name, "a-passphrase-for-tests"));
        server.get("/oauth2/userinfo").bearer(&tokens.access).send().expect(200);
        server.cadence(&["user", "disable", &name]);
        until("the user is disabled", || {
            let answer: Answer = server.get("/oauth2/userinfo").bearer(&tokens.access).send();
            answer.status == 401
        });
        is_dead(server, &tokens.access);
    }

    /// ED09: whoever asks at the same time, everybody hears about themselves.
    fn nobody_hears_about_somebody_else(server) {
        let names: Vec<String> = (0..4).map(|_| server.new_user("crowd")).collect();
        let crowd: Vec<(String, String)> = names
            .iter()
            .map(|name| {
                let tokens = Tokens::of(&own_tokens(server, name, "a-passphrase-for-tests"));
                (name.clone(), tokens.access)
            })
            .collect();
        std::thread::scope(|scope| {
            for hand in 0..8 {
                let crowd = &crowd;
                scope.spawn(move || {
                    for turn in 0..15 {
                        let (name, token) = &crowd[(hand + turn) % crowd.len()];
                        let told = server.get("/oauth2/userinfo").bearer(token).send().expect(200);
                        assert_eq!(told.json()["email"], **name);
                        assert_eq!(told.json()["sub"], jwt_part(token, 1)["sub"]);
                    }
                });
            }
        });
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

fn jwt(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// Somebody with a key of their own.
struct Thief(EcdsaKeyPair);

impl Thief {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let unsigned = jwt(header, claims, "");
        let message = unsigned.trim_end_matches('.');
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
