//! What discovery advertises can be had, all of it; and what it does not, cannot (OpenID Connect
//! Discovery §3, RFC 8414 §2).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::browser::Browser;
use crate::forge;
use crate::http::Request;
use crate::oauth::{
    ALICE, ALICES_PASSWORD, App, OWN, RS256, SPA, Tokens, WEB, base64url, jwt_part, own_tokens,
};
use crate::server::{Server, now, unique};

const POST: App = App {
    id: "post",
    secret: Some("post-secret-0123456789"),
    redirect_uri: "https://post.example/cb",
};

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

/// Asks with one more parameter, as nobody who is signed in, and returns the error if there is one.
fn asked(server: &Server, name: &str, value: &str) -> Option<String> {
    let request = WEB.authorization("openid").with(name, value);
    let answer = Browser::new(server).authorize(&request.query());
    (answer.status != 200).then(|| answer.redirects_to(WEB.redirect_uri)["error"].clone())
}

/// Sends a form with this way of client authentication; an unadvertised way has a client of its own.
fn authenticated(server: &Server, path: &str, method: &str) -> String {
    // Good in itself, so that what is wrong with it is the client alone.
    let token = forge::refresh_token(now() + 60, "web");
    let form = [("token", "x"), ("grant_type", "refresh_token"), ("refresh_token", &token)];
    let post = || server.post(path);
    let assertion = format!("{}.e30.AAAA", base64url(br#"{"alg":"HS256"}"#));
    let asserted = [
        ("client_id", "web"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    let posted = [("client_id", POST.id), ("client_secret", POST.secret.unwrap())];
    let answer = match method {
        "client_secret_basic" => WEB.sign(post(), &form),
        "client_secret_post" => post().form(&[&form[..], &posted].concat()),
        "none" => SPA.sign(post(), &form),
        "client_secret_jwt" | "private_key_jwt" => post().form(&[&form[..], &asserted].concat()),
        "tls_client_auth" | "self_signed_tls_client_auth" => {
            post().form(&[&form[..], &[("client_id", "web")]].concat())
        }
        other => panic!("{other} has no test"),
    };
    let answer = answer.send();
    if answer.status == 200 { String::new() } else { answer.error() }
}

/// Registers a client whose ID tokens are signed with `alg`; the suite has those of two.
fn id_token_alg(server: &Server, alg: &str) -> String {
    let app = match alg {
        "ES256" => WEB,
        "RS256" => RS256,
        alg => {
            let id: &'static str = unique("signed").split('@').next().unwrap().to_owned().leak();
            let app = App {
                id,
                secret: Some("secret-of-a-new-client-0123456789"),
                redirect_uri: "https://new.example/cb",
            };
            server.apply(&format!(
                "[[clients]]\nclient_id = \"{id}\"\nclient_name = \"{id}\"\n\
                 client_secret = \"secret-of-a-new-client-0123456789\"\n\
                 token_endpoint_auth_method = \"client_secret_basic\"\n\
                 grant_types = [\"authorization_code\"]\nfirst_party = true\n\
                 redirect_uris = [\"https://new.example/cb\"]\nscope = \"openid\"\n\
                 id_token_signed_response_alg = \"{alg}\"\n"
            ));
            server.wait_known(&app);
            app
        }
    };
    jwt_part(&app.tokens(server, "openid").id, 0)["alg"].as_str().unwrap().to_owned()
}

const RESPONSE_TYPES: [&str; 6] =
    ["code", "token", "id_token", "code token", "code id_token", "none"];
const RESPONSE_MODES: [&str; 6] =
    ["query", "fragment", "form_post", "web_message", "jwt", "query.jwt"];
const CHALLENGES: [&str; 5] = ["S256", "plain", "s256", "S512", "none"];
const GRANT_TYPES: [&str; 9] = [
    "authorization_code",
    "refresh_token",
    "password",
    "implicit",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:openid:params:grant-type:ciba",
];
const AUTH_METHODS: [&str; 7] = [
    "client_secret_basic",
    "client_secret_post",
    "none",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
];

/// Asks with each value of a parameter: those that are advertised are taken, the others are `error`.
fn holds(server: &Server, name: &str, advertised: &[&str], error: &str, values: &[&str]) {
    for value in values {
        let expected = (!advertised.contains(value)).then_some(error);
        assert_eq!(asked(server, name, value).as_deref(), expected, "{name}: {value}");
    }
    assert!(advertised.iter().all(|it| values.contains(it)), "{name}: {advertised:?}");
}

/// Holds one member against what the server does.
fn check(server: &Server, member: &str, value: &Value) {
    let works_only = |path: &str| {
        for method in AUTH_METHODS {
            let refused = authenticated(server, path, method) == "invalid_client";
            assert_eq!(refused, !texts(value).contains(&method), "{path}: {method}");
        }
    };
    match member {
        "scopes_supported" => {
            assert_eq!(asked(server, "scope", &texts(value).join(" ")), None);
            assert_eq!(asked(server, "scope", "openid address").as_deref(), Some("invalid_scope"));
        }
        "response_types_supported" => {
            let error = "unsupported_response_type";
            holds(server, "response_type", &texts(value), error, &RESPONSE_TYPES);
        }
        "response_modes_supported" => {
            holds(server, "response_mode", &texts(value), "invalid_request", &RESPONSE_MODES);
        }
        "grant_types_supported" => {
            for one in GRANT_TYPES {
                let answer = WEB.sign(server.post("/oauth2/token"), &[("grant_type", one)]).send();
                let refused = answer.error() == "unsupported_grant_type";
                assert_eq!(refused, !texts(value).contains(&one), "{one}: {answer:?}");
            }
        }
        "subject_types_supported" => assert_eq!(texts(value), ["public"]),
        "id_token_signing_alg_values_supported" => {
            for alg in texts(value) {
                assert_eq!(id_token_alg(server, alg), alg);
            }
        }
        "token_endpoint_auth_methods_supported" => works_only("/oauth2/token"),
        "revocation_endpoint_auth_methods_supported" => works_only("/oauth2/revoke"),
        "introspection_endpoint_auth_methods_supported" => works_only("/oauth2/introspect"),
        "code_challenge_methods_supported" => {
            holds(server, "code_challenge_method", &texts(value), "invalid_request", &CHALLENGES);
        }
        "prompt_values_supported" => {
            for one in ["none", "login", "consent", "select_account", "create", "NONE", "x"] {
                let error = asked(server, "prompt", one);
                let expected = match one {
                    "none" => Some("login_required"),
                    one if texts(value).contains(&one) => None,
                    _ => Some("invalid_request"),
                };
                assert_eq!(error.as_deref(), expected, "{one}");
            }
        }
        "claims_supported" => claims(server, &texts(value)),
        "claims_parameter_supported" => assert_eq!(*value, false),
        "request_parameter_supported" => {
            assert_eq!(*value, false);
            assert_eq!(asked(server, "request", "e30").as_deref(), Some("request_not_supported"));
        }
        "request_uri_parameter_supported" => {
            assert_eq!(*value, false);
            let error = asked(server, "request_uri", "urn:x");
            assert_eq!(error.as_deref(), Some("request_uri_not_supported"));
        }
        "authorization_response_iss_parameter_supported" => {
            assert_eq!(*value, true);
            let request = WEB.authorization("openid").with("scope", "admin");
            let answer = Browser::new(server).authorize(&request.query());
            assert_eq!(answer.redirects_to(WEB.redirect_uri)["iss"], server.url);
        }
        // `backchannel_logout` has the tests of these.
        "backchannel_logout_supported" | "backchannel_logout_session_supported" => {
            assert_eq!(*value, true);
        }
        other => panic!("{other} is advertised, and has no test"),
    }
}

/// Every claim that is named is told, in the ID token or by userinfo, and no other.
fn claims(server: &Server, advertised: &[&str]) {
    let tokens = WEB.tokens(server, "openid profile email");
    let userinfo = server.get("/oauth2/userinfo").bearer(&tokens.access).send().expect(200).json();
    let told: BTreeSet<String> = [jwt_part(&tokens.id, 1), userinfo]
        .iter()
        .flat_map(|it| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>())
        // The client's own identifier once more, which is no claim about anybody.
        .filter(|name| name != "azp")
        .collect();
    assert_eq!(told, advertised.iter().map(|it| (*it).to_owned()).collect());
}

scenarios! { doors:
    /// OD03: each endpoint answers, and each member that ends in `_supported` is held against what
    /// the server does with every value, those that it does not name included.
    fn what_is_advertised_can_be_had_and_nothing_else(server) {
        let document = server.get("/.well-known/openid-configuration").send().expect(200).json();
        for (member, status) in [
            ("authorization_endpoint", 400),
            ("token_endpoint", 405),
            ("userinfo_endpoint", 401),
            ("jwks_uri", 200),
            ("revocation_endpoint", 405),
            ("introspection_endpoint", 405),
            ("end_session_endpoint", 200),
        ] {
            Request::new("GET", document[member].as_str().unwrap()).send().expect(status);
        }
        let members = document.as_object().unwrap();
        let supported = members.iter().filter(|(name, _)| name.ends_with("_supported"));
        assert!(supported.clone().count() > 15);
        for (member, value) in supported {
            check(server, member, value);
        }
        let known = ["issuer", "jwks_uri"];
        for member in members.keys() {
            let is_tested = member.ends_with("_supported") || member.ends_with("_endpoint");
            assert!(is_tested || known.contains(&member.as_str()), "{member} has no test");
        }
    }

    /// OD09: what is not understood is ignored, whatever it holds.
    fn what_is_not_understood_is_ignored(server) {
        for (name, value) in [
            ("claims", r#"{"userinfo":{"email":{"essential":true}},"id_token":{"acr":null}}"#),
            ("claims", "{"),
            ("claims", "\"><script>alert(1)</script>"),
            ("acr_values", "urn:mace:incommon:iap:silver 0 \u{1f600}"),
            ("ui_locales", "de-CH xx \"><script>"),
            ("display", "wap"),
            ("display", "x y"),
            ("claims_locales", "de"),
            ("id_token_signed_response_alg", "none"),
            ("resource", "https://evil.example"),
            ("audience", "https://evil.example"),
        ] {
            let request = WEB.authorization("openid").with(name, value);
            let page = Browser::new(server).authorize(&request.query()).expect(200);
            assert!(page.is_html() && !page.body.contains("alert(1)"), "{name}: {page:?}");
            let answer = server.alice().authorize(&request.query());
            let code = answer.redirects_to(WEB.redirect_uri)["code"].clone();
            let tokens = Tokens::of(&WEB.redeem(server, &code));
            assert_eq!(tokens.json["scope"], "openid", "{name}");
            let told = server.get("/oauth2/userinfo").bearer(&tokens.access).send().expect(200);
            assert_eq!(told.json().as_object().unwrap().len(), 1, "{name}: {told:?}");
            assert_eq!(jwt_part(&tokens.id, 0)["alg"], "ES256");
            let aud = &jwt_part(&tokens.access, 1)["aud"];
            assert!(!aud.to_string().contains("evil"), "{name}: {aud}");
        }
    }

    /// OD10: one name for a user, at every client and for ever; it is no e-mail address.
    fn a_user_has_one_name(server) {
        let sub = |id_token: &str| jwt_part(id_token, 1)["sub"].as_str().unwrap().to_owned();
        let first = WEB.tokens(server, "openid");
        let alice = sub(&first.id);
        let refreshed = Tokens::of(&WEB.refresh(server, &first.refresh));
        let by_password = Tokens::of(&own_tokens(server, ALICE, ALICES_PASSWORD));
        for tokens in [
            refreshed,
            WEB.tokens(server, "openid profile email"),
            SPA.tokens(server, "openid"),
            RS256.tokens(server, "openid"),
            by_password,
        ] {
            assert_eq!(sub(&tokens.id), alice);
            assert_eq!(jwt_part(&tokens.access, 1)["sub"], *alice);
        }
        assert!(!alice.contains('@') && !alice.to_lowercase().contains("alice"), "{alice}");
        let bob = Tokens::of(&own_tokens(server, "bob@example.test", "bobs-horse-battery"));
        assert_ne!(sub(&bob.id), alice);
        let told = OWN.introspect(server, &bob.access).expect(200).json();
        assert_eq!(told["sub"], sub(&bob.id));
    }
}
