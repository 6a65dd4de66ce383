//! The backend-for-frontend: sign-in, session, logout, and what must not work. Its API calls are in
//! `bff_api`, its renewals in `bff_renewal`.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::browser::{Browser, Form};
use crate::http::{Answer, Request, parse_query};
use crate::oauth::{ALICE, ALICES_PASSWORD, WEB};
use crate::scripted::{Received, Scripted, reply};
use crate::server::{Server, until, until_within};

/// Signs Alice in through the backend-for-frontend.
pub(crate) fn signed_in(server: &Server) -> Browser<'_> {
    let mut browser = server.alice();
    let answer = sign_in(&mut browser, "/bff/login?return_to=/app");
    assert_eq!(answer.location(), format!("{}/app", server.url));
    browser
}

/// Follows a sign-in up to the redirect back into the app.
pub(crate) fn sign_in(browser: &mut Browser<'_>, login: &str) -> Answer {
    let mut answer = browser.open(login);
    for _ in 0..10 {
        if answer.status == 303 && !answer.location().contains("/oauth2/") {
            if !answer.location().contains("/bff/callback") {
                return answer;
            }
            let location = answer.location().to_owned();
            return browser.open(&location);
        }
        answer = if answer.status == 303 {
            let location = answer.location().to_owned();
            browser.open(&location)
        } else {
            let form = Form::of(&answer);
            let form = form.with("username", ALICE).with("password", ALICES_PASSWORD);
            browser.submit(&form)
        };
    }
    panic!("the sign-in has no end: {answer:?}");
}

/// Calls as a page of the same host does.
pub(crate) fn call(browser: &mut Browser<'_>, server: &Server, method: &str, path: &str) -> Answer {
    browser.send(from_own_page(server.request(method, path)))
}

pub(crate) fn from_own_page(request: Request) -> Request {
    request.header("x-csrf", "1").header("sec-fetch-site", "same-origin")
}

pub(crate) fn handle(browser: &Browser<'_>) -> String {
    let cookie = browser.cookies().iter().find(|(name, _)| name == "cadence_bff");
    cookie.expect("there is a session cookie").1.clone()
}

/// The key of the session's row, as the key table says.
pub(crate) fn row(browser: &Browser<'_>) -> String {
    row_of(&handle(browser))
}

pub(crate) fn row_of(handle: &str) -> String {
    let digest = Sha256::digest(handle.as_bytes());
    let digest = URL_SAFE_NO_PAD.encode(digest);
    format!("cadence:bff:{{{digest}}}")
}

/// Asks Redis for one text.
pub(crate) fn redis(server: &Server, words: &[&str]) -> String {
    let answer = server.redis.as_ref().unwrap().command(words);
    // RESP 2: a bulk string has its length before it, a number a colon.
    let text = answer.strip_prefix('$').and_then(|it| it.split_once("\r\n")).map(|it| it.1);
    text.unwrap_or(&answer).trim_end().to_owned()
}

