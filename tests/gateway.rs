//! The gateway: what reaches an upstream, and what comes back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::http::Request;
use crate::oauth::{Tokens, WEB};
use crate::scripted::{Received, Scripted, read_body, read_chunk, reply};
use crate::server::Server;

/// A system whose gateway leads to `upstream` at `/api/up`, without a scope.
pub(crate) fn in_front_of(upstream: &Scripted) -> (Server, Tokens) {
    let setting = format!(
        r#"[{{"prefix":"/api/up","url":"{}","audience":"https://api.example"}}]"#,
        upstream.url()
    );
    let server = Server::start_tuned(|_| (), |edge| edge.set("CADENCE_UPSTREAMS", &setting));
    let tokens = WEB.tokens(&server, "openid profile");
    (server, tokens)
}

/// Answers with what was sent.
fn echo(received: &Received, stream: &mut TcpStream) {
    let body = String::from_utf8_lossy(&received.body).into_owned();
    reply(
        stream,
        "200 OK",
        &[("content-type", "text/plain"), ("x-target", &received.target)],
        &body,
    );
}

/// Sends a request as it stands, and returns the whole answer.
fn raw(server: &Server, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        answer.extend(byte);
    }
    let head = String::from_utf8_lossy(&answer).to_lowercase();
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    let _ = stream.read_exact(&mut body);
    answer.extend(body);
    String::from_utf8_lossy(&answer).into_owned()
}

