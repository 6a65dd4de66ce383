//! RP-initiated logout.

use serde_json::json;

use crate::browser::{Browser, Form};
use crate::http::{Answer, encode};
use crate::oauth::{ALICE, ALICES_PASSWORD, App, Tokens, WEB, is_alive, jwt_part, sign_in};
use crate::redirect_uri::{NATIVE_GOOD, NATIVE_VARIANTS, OTHER_SCHEMES, VARIANTS};
use crate::server::{Server, now};
use crate::signer::{Signer, Thief};

const BYE: &str = "https://app.example/bye";

fn signed_in<'s>(server: &'s Server, app: &App, scope: &str) -> (Browser<'s>, Tokens) {
    let (browser, answer) = sign_in(server, &app.authorization(scope), ALICE, ALICES_PASSWORD);
    let code = answer.redirects_to(app.redirect_uri)["code"].clone();
    (browser, Tokens::of(&app.redeem(server, &code)))
}

/// Asks to be sent to a URI after a logout: in the name of a client, and with an ID token of it.
fn ask_to_be_sent(server: &Server, app: &App, hint: &str, uri: &str) -> [Answer; 2] {
    let uri = encode(uri);
    let query = format!("client_id={}&post_logout_redirect_uri={uri}", app.id);
    let hinted = format!("id_token_hint={hint}&post_logout_redirect_uri={uri}");
    [query, hinted].map(|it| server.get(&format!("/oauth2/logout?{it}")).send())
}

#[track_caller]
fn is_sent(server: &Server, app: &App, hint: &str, uri: &str) {
    for answer in ask_to_be_sent(server, app, hint, uri) {
        assert_eq!(answer.location(), uri);
    }
}

#[track_caller]
fn is_not_sent(server: &Server, app: &App, hint: &str, uri: &str) {
    for answer in ask_to_be_sent(server, app, hint, uri) {
        assert!(answer.is_html(), "{uri}: {answer:?}");
        assert!(answer.headers("location").is_empty(), "{uri}: {answer:?}");
        assert!(matches!(answer.status, 200 | 400), "{uri}: {answer:?}");
    }
}

#[track_caller]
fn is_signed_out(browser: &Browser<'_>) {
    let page = browser.clone().authorize(&WEB.authorization("openid").query());
    assert_eq!(Form::of(&page.expect(200)).action, "/oauth2/login");
}

scenarios! { everywhere:
    /// OD08: the session ends, and with it what was granted under it.
    fn logging_out_ends_the_session_and_its_grants(server) {
        let (mut browser, tokens) = signed_in(server, &WEB, "openid");
        let tokens = Tokens::of(&WEB.refresh(server, &tokens.refresh));
        let url = format!(
            "/oauth2/logout?id_token_hint={}&post_logout_redirect_uri={}&state=s%26t",
            tokens.id,
            encode(BYE)
        );
        let before = browser.clone();
        let answer = browser.open(&url);
        assert_eq!(answer.redirects_to(BYE)["state"], "s&t");
        is_signed_out(&browser);
        is_signed_out(&before);
        crate::oauth::grant_is_dead(server, &WEB, &tokens);
    }

    /// OD04: without a hint the user is asked, so that no other site can end a session.
    fn without_a_hint_the_user_is_asked(server) {
        let (mut browser, tokens) = signed_in(server, &WEB, "openid");
        let page = browser.open("/oauth2/logout").expect(200);
        let form = Form::of(&page);
        assert_eq!(form.action, "/oauth2/logout");
        assert!(browser.authorize(&WEB.authorization("openid").query()).status == 303, "still in");
        is_alive(server, &tokens.access);
        browser.submit(&form).expect(200);
        is_signed_out(&browser);
    }
}

