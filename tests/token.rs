//! `POST /oauth2/token`: RFC 6749 §5.2, and the hygiene of its requests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use crate::http::query;
use crate::oauth::{ALICE, ALICES_PASSWORD, OTHER, Tokens, VERIFIER, WEB, own_tokens};
use crate::server::Server;

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
        for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD"] {
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
        ];
        for repeated in form {
            let twice = [&form[..], &[repeated]].concat();
            let answer = WEB.sign(server.post("/oauth2/token"), &twice).send();
            answer.refused(400, "invalid_request");
            let different = [&form[..], &[(repeated.0, "different")]].concat();
            let answer = WEB.sign(server.post("/oauth2/token"), &different).send();
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
        send("a=1&".repeat(10_000).as_bytes()).refused(400, "invalid_request");
        send(format!("{}=1", "a".repeat(60_000)).as_bytes()).refused(400, "invalid_request");
    }

    /// HT06: 64 KB are read and no more, whether the length is announced or not.
    fn a_body_above_its_cap_is_refused(server) {
        let large = format!("grant_type=refresh_token&x={}", "x".repeat(64 * 1024));
        let form = "application/x-www-form-urlencoded";
        let announced = server.post("/oauth2/token").body(form, large.clone()).send();
        announced.refused(413, "invalid_request");
        assert!(streamed(server, &large).starts_with("HTTP/1.1 413 "));
        let still = OTHER.refresh(server, "x");
        still.refused(400, "invalid_grant");
    }

    /// HT08, HT17: nothing is derived from headers.
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

/// Sends a form in chunks, its length not announced; returns the status line. By hand, because the
/// answer may come before the last chunk is sent.
fn streamed(server: &Server, form: &str) -> String {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    for chunk in form.as_bytes().chunks(4_096) {
        let size = format!("{:x}\r\n", chunk.len());
        let sent = stream
            .write_all(size.as_bytes())
            .and_then(|()| stream.write_all(chunk))
            .and_then(|()| stream.write_all(b"\r\n"));
        if sent.is_err() {
            break;
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).unwrap();
    status
}
