//! Consent: the page, its JSON, and the decision.

use crate::browser::{Browser, Form, has, text};
use crate::oauth::{App, NATIVE, Tokens, come_back};
use crate::server::Server;

const CONSENT: &str = "/oauth2/consent/decision";

scenarios! { everywhere:
    /// AZ38, AZ39: asked once, again when the scope grows, and a no is a no.
    fn consent_is_asked_for_once_and_again_when_the_scope_grows(server) {
        let app = server.new_client("consent");
        let ask = |scope: &str| server.alice().authorize(&app.authorization(scope).query());

        let page = ask("openid").expect(200);
        assert_eq!(Form::of(&page).action, CONSENT);
        assert!(text(&page, "h1").contains(app.id), "the page names the app");
        assert!(text(&page, "main").contains("alice@example.test"), "and the user");
        assert!(text(&page, "main").contains("openid"), "and the scope");
        let mut alice = server.alice();
        let page = alice.authorize(&app.authorization("openid").query());
        let denied = alice.decide(&page, "deny");
        let told = come_back(&denied, &app);
        assert_eq!(told["error"], "access_denied");
        assert_eq!((told["state"].as_str(), &told["iss"]), ("st-&=+%", &server.url));
        assert!(!told.contains_key("code"));

        let page = alice.authorize(&app.authorization("openid").query()).expect(200);
        let approved = alice.decide(&page, "approve");
        let code = come_back(&approved, &app)["code"].clone();
        Tokens::of(&app.redeem(server, &code));

        assert!(come_back(&ask("openid"), &app).contains_key("code"), "remembered");
        assert!(ask("openid profile").is_html(), "it has grown");
        let page = alice.authorize(&app.authorization("openid profile").query()).expect(200);
        alice.decide(&page, "approve");
        assert!(come_back(&ask("openid profile"), &app).contains_key("code"));
        assert!(come_back(&ask("profile"), &app).contains_key("code"), "a part of it");
        let again = app.authorization("openid").with("prompt", "consent");
        assert!(alice.authorize(&again.query()).is_html());
    }
}

