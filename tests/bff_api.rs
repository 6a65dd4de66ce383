//! The backend-for-frontend's API calls: which paths lead where, with whose credentials, and what comes
//! back.

use std::io::Write as _;

use crate::bff::{call, from_own_page, handle, signed_in};
use crate::http::Request;
use crate::scripted::{Received, Scripted, reply};
use crate::server::Server;
use crate::wire::{self, Connection};

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

/// BF05: what a path says twice, in a way that parsers read differently, leads nowhere else.
#[test]
fn no_path_of_the_browser_leads_elsewhere() {
    let upstream = Scripted::start(echo);
    let server = in_front_of(&upstream);
    let _log = server.log_on_failure();
    let browser = signed_in(&server);
    let cookie = format!("cadence_bff={}", handle(&browser));
    for target in [
        "/bff/api/../hidden",
        "/bff/api/up/../hidden",
        "/bff/api/up/../../../internal/clients",
        "/bff/api/./hidden",
        "/bff/api/up/..;/hidden",
        "/bff/api/up/..%2fhidden",
        "/bff/api/up/%2e%2e/hidden",
        "/bff/api/up/%2e%2e%2fhidden",
        "/bff/api/up/%252e%252e/hidden",
        "/bff/api/up/..%5chidden",
        "/bff/api/up\\..\\hidden",
        "/bff/api//evil.example/up",
        "/bff/api/@evil.example/up",
        "/bff/api/up@evil.example",
        "/bff/api%2fup",
        "/bff/api/%75p",
        "/bff/api/UP",
        "/bff/api/up%00",
        "/bff/api/up%23/../hidden",
        "/bff/api/hidden#/api/up",
        "/bff/api/hidden?/api/up",
        "/bff/api/hidden;/api/up",
        "/bff/api/evil.example%2fup",
        "/bff/api/http://evil.example/api/up",
        "//bff/api/up",
        "/bff/./api/hidden",
    ] {
        let request = from_own_page(Request::new("GET", format!("{}{target}", server.url)));
        let request = request.header("cookie", &cookie).header("x-forwarded-uri", "/bff/api/up");
        let request = request.header("x-original-url", "/bff/api/up");
        let mut connection = Connection::open(&server.url);
        connection.write(&wire::bytes(&request));
        let answer = connection.read(&request);
        assert!(matches!(answer.status, 400 | 404), "{target}: {answer:?}");
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
    // A fragment never leaves a browser; a query is nobody's path.
    for (target, arrives_as) in [
        ("/bff/api/up?/../hidden", "/api/up?/../hidden"),
        ("/bff/api/up?a=//evil.example", "/api/up?a=//evil.example"),
    ] {
        let request = from_own_page(Request::new("GET", format!("{}{target}", server.url)));
        let request = request.header("cookie", &cookie);
        let mut connection = Connection::open(&server.url);
        connection.write(&wire::bytes(&request));
        connection.read(&request).expect(200);
        assert_eq!(upstream.last().target, arrives_as);
    }
}

/// An upstream that answers rubbish, or not at all, is 503 with the session unharmed.
#[test]
fn an_upstream_that_answers_rubbish_harms_no_session() {
    let upstream = Scripted::start(|received: &Received, stream: &mut std::net::TcpStream| {
        let answer = match received.target.as_str() {
            "/api/up/rubbish" => "what is this?\r\n\r\n",
            "/api/up/half" => "HTTP/1.1 200 OK\r\ncontent-le",
            "/api/up/error" => {
                "HTTP/1.1 500 Broken\r\nconnection: close\r\ncontent-length: 4\r\n\r\noops"
            }
            "/api/up/401" => {
                "HTTP/1.1 401 No\r\nconnection: close\r\nwww-authenticate: Bearer\r\n\
                 content-length: 0\r\n\r\n"
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
