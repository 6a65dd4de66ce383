//! Scenarios that need nothing but public endpoints, one user and registered clients, so that they
//! can be run against a deployed instance: `CADENCE_TEST_ISSUER` names it, and
//! `CADENCE_TEST_CLIENTS` a file like `deployed.example.toml` (docs/testing.md).
//!
//! Without `CADENCE_TEST_ISSUER` the same scenarios run against a server of the suite.

mod target;

use std::collections::BTreeSet;

use self::target::{Target, exchange};
use crate::browser::{Browser, Form, attribute, text};
use crate::http::{Answer, encode};
use crate::oauth::{App, CHALLENGE, Tokens};

const INACTIVE: &str = r#"{"active":false}"#;
const STATE: &str = "st-&=+%";
const NOBODYS_PASSWORD: [(&str, &str); 4] = [
    ("grant_type", "password"),
    ("username", "nobody@example.test"),
    ("password", "not-the-password-of-anybody"),
    ("scope", "openid"),
];

/// Sends as a page of the issuer's own host does.
#[track_caller]
fn call(target: &Target, browser: &mut Browser<'_>, method: &str, path: &str) -> Answer {
    let request = target.request(method, path);
    browser.send(request.header("x-csrf", "1").header("sec-fetch-site", "same-origin"))
}

/// Discovery §4, RFC 8414 §3: everything is where the document says, and nothing else is said.
#[test]
fn what_is_advertised_answers() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let answer = target.get_at("/.well-known/openid-configuration").send().expect(200);
    let other = target.get_at("/.well-known/oauth-authorization-server").send().expect(200);
    assert_eq!(answer.body, other.body);
    let document = answer.json();
    assert_eq!(document["issuer"], target.url);
    let table = [
        ("authorization_endpoint", "/oauth2/authorize", 400),
        ("token_endpoint", "/oauth2/token", 405),
        ("userinfo_endpoint", "/oauth2/userinfo", 401),
        ("jwks_uri", "/oauth2/jwks", 200),
        ("revocation_endpoint", "/oauth2/revoke", 405),
        ("introspection_endpoint", "/oauth2/introspect", 405),
        ("end_session_endpoint", "/oauth2/logout", 200),
    ];
    for (member, path, status) in table {
        assert_eq!(document[member], format!("{}{path}", target.url), "{member}");
        target.get_at(path).send().expect(status);
    }
    let names = document.as_object().unwrap().keys().map(|name| &**name);
    let places: BTreeSet<&str> =
        names.filter(|name| name.ends_with("_endpoint") || name.ends_with("_uri")).collect();
    assert_eq!(places, table.map(|row| row.0).into());
    assert_eq!(document["response_types_supported"], serde_json::json!(["code"]));
    assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);

    let jwks = target.get_at("/oauth2/jwks").send().expect(200).json();
    let keys = jwks["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{private} is private");
        }
    }
}

/// Core §3.1, RFC 9207: a wrong password, a no, a yes; then tokens that the published keys verify.
#[test]
fn a_person_signs_in_through_the_pages() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, (username, password)) = (target.confidential(), target.user());
    target.in_a_browser(|browser| {
        let request = app.authorization(target.scope()).with("prompt", "consent").query();
        let page = browser.authorize(&request).expect(200);
        assert_eq!(attribute(&page, "#password", "value"), None);
        let wrong = browser.log_in(&page, username, "the-one-wrong-password");
        assert!(matches!(wrong.status, 400 | 401), "{wrong:?}");
        assert!(!text(&wrong, "[role=alert]").is_empty(), "{wrong:?}");

        let page = browser.log_in(&wrong, username, password).expect(200);
        let shown = text(&page, "main").to_lowercase();
        assert!(shown.contains(&username.to_lowercase()), "consent names the user: {page:?}");
        let denied = browser.decide(&page, "deny");
        let told = target.told(&denied, &app);
        assert_eq!(told["error"], "access_denied");
        assert!(!told.contains_key("code"), "{denied:?}");

        let page = browser.authorize(&request).expect(200);
        let approved = browser.decide(&page, "approve");
        let told = target.told(&approved, &app);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
        let tokens = Tokens::of(&target.redeem(&app, &told["code"]));
        assert_eq!(tokens.json["scope"], target.scope());
        let sub = target.verify_tokens(&app, &tokens);
        let about = target.userinfo(&tokens.access);
        assert_eq!(about["sub"], sub);
        if target.scope().split(' ').any(|it| it == "profile") {
            let name = about["preferred_username"].as_str().unwrap_or_default();
            assert!(name.eq_ignore_ascii_case(username), "{about}");
        }

        // Signed in and agreed: nobody is asked again.
        let silent = app.authorization(target.scope()).with("prompt", "none");
        let answer = browser.authorize(&silent.query());
        assert!(target.told(&answer, &app).contains_key("code"), "{answer:?}");
    });
}