scenarios! { doors:
    /// AZ35 to AZ37: the decision is about the request that was shown, by who saw it.
    fn a_decision_of_elsewhere_is_refused(server) {
        let app = server.new_client("decision");
        let query = app.authorization("openid").query();
        let mut alice = server.alice();
        let page = alice.authorize(&query).expect(200);
        let form = || Form::of(&page).with("decision", "approve");
        let origin = &server.url;
        for request in [
            alice.unsent(&form()).header("origin", "https://evil.example"),
            alice.unsent(&form()).header("origin", "null").header("sec-fetch-site", "cross-site"),
            alice.unsent(&form()).header("origin", origin).header("sec-fetch-site", "cross-site"),
            alice.unsent(&form()).header("origin", origin).header("sec-fetch-site", "same-site"),
            alice.unsent(&form()).header("sec-fetch-site", "cross-site"),
            alice.unsent(&form()).header("origin", &format!("{origin}.evil.example")),
        ] {
            alice.clone().send(request).is_page(403);
        }
        alice.clone().submit(&form().with("csrf", "")).is_page(403);
        alice.clone().submit(&form().with("csrf", "A")).is_page(403);
        alice.clone().submit(&form().without("csrf")).is_page(403);
        alice.clone().submit(&form().with("tx", "AAAAAAAAAAAAAAAA")).is_page(400);
        alice.clone().submit(&form().with("decision", "maybe")).is_page(400);
        alice.clone().submit(&form().without("decision")).is_page(400);
        server.get("/oauth2/consent?tx=AAAAAAAAAAAAAAAA").send().is_page(400);
        server.get("/oauth2/consent").send().is_page(400);
        // The request that was shown, altered in the browser's own cookie.
        let mut tampered = alice.clone();
        for (name, value) in tampered.cookies_mut() {
            let middle = value.len() / 2;
            if name.contains("tx_") {
                let other = if value[middle..].starts_with('A') { "B" } else { "A" };
                value.replace_range(middle..=middle, other);
            }
        }
        tampered.submit(&form()).is_page(400);
        let json = server.post(CONSENT).body("application/json", r#"{"decision":"approve"}"#);
        assert!(matches!(alice.clone().send(json).status, 400 | 403 | 415));
        // The form of another request of hers: what is decided is what its own cookie says.
        let mut narrow = server.alice();
        let other = server.new_client("decided");
        let page_of_other = narrow.authorize(&other.authorization("openid").query()).expect(200);
        let foreign = form().with("tx", Form::of(&page_of_other).field("tx"));
        assert!(narrow.submit(&foreign).is_html());

        // Somebody else's session with Alice's form: what they saw is not what she saw.
        let (mut bob, _) = crate::oauth::sign_in(
            server,
            &crate::oauth::WEB.authorization("openid"),
            "bob@example.test",
            "bobs-horse-battery",
        );
        let answer = bob.submit(&form());
        assert!(answer.is_html() && answer.status == 400, "{answer:?}");
        let stolen = alice.cookies().iter().find(|(name, _)| name.starts_with("cadence_tx_"));
        bob.cookies_mut().push(stolen.unwrap().clone());
        bob.submit(&form()).is_page(403);

        // None of it was a consent.
        let silent = app.authorization("openid").with("prompt", "none");
        let told = come_back(&server.alice().authorize(&silent.query()), &app);
        assert_eq!(told["error"], "consent_required");

        // AZ37: hidden fields beside the form's own count for nothing.
        let wide = form()
            .with("scope", "openid profile email")
            .with("client_id", "web")
            .with("redirect_uri", "https://evil.example/cb")
            .with("response_type", "token")
            .with("response_mode", "fragment")
            .with("code_challenge", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
            .with("state", "other")
            .with("sub", "somebody-else")
            .with("user_id", "somebody-else");
        let mut before = alice.clone();
        let answer = alice.submit(&wide);
        let told = come_back(&answer, &app);
        assert_eq!(told["state"], "st-&=+%");
        let code = told["code"].clone();
        assert_eq!(Tokens::of(&app.redeem(server, &code)).json["scope"], "openid");
        // AZ35: a decision counts once, even for a browser that has kept the cookie.
        before.clone().submit(&form()).is_page(400);
        before.submit(&form().with("decision", "deny")).is_page(400);
    }

    /// For a consent page of one's own.
    fn the_context_is_json(server) {
        let app = server.new_client("context");
        let mut alice = server.alice();
        let page = alice.authorize(&app.authorization("openid profile").query()).expect(200);
        let tx = Form::of(&page).field("tx").to_owned();
        let told = alice.open(&format!("/oauth2/consent/context?tx={tx}")).expect(200);
        assert_eq!(told.header("cache-control"), Some("no-store"));
        let json = told.json();
        assert_eq!(json["client_id"], app.id);
        assert_eq!(json["username"], "alice@example.test");
        assert_eq!(json["scopes"].as_array().unwrap().len(), 2);
        assert_eq!(json["csrf"], Form::of(&page).field("csrf"));
        let nobody = Browser::new(server).open(&format!("/oauth2/consent/context?tx={tx}"));
        assert!(matches!(nobody.status, 400 | 401 | 403), "{nobody:?}");
        assert!(nobody.json()["error"].is_string());
    }

    /// AZ40, RFC 8252 §8.6: a redirect URI that other programs can claim is always asked about.
    fn a_native_client_is_asked_about_every_time(server) {
        for redirect_uri in ["http://127.0.0.1:49152/cb", "http://[::1]:5/cb", "com.example.app:/cb"] {
            let app = App { redirect_uri, ..NATIVE };
            for _ in 0..2 {
                let mut alice = server.alice();
                let page = alice.authorize(&app.authorization("openid").query()).expect(200);
                let answer = alice.decide(&page, "approve");
                assert!(come_back(&answer, &app).contains_key("code"));
            }
            let silent = app.authorization("openid").with("prompt", "none");
            let answer = server.alice().authorize(&silent.query());
            assert_eq!(come_back(&answer, &app)["error"], "consent_required");
        }
    }

    /// AZ31, AZ32: the page is in no frame, tells nobody where it is, and loads nothing.
    fn the_page_loads_nothing_from_anywhere(server) {
        let app = server.new_client("shown");
        let page = server.alice().authorize(&app.authorization("openid").query()).expect(200);
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
        for loads in ["[src]", "link", "iframe", "object", "embed", "[style]", "meta[http-equiv]"] {
            assert!(!has(&page, loads), "{loads}: {page:?}");
        }
    }
}
