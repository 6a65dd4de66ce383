//! `/oauth2/authorize`: RFC 6749 §4.1.1 to §4.1.2.1, RFC 7636 §4.3, RFC 9207, OpenID Connect
//! Core §3.1.2.

use crate::browser::{Browser, Form};
use crate::http::query;
use crate::oauth::{CHALLENGE, LENIENT, NATIVE, OTHER, SPA, VERIFIER, WEB};
use crate::server::Server;

scenarios! { doors:
    /// AZ01, AZ11 to AZ13.
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
            good.clone().and("ui_locales", "de").and("display", "popup").and("acr_values", "x"),
            good.clone().and("claims", "{}").and("login_hint", &"x".repeat(300)),
            LENIENT.authorization("openid").without("code_challenge").without("code_challenge_method"),
        ] {
            let page = Browser::new(server).authorize(&request.query());
            assert_eq!(Form::of(&page.expect(200)).action, "/oauth2/login", "{request:?}");
        }
        let mut browser = Browser::new(server);
        let posted = browser.send(server.post("/oauth2/authorize").form(&good.pairs()));
        let page = browser.follow(posted);
        assert_eq!(Form::of(&page.expect(200)).action, "/oauth2/login");
    }

    /// AZ02 to AZ06, AZ10, RU16: nothing is redirected before the redirect URI is proven.
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
            good.clone().and("redirect_uri", WEB.redirect_uri),
            good.clone().and("redirect_uri", "https://evil.example/cb"),
            elsewhere.clone().and("redirect_uri", WEB.redirect_uri),
            elsewhere.clone(),
            elsewhere.clone().with("scope", "\""),
            elsewhere.clone().with("response_type", "token"),
            elsewhere.clone().with("prompt", "none"),
            elsewhere.clone().and("state", "again"),
            good.clone().with("redirect_uri", &format!("https://app.example/{}", "x".repeat(8_000))),
        ] {
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            answer.is_page(400);
            assert!(!answer.body.contains("evil.example"), "reflected: {answer:?}");
            let answer = server.post("/oauth2/authorize").form(&request.pairs()).send();
            answer.is_page(400);
        }
    }

    /// RFC 6749 §4.1.2.1, AZ07 to AZ10, AZ16, AZ17, AZ22, AZ27, AZ28, AZ42, PK02 to PK08.
    fn every_other_error_is_told_to_the_client(server) {
        let good = WEB.authorization("openid");
        let table = [
            (good.clone().without("response_type"), "invalid_request"),
            (good.clone().with("response_type", ""), "invalid_request"),
            (good.clone().and("response_type", "code"), "invalid_request"),
            (good.clone().and("scope", "openid"), "invalid_request"),
            (good.clone().and("nonce", "n"), "invalid_request"),
            (good.clone().and("code_challenge", CHALLENGE), "invalid_request"),
            (good.clone().and("code_challenge_method", "S256"), "invalid_request"),
            (good.clone().and("prompt", "login").and("prompt", "login"), "invalid_request"),
            (good.clone().and("max_age", "1").and("max_age", "2"), "invalid_request"),
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
            (good.clone().with("scope", &"a ".repeat(2_000)), "invalid_scope"),
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
            (good.clone().with("code_challenge_method", "none"), "invalid_request"),
            (good.clone().with("code_challenge", &CHALLENGE[1..]), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{CHALLENGE}A")), "invalid_request"),
            (good.clone().with("code_challenge", &"A".repeat(128)), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{}=", &CHALLENGE[1..])), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{}+", &CHALLENGE[1..])), "invalid_request"),
            (good.clone().with("code_challenge", &format!("{} ", &CHALLENGE[1..])), "invalid_request"),
            (good.clone().with("prompt", "none login"), "invalid_request"),
            (good.clone().with("prompt", "junk"), "invalid_request"),
            (good.clone().with("max_age", "-1"), "invalid_request"),
            (good.clone().with("max_age", "soon"), "invalid_request"),
            (good.clone().with("request", "x.y.z"), "request_not_supported"),
            (good.clone().with("request_uri", "https://evil.example/"), "request_uri_not_supported"),
            (good.clone().with("registration", "{}"), "registration_not_supported"),
            (good.clone().with("response_mode", "fragment"), "invalid_request"),
            (good.clone().with("response_mode", "form_post"), "invalid_request"),
            (good.clone().with("response_mode", "junk"), "invalid_request"),
            (good.clone().with("nonce", &"n".repeat(600)), "invalid_request"),
            (good.clone().with("id_token_hint", "eyJhbGciOiJub25lIn0.e30."), "invalid_request"),
            (good.clone().with("prompt", "none"), "login_required"),
        ];
        for (request, error) in table {
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            let told = answer.redirects_to("https://app.example/cb");
            assert_eq!(told["error"], error, "{request:?}");
            assert_eq!(told["state"], "st-&=+%", "{request:?}");
            assert_eq!(told["iss"], server.url, "{request:?}");
            assert!(!told.contains_key("code"), "{request:?}");
        }
        for (request, error) in [
            (good.clone().and("state", "again"), "invalid_request"),
            (good.clone().with("state", "a\nb"), "invalid_request"),
            (good.clone().with("state", &"s".repeat(2_049)), "invalid_request"),
        ] {
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            let told = answer.redirects_to("https://app.example/cb");
            assert_eq!((told["error"].as_str(), told.get("state")), (error, None), "{request:?}");
            assert_eq!(told["iss"], server.url, "{request:?}");
        }
    }

    /// AZ09, and a public client's PKCE (PK02).
    fn what_a_client_is_not_registered_for_is_refused(server) {
        let request = WEB
            .authorization("openid")
            .with("client_id", "codeless")
            .with("redirect_uri", "https://codeless.example/cb");
        let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
        let told = answer.redirects_to("https://codeless.example/cb");
        assert_eq!(told["error"], "unauthorized_client");

        let request = SPA.authorization("openid");
        let request = request.without("code_challenge").without("code_challenge_method");
        let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
        assert_eq!(answer.redirects_to(SPA.redirect_uri)["error"], "invalid_request");

        let request = SPA.authorization("openid offline_access");
        let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
        assert_eq!(answer.redirects_to(SPA.redirect_uri)["error"], "invalid_scope");
    }

    /// AZ18: the state comes back as it was sent, or not at all.
    fn the_state_comes_back_byte_for_byte(server) {
        let printable: String = (' '..='~').collect();
        for state in ["s", &"s".repeat(2_048), &printable, "&=#%+", "%2525", "🥁 ä", "a/b?c"] {
            let request = WEB.authorization("openid").with("state", state).with("prompt", "none");
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            assert_eq!(answer.redirects_to("https://app.example/cb")["state"], state);
        }
        let request = OTHER.authorization("openid").with("prompt", "none");
        let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
        let told = answer.redirects_to("https://other.example/cb?x=1");
        assert_eq!(told["error"], "login_required");
    }

    /// RU01 to RU12, RU17.
    fn no_variant_of_a_redirect_uri_is_redirected_to(server) {
        for uri in [
            "https://app.example/cb/",
            "https://app.example/cb/x",
            "https://app.example/cb/..%2fevil",
            "https://app.example/cb/../evil",
            "https://app.example/cb/..;/evil",
            "https://app.example/./cb",
            "https://app.example//cb",
            "https://app.example/CB",
            "HTTPS://app.example/cb",
            "https://APP.example/cb",
            "https://app.example:443/cb",
            "https://app.example:8443/cb",
            "https://app.example:/cb",
            "https://app.example:0443/cb",
            "https://app.example/cb?y=1",
            "https://app.example/cb?",
            "https://app.example/cb#",
            "https://app.example/cb#x",
            "https://app.example/cb%23x",
            "https://app.example@evil.example/cb",
            "https://evil@app.example/cb",
            "https://app.example%25@evil.example/cb",
            "https://app.example%2f@evil.example/cb",
            "https://app.example.evil.example/cb",
            "https://appXexample/cb",
            "https://app.example./cb",
            "https://app.example%00.evil.example/cb",
            "https://app.example%2eevil.example/cb",
            "https://evil.example/app.example/cb",
            "https://evil.example#app.example/cb",
            "https://evil.example\\@app.example/cb",
            "https://app.example\\.evil.example/cb",
            "https:\\\\app.example\\cb",
            "https:///app.example/cb",
            "https:/app.example/cb",
            "//app.example/cb",
            "/cb",
            "cb",
            " https://app.example/cb",
            "https://app.example/cb ",
            "https://app.example/cb\t",
            "https://app.example/cb\n",
            "https://app.example/cb\r\nSet-Cookie:x=1",
            "\u{feff}https://app.example/cb",
            "https://app.example\u{ad}/cb",
            "https://app.example/%63b",
            "https://app.example/cb%252f",
            "%68ttps://app.example/cb",
            "https://\u{430}\u{440}\u{440}.example/cb",
            "https://xn--80aa.example/cb",
            "https://app\u{3002}example/cb",
            "https://\u{24d0}pp.example/cb",
            "http://app.example/cb",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\nscript:alert(1)",
            " javascript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "blob:https://app.example/cb",
            "file:///etc/passwd",
            "view-source:https://app.example/cb",
            "about:blank",
            "intent://app.example/cb",
        ] {
            let request = WEB.authorization("openid").with("redirect_uri", uri);
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            answer.is_page(400);
        }
        for uri in [
            "https://other.example/cb",
            "https://other.example/cb?x=1&x=2",
            "https://other.example/cb?x=1%26",
            "https://other.example/cb?x=1&y=2",
        ] {
            let request = OTHER.authorization("openid").with("redirect_uri", uri);
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            answer.is_page(400);
        }
        // Not UTF-8, NUL, and broken percent encoding: the whole query is malformed.
        for uri in ["%ff", "%c0%af", "%00", "%", "%zz", "%e2%80"] {
            let rest = WEB.authorization("openid").without("redirect_uri").query();
            let query = format!("{rest}&redirect_uri=https%3A%2F%2Fapp.example%2Fcb{uri}");
            server.get(&format!("/oauth2/authorize?{query}")).send().is_page(400);
        }
    }

    /// RU13 to RU15: of a loopback IP only the port may differ.
    fn loopback_and_private_schemes_match_as_rfc_8252_says(server) {
        for (uri, good) in [
            ("http://127.0.0.1/cb", true),
            ("http://127.0.0.1:49152/cb", true),
            ("http://127.0.0.1:1/cb", true),
            ("http://[::1]:5/cb", true),
            ("com.example.app:/cb", true),
            ("http://localhost:49152/cb", false),
            ("http://localhost/cb", false),
            ("http://127.0.0.2/cb", false),
            ("http://127.1/cb", false),
            ("http://2130706433/cb", false),
            ("http://0x7f.1/cb", false),
            ("http://0.0.0.0/cb", false),
            ("http://[::ffff:127.0.0.1]/cb", false),
            ("http://127.0.0.1:49152/other", false),
            ("http://127.0.0.1:49152/cb?x=1", false),
            ("https://127.0.0.1:49152/cb", false),
            ("http://127.0.0.1:0/cb", false),
            ("http://127.0.0.1:65536/cb", false),
            ("http://127.0.0.1:-1/cb", false),
            ("http://127.0.0.1:80:80/cb", false),
            ("http://127.0.0.1:/cb", false),
            ("http://127.0.0.1:49152@evil.example/cb", false),
            ("http://127.0.0.1.evil.example/cb", false),
            ("com.example.app://cb", false),
            ("COM.example.app:/cb", false),
            ("com.example.app:cb", false),
        ] {
            let request = NATIVE.authorization("openid").with("redirect_uri", uri);
            let request = request.with("prompt", "none");
            let answer = server.get(&format!("/oauth2/authorize?{}", request.query())).send();
            if good {
                assert_eq!(answer.redirects_to(uri)["error"], "login_required", "{uri}");
            } else {
                answer.is_page(400);
            }
        }
    }

    /// AZ14, AZ15, AZ30, AZ34.
    fn what_is_not_an_authorization_request_is_refused(server) {
        let query = WEB.authorization("openid").query();
        let url = format!("/oauth2/authorize?{query}");
        for method in ["PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"] {
            let answer = server.request(method, &url).send().expect(405);
            assert_eq!(answer.header("allow"), Some("GET, POST"), "{method}");
        }
        for (content_type, body) in
            [("application/json", "{}"), ("multipart/form-data; boundary=x", "--x--"), ("text/plain", &query)]
        {
            let answer = server.post("/oauth2/authorize").body(content_type, body.to_owned()).send();
            assert!(matches!(answer.status, 400 | 415), "{answer:?}");
        }
        let long = server.get(&format!("{url}&x={}", "x".repeat(16_500))).send();
        assert!(matches!(long.status, 400 | 414), "{long:?}");
        let many: String = "&a=1".repeat(10_000 / 4);
        server.get(&format!("{url}{many}")).send().is_page(400);

        let asked = server.get(&url).header("origin", "https://evil.example").send();
        assert_eq!(asked.header("access-control-allow-origin"), None);
        let asked = server
            .request("OPTIONS", &url)
            .header("origin", "https://spa.example")
            .header("access-control-request-method", "GET")
            .send();
        assert_eq!(asked.header("access-control-allow-origin"), None, "{asked:?}");
    }
}

scenarios! { everywhere:
    /// AZ01, AZ29, AZ44.
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

        let mut alice = server.alice();
        let posted = server.post("/oauth2/authorize").form(&WEB.authorization("openid").pairs());
        assert!(alice.send(posted).redirects_to("https://app.example/cb").contains_key("code"));
    }

    /// RFC 6749 §3.1.2.3: the only registered URI need not be named, and then not be repeated.
    fn a_client_with_one_redirect_uri_need_not_name_it(server) {
        let request = SPA.authorization("profile").without("redirect_uri");
        let answer = server.alice().sign_in(&request.query(), "", "");
        let code = answer.redirects_to(SPA.redirect_uri)["code"].clone();
        let form = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
        SPA.sign(server.post("/oauth2/token"), &form).send().expect(200);
    }
}

#[test]
fn queries_are_encoded_as_browsers_do() {
    assert_eq!(query(&[("a b", "c&d=é")]), "a+b=c%26d%3D%C3%A9");
}