/// RFC 7636, RFC 9700 §2.1.1: a public client, which PKCE alone protects.
#[test]
fn a_public_client_signs_in_with_pkce() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let app = target.public();
    for request in [
        app.authorization("openid").without("code_challenge").without("code_challenge_method"),
        app.authorization("openid").with("code_challenge_method", "plain"),
        app.authorization("openid").without("code_challenge_method"),
        app.authorization("openid").with("code_challenge", &CHALLENGE[1..]),
    ] {
        target.tells(&app, &request, "invalid_request");
    }
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, "openid");
        let sub = target.verify_tokens(&app, &tokens);
        assert_eq!(target.userinfo(&tokens.access)["sub"], sub);
        let next = Tokens::of(&target.refresh(&app, &tokens.refresh));
        target.introspect(&app, &next.access).refused(401, "invalid_client");
        target.revoke(&app, &next.refresh);
        target.grant_is_dead(&app, &next);
    });
}

/// RFC 6749 §4.1.3, RFC 7636 §4.6: who has not all that belongs to a code gets nothing and burns
/// nothing; who presents it again ends what it began.
#[test]
fn a_code_is_worth_tokens_once() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, thief) = (target.confidential(), target.public());
    target.in_a_browser(|browser| {
        let code = target.sign_in(browser, &app, target.scope());
        let good = exchange(&app, &code);
        let with = |name: &str, value: &'static str| {
            let mut form = good.to_vec();
            form.retain(|(known, _)| *known != name);
            if !value.is_empty() {
                form.push((good.iter().find(|(known, _)| *known == name).unwrap().0, value));
            }
            target.token(&app, &form)
        };
        with("code_verifier", "").refused(400, "invalid_grant");
        with("code_verifier", "wrong-but-well-formed-verifier-0123456789-0")
            .refused(400, "invalid_grant");
        with("code_verifier", CHALLENGE).refused(400, "invalid_grant");
        with("redirect_uri", "").refused(400, "invalid_grant");
        with("redirect_uri", "https://elsewhere.example/cb").refused(400, "invalid_grant");
        with("code", "made-up").refused(400, "invalid_grant");
        target.token(&thief, &good).refused(400, "invalid_grant");
        let wrong = target.post("/oauth2/token").basic(app.id, "wrong-secret").form(&good);
        wrong.send().refused(401, "invalid_client");
        target.get_at("/oauth2/userinfo").bearer(&code).send().refused(401, "invalid_token");

        let tokens = Tokens::of(&target.redeem(&app, &code));
        target.userinfo(&tokens.access);
        target.redeem(&app, &code).refused(400, "invalid_grant");
        target.grant_is_dead(&app, &tokens);
    });
}

/// RFC 6749 §6, RFC 9700 §4.14.2: an answer that was lost can be asked for again; what is older
/// ends the grant.
#[test]
fn an_old_refresh_token_ends_the_grant() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, thief) = (target.confidential(), target.public());
    target.in_a_browser(|browser| {
        let first = target.tokens(browser, &app, target.scope());
        target.refresh(&thief, &first.refresh).refused(400, "invalid_grant");
        target.refresh(&app, "made-up").refused(400, "invalid_grant");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*first.refresh)];
        let wide = [&form[..], &[("scope", "openid never-registered")]].concat();
        target.token(&app, &wide).refused(400, "invalid_scope");
        target.is_dead(&first.refresh);

        let lost = Tokens::of(&target.refresh(&app, &first.refresh));
        let again = Tokens::of(&target.refresh(&app, &first.refresh));
        assert_ne!(lost.refresh, first.refresh);
        assert_eq!(again.refresh, lost.refresh, "the same successor");
        target.userinfo(&again.access);
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*again.refresh)];
        let narrow = target.token(&app, &[&form[..], &[("scope", "openid")]].concat());
        let narrow = Tokens::of(&narrow);
        assert_eq!(narrow.json["scope"], "openid");
        target.userinfo(&narrow.access);

        target.refresh(&app, &first.refresh).refused(400, "invalid_grant");
        target.grant_is_dead(&app, &narrow);
        target.is_dead(&again.access);
    });
}

