//! `/oauth2/authorize`: RFC 6749 §4.1.1 to §4.1.2.1, RFC 7636 §4.3, RFC 9207, OpenID Connect
//! Core §3.1.2.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::both_doors::alike;
use crate::browser::{Browser, Form};
use crate::http::{Answer, query};
use crate::oauth::{
    ALICE, ALICES_PASSWORD, CHALLENGE, LENIENT, NATIVE, OTHER, SPA, Tokens, VERIFIER, WEB,
    base64url, come_back, jwt_part, sign_in,
};
use crate::server::Server;
use crate::signer::Signer;

scenarios! { doors:
    /// AZ11, AZ12: what is unknown is ignored, what is empty is absent.
    fn a_valid_request_is_asked_to_log_in(server) {
        let good = WEB.authorization("openid profile");
        for request in [
            good.clone(),
            good.clone().and("unknown", "1").and("unknown", "2"),
            good.clone().with("prompt", ""),
            good.clone().without("state"),
            good.clone().without("nonce"),
            good.clone().without("scope"),
            good.clone().with("scope", ""),
            good.clone().with("state", "").with("nonce", "").and("max_age", ""),
            good.clone().and("response_mode", "").and("login_hint", "").and("id_token_hint", ""),
            good.clone().and("request", "").and("request_uri", "").and("registration", ""),
            good.clone().and("response_mode", "query"),
            good.clone().and("ui_locales", "de").and("display", "popup").and("acr_values", "x"),
            good.clone().and("claims", "{}").and("login_hint", &"x".repeat(300)),
            LENIENT.authorization("openid").without("code_challenge").without("code_challenge_method"),
        ] {
            let page = Browser::new(server).authorize(&request.query());
            assert_eq!(Form::of(&page.expect(200)).action, "/oauth2/login", "{request:?}");
        }
    }

    /// AZ13: a form is read as a query is.
    fn a_request_may_be_posted(server) {
        let good = WEB.authorization("openid");
        let mut browser = Browser::new(server);
        let posted = browser.send(server.post("/oauth2/authorize").form(&good.pairs()));
        let page = browser.follow(posted);
        assert_eq!(Form::of(&page.expect(200)).action, "/oauth2/login");
        let mut alice = server.alice();
        let answer = alice.send(server.post("/oauth2/authorize").form(&good.pairs()));
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
        let typed = "application/x-www-form-urlencoded; charset=UTF-8";
        let posted = server.post("/oauth2/authorize").body(typed, good.query());
        let answer = alice.send(posted);
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
    }

    /// AZ02 to AZ06, AZ10: nothing is redirected before the redirect URI is proven.
    fn errors_before_the_redirect_uri_is_proven_are_pages(server) {
        let good = WEB.authorization("openid");
        let elsewhere = good.clone().with("redirect_uri", "https://evil.example/cb");
        for request in [
            good.clone().without("client_id"),
            good.clone().with("client_id", ""),
            good.clone().with("client_id", "nobody"),
            good.clone().with("client_id", "../web"),
            good.clone().with("client_id", "web*"),
            good.clone().with("client_id", "web\r\nx"),
            good.clone().with("client_id", &"w".repeat(200)),
            good.clone().and("client_id", "web"),
            good.clone().and("client_id", "other"),
            good.clone().without("redirect_uri"),
            good.clone().with("redirect_uri", ""),
            elsewhere.clone(),
            elsewhere.clone().with("scope", "\""),
            elsewhere.clone().with("scope", "admin"),
            elsewhere.clone().without("response_type"),
            elsewhere.clone().with("response_type", "token"),
            elsewhere.clone().with("prompt", "none"),
            elsewhere.clone().with("prompt", "none login"),
            elsewhere.clone().and("state", "again"),
            elsewhere.clone().and("scope", "openid"),
            elsewhere.clone().without("code_challenge"),
            elsewhere.clone().with("code_challenge_method", "plain"),
            elsewhere.clone().with("response_mode", "form_post"),
            elsewhere.clone().with("request", "x.y.z"),
            elsewhere.clone().with("request_uri", "https://evil.example/"),
            elsewhere.clone().with("state", &"s".repeat(3_000)),
            elsewhere.clone().with("client_id", "codeless"),
        ] {
            let target = format!("/oauth2/authorize?{}", request.query());
            let answer = alike(server, "GET", &target, |request| request);
            answer.is_page(400);
            assert!(!answer.body.contains("evil.example"), "reflected: {answer:?}");
            let answer = server.post("/oauth2/authorize").form(&request.pairs()).send();
            answer.is_page(400);
        }
    }

    /// RFC 6749 §4.1.2.1, AZ07, AZ08, AZ16, AZ17, AZ20, AZ22, AZ26 to AZ28, AZ42, PK03 to PK08.
    fn every_other_error_is_told_to_the_client(server) {
        let good = WEB.authorization("openid");
        let table = [
            (good.clone().without("response_type"), "invalid_request"),
            (good.clone().with("response_type", ""), "invalid_request"),
            (good.clone().with("response_type", "token"), "unsupported_response_type"),
            (good.clone().with("response_type", "id_token"), "unsupported_response_type"),
            (good.clone().with("response_type", "code token"), "unsupported_response_type"),
            (good.clone().with("response_type", "code id_token"), "unsupported_response_type"),
            (good.clone().with("response_type", "none"), "unsupported_response_type"),
            (good.clone().with("response_type", "CODE"), "unsupported_response_type"),
            (good.clone().with("scope", "openid admin"), "invalid_scope"),
            (good.clone().with("scope", "openid \""), "invalid_scope"),
            (good.clone().with("scope", "openid \\"), "invalid_scope"),
            (good.clone().with("scope", "openid\u{7}"), "invalid_scope"),
            (good.clone().with("scope", "openid\u{e9}"), "invalid_scope"),
            (good.clone().with("scope", &"a ".repeat(5_000)), "invalid_scope"),
            (good.clone().without("code_challenge"), "invalid_request"),
            (good.clone().without("code_challenge_method"), "invalid_request"),
            (
                good.clone().without("code_challenge").without("code_challenge_method"),
                "invalid_request",
            ),
            (good.clone().with("code_challenge_method", "plain"), "invalid_request"),
            (good.clone().with("code_challenge_method", "s256"), "invalid_request"),
            (good.clone().with("code_challenge_method", "S512"), "invalid_request"),
            (good.clone().with("code_challenge_method", "S256 "), "invalid_request"),
            (good.clone().with("code_challenge_method", ""), "invalid_request"),
            (good.clone().with("code_challenge_method", "none"), "invalid_request"),
            (good.clone().with("code_challenge", &CHALLENGE[1..]), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{CHALLENGE}A")), "invalid_request"),
            (good.clone().with("code_challenge", &"A".repeat(128)), "invalid_request"),
            (good.clone().with("code_challenge", &"A".repeat(129)), "invalid_request"),
            (good.clone().with("code_challenge", ""), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{}=", &CHALLENGE[1..])), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{}+", &CHALLENGE[1..])), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{}/", &CHALLENGE[1..])), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{} ", &CHALLENGE[1..])), "invalid_request"),
            // The last of 43 characters has two bits that are no part of a digest.
            (good.clone().with("code_challenge", &format!("{}N", &CHALLENGE[..42])), "invalid_request"),
            (good.clone().with("prompt", "none login"), "invalid_request"),
            (good.clone().with("prompt", "junk"), "invalid_request"),
            (good.clone().with("max_age", "-1"), "invalid_request"),
            (good.clone().with("max_age", "soon"), "invalid_request"),
            (good.clone().with("registration", "{}"), "registration_not_supported"),
            (good.clone().with("response_mode", "fragment"), "invalid_request"),
            (good.clone().with("response_mode", "form_post"), "invalid_request"),
            (good.clone().with("response_mode", "web_message"), "invalid_request"),
            (good.clone().with("response_mode", "query.jwt"), "invalid_request"),
            (good.clone().with("response_mode", "Query"), "invalid_request"),
            (good.clone().with("response_mode", "junk"), "invalid_request"),
            (good.clone().with("nonce", &"n".repeat(600)), "invalid_request"),
            (good.clone().with("id_token_hint", "eyJhbGciOiJub25lIn0.e30."), "invalid_request"),
            (good.clone().with("prompt", "none"), "login_required"),
        ];
        for (request, error) in table {
            let target = format!("/oauth2/authorize?{}", request.query());
            let queried = alike(server, "GET", &target, |request| request);
            let posted = server.post("/oauth2/authorize").form(&request.pairs()).send();
            for answer in [queried, posted] {
                let told = answer.redirects_to("https://app.example/cb");
                assert_eq!(told["error"], error, "{request:?}");
                assert_eq!(told["state"], "st-&=+%", "{request:?}");
                assert_eq!(told["iss"], server.url, "{request:?}");
                assert!(!told.contains_key("code"), "{request:?}");
                assert!(!answer.location().contains('#'), "{answer:?}");
            }
        }
        for (request, error) in [
            (good.clone().with("state", "a\nb"), "invalid_request"),
            (good.clone().with("state", &"s".repeat(2_049)), "invalid_request"),
        ] {
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            let told = answer.redirects_to("https://app.example/cb");
            assert_eq!((told["error"].as_str(), told.get("state")), (error, None), "{request:?}");
            assert_eq!(told["iss"], server.url, "{request:?}");
        }
        // A query or form with NUL in it is not read at all, so nobody is redirected.
        let request = good.with("code_challenge", &format!("{CHALLENGE}\0"));
        assert!(request.query().contains("%00"), "{request:?}");
        let target = format!("/oauth2/authorize?{}", request.query());
        alike(server, "GET", &target, |request| request).is_page(400);
        server.post("/oauth2/authorize").form(&request.pairs()).send().is_page(400);
        server.alice().open(&target).is_page(400);
    }

    /// AZ10: each parameter once, whether it says the same again or something else.
    fn no_parameter_is_repeated(server) {
        let good = WEB.authorization("openid").and("prompt", "login").and("max_age", "60");
        for (name, value) in good.pairs() {
            for again in [value, "other", ""] {
                let request = good.clone().and(name, again);
                let target = format!("/oauth2/authorize?{}", request.query());
                let queried = alike(server, "GET", &target, |request| request);
                let posted = server.post("/oauth2/authorize").form(&request.pairs()).send();
                for answer in [queried, posted] {
                    if matches!(name, "client_id" | "redirect_uri") {
                        answer.is_page(400);
                        continue;
                    }
                    let told = answer.redirects_to("https://app.example/cb");
                    assert_eq!(told["error"], "invalid_request", "{name}={again}: {answer:?}");
                    assert_eq!(told["iss"], server.url, "{answer:?}");
                    let state = (name != "state").then_some("st-&=+%");
                    assert_eq!(told.get("state").map(String::as_str), state, "{answer:?}");
                }
            }
        }
    }

    /// AZ09, AZ16, and a public client's PKCE (PK02, PK12).
    fn what_a_client_is_not_registered_for_is_refused(server) {
        let request = WEB
            .authorization("openid")
            .with("client_id", "codeless")
            .with("redirect_uri", "https://codeless.example/cb");
        let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
        let told = answer.redirects_to("https://codeless.example/cb");
        assert_eq!(told["error"], "unauthorized_client");
        assert_eq!(told["iss"], server.url);

        for app in [&SPA, &NATIVE] {
            let request = app.authorization("openid").without("code_challenge");
            for request in [request.clone(), request.without("code_challenge_method")] {
                let target = format!("/oauth2/authorize?{}", request.query());
                let answer = alike(server, "GET", &target, |request| request);
                assert_eq!(answer.redirects_to(app.redirect_uri)["error"], "invalid_request");
                // Nor is it let through for somebody who is signed in.
                let answer = server.alice().open(&target);
                assert_eq!(answer.redirects_to(app.redirect_uri)["error"], "invalid_request");
            }
        }

        let request = SPA.authorization("openid offline_access");
        let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
        assert_eq!(answer.redirects_to(SPA.redirect_uri)["error"], "invalid_scope");
    }

    /// AZ18: the state comes back as it was sent, or not at all.
    fn the_state_comes_back_byte_for_byte(server) {
        let printable: String = (' '..='~').collect();
        let mut alice = server.alice();
        for state in ["s", &"s".repeat(2_048), &printable, "&=#%+", "%2525", "🥁 ä", "a/b?c", "a+b%20c"] {
            let request = WEB.authorization("openid").with("state", state);
            let none = request.clone().with("prompt", "none").query();
            let refused = alike(server, "GET", &format!("/oauth2/authorize?{none}"), |request| request);
            assert_eq!(refused.redirects_to("https://app.example/cb")["state"], state);
            let answer = alice.authorize(&request.query());
            assert_eq!(answer.redirects_to("https://app.example/cb")["state"], state);
            // Through the form it travels in a cookie.
            let (_, answer) = sign_in(server, &request, ALICE, ALICES_PASSWORD);
            assert_eq!(answer.redirects_to("https://app.example/cb")["state"], state);
        }
        let request = OTHER.authorization("openid").with("prompt", "none");
        let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
        let told = answer.redirects_to("https://other.example/cb?x=1");
        assert_eq!(told["error"], "login_required");
    }

    /// AZ27: what is to be fetched elsewhere is refused, and nothing is fetched.
    fn nothing_that_a_request_names_is_fetched(server) {
        let canary = TcpListener::bind("127.0.0.1:0").unwrap();
        canary.set_nonblocking(true).unwrap();
        let url = format!("http://{}/x", canary.local_addr().unwrap());
        let header = base64url(format!(r#"{{"alg":"RS256","jku":"{url}","x5u":"{url}"}}"#).as_bytes());
        let jwt = format!("{header}.{}.AAAA", base64url(format!(r#"{{"iss":"{url}"}}"#).as_bytes()));
        let good = WEB.authorization("openid");
        let mut alice = server.alice();
        for (name, value, error) in [
            ("request_uri", &url, "request_uri_not_supported"),
            ("request_uri", &format!("{url}#AAAA"), "request_uri_not_supported"),
            ("request_uri", &"urn:ietf:params:oauth:request_uri:x".to_owned(), "request_uri_not_supported"),
            ("request", &jwt, "request_not_supported"),
            ("registration", &format!(r#"{{"jwks_uri":"{url}","logo_uri":"{url}"}}"#), "registration_not_supported"),
        ] {
            let request = good.clone().with(name, value);
            let target = format!("/oauth2/authorize?{}", request.query());
            let queried = alike(server, "GET", &target, |request| request);
            let posted = server.post("/oauth2/authorize").form(&request.pairs()).send();
            for answer in [queried, posted, alice.open(&target)] {
                let told = answer.redirects_to(WEB.redirect_uri);
                assert_eq!((told["error"].as_str(), told["state"].as_str()), (error, "st-&=+%"));
            }
        }
        for name in ["client_id", "redirect_uri"] {
            let request = good.clone().with(name, &url);
            server.get(&format!("/oauth2/authorize?{}", request.query())).send().is_page(400);
        }
        let unknown = ["jwks_uri", "logo_uri", "sector_identifier_uri", "resource", "claims"];
        let request = unknown.iter().fold(good, |request, name| request.and(name, &url));
        let answer = alice.open(&format!("/oauth2/authorize?{}", request.query()));
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
        std::thread::sleep(Duration::from_millis(500));
        let knocked = canary.accept().map(|(_, address)| address);
        assert!(knocked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "somebody came");
    }

    /// AZ26: an ID token that is not this server's, for this client, vouches for nobody.
    fn a_hint_that_is_not_of_this_server_and_client_counts_for_nothing(server) {
        let ask = |hint: &str, prompt: &str| {
            let request = WEB.authorization("openid").with("id_token_hint", hint);
            server.alice().authorize(&request.with("prompt", prompt).query())
        };
        let error = |answer: Answer| come_back(&answer, &WEB).remove("error").unwrap_or_default();
        let own = WEB.tokens(server, "openid");
        for prompt in ["", "none"] {
            assert!(come_back(&ask(&own.id, prompt), &WEB).contains_key("code"));
        }
        let parts: Vec<&str> = own.id.split('.').collect();
        let mut claims = jwt_part(&own.id, 1);
        claims["sub"] = "somebody-else".into();
        let mut header = jwt_part(&own.id, 0);
        let others = OTHER.tokens(server, "openid");
        let tampered = [parts[0], &base64url(claims.to_string().as_bytes()), parts[2]].join(".");
        header["alg"] = "none".into();
        let unsigned = [&base64url(header.to_string().as_bytes()), parts[1], ""].join(".");
        let bare = format!("{}.{}.", base64url(b"{\"alg\":\"none\"}"), parts[1]);
        let mixed = [parts[0], parts[1], others.id.split('.').nth(2).unwrap()].join(".");
        // Signed with this server's own key, whoever is said to be the issuer.
        let signer = Signer::of(server);
        let of_issuer = |issuer: &str| {
            let mut claims = jwt_part(&own.id, 1);
            claims["iss"] = issuer.into();
            signer.key("ES256").sign(&json!({ "typ": "JWT" }), &claims)
        };
        let foreign = of_issuer("https://evil.example");
        let slashed = of_issuer(&format!("{}/", server.url));
        assert!(come_back(&ask(&of_issuer(&server.url), "none"), &WEB).contains_key("code"));
        let refused = [
            tampered, unsigned, bare, mixed, foreign, slashed, others.id, own.access,
            "x".to_owned(), "a.b.c".to_owned(),
        ];
        for hint in &refused {
            for prompt in ["", "none"] {
                assert_eq!(error(ask(hint, prompt)), "invalid_request", "{hint}");
            }
        }
        // Another server's: its key is none of this one's, as one is that is not used any more.
        let stranger = Server::start_embedded();
        let hint = WEB.tokens(&stranger, "openid").id;
        assert_eq!(error(ask(&hint, "none")), "login_required");
        assert_eq!(Form::of(&ask(&hint, "").expect(200)).action, "/oauth2/login");
    }

    /// AZ14, AZ15, AZ30, AZ34.
    fn what_is_not_an_authorization_request_is_refused(server) {
        let query = WEB.authorization("openid").query();
        let url = format!("/oauth2/authorize?{query}");
        let mut alice = server.alice();
        for method in ["PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE"] {
            let answer = alike(server, method, &url, |request| request).expect(405);
            assert_eq!(answer.header("allow"), Some("GET, POST"), "{method}");
            // No code is made for somebody who is signed in, either.
            let answer = alice.send(server.request(method, &url)).expect(405);
            assert_eq!(answer.header("location"), None, "{method}");
        }
        // The form itself is good: what it is said to be is not.
        let posted = |content_type: &str| {
            server.post("/oauth2/authorize").body(content_type, query.clone())
        };
        let answer = alice.send(posted("application/x-www-form-urlencoded"));
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
        for content_type in ["application/json", "multipart/form-data; boundary=x", "text/plain"] {
            let answer = alike(server, "POST", "/oauth2/authorize", |request| {
                request.body(content_type, query.clone())
            });
            answer.is_page(400);
            alice.send(posted(content_type)).is_page(400);
        }
        for length in [16_400, 20_000, 60_000] {
            let long = format!("{url}&x={}", "x".repeat(length));
            let answer = alike(server, "GET", &long, |request| request);
            assert!(matches!(answer.status, 400 | 414), "{answer:?}");
            answer.is_page(answer.status);
        }
        let many: String = "&a=1".repeat(10_000 / 4);
        server.get(&format!("{url}{many}")).send().is_page(400);

        for origin in ["https://evil.example", "https://spa.example", "null", &server.url] {
            let asked = server.get(&url).header("origin", origin).send();
            assert_eq!(asked.header("access-control-allow-origin"), None);
            let asked = alice.send(server.get(&url).header("origin", origin));
            assert_eq!(asked.header("access-control-allow-origin"), None);
            let asked = server
                .request("OPTIONS", &url)
                .header("origin", origin)
                .header("access-control-request-method", "GET")
                .send();
            assert_eq!(asked.header("access-control-allow-origin"), None, "{asked:?}");
        }
    }
}

scenarios! { everywhere:
    /// AZ01.
    fn a_signed_in_user_gets_a_code_with_state_and_issuer(server) {
        let request = WEB.authorization("openid");
        let answer = server.alice().authorize(&request.query());
        let told = answer.redirects_to("https://app.example/cb");
        assert_eq!(told.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
        assert_eq!(told["iss"], server.url);
        assert_eq!(told["state"], "st-&=+%");
        assert!(told["code"].len() >= 43, "{answer:?}");

        let again = server.alice().authorize(&request.without("state").query());
        let again = again.redirects_to("https://app.example/cb");
        assert_eq!(again.keys().collect::<Vec<_>>(), ["code", "iss"]);
        assert_ne!(again["code"], told["code"]);
    }

    /// AZ06, RFC 6749 §3.1.2.3: the only registered URI need not be named, and then not be repeated.
    fn a_client_with_one_redirect_uri_need_not_name_it(server) {
        let request = SPA.authorization("profile").without("redirect_uri");
        let answer = server.alice().sign_in(&request.query(), "", "");
        let code = answer.redirects_to(SPA.redirect_uri)["code"].clone();
        let form = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
        SPA.sign(server.post("/oauth2/token"), &form).send().expect(200);
        // OpenID Connect Core §3.1.2.1: an `openid` request names it.
        let request = SPA.authorization("openid").without("redirect_uri");
        let answer = server.alice().authorize(&request.query());
        assert_eq!(answer.redirects_to(SPA.redirect_uri)["error"], "invalid_request");
    }

    /// AZ33: the nonce comes back in the ID token as it was sent, or not at all.
    fn the_nonce_comes_back_byte_for_byte(server) {
        let printable: String = (' '..='~').collect();
        for nonce in [Some("n"), Some(&*printable), Some("&=#%2B+ é🥁"), Some(&"n".repeat(512)), None] {
            let request = WEB.authorization("openid").without("nonce");
            let request = nonce.map_or(request.clone(), |nonce| request.with("nonce", nonce));
            let answer = server.alice().authorize(&request.query());
            let code = answer.redirects_to(WEB.redirect_uri)["code"].clone();
            let id_token = Tokens::of(&WEB.redeem(server, &code)).id;
            assert_eq!(jwt_part(&id_token, 1).get("nonce").and_then(Value::as_str), nonce);
        }
    }
}

#[test]
fn queries_are_encoded_as_browsers_do() {
    assert_eq!(query(&[("a b", "c&d=é")]), "a+b=c%26d%3D%C3%A9");
}
