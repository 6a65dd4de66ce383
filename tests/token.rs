//! `POST /oauth2/token`: RFC 6749 §5.2, and the hygiene of its requests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use crate::bearer::is_at_once;
use crate::http::query;
use crate::oauth::{ALICE, ALICES_PASSWORD, OTHER, Tokens, VERIFIER, WEB, own_tokens};
use crate::server::Server;
use crate::wire::Connection;

const OWN_FORM: [(&str, &str); 4] = [
    ("grant_type", "password"),
    ("username", "nobody@example.test"),
    ("password", "not-the-password"),
    ("scope", "openid"),
];

scenarios! { doors:
    /// HT13: every row of RFC 6749 §5.2.
    fn every_row_of_rfc_6749_5_2_can_be_had(server) {
        let web = |form: &[(&str, &str)]| WEB.sign(server.post("/oauth2/token"), form).send();
        let own = |form: &[(&str, &str)]| {
            server.post("/oauth2/token").basic("own", "own-secret-0123456789").form(form).send()
        };
        web(&[]).refused(400, "invalid_request");
        web(&[("grant_type", "")]).refused(400, "invalid_request");
        web(&[("grant_type", "authorization_code")]).refused(400, "invalid_request");
        web(&[("grant_type", "refresh_token")]).refused(400, "invalid_request");
        own(&[("grant_type", "password"), ("username", ALICE)]).refused(400, "invalid_request");
        own(&[("grant_type", "password"), ("password", "x")]).refused(400, "invalid_request");
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", "x")];
        let wrong = server.post("/oauth2/token").basic("web", "wrong").form(&OWN_FORM).send();
        wrong.refused(401, "invalid_client");
        assert!(wrong.header("www-authenticate").unwrap().starts_with("Basic "), "{wrong:?}");
        web(&refresh).refused(400, "invalid_grant");
        own_tokens(server, ALICE, "wrong").refused(400, "invalid_grant");
        web(&OWN_FORM).refused(400, "unauthorized_client");
        own(&[("grant_type", "authorization_code"), ("code", &"A".repeat(76))])
            .refused(400, "invalid_grant");
        let scope = [&OWN_FORM[..3], &[("scope", "openid admin")]].concat();
        own(&scope).refused(400, "invalid_scope");
        for unknown in [
            "implicit",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "Password",
            "password ",
            "é",
        ] {
            web(&[("grant_type", unknown)]).refused(400, "unsupported_grant_type");
            let anonymous = server.post("/oauth2/token").form(&[("grant_type", unknown)]).send();
            anonymous.refused(400, "unsupported_grant_type");
        }
    }

    /// HT01.
    fn other_methods_are_refused(server) {
        for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
            for path in ["/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"] {
                let answer = server.request(method, path).send().expect(405);
                assert_eq!(answer.header("allow"), Some("POST"), "{method} {path}");
            }
        }
    }

    /// HT02.
    fn only_a_form_in_utf_8_is_read(server) {
        let body = query(&OWN_FORM);
        let send = |content_type: &str| {
            server
                .post("/oauth2/token")
                .basic("own", "own-secret-0123456789")
                .body(content_type, body.clone())
                .send()
        };
        for good in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded;charset=UTF-8",
            "application/x-www-form-urlencoded; charset=\"utf-8\"",
            "Application/X-WWW-Form-Urlencoded",
        ] {
            send(good).refused(400, "invalid_grant");
        }
        for bad in [
            "application/json",
            "multipart/form-data; boundary=x",
            "text/plain",
            "application/json, application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded, application/json",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=\"utf-16\"",
            "application/x-www-form-urlencoded; charset=iso-8859-1",
            "application/x-www-form-urlencoded; charset=utf-8; charset=utf-16",
            "application/x-www-form-urlencoded+json",
            "x",
        ] {
            send(bad).refused(400, "invalid_request");
        }
        let untyped = server
            .post("/oauth2/token")
            .basic("own", "own-secret-0123456789")
            .untyped_body(body.clone())
            .send();
        untyped.refused(400, "invalid_request");
        let twice = server
            .post("/oauth2/token")
            .basic("own", "own-secret-0123456789")
            .body("application/json", body.clone())
            .header("content-type", "application/x-www-form-urlencoded");
        twice.send().refused(400, "invalid_request");
    }

    /// HT03: each parameter once.
    fn repeated_parameters_are_refused(server) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("redirect_uri", WEB.redirect_uri),
            ("code_verifier", VERIFIER),
            ("refresh_token", "x"),
            ("scope", "openid"),
            ("username", "x"),
            ("password", "x"),
            ("client_id", "web"),
            ("client_secret", "x"),
            ("client_assertion", "x"),
            ("client_assertion_type", "x"),
        ];
        for repeated in form {
            let twice = [&form[..], &[repeated]].concat();
            let answer = WEB.sign(server.post("/oauth2/token"), &twice).send();
            answer.refused(400, "invalid_request");
            let different = [&form[..], &[(repeated.0, "different")]].concat();
            let answer = WEB.sign(server.post("/oauth2/token"), &different).send();
            answer.refused(400, "invalid_request");
            // RFC 6749 §3.2: one without a value is as if it were not there, but it is there.
            let empty = [&[(repeated.0, "")], &form[..]].concat();
            let answer = WEB.sign(server.post("/oauth2/token"), &empty).send();
            answer.refused(400, "invalid_request");
        }
    }

    /// HT04, CA08, PW12: what stands in the query does not count, and secrets there are refused.
    fn parameters_belong_into_the_body(server) {
        let send = |query: &str, form: &[(&str, &str)]| {
            WEB.sign(server.post(&format!("/oauth2/token?{query}")), form).send()
        };
        send("grant_type=refresh_token", &[]).refused(400, "invalid_request");
        let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
        send("grant_type=implicit&scope=admin", &form).refused(400, "invalid_grant");
        for name in ["client_secret", "password", "code", "refresh_token", "code_verifier"] {
            send(&format!("{name}=x"), &form).refused(400, "invalid_request");
        }
        // PW12: nobody is logged in by a query, whole or by half.
        let own = |query: &str, form: &[(&str, &str)]| {
            let request = server.post(&format!("/oauth2/token?{query}"));
            request.basic("own", "own-secret-0123456789").form(form).send()
        };
        let (name, word) = (("username", ALICE), ("password", ALICES_PASSWORD));
        let grant = ("grant_type", "password");
        own(&query(&[name, word]), &[grant]).refused(400, "invalid_request");
        own(&query(&[grant, name, word]), &[]).refused(400, "invalid_request");
        own(&query(&[word]), &[grant, name]).refused(400, "invalid_request");
        own(&query(&[name]), &[grant, word]).refused(400, "invalid_request");
        own(&query(&[name, word]), &[grant, name, word]).refused(400, "invalid_request");
    }

    /// HT05, HT07.
    fn malformed_forms_are_refused(server) {
        let send = |body: &[u8]| {
            server
                .post("/oauth2/token")
                .basic("web", "web-secret-0123456789")
                .body("application/x-www-form-urlencoded", body.to_vec())
                .send()
        };
        for body in [
            &b"grant_type=refresh_token&refresh_token=%"[..],
            b"grant_type=refresh_token&refresh_token=%zz",
            b"grant_type=refresh_token&refresh_token=%4",
            b"grant_type=refresh_token&refresh_token=%00",
            b"grant_type=refresh_token&refresh_token=a\0b",
            b"grant_type=refresh_token&refresh_token=%c0%af",
            b"grant_type=refresh_token&refresh_token=%ff",
            b"grant_type=refresh_token&refresh_token=\xff",
            b"%ff=x&grant_type=refresh_token",
            b"a[b][c]=1",
            b"&&&",
            b"=",
        ] {
            send(body).refused(400, "invalid_request");
        }
        for (status, body) in [
            (400, "a=1&".repeat(10_000)),
            (400, format!("{}=1", "a".repeat(60_000))),
            (400, format!("a{}=1", "[b]".repeat(20_000))),
            (413, format!("{}=1", "a".repeat(100_000))),
            (400, "%".repeat(60_000)),
        ] {
            let refused = || send(body.as_bytes()).refused(status, "invalid_request");
            is_at_once(&format!("{}...", &body[..8]), refused);
        }
    }

    /// HT06: 64 KB are read and no more, whether the length is announced or not; nothing is
    /// unpacked; and nothing of it is kept.
    fn a_body_above_its_cap_is_refused(server) {
        let kilobytes = |count: usize| {
            let form = "grant_type=refresh_token&refresh_token=x&x=";
            format!("{form}{}", "x".repeat(count * 1_024 - form.len()))
        };
        let form = "application/x-www-form-urlencoded";
        let send = |body: String| {
            let request = server.post("/oauth2/token").basic("web", "web-secret-0123456789");
            request.body(form, body).send()
        };
        send(kilobytes(64)).refused(400, "invalid_grant");
        send(format!("{}x", kilobytes(64))).refused(413, "invalid_request");
        let before = memory_of(server);
        for _ in 0..10 {
            assert!(refused_early(server, "", &kilobytes(10 * 1_024)).starts_with("HTTP/1.1 413 "));
            // Without an end: as much as the server takes.
            let endless = "Transfer-Encoding: chunked\r\n";
            assert!(refused_early(server, endless, &kilobytes(64 * 1_024)).starts_with("HTTP/1.1 413 "));
        }
        // 740 MB were sent. What the edge's JavaScript has passed over is garbage for a while.
        let grown = memory_of(server).saturating_sub(before);
        assert!(grown < 64 << 10, "{grown} KB more");
        for coding in ["gzip", "GZIP", "br", "deflate", "identity, gzip", "compress"] {
            let request = WEB.sign(server.post("/oauth2/token"), &[("grant_type", "refresh_token")]);
            request.header("content-encoding", coding).send().refused(415, "invalid_request");
        }
        let still = OTHER.refresh(server, "x");
        still.refused(400, "invalid_grant");
    }

    /// HT17: nothing is derived from headers.
    fn headers_of_proxies_change_nothing(server) {
        let mut request = server.post("/oauth2/token").basic("own", "own-secret-0123456789").form(&[
            ("grant_type", "password"),
            ("username", ALICE),
            ("password", ALICES_PASSWORD),
            ("scope", "openid"),
        ]);
        for name in [
            "forwarded",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-for",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-original-url",
            "x-real-ip",
            "true-client-ip",
        ] {
            request = request.header(name, "evil.example");
        }
        let tokens = Tokens::of(&request.send());
        assert_eq!(crate::oauth::jwt_part(&tokens.access, 1)["iss"], server.url);
    }
}