/// RFC 7009 §2.
#[test]
fn what_is_revoked_opens_nothing() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, other) = (target.confidential(), target.public());
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, target.scope());
        for token in ["made-up", &tokens.id] {
            target.revoke(&app, token);
        }
        for token in [&tokens.access, &tokens.refresh] {
            target.revoke(&other, token);
            let unsigned = [("client_id", app.id), ("token", token)];
            let answer = target.post("/oauth2/revoke").form(&unsigned).send();
            answer.refused(401, "invalid_client");
        }
        let post = |form: &[(&str, &str)]| app.sign(target.post("/oauth2/revoke"), form).send();
        post(&[]).refused(400, "invalid_request");
        post(&[("token", "x"), ("token", "x")]).refused(400, "invalid_request");
        target.userinfo(&tokens.access);

        target.revoke(&app, &tokens.access);
        target.is_dead(&tokens.access);
        let next = Tokens::of(&target.refresh(&app, &tokens.refresh));
        target.userinfo(&next.access);
        target.revoke(&app, &next.refresh);
        target.grant_is_dead(&app, &next);
    });
}

/// RFC 7662 §2.
#[test]
fn only_whom_it_concerns_hears_about_a_token() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, public) = (target.confidential(), target.public());
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, target.scope());
        let claims = target.verify(&tokens.access, "at+jwt", &target.url);
        let told = target.introspect(&app, &tokens.access).expect(200).json();
        assert_eq!((&told["active"], &told["token_type"]), (&true.into(), &"Bearer".into()));
        for claim in ["iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti"] {
            assert_eq!(told[claim], claims[claim], "{claim}");
        }
        target.introspect(&public, &tokens.access).refused(401, "invalid_client");
        for token in ["made-up", &tokens.refresh, &tokens.id] {
            assert_eq!(target.introspect(&app, token).expect(200).body, INACTIVE, "{token}");
        }
        let foreign = target.tokens(browser, &public, "openid");
        assert_eq!(target.introspect(&app, &foreign.access).expect(200).body, INACTIVE);

        if target.names("introspection", "only its own client asks about a token") {
            let api = App {
                id: target.setting("introspection.client_id"),
                secret: Some(target.setting("introspection.client_secret")),
                redirect_uri: "",
            };
            let told = target.introspect(&api, &tokens.access).expect(200).json();
            let told = (&told["active"], &told["client_id"]);
            let hint = "is `introspection.client_id` in the audience of `confidential.client_id`?";
            assert_eq!(told, (&true.into(), &app.id.into()), "{hint}");
            target.revoke(&api, &tokens.access);
            assert_eq!(target.introspect(&api, &foreign.access).expect(200).body, INACTIVE);
        }
        target.revoke(&app, &tokens.refresh);
        assert_eq!(target.introspect(&app, &tokens.access).expect(200).body, INACTIVE);
    });
}

