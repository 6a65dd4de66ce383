//! Headers in which a client speaks for somebody else: a proxy, the edge, the server itself. None of
//! them is believed. RFC 9110 §7.2, §7.6.1; RFC 9700 §4.13.

use crate::browser::{Browser, Form, text};
use crate::http::{Answer, Request};
use crate::oauth::{ALICE, ALICES_PASSWORD, OWN, Tokens, WEB, own_tokens};
use crate::scripted::{Scripted, reply};
use crate::server::Server;
use crate::wire::{self, Connection};

/// HT17: whatever a request says its host is, every URL is the issuer's.
#[track_caller]
fn names_nobody_else(server: &Server, told: &str) {
    assert!(!told.contains("evil.example"), "{told}");
    for url in told.split('"').filter(|text| text.starts_with("http")) {
        assert!(url.starts_with(&server.url), "{url}: {told}");
    }
}

/// What proxies and platforms say about a client, or of whom they have let in.
const PRETENDED: [(&str, &str); 24] = [
    ("X-Forwarded-For", "192.0.2.66"),
    ("x-FORWARDED-for", "192.0.2.66, 192.0.2.67"),
    ("X_Forwarded_For", "192.0.2.66"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Uri", "/api/me"),
    ("X-Forwarded-User", ALICE),
    ("Forwarded", "for=192.0.2.66"),
    ("Forwarded", "for=\"[2001:db8::66]\";by=x"),
    ("CF-Connecting-IP", "192.0.2.66"),
    ("cf-connecting-ip", "192.0.2.67"),
    ("CF-Connecting-IPv6", "2001:db8::66"),
    ("CF_Connecting_IP", "192.0.2.66"),
    ("CF-Worker", "evil.example"),
    ("True-Client-IP", "192.0.2.66"),
    ("X-Real-IP", "192.0.2.66"),
    ("X-Client-IP", "192.0.2.66"),
    ("X-Auth-User", ALICE),
    ("X_Auth_User", ALICE),
    ("x-AUTH-user", ALICE),
    ("Remote-User", ALICE),
    ("X-Remote-User", ALICE),
    ("Cadence_Edge", "v1;1800000000;AAAAAAAAAAAAAAAAAAAAAA;192.0.2.66;AAAA"),
    ("X-Original-Method", "DELETE"),
];

fn pretend(request: Request) -> Request {
    PRETENDED.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// Sends a request as it is spelled.
fn by_hand(server: &Server, request: &Request) -> crate::http::Answer {
    let mut connection = Connection::open(&server.url);
    connection.write(&wire::bytes(request));
    connection.read(request)
}

/// Signs a new user in with a form that comes with `headers`, and returns what the account page says
/// about where that was.
fn where_from(server: &Server, headers: impl Fn(Request) -> Request) -> String {
    let name = server.new_user("somewhere");
    let mut browser = Browser::new(server);
    let answer = browser.open("/account");
    let page = browser.follow(answer).expect(200);
    let form = Form::of(&page).with("username", &name).with("password", "a-passphrase-for-tests");
    let request = headers(browser.unsent(&form).header("origin", &server.url));
    let answer = browser.send(request);
    let page = browser.follow(answer).expect(200);
    text(&page, ".entries")
}

scenarios! { doors:
    /// ED02: who connects is whom the socket names, at the origin; a bare workerd names nobody.
    fn nobody_says_where_he_comes_from(server) {
        let told = where_from(server, pretend);
        assert!(!told.contains("192.0.2.") && !told.contains("2001:"), "{told}");
        assert_eq!(told.contains("From 127.0.0.1"), server.edge.is_none(), "{told}");
    }

    /// ED02: nobody says who he is, but by a token.
    fn nobody_says_who_he_is(server) {
        for path in ["/oauth2/userinfo", "/api/me"] {
            let answer = by_hand(server, &pretend(server.get(path)));
            assert_eq!(answer.status, 401, "{answer:?}");
            let plain = server.get(path).send();
            assert_eq!((&answer.body, answer.header_names()), (&plain.body, plain.header_names()));
        }
        let tokens = WEB.tokens(server, "openid");
        let sub = crate::oauth::jwt_part(&tokens.access, 1)["sub"].clone();
        let answer = by_hand(server, &pretend(server.get("/oauth2/userinfo").bearer(&tokens.access)));
        assert_eq!(answer.expect(200).json()["sub"], sub);
        // What looks like the edge's own header, and is not, is nothing at the edge.
        let own = server.get("/oauth2/userinfo").bearer(&tokens.access).header("Cadence-Edge", "x");
        let answer = by_hand(server, &own);
        assert_eq!(answer.status, if server.edge.is_some() { 200 } else { 403 }, "{answer:?}");
    }

    /// ED03: naming a header in `Connection` takes nothing away from the request; what asks for
    /// another protocol gets none.
    fn hop_by_hop_headers_take_nothing_away(server) {
        let tokens = WEB.tokens(server, "openid");
        let sub = crate::oauth::jwt_part(&tokens.access, 1)["sub"].clone();
        for headers in [
            &[("connection", "Authorization")][..],
            &[("connection", "authorization, keep-alive")],
            &[("connection", "cadence-edge, close")],
            &[("connection", "X-Request-Id"), ("x-request-id", "chosen-by-a-stranger")],
            &[("connection", "Cookie, Content-Length, Host")],
            &[("te", "trailers"), ("connection", "TE")],
            &[("proxy-authorization", "Basic eDp5"), ("proxy-connection", "keep-alive")],
            &[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")],
            &[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")],
            &[("keep-alive", "timeout=99999")],
        ] {
            let request = server.get("/oauth2/userinfo").bearer(&tokens.access);
            let request = headers.iter().fold(request, |it, (name, value)| it.header(name, value));
            let mut connection = Connection::open(&server.url);
            connection.write(&wire::bytes(&request));
            let answer = connection.read(&request).expect(200);
            assert_eq!(answer.json()["sub"], sub, "{headers:?}");
            assert_ne!(answer.header("x-request-id"), Some("chosen-by-a-stranger"));
        }
        // A token that is only promised opens nothing.
        let request = server.get("/oauth2/userinfo").header("connection", "Authorization");
        request.send().expect(401);
    }

    /// HT17, with RFC 9112 §3.2: discovery, authorize, login, logout.
    fn a_host_that_lies_changes_nothing(server) {
        let authorize = format!("/oauth2/authorize?{}", WEB.authorization("openid").query());
        let logout = "/oauth2/logout?client_id=web&post_logout_redirect_uri=https://evil.example/";
        for path in [
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
            authorize.as_str(),
            logout,
            "/oauth2/login?tx=AAAAAAAAAAAAAAAAAAAAAA",
            "/account",
        ] {
            let lies = |request: Request| {
                [
                    ("forwarded", "for=1.2.3.4;host=evil.example;proto=https"),
                    ("x-forwarded-host", "evil.example"),
                    ("x-forwarded-server", "evil.example"),
                    ("x-host", "evil.example"),
                    ("x-original-host", "evil.example"),
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-port", "8443"),
                    ("x-forwarded-prefix", "/evil.example"),
                    ("x-original-url", "/evil.example"),
                    ("x-rewrite-url", "/evil.example"),
                    ("x-http-method-override", "PUT"),
                ]
                .into_iter()
                .fold(request, |it, (name, value)| it.header(name, value))
            };
            let plain = server.get(path).send();
            let proxied = lies(server.get(path)).send();
            let hosted = server.get(path).header("host", "evil.example").send();
            for answer in [&plain, &proxied, &hosted] {
                assert_eq!(answer.status, plain.status, "{answer:?}");
                let location = answer.header("location").unwrap_or_default();
                names_nobody_else(server, location);
                if !answer.is_html() {
                    names_nobody_else(server, &answer.body);
                }
                assert!(!answer.body.contains("evil.example"), "{answer:?}");
            }
            // The target can name a host as well (absolute-form), which the platform of the edge
            // cannot read.
            let mut connection = Connection::open(&server.url);
            let line = format!("GET http://evil.example{path} HTTP/1.1\r\nHost: evil.example");
            connection.try_write(format!("{line}\r\n\r\n").as_bytes());
            let (told, _) = connection.rest();
            let status = if server.edge.is_some() { 500 } else { plain.status };
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {told}");
            assert!(!told.contains("//evil.example"), "{told}");
        }
    }
}

/// ED02: behind a platform that is trusted, its own header counts, and no other.
#[test]
fn the_platforms_own_header_counts() {
    let server = Server::start_anywhere(stack::Backing::Redis);
    let told = where_from(&server, |request| {
        let others =
            PRETENDED.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("cf-connecting-ip"));
        let request = others.fold(request, |request, (name, value)| request.header(name, value));
        request.header("cf-connecting-ip", "198.51.100.5")
    });
    assert!(told.contains("From 198.51.100.5"), "{told}");
    // Two of them name nobody.
    let told = where_from(&server, pretend);
    assert!(!told.contains("From "), "{told}");
}

/// G6, BF01: where the issuer is an https one, every answer says that its host is reached by nothing
/// else, whatever was asked, and every cookie is this host's alone, and for https.
#[test]
fn with_https_answers_and_cookies_say_so() {
    const ISSUER: &str = "https://id.example";
    let upstream = Scripted::start(|_, stream| {
        reply(stream, "200 OK", &[("strict-transport-security", "max-age=0")], "hello");
    });
    let upstreams =
        format!(r#"[{{"prefix":"/api/up","url":"{}","audience":"{ISSUER}"}}]"#, upstream.url());
    let mut server = Server::start_edge();
    server.origin.set("CADENCE_ISSUER", ISSUER);
    server.origin.restart();
    let edge = server.edge.as_mut().unwrap();
    edge.set("CADENCE_ISSUER", ISSUER);
    edge.set("CADENCE_UPSTREAMS", &upstreams);
    edge.restart();
    for url in [&server.url, &server.origin.url()] {
        let ask = |method: &str, path: &str| Request::new(method, format!("{url}{path}"));
        let tokens = |pairs: &[(&str, &str)]| OWN.sign(ask("POST", "/oauth2/token"), pairs);
        let guess = [("grant_type", "password"), ("username", ALICE), ("password", "a-guess")];
        let too_long = "x".repeat(65 * 1_024);
        let too_long =
            ask("POST", "/oauth2/token").body("application/x-www-form-urlencoded", too_long);
        let preflight = ask("OPTIONS", "/oauth2/token").header("origin", "https://spa.example");
        for (status, request) in [
            (200, ask("GET", "/healthz")),
            (200, ask("GET", "/readyz")),
            (200, ask("GET", "/.well-known/openid-configuration")),
            (200, ask("GET", "/oauth2/jwks")),
            (204, preflight.header("access-control-request-method", "POST")),
            (400, ask("GET", "/oauth2/authorize")),
            (400, tokens(&[("grant_type", "implicit")])),
            (400, tokens(&guess)),
            (401, ask("GET", "/oauth2/userinfo")),
            (401, ask("POST", "/oauth2/introspect").form(&[("token", "x")])),
            (404, ask("GET", "/oauth2/nothing")),
            (405, ask("PUT", "/oauth2/token")),
            (413, too_long),
        ] {
            is_reached_by_https_alone(&request.send().expect(status));
        }
        let sign_in = format!("/oauth2/authorize?{}", WEB.authorization("openid").query());
        has_cookies_for_https_alone(&ask("GET", &sign_in).send());
    }
    has_cookies_for_https_alone(&server.get("/bff/login").send());
    // An upstream does not speak for the issuer's host.
    let tokens = Tokens::of(&own_tokens(&server, ALICE, ALICES_PASSWORD));
    let answer = server.get("/api/up").bearer(&tokens.access).send().expect(200);
    assert_eq!(answer.body, "hello");
    is_reached_by_https_alone(&answer);
    is_reached_by_https_alone(&server.get("/api/up").send().expect(401));
}

#[track_caller]
fn is_reached_by_https_alone(answer: &Answer) {
    let secure = answer.header("strict-transport-security");
    assert_eq!(secure, Some("max-age=63072000; includeSubDomains"), "{answer:?}");
}

#[track_caller]
fn has_cookies_for_https_alone(answer: &Answer) {
    let cookies = answer.headers("set-cookie");
    assert!(!cookies.is_empty(), "{answer:?}");
    for cookie in cookies {
        assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure"), "{answer:?}");
    }
    is_reached_by_https_alone(answer);
}