/// BF01, BF02: the session is a cookie that no script and no other site reaches, and no answer of the
/// whole way carries a token.
#[test]
fn a_sign_in_ends_with_a_handle_and_no_token() {
    for server in [Server::edge(), Server::embedded()] {
        let _log = server.log_on_failure();
        let mut browser = server.alice();
        let begun = browser.open("/bff/login?return_to=/app%3Ftab=2%23top&login_hint=alice");
        let location = begun.location().to_owned();
        let asked = parse_query(location.split_once('?').unwrap().1);
        assert!(location.starts_with(&format!("{}/oauth2/authorize?", server.url)));
        assert_eq!(asked["redirect_uri"], format!("{}/bff/callback", server.url));
        assert_eq!(asked["code_challenge_method"], "S256");
        assert!(asked["nonce"].len() >= 22 && asked["state"].len() >= 16);
        assert_eq!(asked["login_hint"], "alice");
        let back = browser.open(&location);
        let callback = back.location().to_owned();
        assert!(callback.contains("iss="), "{callback}");
        let ended = browser.open(&callback).expect(303);
        assert_eq!(ended.location(), format!("{}/app?tab=2#top", server.url));
        let cookies = ended.headers("set-cookie");
        let session = cookies.iter().find(|it| it.starts_with("cadence_bff=")).unwrap();
        for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=86400"] {
            assert!(session.contains(attribute), "{session}");
        }
        assert!(session.len() < 4_096);
        assert!(cookies.iter().any(|it| it.starts_with("cadence_bff_tx_") && it.contains("=;")));

        let told = call(&mut browser, server, "GET", "/bff/session").expect(200);
        let claims = told.json();
        assert_eq!(claims["name"], "Alice Example");
        assert_eq!(claims["email"], ALICE);
        assert!(claims["sub"].is_string() && claims["auth_time"].is_u64());
        let (idle, end) = (claims["idle_expires_at"].as_u64(), claims["expires_at"].as_u64());
        assert!(idle < end, "{claims}");
        assert_eq!(told.header("cache-control"), Some("private, no-store"));
        assert_eq!(told.header("vary"), Some("Cookie"));
        let again = call(&mut browser, server, "GET", "/bff/user").expect(200);
        assert_eq!(again.json()["sub"], claims["sub"]);
        // Nothing else is told: a refresh token would not begin with `eyJ`, as is looked for below.
        for json in [&claims, &again.json()] {
            let json = json.as_object().unwrap();
            let names: BTreeSet<&str> = json.keys().map(String::as_str).collect();
            let expected = [
                "auth_time",
                "email",
                "expires_at",
                "idle_expires_at",
                "name",
                "preferred_username",
                "sub",
            ];
            assert_eq!(names, BTreeSet::from(expected));
        }
        let me = call(&mut browser, server, "GET", "/bff/api/me").expect(200);
        assert_eq!(me.json()["sub"], claims["sub"]);
        for answer in [begun, ended, told, again, me] {
            assert!(!format!("{answer:?}{}", answer.body).contains("eyJ"), "a token: {answer:?}");
        }
    }
}

#[test]
fn without_a_session_nobody_is_signed_in() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let mut browser = Browser::new(server);
    let before = server.asked_of_origin();
    for path in ["/bff/session", "/bff/user", "/bff/api/me"] {
        let answer = call(&mut browser, server, "GET", path);
        answer.refused(401, "login_required");
        assert_eq!(answer.header("www-authenticate"), None);
        assert!(answer.headers("set-cookie").is_empty());
    }
    call(&mut browser, server, "POST", "/bff/logout").expect(204);
    // What was never issued is refused by itself, and taken out of the way.
    for forged in ["x", &"A".repeat(64), &"A".repeat(43)] {
        browser.cookies_mut().clear();
        browser.cookies_mut().push(("cadence_bff".to_owned(), forged.to_owned()));
        let answer = call(&mut browser, server, "GET", "/bff/session");
        answer.refused(401, "login_required");
        assert!(answer.headers("set-cookie").is_empty(), "it may meet a newer cookie: {answer:?}");
    }
    assert_eq!(server.asked_of_origin(), before, "the origin was not asked");
}

/// BF04: a callback that is not the end of this browser's own sign-in begins no session, and harms
/// none.
#[test]
fn only_its_own_callback_begins_a_session() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let mut victim = signed_in(server);
    let before = handle(&victim);
    let callback = |browser: &mut Browser<'_>| {
        let begun = browser.open("/bff/login");
        let back = browser.open(begun.location());
        back.location().to_owned()
    };
    let mut attacker = server.alice();
    let injected = callback(&mut attacker);
    let own = callback(&mut victim);
    let part = |url: &str, name: &str| parse_query(url.split_once('?').unwrap().1)[name].clone();
    let with = |url: &str, name: &str, value: &str| {
        let mut params = parse_query(url.split_once('?').unwrap().1);
        params.insert(name.to_owned(), value.to_owned());
        let pairs: Vec<(&str, &str)> =
            params.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (&**n, &**v)).collect();
        format!("/bff/callback?{}", crate::http::query(&pairs))
    };
    for (what, url) in [
        ("the state of another browser", injected.clone()),
        ("an injected code", with(&own, "code", &part(&injected, "code"))),
        ("no state", with(&own, "state", "")),
        ("another state", with(&own, "state", "AAAAAAAAAAAAAAAA")),
        ("no issuer", with(&own, "iss", "")),
        ("another issuer", with(&own, "iss", "https://evil.example")),
        ("no code", with(&own, "code", "")),
        ("a code and an error", with(&own, "error", "access_denied")),
        ("nothing", "/bff/callback".to_owned()),
    ] {
        let mut browser = victim.clone();
        let answer = browser.open(&url);
        answer.is_page(400);
        assert!(answer.body.contains("/bff/login?return_to="), "{what} leads on: {answer:?}");
        assert_eq!(handle(&browser), before, "{what}");
        call(&mut browser, server, "GET", "/bff/session").expect(200);
    }
    // And once only.
    assert_eq!(victim.open(&own).expect(303).location(), format!("{}/", server.url));
    assert_ne!(handle(&victim), before);
    victim.open(&own).is_page(400);
    call(&mut victim, server, "GET", "/bff/session").expect(200);
}