/// Every row of RFC 6749 §5.2 that needs nobody who is signed in; `invalid_scope` is at the
/// refresh token's.
#[test]
fn a_bad_token_request_is_told_what_is_wrong() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let (app, public) = (target.confidential(), target.public());
    let ask = |form: &[(&str, &str)]| target.token(&app, form);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "made-up")];

    ask(&[]).refused(400, "invalid_request");
    ask(&[("grant_type", "")]).refused(400, "invalid_request");
    ask(&[("grant_type", "authorization_code")]).refused(400, "invalid_request");
    ask(&[("grant_type", "refresh_token")]).refused(400, "invalid_request");
    for repeated in [refresh[0], refresh[1], ("refresh_token", "another")] {
        ask(&[&refresh[..], &[repeated]].concat()).refused(400, "invalid_request");
    }
    let json = target.post("/oauth2/token").body("application/json", "{}").send();
    json.refused(400, "invalid_request");
    let broken = "grant_type=refresh_token&refresh_token=%zz";
    let form = "application/x-www-form-urlencoded";
    target.post("/oauth2/token").body(form, broken).send().refused(400, "invalid_request");
    let in_query = target.post("/oauth2/token?refresh_token=x");
    app.sign(in_query, &refresh).send().refused(400, "invalid_request");
    let secret = app.secret.unwrap();
    let both = [&NOBODYS_PASSWORD[..], &[("client_secret", secret)]].concat();
    let both = target.post("/oauth2/token").basic(app.id, secret).form(&both);
    both.send().refused(400, "invalid_request");

    // With a form that is good in itself: a made-up token is refused as such, whoever sends it.
    for (id, secret) in [
        (app.id, "wrong-secret-0123456789"),
        ("nobody-is-registered-as-this", secret),
        (public.id, secret),
    ] {
        let answer = target.post("/oauth2/token").basic(id, secret).form(&NOBODYS_PASSWORD).send();
        answer.refused(401, "invalid_client");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Basic "), "{answer:?}");
    }
    for id in [app.id, "nobody-is-registered-as-this"] {
        let unsigned = [&NOBODYS_PASSWORD[..], &[("client_id", id)]].concat();
        let answer = target.post("/oauth2/token").form(&unsigned).send();
        answer.refused(401, "invalid_client");
    }
    let anonymous = target.post("/oauth2/token").form(&NOBODYS_PASSWORD).send();
    anonymous.refused(401, "invalid_client");

    ask(&refresh).refused(400, "invalid_grant");
    target.token(&public, &refresh).refused(400, "invalid_grant");
    for unknown in ["implicit", "client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"]
    {
        ask(&[("grant_type", unknown)]).refused(400, "unsupported_grant_type");
    }
    has_no_password_grant(target, &app);
    has_no_password_grant(target, &public);
}

/// `unauthorized_client`: refused before anybody's password is looked at.
#[track_caller]
fn has_no_password_grant(target: &Target, app: &App) {
    target.token(app, &NOBODYS_PASSWORD).refused(400, "unauthorized_client");
}

/// RFC 6749 §4.1.2.1: a page while the redirect URI is not proven, and every other error told to
/// the client, with `state` and `iss`.
#[test]
fn a_bad_authorization_request_is_told_to_whom_it_may_be() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let app = target.confidential();
    let good = app.authorization(target.scope());
    let near = format!("{}x", app.redirect_uri);
    let elsewhere = good.clone().with("redirect_uri", "https://evil.example/cb");
    for request in [
        good.clone().without("client_id"),
        good.clone().with("client_id", "nobody-is-registered-as-this"),
        good.clone().and("client_id", app.id),
        good.clone().and("redirect_uri", app.redirect_uri),
        good.clone().with("redirect_uri", &near),
        good.clone().with("redirect_uri", "javascript:alert(1)"),
        good.clone().with("redirect_uri", target.public().redirect_uri),
        elsewhere.clone(),
        elsewhere.clone().with("response_type", "token"),
        elsewhere.with("prompt", "none"),
    ] {
        let answer = target.get_at(&format!("/oauth2/authorize?{}", request.query())).send();
        answer.is_page(400);
        assert!(!answer.body.contains("evil.example"), "reflected: {answer:?}");
    }
    for (request, error) in [
        (good.clone().without("response_type"), "invalid_request"),
        (good.clone().and("scope", "openid"), "invalid_request"),
        (good.clone().and("nonce", "n"), "invalid_request"),
        (good.clone().and("code_challenge", CHALLENGE), "invalid_request"),
        (good.clone().with("code_challenge_method", "plain"), "invalid_request"),
        (good.clone().without("code_challenge_method"), "invalid_request"),
        (good.clone().with("code_challenge", "short"), "invalid_request"),
        (good.clone().with("prompt", "none login"), "invalid_request"),
        (good.clone().with("response_mode", "fragment"), "invalid_request"),
        (good.clone().with("response_type", "token"), "unsupported_response_type"),
        (good.clone().with("response_type", "id_token"), "unsupported_response_type"),
        (good.clone().with("response_type", "code id_token"), "unsupported_response_type"),
        (good.clone().with("scope", "openid never-registered"), "invalid_scope"),
        (good.clone().with("scope", "openid \""), "invalid_scope"),
        (good.clone().with("request", "x.y.z"), "request_not_supported"),
        (good.clone().with("request_uri", "https://evil.example/"), "request_uri_not_supported"),
        (good.clone().with("prompt", "none"), "login_required"),
    ] {
        target.tells(&app, &request, error);
    }
}