fn connect(server: &Server) -> TcpStream {
    let address = server.url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
fn requests_and_answers_pass_as_they_are() {
    let upstream = Scripted::start(echo);
    let (server, tokens) = in_front_of(&upstream);
    let _log = server.log_on_failure();
    for (method, path, body) in [
        ("GET", "/api/up", None),
        ("GET", "/api/up/a/b%20c?d=e%2Ff&g", None),
        ("POST", "/api/up/x", Some("text")),
        ("PUT", "/api/up/x", Some("")),
        ("PATCH", "/api/up/x", Some("{}")),
        ("DELETE", "/api/up/x/", None),
    ] {
        let mut request = server.request(method, path).bearer(&tokens.access);
        if let Some(body) = body {
            request = request.body("text/plain", body);
        }
        let answer = request.header("x-custom", "kept").send().expect(200);
        assert_eq!(answer.header("x-target"), Some(path), "{method}");
        assert_eq!(answer.body, body.unwrap_or_default(), "{method} {path}");
        let last = upstream.last();
        assert_eq!(last.method, method);
        assert_eq!(last.header("authorization"), [format!("Bearer {}", tokens.access)]);
        assert_eq!(last.header("x-custom"), ["kept"]);
    }
    server.request("HEAD", "/api/up").bearer(&tokens.access).send().expect(200);
    // What is the server's own is not the upstream's.
    let before = upstream.received().len();
    server.get("/api/me").bearer(&tokens.access).send().expect(200);
    server.get("/api/upx").bearer(&tokens.access).send().expect(404);
    assert_eq!(upstream.received().len(), before);
}

/// ED02, ED03, BF06: what only a proxy may say, what belongs to one connection, and the issuer's
/// cookies stay at the edge; what the edge knows is said by itself.
#[test]
fn no_header_pretends_to_be_the_edges() {
    let upstream = Scripted::start(echo);
    let (server, tokens) = in_front_of(&upstream);
    let _log = server.log_on_failure();
    let host = server.url.strip_prefix("http://").unwrap().to_owned();
    let answer = raw(
        &server,
        &format!(
            "GET /api/up HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
             Connection: close, X-Named, Authorization\r\nX-Named: 1\r\nTE: trailers\r\n\
             Cookie: cadence_session=x\r\nForwarded: for=192.0.2.9\r\nX-Forwarded-For: 192.0.2.9\r\n\
             X-Forwarded-Host: evil.example\r\nX_Forwarded_Proto: https\r\nX-Real-IP: 192.0.2.9\r\n\
             True-Client-IP: 192.0.2.9\r\nCF-Connecting-IP: 192.0.2.9\r\nX-Auth-User: root\r\n\
             X_Auth_User: root\r\nProxy-Authorization: Basic x\r\nCadence-Edge: v1\r\n\
             X-WebAuth-Groups: admin\r\nRemote-Groups: admin\r\nX-Remote-Group: admin\r\n\
             X-Originating-IP: 192.0.2.9\r\nProxy: http://evil.example\r\n\
             WL-Proxy-Client-IP: 192.0.2.9\r\nFastly-Client-IP: 192.0.2.9\r\n\
             X-Azure-ClientIP: 192.0.2.9\r\nX-Amzn-Oidc-Data: x\r\n\
             X-Goog-Authenticated-User-Email: root\r\nX-MS-CLIENT-PRINCIPAL: x\r\n\
             X-HTTP-Method: DELETE\r\nX-Method-Override: DELETE\r\n\
             X-Original-URL: /admin\r\nX-Request-Id: mine\r\nX-Custom: kept\r\n\r\n",
            tokens.access
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let last = upstream.last();
    let allowed = [
        "authorization",
        "x-custom",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
        "host",
        "accept-encoding",
        "user-agent",
        "connection",
        "content-length",
        "cache-control",
        "pragma",
    ];
    for name in last.names() {
        assert!(allowed.contains(&name.as_str()), "{name}: {last:?}");
    }
    assert_eq!(last.header("x-forwarded-host"), [host.as_str()]);
    assert_eq!(last.header("x-forwarded-proto"), ["http"]);
    assert_eq!(last.header("authorization").len(), 1);
    assert_ne!(last.header("x-request-id"), ["mine"]);
    // No cache of the platform may answer one user with what another was told.
    assert_eq!(last.header("cache-control"), ["no-cache"]);
    // Nobody vouches for an address outside of the platform, so none is said.
    assert!(last.header("x-forwarded-for").is_empty());
}

/// ED05, BF05: no path leads anywhere else than it says.
#[test]
fn no_path_leads_elsewhere() {
    let upstream = Scripted::start(echo);
    let (server, tokens) = in_front_of(&upstream);
    let _log = server.log_on_failure();
    let host = server.url.strip_prefix("http://").unwrap();
    for path in [
        "/api/up/../admin",
        "/api/up/%2e%2e/admin",
        "/api/up/.%2e/admin",
        "/api/up/..;/admin",
        "/api/up/%2e%2e;/admin",
        "/api/up/..%2fadmin",
        "/api/up/..%5cadmin",
        "/api/up/..\\admin",
        "/api/up//admin",
        "/api/up/%252e%252e/admin",
        "/api/up/%00",
        "/api/up/%0d%0aX: y",
        "/api/up/%zz",
        "/api/up/a%23b",
        "/api/up/a%3fb",
        "/api/up%2f..%2fadmin",
        "//api/up",
        "/x/../api/up/../../admin",
        "/api/%75p",
        "/api/UP",
        "/api/up/a;v=1",
        "/api/up/%61dmin",
        "/api/up/%c0%ae%c0%ae/admin",
        "/api/up/x%c0%afy",
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n\r\n",
            tokens.access
        );
        let answer = raw(&server, &request);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(matches!(status, "400" | "404"), "{path}: {answer}");
    }
    let with_body = format!(
        "GET /api/up HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 1\r\n\
         Authorization: Bearer {}\r\n\r\nx",
        tokens.access
    );
    assert!(raw(&server, &with_body).starts_with("HTTP/1.1 400"), "a body where there is none");
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
    // A query is nobody's path.
    server.get("/api/up?../../admin#x").bearer(&tokens.access).send().expect(200);
    assert_eq!(upstream.last().target, "/api/up?../../admin");
}

#[test]
fn what_an_upstream_says_is_passed_on_but_for_what_is_the_issuers() {
    let upstream = Scripted::start(|received, stream| match received.target.as_str() {
        "/api/up/redirect" => {
            reply(stream, "302 Found", &[("location", "http://127.0.0.1:1/elsewhere")], "");
        }
        "/api/up/broken" => reply(stream, "500 Internal Server Error", &[], "its own affair"),
        "/api/up/named" => {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nconnection: close, X-Named\r\nx-named: 1\r\nx-custom: kept\r\n\
                  content-length: 0\r\n\r\n",
            );
        }
        "/api/up/nothing" => {
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
        _ => reply(
            stream,
            "200 OK",
            &[
                ("set-cookie", "theme=dark; Path=/"),
                ("set-cookie", "cadence_session=stolen; Path=/"),
                ("set-cookie", "__Host-cadence_session=stolen; Path=/; Secure"),
                ("cache-control", "public, max-age=600"),
                ("access-control-allow-origin", "*"),
                ("clear-site-data", "\"*\""),
                ("vary", "Accept"),
                ("server", "nginx"),
                ("via", "1.1 proxy"),
                ("etag", "\"e\""),
            ],
            "hello",
        ),
    });
    let (server, tokens) = in_front_of(&upstream);
    let _log = server.log_on_failure();
    // These answers are the upstream's own, so they are looked at as they come.
    let ask = |path: &str| {
        let host = "Host: x\r\nConnection: close";
        raw(
            &server,
            &format!(
                "GET {path} HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {}\r\n\r\n",
                tokens.access
            ),
        )
    };
    let header = |answer: &str, name: &str| -> Vec<String> {
        let same = |line: &&str| line.to_lowercase().starts_with(&format!("{name}: "));
        let lines = answer.lines().filter(same);
        lines.filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect()
    };
    let answer = ask("/api/up");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert_eq!(header(&answer, "set-cookie"), ["theme=dark; Path=/"], "{answer}");
    assert_eq!(header(&answer, "cache-control"), ["private, no-store"]);
    assert_eq!(header(&answer, "etag"), ["\"e\""]);
    assert_eq!(header(&answer, "vary").join(", ").to_lowercase(), "accept, origin");
    for name in ["server", "via", "access-control-allow-origin", "clear-site-data"] {
        assert!(header(&answer, name).is_empty(), "{name}: {answer}");
    }
    let redirect = ask("/api/up/redirect");
    assert_eq!(header(&redirect, "location"), ["http://127.0.0.1:1/elsewhere"], "{redirect}");
    assert_eq!(upstream.last().target, "/api/up/redirect", "it was not followed");
    assert!(ask("/api/up/nothing").starts_with("HTTP/1.1 204"));
    let broken = ask("/api/up/broken");
    assert!(broken.starts_with("HTTP/1.1 500") && broken.ends_with("its own affair"), "{broken}");
    let named = ask("/api/up/named");
    assert_eq!(header(&named, "x-custom"), ["kept"], "{named}");
    assert!(header(&named, "x-named").is_empty(), "it belongs to one connection: {named}");
}

/// ED03: what belongs to one connection stays at the edge, however much of it there is.
#[test]
fn a_connection_header_may_name_thousands() {
    let upstream = Scripted::start(echo);
    let (server, tokens) = in_front_of(&upstream);
    let _log = server.log_on_failure();
    let names: Vec<String> = (0..1_500).map(|number| format!("x{number}")).collect();
    let (connection, fields) = (names.join(", "), names.join(": 1\r\n"));
    let request = format!(
        "GET /api/up HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Connection: close, {connection}\r\n{fields}: 1\r\nx-custom: kept\r\n\r\n",
        tokens.access
    );
    let answer = raw(&server, &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let last = upstream.last();
    assert_eq!(last.header("x-custom"), ["kept"]);
    assert!(!last.names().iter().any(|name| names.contains(name)), "{last:?}");
}

#[test]
fn an_upstream_that_is_away_is_503() {
    let upstream = Scripted::start(|received, stream| {
        if received.target == "/api/up/half" {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        }
    });
    let (server, tokens) = in_front_of(&upstream);
    let answer = server.get("/api/up").bearer(&tokens.access).send();
    answer.refused(503, "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
    // An answer that has begun can only break off.
    let half = server.get("/api/up/half").bearer(&tokens.access).try_send();
    assert!(half.is_err(), "{half:?}");
    drop(upstream);
    server.get("/api/up").bearer(&tokens.access).send().refused(503, "temporarily_unavailable");
}

/// Both bodies are streams: each part arrives before the next one is sent.
#[test]
fn bodies_stream_both_ways() {
    let (sent, arrived) = mpsc::channel::<Vec<u8>>();
    let sent = std::sync::Mutex::new(sent);
    let (goes_on, waits) = mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    let upstream = Scripted::start_raw(move |head, reader, stream| {
        if head.target == "/api/up/down" {
            read_body(head, reader);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\
                  transfer-encoding: chunked\r\n\r\n",
            );
            for number in 0..3 {
                let event = format!("data: {number}\n\n");
                let _ = stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
                // The next one only when this one has arrived.
                let _ = waits.lock().unwrap().recv_timeout(Duration::from_secs(10));
            }
            let _ = stream.write_all(b"0\r\n\r\n");
        } else {
            while let Some(chunk) = read_chunk(reader) {
                sent.lock().unwrap().send(chunk).unwrap();
            }
            reply(stream, "200 OK", &[], "all");
        }
    });
    let (server, tokens) = in_front_of(&upstream);
    let _log = server.log_on_failure();
    let head = |method: &str, path: &str, rest: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n{rest}\r\n",
            tokens.access
        )
    };

    let mut stream = connect(&server);
    stream.write_all(head("GET", "/api/up/down", "").as_bytes()).unwrap();
    let began = Instant::now();
    let mut events = 0;
    for line in BufReader::new(&mut stream).lines().map_while(Result::ok) {
        if line.starts_with("data:") {
            events += 1;
            goes_on.send(()).unwrap();
        }
    }
    assert_eq!(events, 3);
    assert!(began.elapsed() < Duration::from_secs(10), "none waited for the next one");

    let mut stream = connect(&server);
    let rest = "Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\n";
    stream.write_all(head("POST", "/api/up/rise", rest).as_bytes()).unwrap();
    for part in ["first", "second"] {
        stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).unwrap();
        let chunk = arrived.recv_timeout(Duration::from_secs(5)).expect("it arrives at once");
        assert_eq!(chunk, part.as_bytes());
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("all"), "{answer}");
}