/// BF08: a handle that was there before is replaced, and its session ends.
#[test]
fn a_sign_in_replaces_the_session_before() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let mut browser = signed_in(server);
    let mut before = browser.clone();
    sign_in(&mut browser, "/bff/login");
    assert_ne!(handle(&browser), handle(&before));
    call(&mut browser, server, "GET", "/bff/api/me").expect(200);
    call(&mut before, server, "GET", "/bff/session").refused(401, "login_required");
    let mut fixed = server.alice();
    fixed.cookies_mut().push(("cadence_bff".to_owned(), "chosen-by-somebody".to_owned()));
    sign_in(&mut fixed, "/bff/login");
    assert_ne!(handle(&fixed), "chosen-by-somebody");
}

/// Asserts that no session has begun in a browser.
#[track_caller]
fn nobody_is_signed_in(browser: &mut Browser<'_>, server: &Server, what: &str) {
    for path in ["/bff/session", "/bff/user", "/bff/api/me"] {
        let answer = call(browser, server, "GET", path);
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
    }
}

/// BF12: a sign-in that is under way is nobody's session, however far it has come.
#[test]
fn until_a_sign_in_is_complete_nobody_is_signed_in() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let nobody = |browser: &mut Browser<'_>, what| nobody_is_signed_in(browser, server, what);
    let mut browser = Browser::new(server);
    let begun = browser.open("/bff/login");
    nobody(&mut browser, "begun");
    let page = browser.follow(begun).expect(200);
    nobody(&mut browser, "at the login page");
    let form = Form::of(&page).with("username", ALICE).with("password", "wrong");
    browser.submit(&form);
    nobody(&mut browser, "with a wrong password");
    let form = Form::of(&page).with("username", ALICE).with("password", ALICES_PASSWORD);
    let answer = browser.submit(&form).expect(303);
    assert!(answer.location().contains("/bff/callback?"), "{answer:?}");
    nobody(&mut browser, "before the callback");
    // Only now, and the session that was there before stays what it was meanwhile.
    let callback = answer.location().to_owned();
    assert_eq!(browser.open(&callback).status, 303);
    call(&mut browser, server, "GET", "/bff/session").expect(200);
    browser.open("/bff/login?prompt=login");
    call(&mut browser, server, "GET", "/bff/session").expect(200);
}

/// BF12: whoever has given the password and not yet consented is not signed in; nor is whoever has
/// said no.
#[test]
fn without_a_consent_nobody_is_signed_in() {
    let server = Server::start_tuned(
        |_| (),
        |edge| {
            edge.set("CADENCE_BFF_CLIENT_ID", "bff-asking");
            edge.set("CADENCE_BFF_CLIENT_SECRET", "secret-of-a-new-client-0123456789");
        },
    );
    let _log = server.log_on_failure();
    server.apply(
        "[[clients]]\nclient_id = \"bff-asking\"\nclient_name = \"BFF\"\n\
         client_secret = \"secret-of-a-new-client-0123456789\"\n\
         token_endpoint_auth_method = \"client_secret_basic\"\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\n\
         redirect_uris = [\"http://127.0.0.1/bff/callback\"]\n\
         scope = \"openid profile email\"\n",
    );
    let mut browser = Browser::new(&server);
    let begun = browser.open("/bff/login?return_to=/app");
    let page = browser.follow(begun).expect(200);
    let page = browser.log_in(&page, ALICE, ALICES_PASSWORD).expect(200);
    assert_eq!(Form::of(&page).action, "/oauth2/consent/decision");
    nobody_is_signed_in(&mut browser, &server, "at the consent page");
    let denied = browser.submit(&Form::of(&page).with("decision", "deny"));
    let callback = denied.location().to_owned();
    assert!(callback.starts_with(&format!("{}/bff/callback?", server.url)), "{denied:?}");
    nobody_is_signed_in(&mut browser, &server, "denied, before the callback");
    let back = browser.open(&callback);
    assert_eq!(back.location(), format!("{}/app?error=access_denied", server.url));
    nobody_is_signed_in(&mut browser, &server, "denied");

    // The login is over with, so the consent is all that is asked for.
    let begun = browser.open("/bff/login?return_to=/app");
    let page = browser.follow(begun).expect(200);
    assert_eq!(Form::of(&page).action, "/oauth2/consent/decision");
    nobody_is_signed_in(&mut browser, &server, "at the consent page again");
    let approved = browser.submit(&Form::of(&page).with("decision", "approve"));
    let callback = approved.location().to_owned();
    nobody_is_signed_in(&mut browser, &server, "approved, before the callback");
    assert_eq!(browser.open(&callback).location(), format!("{}/app", server.url));
    call(&mut browser, &server, "GET", "/bff/session").expect(200);
}

