//! The backend-for-frontend: sign-in, session, API calls, renewal, logout, and what must not work.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::browser::{Browser, Form};
use crate::http::{Answer, Request, parse_query};
use crate::oauth::{ALICE, ALICES_PASSWORD, WEB};
use crate::scripted::{Received, Scripted, reply};
use crate::server::{Server, until};

/// Signs Alice in through the backend-for-frontend.
fn signed_in(server: &Server) -> Browser<'_> {
    let mut browser = server.alice();
    let answer = sign_in(&mut browser, "/bff/login?return_to=/app");
    assert_eq!(answer.location(), format!("{}/app", server.url));
    browser
}

/// Follows a sign-in up to the redirect back into the app.
fn sign_in(browser: &mut Browser<'_>, login: &str) -> Answer {
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
fn call(browser: &mut Browser<'_>, server: &Server, method: &str, path: &str) -> Answer {
    browser.send(from_own_page(server.request(method, path)))
}

fn from_own_page(request: Request) -> Request {
    request.header("x-csrf", "1").header("sec-fetch-site", "same-origin")
}

fn handle(browser: &Browser<'_>) -> String {
    let cookie = browser.cookies().iter().find(|(name, _)| name == "cadence_bff");
    cookie.expect("there is a session cookie").1.clone()
}

/// The key of the session's row, as the key table says.
fn row(browser: &Browser<'_>) -> String {
    row_of(&handle(browser))
}

fn row_of(handle: &str) -> String {
    let digest = Sha256::digest(handle.as_bytes());
    let digest = URL_SAFE_NO_PAD.encode(digest);
    format!("cadence:bff:{{{digest}}}")
}

/// Makes the access token of a session due, and every isolate forget it.
fn make_due(server: &mut Server, row: &str) {
    redis(server, &["HSET", row, "renew_at", "1"]);
    server.edge.as_mut().unwrap().restart();
}

/// Asks Redis for one text.
fn redis(server: &Server, words: &[&str]) -> String {
    let answer = server.redis.as_ref().unwrap().command(words);
    // RESP 2: a bulk string has its length before it, a number a colon.
    let text = answer.strip_prefix('$').and_then(|it| it.split_once("\r\n")).map(|it| it.1);
    text.unwrap_or(&answer).trim_end().to_owned()
}

fn renewals(server: &Server, outcome: &str) -> u64 {
    server.origin.metric(&format!("cadence_bff_renewals_total{{outcome=\"{outcome}\"}}"))
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

/// AZ45: nowhere else does a sign-in lead back to.
#[test]
fn a_sign_in_leads_back_to_this_host_only() {
    let server = Server::edge();
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
        for path in ["/bff/logout", "/bff/api/me"] {
            let mut request = server.post(path);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            browser.send(request).refused(403, "access_denied");
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

/// A system whose backend-for-frontend reaches `upstream` at `/api/up`.
fn in_front_of(upstream: &Scripted) -> Server {
    let setting = format!(
        r#"[{{"prefix":"/api/up","url":"{0}","audience":"https://notes.example.test"}},
            {{"prefix":"/api/hidden","url":"{0}","audience":"https://notes.example.test"}},
            {{"prefix":"/api/other","url":"{0}","audience":"https://nobody.example"}},
            {{"prefix":"/api/scoped","url":"{0}","audience":"https://notes.example.test",
              "scope":"notes:write"}}]"#,
        upstream.url()
    );
    Server::start_tuned(
        |_| (),
        |edge| {
            edge.set("CADENCE_UPSTREAMS", &setting);
            edge.set("CADENCE_BFF_API", r#"["/api/me","/api/up","/api/other","/api/scoped"]"#);
        },
    )
}

fn echo(received: &Received, stream: &mut std::net::TcpStream) {
    let body = String::from_utf8_lossy(&received.body).into_owned();
    let headers = [
        ("content-type", "text/plain"),
        ("set-cookie", "theme=dark"),
        ("via", "x"),
        ("cdn-cache-control", "max-age=60"),
    ];
    reply(stream, "200 OK", &headers, &body);
}

/// BF05, BF06, BF11: only what is on the list is reached, with nothing of the browser's credentials.
#[test]
fn an_api_is_reached_by_its_own_path_with_the_sessions_token() {
    let upstream = Scripted::start(echo);
    let server = in_front_of(&upstream);
    let _log = server.log_on_failure();
    let mut browser = signed_in(&server);
    let cookies = browser.cookies().len();
    for (method, path, body) in [
        ("GET", "/api/up?a=b%2Fc", None),
        ("POST", "/api/up/x", Some(r#"{"text":"milk"}"#)),
        ("PUT", "/api/up/x/", Some("text")),
        ("DELETE", "/api/up/x", None),
    ] {
        let request = from_own_page(server.request(method, &format!("/bff{path}")))
            .header("authorization", "Bearer of-the-browser")
            .header("x-user", "admin")
            .header("x-forwarded-uri", "/api/hidden")
            .header("x-custom", "kept");
        let request = match body {
            Some(body) => request.body("application/json", body),
            None => request,
        };
        let answer = browser.send(request).expect(200);
        assert_eq!(answer.body, body.unwrap_or_default());
        assert_eq!(answer.header("cache-control"), Some("private, no-store"));
        assert_eq!(answer.header("cdn-cache-control"), None);
        assert!(answer.header("content-security-policy").unwrap().contains("sandbox"));
        assert!(answer.headers("vary").join(",").contains("Cookie"), "{answer:?}");
        let last = upstream.last();
        assert_eq!((last.method.as_str(), last.target.as_str()), (method, path));
        let [authorization] = &last.header("authorization")[..] else { panic!("{last:?}") };
        assert!(authorization.starts_with("Bearer eyJ"), "{authorization}");
        for dropped in ["cookie", "x-user", "x-forwarded-uri"] {
            assert!(last.header(dropped).is_empty(), "{dropped}");
        }
        assert_eq!(last.header("x-custom"), ["kept"]);
    }
    assert_eq!(browser.cookies().len(), cookies + 1, "an upstream may set cookies of its own");
    let before = upstream.received().len();
    for path in [
        "/bff/api/hidden",
        "/bff/api/upx",
        "/bff/api/up/%2e%2e/hidden",
        "/bff/api/up%2f..%2fhidden",
        "/bff/api//up",
        "/bff/api/@evil.example/up",
        "/bff/api/up;/../hidden",
        "/bff/api/auth/logout",
        "/bff/api/",
        "/bff/api",
        "/bff//api/up",
        "/bff/oauth2/token",
        "/bff/internal/clients",
        "/bff/apihttp://evil.example/",
    ] {
        call(&mut browser, &server, "GET", path).refused(404, "invalid_request");
    }
    // An API that the session's token is not for, and one that it does not suffice for.
    call(&mut browser, &server, "GET", "/bff/api/scoped").refused(403, "insufficient_scope");
    for method in ["GET", "POST"] {
        call(&mut browser, &server, method, "/bff/api/other").refused(403, "access_denied");
    }
    // No API's answer is a page of this host.
    let navigation = server.get("/bff/api/up").header("sec-fetch-mode", "navigate");
    browser.send(navigation).refused(403, "access_denied");
    assert_eq!(upstream.received().len(), before);
    call(&mut browser, &server, "GET", "/bff/session").expect(200);
}

/// An upstream that answers rubbish, or not at all, is 503 with the session unharmed.
#[test]
fn an_upstream_that_answers_rubbish_harms_no_session() {
    let upstream = Scripted::start(|received: &Received, stream: &mut std::net::TcpStream| {
        let answer = match received.target.as_str() {
            "/api/up/rubbish" => "what is this?\r\n\r\n",
            "/api/up/half" => "HTTP/1.1 200 OK\r\ncontent-le",
            "/api/up/error" => "HTTP/1.1 500 Broken\r\ncontent-length: 4\r\n\r\noops",
            "/api/up/401" => {
                "HTTP/1.1 401 No\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n"
            }
            _ => "",
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    let server = in_front_of(&upstream);
    let _log = server.log_on_failure();
    let mut browser = signed_in(&server);
    for path in ["rubbish", "half", "nothing"] {
        let answer = call(&mut browser, &server, "GET", &format!("/bff/api/up/{path}"));
        answer.refused(503, "temporarily_unavailable");
        assert!(answer.headers("set-cookie").is_empty(), "{path}");
    }
    // What it says itself is its own: an API's 500 and 401 sign nobody out.
    for (path, status) in [("error", 500), ("401", 401)] {
        let request = from_own_page(server.get(&format!("/bff/api/up/{path}")));
        let cookie = format!("cadence_bff={}", handle(&browser));
        let answer = request.header("cookie", &cookie).send_elsewhere();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("www-authenticate"), None, "no browser is asked for a token");
    }
    call(&mut browser, &server, "GET", "/bff/session").expect(200);
}

/// BF09: however many ask, in however many isolates, the refresh token is used once, and the handle
/// stays what it was.
#[test]
fn twenty_tabs_renew_once() {
    let twin = stack::free_port();
    let mut server = Server::start_tuned(|_| (), |edge| edge.twin_at(twin));
    let browser = signed_in(&server);
    let row = row(&browser);
    let cookies = browser.cookies().to_vec();
    drop(browser);
    for round in 1..=5 {
        make_due(&mut server, &row);
        let server = &server;
        let _log = server.log_on_failure();
        let cookie: Vec<String> =
            cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = cookie.join("; ");
        std::thread::scope(|scope| {
            for tab in 0..20 {
                let url = match tab % 2 {
                    0 => server.url.clone(),
                    _ => server.edge.as_ref().unwrap().twin_url(),
                };
                let request = Request::new("GET", format!("{url}/bff/api/me"));
                let request = from_own_page(request).header("cookie", &cookie);
                scope.spawn(move || {
                    let answer = request.send().expect(200);
                    assert!(answer.headers("set-cookie").is_empty(), "the handle stays");
                });
            }
        });
        assert_eq!(renewals(server, "renewed"), round);
    }
    assert_eq!(renewals(&server, "refused") + renewals(&server, "failed"), 0);
}

/// The same with twenty tabs of a real browser: each of them works, and none is signed out.
#[test]
fn twenty_tabs_of_a_browser_renew_once() {
    let mut server = Server::start_edge();
    let root = stack::root();
    let mut node = Command::new("node")
        .arg(root.join("tests/browser/tabs.mjs"))
        .args([&server.url, ALICE, ALICES_PASSWORD])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut output = BufReader::new(node.stdout.take().unwrap());
    let mut say = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("tabs.mjs said {line:?}"))
    };
    let handle = say()["handle"].as_str().unwrap().to_owned();
    make_due(&mut server, &row_of(&handle));
    let _log = server.log_on_failure();
    writeln!(node.stdin.as_mut().unwrap(), "go").unwrap();
    let told = say();
    assert!(node.wait().unwrap().success());
    assert_eq!(told["answers"], serde_json::json!(vec![200; 20]), "{told:#}");
    assert_eq!(told["handle"], handle, "the handle stays");
    assert_eq!(told["after"], serde_json::json!(vec![401; 20]), "one signs out, and all are");
    assert_eq!(renewals(&server, "renewed"), 1);
    assert_eq!(renewals(&server, "refused") + renewals(&server, "failed"), 0);
}

/// BF10: what is away ends no session; what is over does.
#[test]
fn an_outage_ends_no_session_and_a_revocation_does() {
    let mut server = Server::start_edge();
    let browser = signed_in(&server);
    let (row, cookies) = (row(&browser), browser.cookies().to_vec());
    drop(browser);
    let as_before = |server: &Server, method: &str, path: &str| {
        let mut browser = Browser::new(server);
        *browser.cookies_mut() = cookies.clone();
        call(&mut browser, server, method, path)
    };
    make_due(&mut server, &row);
    server.origin.kill();
    for (method, path) in [("GET", "/bff/session"), ("GET", "/bff/api/me"), ("POST", "/bff/logout")]
    {
        let answer = as_before(&server, method, path);
        answer.refused(503, "temporarily_unavailable");
        assert!(answer.headers("set-cookie").is_empty(), "the cookie stays: {answer:?}");
        assert!(answer.header("retry-after").is_some());
    }
    server.origin.restart();
    as_before(&server, "GET", "/bff/api/me").expect(200);
    assert_eq!(renewals(&server, "renewed"), 1);

    // Redis away in the middle of it.
    make_due(&mut server, &row);
    server.redis.as_ref().unwrap().signal("STOP");
    as_before(&server, "GET", "/bff/session").refused(503, "temporarily_unavailable");
    server.redis.as_ref().unwrap().signal("CONT");
    until("the session is back", || as_before(&server, "GET", "/bff/session").status == 200);

    // The grant goes: the session ends at the next question.
    let grant = redis(&server, &["HGET", &row, "grant_id"]);
    assert_eq!(redis(&server, &["DEL", &format!("cadence:grant:{{{grant}}}")]), ":1");
    make_due(&mut server, &row);
    let over = as_before(&server, "GET", "/bff/api/me");
    over.refused(401, "login_required");
    assert!(over.headers("set-cookie").is_empty(), "it may meet a newer cookie");
    assert_eq!(renewals(&server, "refused"), 1);
}

/// A renewal whose outcome was lost goes on from where it was, however late: nothing is presented
/// twice, and nobody is signed out.
#[test]
fn a_renewal_that_was_cut_short_is_resumed_after_the_grace() {
    let mut server = Server::start_edge();
    let browser = signed_in(&server);
    let (row, cookies) = (row(&browser), browser.cookies().to_vec());
    drop(browser);
    let fields = |server: &Server| -> Vec<String> {
        ["sealed", "renew_at"].map(|field| redis(server, &["HGET", &row, field])).to_vec()
    };
    let before = fields(&server);
    make_due(&mut server, &row);
    let ask = |server: &Server| {
        let mut browser = Browser::new(server);
        *browser.cookies_mut() = cookies.clone();
        call(&mut browser, server, "GET", "/bff/api/me")
    };
    ask(&server).expect(200);
    // As if the rotation had happened, and the answer to it had never been written down; again and
    // again, for each renewal begins where the one before was seen to have ended.
    let grant = format!("cadence:grant:{{{}}}", redis(&server, &["HGET", &row, "grant_id"]));
    let mut one_behind = before[0].clone();
    for renewed in 2..=4 {
        let newest = redis(&server, &["HGET", &row, "sealed"]);
        redis(&server, &["HSET", &row, "sealed", &one_behind, "renew_at", "1"]);
        redis(&server, &["HSET", &row, "renewal", "lost", "renewal_expires_at", "1"]);
        redis(&server, &["HSET", &grant, "rotated_at", "1"]);
        server.edge.as_mut().unwrap().restart();
        ask(&server).expect(200);
        assert_eq!(renewals(&server, "renewed"), renewed);
        assert_eq!(renewals(&server, "refused"), 0);
        one_behind = newest;
    }
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
        let began = Instant::now();
        until("the copy is refused", || {
            call(&mut copy, server, "GET", "/bff/api/me").status == 401
        });
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        // The login session is over as well: somebody would have to type a password.
        let login = sign_in(&mut browser, "/bff/login?prompt=none");
        assert!(login.location().ends_with("error=login_required"), "{login:?}");
        call(&mut copy, server, "POST", "/bff/logout").expect(204);
    }
}

#[test]
fn a_local_logout_leaves_the_login_alone() {
    let server = Server::edge();
    let mut browser = signed_in(server);
    call(&mut browser, server, "POST", "/bff/logout?local=maybe").refused(400, "invalid_request");
    call(&mut browser, server, "POST", "/bff/logout?local=true").expect(204);
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

/// BF11, ED09: two people never get each other's answers, however their requests interleave.
#[test]
fn two_people_never_see_each_other() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let other = server.new_user("bff");
    let mut second = Browser::new(server);
    let begun = second.open("/bff/login");
    let page = second.follow(begun);
    second.log_in(&page, &other, "a-passphrase-for-tests");
    let people: Vec<(String, Value)> = [signed_in(server), second]
        .into_iter()
        .map(|mut browser| {
            let sub = call(&mut browser, server, "GET", "/bff/session").json()["sub"].clone();
            (format!("cadence_bff={}", handle(&browser)), sub)
        })
        .collect();
    assert_ne!(people[0].1, people[1].1);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let people = &people;
            scope.spawn(move || {
                for round in 0..40 {
                    let (cookie, sub) = &people[(thread + round) % 2];
                    let path = ["/bff/session", "/bff/api/me"][round / 2 % 2];
                    let request = from_own_page(server.get(path)).header("cookie", cookie);
                    assert_eq!(request.send().expect(200).json()["sub"], *sub);
                }
            });
        }
    });
}

/// What the store holds of a session opens nothing.
#[test]
fn a_copy_of_the_store_holds_no_token() {
    let server = Server::edge();
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