/// More than any form may have: nothing of it is kept at the edge.
#[test]
fn a_large_body_passes() {
    let upstream = Scripted::start(|received, stream| {
        let length = received.body.len().to_string();
        reply(stream, "200 OK", &[], &length);
    });
    let (server, tokens) = in_front_of(&upstream);
    let body = vec![b'x'; 8 * 1024 * 1024];
    let request = server.post("/api/up").bearer(&tokens.access).body("text/plain", body);
    assert_eq!(request.send().expect(200).body, "8388608");
}

/// Browsers of registered origins may call, with what APIs need.
#[test]
fn preflights_are_answered_at_the_edge() {
    let upstream = Scripted::start(echo);
    let (server, tokens) = in_front_of(&upstream);
    let preflight = |origin: &str| {
        let request = server.request("OPTIONS", "/api/up/1").header("origin", origin);
        request.header("access-control-request-method", "PATCH").send().expect(204)
    };
    let answer = preflight("https://spa.example");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://spa.example"));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(preflight("https://evil.example").header("access-control-allow-origin"), None);
    assert!(upstream.received().is_empty());
    let call = server.get("/api/up").bearer(&tokens.access).header("origin", "https://spa.example");
    let answer = call.send().expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://spa.example"));
}

/// The example API behind the gateway, and by itself: both check the same token, and both refuse it
/// once it is revoked.
#[test]
fn the_example_api_checks_tokens_by_itself() {
    let port = stack::free_port();
    let setting = format!(
        r#"[{{"prefix":"/api/notes","url":"http://127.0.0.1:{port}","scope":"notes:read","audience":"https://notes.example.test"}}]"#
    );
    let server = Server::start_tuned(|_| (), |edge| edge.set("CADENCE_UPSTREAMS", &setting));
    let _log = server.log_on_failure();
    let folder = tempfile::tempdir().unwrap();
    let program = &stack::artifacts().example_api;
    let _api = stack::start_api(program, &server.url, port, &folder.path().join("api.log"));
    crate::server::until("the API listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let token = |scope: &str| {
        let form = [
            ("grant_type", "password"),
            ("username", crate::oauth::ALICE),
            ("password", crate::oauth::ALICES_PASSWORD),
            ("scope", scope),
        ];
        let request = server.post("/oauth2/token").basic("demo-cli", "demo-cli-secret");
        Tokens::of(&request.form(&form).send())
    };
    let tokens = token("notes:read notes:write offline_access");
    let direct = format!("http://127.0.0.1:{port}");
    for url in [&server.url, &direct] {
        let ask = |method: &str, path: &str| {
            Request::new(method, format!("{url}{path}")).bearer(&tokens.access)
        };
        let send = |request: Request| {
            if url == &server.url { request.send() } else { request.send_elsewhere() }
        };
        let note =
            send(ask("POST", "/api/notes").body("application/json", r#"{"text":"buy milk"}"#));
        assert!(matches!(note.status, 200 | 201), "{note:?}");
        assert!(send(ask("GET", "/api/notes")).expect(200).body.contains("buy milk"));
        let events = send(ask("GET", "/api/notes/events")).expect(200);
        assert!(events.body.matches("data:").count() >= 3, "{events:?}");
        let absent = send(Request::new("GET", format!("{url}/api/notes")));
        absent.expect(401);
        let bare = WEB.tokens(&server, "openid");
        let other = Request::new("GET", format!("{url}/api/notes")).bearer(&bare.access);
        send(other).expect(401);
    }
    let revoke = server.post("/oauth2/revoke").basic("demo-cli", "demo-cli-secret");
    revoke.form(&[("token", &tokens.refresh)]).send().expect(200);
    for url in [&server.url, &direct] {
        crate::server::until("the revocation is seen", || {
            let ask = Request::new("GET", format!("{url}/api/notes"));
            ask.bearer(&tokens.access).send_elsewhere().status == 401
        });
    }
}