/// AZ45: nowhere else does a sign-in lead back to.
#[test]
fn a_sign_in_leads_back_to_this_host_only() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let mut browser = Browser::new(server);
    for elsewhere in [
        "https://evil.example/",
        "https:evil.example",
        "https:/evil.example",
        "//evil.example",
        "///evil.example",
        "%2F%2Fevil.example",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "%5C/evil.example",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "/%09/evil.example",
        "/%0a/evil.example",
        "%09//evil.example",
        "%20//evil.example",
        "/%00/evil.example",
        "/..//evil.example",
        "/.//evil.example",
        "/%252e%252e//evil.example",
        "/x/..//evil.example",
        "%252F%252Fevil.example",
        "%255Cevil.example",
        "evil.example",
        "@evil.example",
        ".evil.example",
        ":80@evil.example",
        "/bff/login",
        "/./bff/api/me",
        "/x/%252e%252e/../bff/api/me",
    ] {
        browser.open(&format!("/bff/login?return_to={elsewhere}")).is_page(400);
    }
    browser.open("/bff/login?return_to=/a&return_to=/b").is_page(400);
    browser.open("/bff/login?prompt=none&prompt=login").is_page(400);
    assert!(browser.cookies().is_empty(), "nothing has begun");
    // What a browser reads as a path of this host stays one.
    let mut browser = server.alice();
    for (here, path) in [
        ("/@evil.example", "/@evil.example"),
        ("/%255Cevil.example", "/%5Cevil.example"),
        ("/%252F%252Fevil.example", "/%2F%2Fevil.example"),
        ("/x//evil.example", "/x//evil.example"),
        ("/?next=//evil.example", "/?next=//evil.example"),
        ("/%23//evil.example", "/#//evil.example"),
    ] {
        let answer = sign_in(&mut browser, &format!("/bff/login?return_to={here}"));
        assert_eq!(answer.location(), format!("{}{path}", server.url));
        // In no other parameter either does it count.
        let answer = sign_in(&mut browser, &format!("/bff/login?next={here}&redirect_uri={here}"));
        assert_eq!(answer.location(), format!("{}/", server.url));
    }
}

/// AZ45: the login of the authorization server leads back to the client alone.
#[test]
fn no_parameter_of_the_login_page_leads_elsewhere() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let query = crate::oauth::WEB.authorization("openid").query();
    let extra = "return_to=//evil.example&next=//evil.example&continue=https://evil.example";
    let mut browser = Browser::new(server);
    let page = browser.authorize(&format!("{query}&{extra}")).expect(200);
    let mut form = Form::of(&page).with("username", ALICE).with("password", ALICES_PASSWORD);
    form.action = format!("{}?{extra}", form.action);
    for name in ["return_to", "next", "continue", "redirect_uri"] {
        form = form.with(name, "//evil.example");
    }
    let answer = browser.submit(&form);
    let answer = browser.follow(answer);
    let answer = if answer.is_html() { browser.decide(&answer, "approve") } else { answer };
    let told = answer.redirects_to(crate::oauth::WEB.redirect_uri);
    assert!(told.contains_key("code"), "{answer:?}");
}

/// A user who is not there, or does not want to, is led back into the app: nobody is signed in, and
/// whoever was stays so.
#[test]
fn a_refusal_leads_back_with_its_error() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let mut nobody = Browser::new(server);
    let answer = sign_in(&mut nobody, "/bff/login?prompt=none&return_to=/app");
    assert_eq!(answer.location(), format!("{}/app?error=login_required", server.url));
    assert!(!nobody.cookies().iter().any(|(name, _)| name.starts_with("cadence_bff")));

    let mut browser = signed_in(server);
    browser.cookies_mut().retain(|(name, _)| name == "cadence_bff");
    let answer = sign_in(&mut browser, "/bff/login?prompt=none");
    assert_eq!(answer.location(), format!("{}/?error=login_required", server.url));
    call(&mut browser, server, "GET", "/bff/session").expect(200);
}