/// Returns the memory that the processes of a server use, KB.
fn memory_of(server: &Server) -> u64 {
    let edge = server.edge.as_ref().map(stack::Edge::pid);
    let of = |pid: u32| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    of(server.origin.pid()) + edge.map_or(0, of)
}

/// Sends a form, announced or in chunks, as far as the server takes it; returns the status line. By
/// hand, because the answer comes before the last of it is sent.
fn refused_early(server: &Server, coding: &str, form: &str) -> String {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let length = format!("Content-Length: {}\r\n", form.len());
    let is_chunked = !coding.is_empty();
    let body = if is_chunked { coding } else { &length };
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{body}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let reading = std::thread::spawn(move || {
        let mut status = String::new();
        reader.read_line(&mut status).unwrap();
        status
    });
    for chunk in form.as_bytes().chunks(4_096) {
        let size = format!("{:x}\r\n", chunk.len());
        let sent = if is_chunked {
            let chunk = [size.as_bytes(), chunk, b"\r\n"].concat();
            stream.write_all(&chunk)
        } else {
            stream.write_all(chunk)
        };
        if sent.is_err() || reading.is_finished() {
            break;
        }
    }
    reading.join().unwrap()
}

scenarios! { doors:
    /// HT15, with RFC 6749 §5.1: what a token response has.
    fn a_token_response_says_what_was_given(server) {
        let own = |scope: &[(&str, &str)]| {
            let form = [
                ("grant_type", "password"),
                ("username", ALICE),
                ("password", ALICES_PASSWORD),
            ];
            let request = server.post("/oauth2/token").basic("own", "own-secret-0123456789");
            request.form(&[&form[..], scope].concat()).send().expect(200)
        };
        let asked = own(&[("scope", "email openid")]);
        assert_eq!(asked.header("content-type"), Some("application/json"));
        let told = asked.json();
        assert_eq!(told["token_type"], "Bearer");
        assert_eq!(told["expires_in"].as_u64(), Some(300), "a number");
        for name in ["access_token", "refresh_token", "id_token", "scope"] {
            assert!(told[name].is_string(), "{name}: {told}");
        }
        let scope = |told: &serde_json::Value| -> Vec<String> {
            let scope = told["scope"].as_str().unwrap();
            let mut tokens: Vec<_> = scope.split(' ').map(str::to_owned).collect();
            tokens.sort();
            tokens
        };
        assert_eq!(scope(&told), ["email", "openid"]);
        // What was not asked for is told: it is what the client is registered for.
        assert_eq!(scope(&own(&[]).json()), ["email", "openid", "profile"]);
        let access = told["access_token"].as_str().unwrap();
        assert_eq!(scope(&crate::oauth::jwt_part(access, 1)), ["email", "openid"]);
    }

    /// HT08: a head has 64 KB and a hundred headers. At the edge the platform reads heads.
    fn a_head_has_an_end(server) {
        let ask = |headers: &str| {
            let mut connection = Connection::open(&server.url);
            let head = format!("GET /oauth2/userinfo HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
            connection.try_write(head.as_bytes());
            // The platform of the edge may listen for a second more before it says anything.
            assert!(!connection.is_closed(), "nothing is said: {} bytes", head.len());
            connection.rest().0
        };
        let many = |count: usize, header: &str| header.repeat(count);
        let one = format!("X: {}\r\n", "x".repeat(128 * 1_024));
        let cookies = format!("Cookie: {}\r\n", many(300, "c=x; "));
        assert!(ask(&cookies).starts_with("HTTP/1.1 401 "), "300 cookies are 1.5 KB");
        assert!(ask(&one).starts_with("HTTP/1.1 431 "), "128 KB in one header");
        // The platform takes more than a hundred headers.
        let status = if server.edge.is_some() { "HTTP/1.1 401 " } else { "HTTP/1.1 431 " };
        for headers in [many(1_000, "X: x\r\n"), many(300, "Cookie: c=x\r\n")] {
            let told = ask(&headers);
            assert!(told.starts_with(status), "{told}");
        }
    }
}