scenarios! { doors:
    /// OD05, OD06: only a registered URI is redirected to, and only a real hint counts.
    fn only_what_is_registered_and_real_counts(server) {
        let (browser, tokens) = signed_in(server, &WEB, "openid");
        for uri in [
            "https://app.example/bye/",
            "https://app.example/bye?x=1",
            "https://app.example/cb",
            "https://evil.example/bye",
            "https://app.example@evil.example/bye",
            "javascript:alert(1)",
            "//evil.example",
        ] {
            let url = format!("/oauth2/logout?client_id=web&post_logout_redirect_uri={}", encode(uri));
            let answer = browser.clone().open(&url);
            assert!(answer.is_html(), "{uri}: {answer:?}");
            let url = format!("{url}&id_token_hint={}", tokens.id);
            let answer = browser.clone().open(&url);
            assert!(answer.is_html(), "{uri}: {answer:?}");
        }
        let (mut browser, tokens) = signed_in(server, &WEB, "openid");
        let payload = tokens.id.split('.').nth(1).unwrap().to_owned();
        let claims = jwt_part(&tokens.id, 1);
        let with = |name: &str, value: &str| {
            let mut claims = claims.clone();
            claims[name] = value.into();
            claims
        };
        let mut tampered = tokens.id.clone();
        tampered.pop();
        tampered.pop();
        let signer = Signer::of(server);
        let key = signer.key("ES256");
        let typ = json!({ "typ": "JWT" });
        for hint in [
            "x".to_owned(),
            tampered,
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."),
            tokens.access.clone(),
            // Of another issuer, of an unknown client, of another kind, by another key.
            key.sign(&typ, &with("iss", "https://evil.example")),
            key.sign(&typ, &with("iss", &format!("{}/", server.url))),
            key.sign(&json!({ "typ": "logout+jwt" }), &claims),
            key.sign(&json!({ "typ": "JWT", "crit": ["exp"] }), &claims),
            Thief::new().sign(&key.named(&typ), &claims),
        ] {
            let url = format!(
                "/oauth2/logout?id_token_hint={hint}&post_logout_redirect_uri={}",
                encode(BYE)
            );
            browser.open(&url).is_page(400);
        }
        // Nothing can be said of a key that nobody knows any more: the user is asked.
        for hint in [
            Thief::new().sign(&json!({ "alg": "ES256", "kid": "x" }), &claims),
            key.sign(&json!({ "typ": "JWT", "alg": "RS256" }), &claims),
        ] {
            let page = browser.open(&format!("/oauth2/logout?id_token_hint={hint}")).expect(200);
            assert_eq!(Form::of(&page).action, "/oauth2/logout");
        }
        // A hint of somebody else ends nobody's session.
        let page = browser
            .open(&format!("/oauth2/logout?id_token_hint={}", key.sign(&typ, &with("sub", "u-x"))));
        assert_eq!(Form::of(&page.expect(200)).action, "/oauth2/logout");
        let answer = browser.authorize(&WEB.authorization("openid").query());
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"), "still signed in");
        for pair in ["state=1&state=2", "client_id=web&client_id=web"] {
            browser.open(&format!("/oauth2/logout?{pair}")).is_page(400);
        }
    }

    /// OD05: every variant that a redirect URI has, of `post_logout_redirect_uri`.
    fn no_variant_of_a_registered_uri_is_redirected_to(server) {
        let hint = WEB.tokens(server, "openid").id;
        is_sent(server, &WEB, &hint, BYE);
        let long = format!("https://app.example/bye?{}", "x".repeat(8_192));
        let variants = VARIANTS.iter().chain(OTHER_SCHEMES);
        let variants = variants.map(|it| it.replace("/cb", "/bye").replace("\\cb", "\\bye"));
        for uri in variants.chain([long, "https://app.example/cb".to_owned()]) {
            is_not_sent(server, &WEB, &hint, &uri);
        }
        let twice = format!(
            "/oauth2/logout?client_id=web&post_logout_redirect_uri={0}&post_logout_redirect_uri={0}",
            encode(BYE)
        );
        server.get(&twice).send().is_page(400);
    }

    /// OD05 with RU13 to RU15: as with redirect URIs, of a loopback IP only the port may differ.
    fn loopback_and_private_schemes_match_after_a_logout_as_before(server) {
        let app = App { id: "leaving", secret: None, redirect_uri: "https://leaving.example/cb" };
        server.apply(
            "[[clients]]\nclient_id = \"leaving\"\nclient_name = \"Leaving\"\n\
             token_endpoint_auth_method = \"none\"\ngrant_types = [\"authorization_code\"]\n\
             redirect_uris = [\"https://leaving.example/cb\"]\nscope = \"openid\"\n\
             post_logout_redirect_uris = [\"http://127.0.0.1/cb\", \"http://[::1]/cb\", \
             \"com.example.app:/cb\"]\n",
        );
        server.wait_known(&app);
        let hint = app.tokens(server, "openid").id;
        for uri in NATIVE_GOOD {
            is_sent(server, &app, &hint, uri);
        }
        for uri in NATIVE_VARIANTS {
            is_not_sent(server, &app, &hint, uri);
        }
        // Where one may be sent after a login is nowhere to be sent to after a logout.
        is_not_sent(server, &app, &hint, app.redirect_uri);
    }

    /// OD07: people stay signed in longer than ID tokens live.
    fn an_expired_hint_ends_the_session(server) {
        let (mut browser, tokens) = signed_in(server, &WEB, "openid");
        let mut claims = jwt_part(&tokens.id, 1);
        claims["iat"] = json!(now() - 90_000);
        claims["exp"] = json!(now() - 89_700);
        let hint = Signer::of(server).key("ES256").sign(&json!({ "typ": "JWT" }), &claims);
        let url =
            format!("/oauth2/logout?id_token_hint={hint}&post_logout_redirect_uri={}", encode(BYE));
        assert_eq!(browser.open(&url).location(), BYE);
        is_signed_out(&browser);
        crate::oauth::grant_is_dead(server, &WEB, &tokens);
    }

    /// CSRF at the form.
    fn a_logout_form_of_elsewhere_is_refused(server) {
        let (mut browser, _) = signed_in(server, &WEB, "openid");
        let page = browser.open("/oauth2/logout").expect(200);
        let form = || Form::of(&page);
        let evil = browser.unsent(&form()).header("origin", "https://evil.example");
        browser.clone().send(evil).is_page(403);
        browser.clone().submit(&form().with("csrf", "A")).is_page(403);
        let asked = browser.clone().submit(&form().without("csrf"));
        assert!(asked.is_html(), "{asked:?}");
        let answer = browser.authorize(&WEB.authorization("openid").query());
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"), "still signed in");
    }

    /// A grant that was asked for with `offline_access` outlives the session.
    fn offline_access_outlives_the_session(server) {
        let (mut browser, tokens) = signed_in(server, &WEB, "openid offline_access");
        let answer = browser.open(&format!("/oauth2/logout?id_token_hint={}", tokens.id));
        answer.expect(200);
        is_signed_out(&browser);
        Tokens::of(&WEB.refresh(server, &tokens.refresh));
    }

    /// Nobody is signed in: there is nothing to ask about.
    fn without_a_session_there_is_nothing_to_end(server) {
        let answer = server.get("/oauth2/logout").send().expect(200);
        assert!(answer.is_html() && Form::find(&answer).is_none());
        let url = format!("/oauth2/logout?client_id=web&post_logout_redirect_uri={}", encode(BYE));
        let answer = server.get(&url).send();
        assert!(answer.is_html() || answer.location() == BYE, "{answer:?}");
    }
}