/// BF03: what changes something comes from a page of this host, or not at all.
#[test]
fn another_site_changes_nothing_and_reads_nothing() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let mut browser = signed_in(server);
    let origin = server.url.clone();
    for headers in [
        &[][..],
        &[("x-csrf", "1")],
        &[("sec-fetch-site", "same-origin")],
        &[("x-csrf", "0"), ("sec-fetch-site", "same-origin")],
        &[("x-csrf", "1"), ("sec-fetch-site", "cross-site")],
        &[("x-csrf", "1"), ("sec-fetch-site", "same-site"), ("origin", &origin)],
        &[("x-csrf", "1"), ("origin", "https://evil.example")],
        &[("x-csrf", "1"), ("origin", "null")],
        &[("x-csrf", "1"), ("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
    ] {
        // With a body of each kind that a form or script of elsewhere may send unasked.
        for content_type in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "application/json",
        ] {
            for path in ["/bff/logout", "/bff/api/me"] {
                let mut request = server.post(path).body(content_type, "{}");
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                browser.send(request).refused(403, "access_denied");
            }
        }
    }
    for path in ["/bff/session", "/bff/api/me"] {
        let answer = browser.send(server.get(path).header("sec-fetch-site", "cross-site"));
        answer.refused(403, "access_denied");
        let answer = browser.send(server.get(path).header("origin", "https://spa.example"));
        answer.refused(403, "access_denied");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    call(&mut browser, server, "GET", "/bff/session").expect(200);
}

/// BF13: a logout clears the cookie, revokes, and is seen by every isolate in seconds.
#[test]
fn a_logout_ends_session_tokens_and_login() {
    for server in [Server::edge(), Server::embedded()] {
        let _log = server.log_on_failure();
        // A login of its own: it will end.
        let mut browser = Browser::new(server);
        sign_in(&mut browser, "/bff/login");
        let mut copy = browser.clone();
        call(&mut copy, server, "GET", "/bff/api/me").expect(200);
        let answer = call(&mut browser, server, "POST", "/bff/logout").expect(204);
        assert!(answer.headers("set-cookie")[0].starts_with("cadence_bff=;"), "{answer:?}");
        until_within("the copy is refused", Duration::from_secs(6), || {
            call(&mut copy, server, "GET", "/bff/api/me").status == 401
        });
        // The login session is over as well: somebody would have to type a password.
        let login = sign_in(&mut browser, "/bff/login?prompt=none");
        assert!(login.location().ends_with("error=login_required"), "{login:?}");
        call(&mut copy, server, "POST", "/bff/logout").expect(204);
    }
}

/// BF13: the session's refresh token is revoked, and nothing else ends.
#[test]
fn a_local_logout_leaves_the_login_alone() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let mut browser = signed_in(server);
    let grant_id = redis(server, &["HGET", &row(&browser), "grant_id"]);
    let grant = format!("cadence:grant:{{{grant_id}}}");
    let is_revoked = || redis(server, &["HEXISTS", &grant, "revoked_at"]) == ":1";
    assert_eq!(redis(server, &["EXISTS", &grant]), ":1");
    call(&mut browser, server, "POST", "/bff/logout?local=maybe").refused(400, "invalid_request");
    assert!(!is_revoked());
    call(&mut browser, server, "POST", "/bff/logout?local=true").expect(204);
    // With the grant, its refresh token is revoked.
    assert!(is_revoked());
    call(&mut browser, server, "GET", "/bff/session").refused(401, "login_required");
    let login = sign_in(&mut browser, "/bff/login?prompt=none&return_to=/app");
    assert_eq!(login.location(), format!("{}/app", server.url));
    call(&mut browser, server, "GET", "/bff/session").expect(200);
}

/// Whoever is signed out at the authorization server is signed out here.
#[test]
fn the_end_of_the_login_ends_the_session() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let mut browser = Browser::new(server);
    sign_in(&mut browser, "/bff/login");
    let page = browser.open("/oauth2/logout");
    browser.submit(&Form::of(&page)).is_page(200);
    until("the session is over", || {
        call(&mut browser, server, "GET", "/bff/session").status == 401
    });
}

