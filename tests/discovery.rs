//! Discovery and keys: OpenID Connect Discovery, RFC 8414, RFC 7517.

use std::collections::BTreeSet;

use crate::oauth::{RS256, Tokens, WEB, jwt_part};
use crate::server::{Server, until};

scenarios! { everywhere:
    /// OD01, OD02, AZ43.
    fn the_document_says_where_everything_is(server) {
        let answer = server.get("/.well-known/openid-configuration").send().expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let caching = answer.header("cache-control").unwrap_or_default();
        assert!(caching.contains("max-age="), "{answer:?}");
        let other = server.get("/.well-known/oauth-authorization-server").send().expect(200);
        assert_eq!(answer.body, other.body);

        let document = answer.json();
        let url = &server.url;
        for (member, path) in [
            ("issuer", ""),
            ("authorization_endpoint", "/oauth2/authorize"),
            ("token_endpoint", "/oauth2/token"),
            ("userinfo_endpoint", "/oauth2/userinfo"),
            ("jwks_uri", "/oauth2/jwks"),
            ("revocation_endpoint", "/oauth2/revoke"),
            ("introspection_endpoint", "/oauth2/introspect"),
            ("end_session_endpoint", "/oauth2/logout"),
        ] {
            assert_eq!(document[member], format!("{url}{path}"), "{member}");
        }
        assert_eq!(document["response_types_supported"], serde_json::json!(["code"]));
        assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
        assert_eq!(document["response_modes_supported"], serde_json::json!(["query"]));
        assert_eq!(document["authorization_response_iss_parameter_supported"], true);
        let grants: BTreeSet<_> =
            document["grant_types_supported"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        assert_eq!(grants, BTreeSet::from(["authorization_code", "password", "refresh_token"]));
        let algs = document["id_token_signing_alg_values_supported"].as_array().unwrap();
        assert!(algs.iter().any(|alg| alg == "RS256"), "Discovery §3: RS256 must be there");
        for path in ["/.well-known/openid-configuration/", "/.well-known/jwks.json/x.css"] {
            server.get(path).send().expect(404);
        }
        let head = server.request("HEAD", "/.well-known/openid-configuration").send().expect(200);
        assert_eq!(head.body, "");
    }

    /// JW20, JW22.
    fn the_keys_are_those_that_sign(server) {
        let answer = server.get("/oauth2/jwks").send().expect(200);
        assert!(answer.header("cache-control").unwrap_or_default().contains("max-age="));
        let set = answer.json();
        let keys = set["keys"].as_array().unwrap();
        let kids: BTreeSet<_> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(kids.len(), keys.len(), "kids are unique");
        for key in keys {
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(key.get(private).is_none(), "{private} is private");
            }
            assert_eq!(key["use"], "sig");
            assert!(key["alg"].is_string() && key["kty"].is_string());
            if key["kty"] == "RSA" {
                // 2048 bits are 342 or 343 characters of base64url.
                assert!(key["n"].as_str().unwrap().len() >= 342, "{key}");
                assert_eq!(key["e"], "AQAB");
            }
        }
        let tokens = WEB.tokens(server, "openid");
        let find = |token: &str| {
            let kid = jwt_part(token, 0)["kid"].clone();
            keys.iter().find(|key| key["kid"] == kid).unwrap()["alg"].clone()
        };
        assert_eq!(find(&tokens.access), "ES256");
        assert_eq!(find(&tokens.id), "ES256");
        let tokens = RS256.tokens(server, "openid");
        assert_eq!(jwt_part(&tokens.id, 0)["alg"], "RS256");
        assert_eq!(find(&tokens.id), "RS256");
        assert_eq!(find(&tokens.access), "ES256");
    }
}

scenarios! { doors:
    /// HT17: nothing is derived from the request's own idea of where it was sent.
    fn the_issuer_comes_from_the_settings(server) {
        for name in ["host", "x-forwarded-host", "forwarded", "x-forwarded-proto", "x-forwarded-prefix"] {
            let request = server.get("/.well-known/openid-configuration").header(name, "evil.example");
            let answer = request.send();
            assert!(matches!(answer.status, 200 | 400 | 421), "{answer:?}");
            assert!(!answer.body.contains("evil"), "{answer:?}");
            if answer.status == 200 {
                assert_eq!(answer.json()["issuer"], server.url);
            }
        }
    }
}

/// JW23: a new key is published long before it signs, and the old one stays as long as it is
/// needed.
#[test]
fn a_new_key_is_published_before_it_signs() {
    let server = Server::start_origin();
    let kids = || -> BTreeSet<String> {
        let set = server.get("/oauth2/jwks").send().expect(200).json();
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let before = kids();
    let tokens = WEB.tokens(&server, "openid");
    server.cadence(&["key", "rotate"]);
    until("the new keys are published", || kids().len() > before.len());
    assert!(kids().is_superset(&before), "the old ones stay");
    crate::oauth::is_alive(&server, &tokens.access);
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    let kid = jwt_part(&next.access, 0)["kid"].as_str().unwrap().to_owned();
    assert!(before.contains(&kid), "no cache has the new ones yet");
    crate::oauth::is_alive(&server, &next.access);
}