/// RFC 6750 §3.
#[test]
fn a_challenge_says_what_is_missing() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let app = target.confidential();
    let plain = target.get_at("/oauth2/userinfo").send().expect(401);
    let challenge = plain.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer realm=") && !challenge.contains("error="), "{plain:?}");
    target.is_dead("made-up");
    target.is_dead("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiJ4In0.");
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, &target.scope_without_openid());
        assert_eq!(tokens.id, "", "without `openid` there is no ID token");
        let answer = target.get_at("/oauth2/userinfo").bearer(&tokens.access).send();
        answer.refused(403, "insufficient_scope");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{answer:?}");
        assert!(challenge.contains("scope=\"openid\""), "{answer:?}");
        let twice = target.get_at("/oauth2/userinfo").bearer(&tokens.access);
        twice.bearer(&tokens.access).send().refused(400, "invalid_request");
        let query = format!("/oauth2/userinfo?access_token={}", tokens.access);
        assert!(matches!(target.get_at(&query).send().status, 400 | 401));
        let (rest, last) = tokens.access.split_at(tokens.access.len() - 9);
        let other = if last.starts_with('A') { "B" } else { "A" };
        target.is_dead(&format!("{rest}{other}{}", &last[1..]));
        target.revoke(&app, &tokens.refresh);
    });
}

/// Fetch Standard: the public client's pages may read, nobody else's.
#[test]
fn only_a_registered_origin_may_read() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let preflight = |path: &str, method: &str, origin: &str| {
        let request = target.request("OPTIONS", path).header("origin", origin);
        let request = request.header("access-control-request-method", method);
        request.header("access-control-request-headers", "authorization,content-type").send()
    };
    let table =
        [("/oauth2/token", "POST"), ("/oauth2/revoke", "POST"), ("/oauth2/userinfo", "GET")];
    for origin in ["https://evil.example", "null"] {
        for (path, method) in table {
            let answer = preflight(path, method, origin);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
            let answer = target.request(method, path).header("origin", origin).send();
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
        }
    }
    let open = preflight("/oauth2/jwks", "GET", "https://any.example").expect(204);
    assert_eq!(open.header("access-control-allow-origin"), Some("*"));
    if target.names("public.origin", "no origin is asked for that may read tokens") {
        let origin = target.setting("public.origin");
        for (path, method) in table {
            let answer = preflight(path, method, origin).expect(204);
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer:?}");
            let methods = answer.header("access-control-allow-methods").unwrap_or_default();
            assert!(methods.contains(method), "{answer:?}");
        }
        for path in ["/oauth2/introspect", "/oauth2/login", "/oauth2/consent/decision"] {
            let answer = preflight(path, "POST", origin);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
        }
    }
}

/// RP-initiated logout: with a hint at once, without one only after a question.
#[test]
fn a_logout_ends_the_session_and_its_grants() {
    let target = Target::get();
    let _log = target.log_on_failure();
    let app = target.confidential();
    target.in_a_browser(|browser| {
        let tokens = target.tokens(browser, &app, target.scope());
        let silent = app.authorization(target.scope()).with("prompt", "none").query();
        let asked = browser.open("/oauth2/logout").expect(200);
        assert_eq!(Form::of(&asked).action, "/oauth2/logout");
        let hint = format!("/oauth2/logout?id_token_hint={}", tokens.id);
        let elsewhere = encode("https://evil.example/bye");
        let answer =
            browser.clone().open(&format!("/oauth2/logout?post_logout_redirect_uri={elsewhere}"));
        assert!(answer.is_html(), "{answer:?}");
        browser.open(&format!("{hint}x")).is_page(400);
        let answer = browser.authorize(&silent);
        assert!(target.told(&answer, &app).contains_key("code"), "still signed in: {answer:?}");

        if target.names("confidential.post_logout_redirect_uri", "a logout ends at a page") {
            let bye = target.setting("confidential.post_logout_redirect_uri");
            let url = format!("{hint}&post_logout_redirect_uri={}&state=s%26t", encode(bye));
            assert_eq!(browser.open(&url).redirects_to(bye)["state"], "s&t");
        } else {
            browser.open(&hint).is_page(200);
        }
        let answer = browser.authorize(&silent);
        assert_eq!(target.told(&answer, &app)["error"], "login_required");
        target.grant_is_dead(&app, &tokens);
    });
}