/// A logout token of the authorization server ends the sessions that it names, once; nothing else
/// does. `offline_access` lets the grant outlive the login session, so the token alone ends it.
#[test]
fn a_logout_token_ends_the_sessions_it_names() {
    let recipient = Scripted::start(|_: &Received, stream: &mut std::net::TcpStream| {
        reply(stream, "200 OK", &[], "");
    });
    let server = Server::start_tuned(
        |_| (),
        |edge| {
            edge.set("CADENCE_BFF_CLIENT_ID", "bff-offline");
            edge.set("CADENCE_BFF_CLIENT_SECRET", "secret-of-a-new-client-0123456789");
            edge.set("CADENCE_BFF_SCOPE", "openid offline_access");
        },
    );
    let _log = server.log_on_failure();
    server.apply(&format!(
        "[[clients]]\nclient_id = \"bff-offline\"\nclient_name = \"BFF\"\n\
         client_secret = \"secret-of-a-new-client-0123456789\"\n\
         token_endpoint_auth_method = \"client_secret_basic\"\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\n\
         redirect_uris = [\"http://127.0.0.1/bff/callback\"]\n\
         scope = \"openid profile email offline_access\"\nfirst_party = true\n\
         backchannel_logout_uri = \"{}/told\"\n",
        recipient.url()
    ));
    let mut browser = Browser::new(&server);
    sign_in(&mut browser, "/bff/login");
    let mut other = Browser::new(&server);
    sign_in(&mut other, "/bff/login");
    let page = browser.open("/oauth2/logout");
    browser.submit(&Form::of(&page)).is_page(200);
    until("the client is told", || !recipient.received().is_empty());
    call(&mut browser, &server, "GET", "/bff/session").expect(200);

    let form = String::from_utf8(recipient.last().body).unwrap();
    let token = parse_query(&form)["logout_token"].clone();
    let tell = |token: &str| {
        let request = server.post("/bff/backchannel-logout");
        request.form(&[("logout_token", token)]).send()
    };
    let id_token = WEB.tokens(&server, "openid").id;
    let (start, last) = token.split_at(token.len() - 9);
    let other_letter = if last.starts_with('A') { "B" } else { "A" };
    let altered = format!("{start}{other_letter}{}", &last[1..]);
    for bad in ["", "x", &id_token, &altered] {
        tell(bad).refused(400, "invalid_request");
    }
    server.post("/bff/backchannel-logout").send().refused(400, "invalid_request");
    call(&mut browser, &server, "GET", "/bff/session").expect(200);
    let told = tell(&token).expect(200);
    assert!(told.header("cache-control").unwrap().contains("no-store"));
    until("the session is over", || {
        call(&mut browser, &server, "GET", "/bff/session").status == 401
    });
    tell(&token).refused(400, "invalid_request");
    call(&mut other, &server, "GET", "/bff/session").expect(200);
}

/// What the store holds of a session opens nothing.
#[test]
fn a_copy_of_the_store_holds_no_token() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let browser = signed_in(server);
    let row_text = redis(server, &["HGETALL", &row(&browser)]);
    assert!(row_text.contains("sealed") && !row_text.contains("eyJ"), "{row_text}");
    assert!(!row_text.contains(&handle(&browser)));
    // An ordinary client's refresh token has the same form: none of it is there either.
    let refresh = WEB.tokens(server, "openid").refresh;
    assert!(!row_text.contains(&refresh[..20]));
}

#[test]
fn without_a_client_there_is_no_backend_for_frontend() {
    let server = Server::start_tuned(|_| (), |edge| edge.set("CADENCE_BFF_CLIENT_ID", ""));
    for (method, path) in [("GET", "/bff/session"), ("POST", "/bff/logout"), ("GET", "/bff/api/me")]
    {
        server.request(method, path).send().refused(404, "invalid_request");
    }
    server.get("/bff/login").send().is_page(404);
}

#[test]
fn each_endpoint_has_its_methods() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    for (method, path, allow) in [
        ("POST", "/bff/login", "GET"),
        ("POST", "/bff/callback", "GET"),
        ("POST", "/bff/session", "GET"),
        ("GET", "/bff/logout", "POST"),
        ("GET", "/bff/backchannel-logout", "POST"),
        ("OPTIONS", "/bff/api/me", "GET, HEAD, POST, PUT, PATCH, DELETE"),
    ] {
        let answer = server.request(method, path).send().expect(405);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}