/// docs/bff.md: sign-in, session, logout, and no token in between.
#[test]
fn a_session_of_the_backend_for_frontend_begins_and_ends() {
    // A path of the issuer's own that is always there.
    const BACK: &str = "/.well-known/openid-configuration";
    let target = Target::get();
    let _log = target.log_on_failure();
    let mut nobody = Browser::at(&target.url);
    if !target.names("bff", "there must be no backend-for-frontend") {
        let answer = call(target, &mut nobody, "GET", "/bff/session");
        assert_eq!(answer.status, 404, "is there one? then `bff = true` is missing: {answer:?}");
        nobody.open("/bff/login").expect(404);
        return;
    }
    let answer = call(target, &mut nobody, "GET", "/bff/session");
    answer.refused(401, "login_required");
    nobody.open("/bff/login?return_to=https://evil.example/").is_page(400);

    let (username, password) = target.user();
    target.in_a_browser(|browser| {
        let mut answer = browser.open(&format!("/bff/login?return_to={BACK}"));
        answer = browser.follow(answer);
        for _ in 0..2 {
            answer = match Form::find(&answer) {
                None => break,
                Some(form) if form.action == "/oauth2/login" => {
                    browser.log_in(&answer, username, password)
                }
                Some(_) => browser.decide(&answer, "approve"),
            };
        }
        assert_eq!(answer.expect(200).url, format!("{}{BACK}", target.url));
        let session = call(target, browser, "GET", "/bff/session").expect(200);
        assert!(session.json()["sub"].is_string(), "{session:?}");
        assert_eq!(session.header("cache-control"), Some("private, no-store"));
        assert!(!session.body.contains("eyJ"), "a token: {session:?}");
        let cross = target.get_at("/bff/session").header("sec-fetch-site", "cross-site");
        browser.send(cross).refused(403, "access_denied");
        browser.send(target.post("/bff/logout")).refused(403, "access_denied");
        call(target, browser, "GET", "/bff/session").expect(200);

        call(target, browser, "POST", "/bff/logout").expect(204);
        call(target, browser, "GET", "/bff/session").refused(401, "login_required");
        let app = target.confidential();
        let silent = app.authorization(target.scope()).with("prompt", "none");
        let answer = browser.authorize(&silent.query());
        assert_eq!(target.told(&answer, &app)["error"], "login_required");
    });
}

/// RFC 6749 §4.3, for the operator's own client alone.
#[test]
fn a_password_becomes_tokens_for_a_client_that_may() {
    let target = Target::get();
    let _log = target.log_on_failure();
    has_no_password_grant(target, &target.confidential());
    if !target.names("password", "the password grant is refused") {
        return;
    }
    let app = App {
        id: target.setting("password.client_id"),
        secret: Some(target.setting("password.client_secret")),
        redirect_uri: "",
    };
    let (username, password) = target.user();
    let scope = target.optional("password.scope").unwrap_or("openid");
    let ask = |password: &str, scope: &str| {
        let form = [
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
            ("scope", scope),
        ];
        target.token(&app, &form)
    };
    ask(password, "openid never-registered").refused(400, "invalid_scope");
    ask("the-other-wrong-password", scope).refused(400, "invalid_grant");
    let tokens = Tokens::of(&ask(password, scope));
    target.verify(&tokens.access, "at+jwt", &target.url);
    target.userinfo(&tokens.access);
    target.revoke(&app, &tokens.refresh);
    target.grant_is_dead(&app, &tokens);
}
