//! G7, BR13: the edge and the origin behind it give the same answers.

use crate::browser::{Browser, Form};
use crate::forge;
use crate::http::{Answer, Request, query};
use crate::oauth::{ALICE, App, CHALLENGE, OTHER, SPA, VERIFIER, WEB};
use crate::server::{Server, now};

/// What of an answer clients act upon.
const HEADERS: [&str; 16] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "allow",
    "cache-control",
    "content-security-policy",
    "content-type",
    "location",
    "pragma",
    "referrer-policy",
    "retry-after",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
];

/// What describes the connection and not the answer (RFC 9110 §7.6.1), and what each sends in its
/// own way.
const OF_THE_CONNECTION: [&str; 5] =
    ["connection", "content-length", "date", "keep-alive", "transfer-encoding"];

/// Sends a request through both doors of one system and compares the answers.
#[track_caller]
fn same(method: &str, path: &str, prepare: impl Fn(Request) -> Request) {
    alike(Server::edge(), method, path, prepare);
}

/// Sends a request to a server and returns the answer. The origin behind an edge must answer the
/// same: status, body, the names of all headers, and the values of those that clients act upon.
#[track_caller]
pub(crate) fn alike(
    server: &Server,
    method: &str,
    path: &str,
    prepare: impl Fn(Request) -> Request,
) -> Answer {
    let send = |url: &str| prepare(Request::new(method, format!("{url}{path}"))).send();
    let edge = send(&server.url);
    if server.edge.is_none() {
        return edge;
    }
    let origin = send(&server.origin.url());
    assert_eq!(without_request_id(&edge), without_request_id(&origin), "{edge:?}\n{origin:?}");
    same_head(&edge, &origin);
    edge
}

/// Asserts that two answers differ in their bodies at most, and in what describes the connection.
#[track_caller]
fn same_head(edge: &Answer, origin: &Answer) {
    assert_eq!(edge.status, origin.status, "{edge:?}\n{origin:?}");
    let names = |answer: &Answer| {
        let mut names = answer.header_names();
        names.retain(|name| !OF_THE_CONNECTION.contains(&name.as_str()));
        names
    };
    assert_eq!(names(edge), names(origin), "{edge:?}\n{origin:?}");
    for name in HEADERS {
        let [edge_says, origin_says] =
            [edge, origin].map(|answer| answer.headers(name).into_iter().map(without_age));
        assert!(edge_says.eq(origin_says), "{name}: {edge:?}\n{origin:?}");
    }
}

/// What the edge keeps has an age there, so less of its `max-age` is left.
fn without_age(value: &str) -> &str {
    if value.starts_with("public, max-age=") { "public, max-age" } else { value }
}

/// Pages show the request's id, which is each answer's own.
fn without_request_id(answer: &Answer) -> String {
    let id = answer.header("x-request-id").unwrap();
    answer.body.replace(id, "")
}

#[test]
fn token_requests_are_refused_alike() {
    let _log = Server::edge().log_on_failure();
    let forms: [(&App, &[(&str, &str)]); 14] = [
        (&WEB, &[]),
        (&WEB, &[("grant_type", "implicit")]),
        (&WEB, &[("grant_type", "authorization_code")]),
        (&WEB, &[("grant_type", "authorization_code"), ("code", "x")]),
        (&WEB, &[("grant_type", "refresh_token"), ("refresh_token", "x")]),
        (&WEB, &[("grant_type", "refresh_token"), ("refresh_token", "x"), ("scope", "\"")]),
        (&WEB, &[("grant_type", "password"), ("username", ALICE), ("password", "x")]),
        (&SPA, &[("grant_type", "password"), ("username", ALICE), ("password", "x")]),
        (&WEB, &[("token", "x"), ("token", "x")]),
        (&WEB, &[("token", "x"), ("client_secret", "x")]),
        (&WEB, &[("token", "x"), ("client_id", "other")]),
        (&SPA, &[("token", "x"), ("client_secret", "x")]),
        (&OTHER, &[("token", "a.b.c")]),
        (&SPA, &[("token", "a.b.c")]),
    ];
    for path in ["/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"] {
        for (app, form) in forms {
            same("POST", path, |request| app.sign(request, form));
        }
        same("POST", path, |request| request.form(&[("token", "x")]));
        same("POST", path, |request| request.basic("web", "wrong").form(&[("token", "x")]));
        same("POST", path, |request| request.basic("nobody", "x").form(&[("token", "x")]));
        same("POST", path, |request| request.body("application/json", "{}"));
        same("POST", path, |request| request.form(&[("x", &"x".repeat(66_000))]));
        let form = "application/x-www-form-urlencoded";
        same("POST", path, |request| request.body(form, "token=%zz"));
        same("POST", &format!("{path}?password=x"), |request| request.form(&[("token", "x")]));
        for method in ["GET", "PUT", "HEAD"] {
            same(method, path, |request| request);
        }
    }
}

/// What proves itself, or does not, is judged alike: with whatever secret it is sent.
#[test]
fn proofs_are_refused_alike() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let good = forge::code(now(), "web", WEB.redirect_uri, CHALLENGE);
    let altered = format!("A{}", &good[1..]);
    let late = forge::code(now() - 61, "web", WEB.redirect_uri, CHALLENGE);
    let future = forge::code(now() + 60, "web", WEB.redirect_uri, CHALLENGE);
    let foreign = forge::code(now(), "other", WEB.redirect_uri, CHALLENGE);
    let elsewhere = forge::code(now(), "web", "https://app.example/other", CHALLENGE);
    let never_issued = forge::refresh_token(now() + 60, "web");
    let ended = forge::refresh_token(now() - 60, "web");
    let of_another = forge::refresh_token(now() + 60, "other");
    let used = WEB.tokens(server, "openid offline_access").refresh;
    for code in [&good, &altered, &late, &future, &foreign, &elsewhere] {
        for verifier in [VERIFIER, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXj", "short", ""] {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", WEB.redirect_uri),
                ("code_verifier", verifier),
            ];
            same("POST", "/oauth2/token", |request| WEB.sign(request, &form));
            same("POST", "/oauth2/token", |request| request.basic("web", "wrong").form(&form));
            same("POST", "/oauth2/token", |request| SPA.sign(request, &form));
        }
    }
    for token in [&never_issued, &ended, &of_another, &format!("{used}x"), &used[1..].to_owned()] {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        same("POST", "/oauth2/token", |request| WEB.sign(request, &form));
        same("POST", "/oauth2/token", |request| request.basic("web", "wrong").form(&form));
        same("POST", "/oauth2/token", |request| OTHER.sign(request, &form));
    }
}

/// A sign-in goes on at either door, wherever it began.
#[test]
fn sign_ins_look_alike() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    for extra in ["", "&login_hint=alice%40example.test", "&prompt=login", "&max_age=0"] {
        let query = format!("{}{extra}", WEB.authorization("openid profile").query());
        let mut browser = Browser::new(server);
        let page = browser.authorize(&query).expect(200);
        let tx = Form::of(&page).field("tx").to_owned();
        let cookies = browser.cookie();
        for target in [
            format!("/oauth2/login?tx={tx}"),
            format!("/oauth2/login?tx={tx}&client_id=web"),
            "/oauth2/login?tx=AAAAAAAAAAAAAAAAAAAAAA&client_id=web".to_owned(),
            "/oauth2/login?tx=AAAAAAAAAAAAAAAAAAAAAA&client_id=nobody".to_owned(),
        ] {
            same("GET", &target, |request| request.header("cookie", &cookies));
            same("GET", &target, |request| request);
        }
        let csrf = Form::of(&page).field("csrf").to_owned();
        for (csrf, username, password) in
            [(&*csrf, "", ""), (&csrf, ALICE, ""), (&csrf, "", "x"), ("wrong", ALICE, "x")]
        {
            let form =
                [("tx", &*tx), ("csrf", csrf), ("username", username), ("password", password)];
            same("POST", "/oauth2/login", |request| {
                request.header("cookie", &cookies).header("origin", &server.url).form(&form)
            });
            same("POST", "/oauth2/login", |request| {
                let evil = request.header("origin", "https://evil.example");
                evil.header("cookie", &cookies).form(&form)
            });
        }
    }
    let refused = format!("{}&prompt=none", WEB.authorization("openid").query());
    same("GET", &format!("/oauth2/authorize?{refused}"), |request| request);
}

#[test]
fn authorization_requests_are_refused_alike() {
    let _log = Server::edge().log_on_failure();
    let good = WEB.authorization("openid");
    for request in [
        good.clone().without("client_id"),
        good.clone().with("client_id", "nobody"),
        good.clone().and("redirect_uri", "https://evil.example/"),
        good.clone().with("redirect_uri", "https://evil.example/"),
        good.clone().with("response_type", "token"),
        good.clone().with("scope", "admin"),
        good.clone().with("code_challenge", &CHALLENGE[1..]),
        good.clone().and("state", "x"),
        good.clone().with("request", "x"),
        good.clone().with("prompt", "none"),
        good.clone().with("state", &"s".repeat(3_000)),
    ] {
        same("GET", &format!("/oauth2/authorize?{}", request.query()), |request| request);
        same("POST", "/oauth2/authorize", |sent| sent.form(&request.pairs()));
    }
    same("GET", &format!("/oauth2/authorize?{}&x=%zz", good.query()), |request| request);
    same("POST", "/oauth2/authorize", |request| request.body("application/json", "{}"));
    same("POST", "/oauth2/authorize", |request| request);
    same("PUT", "/oauth2/authorize", |request| request);
    let long = query(&[("client_id", "web"), ("x", &"x".repeat(16_400))]);
    same("GET", &format!("/oauth2/authorize?{long}"), |request| request);
}

#[test]
fn bearer_tokens_are_refused_alike() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(server, "profile");
    let mut forged = tokens.access.clone();
    forged.truncate(forged.len() - 2);
    for path in ["/oauth2/userinfo", "/api/me"] {
        same("GET", path, |request| request);
        for token in [&*forged, &tokens.access, &tokens.refresh, "a.b.c", "x", &"A".repeat(9_000)] {
            same("GET", path, |request| request.bearer(token));
        }
        same("GET", path, |request| request.bearer("x").bearer("x"));
        same("GET", path, |request| request.header("authorization", "Bearer"));
        same("GET", path, |request| request.header("authorization", "Bearer a b"));
        same("GET", path, |request| request.header("authorization", "DPoP x"));
        same("PATCH", path, |request| request);
        for origin in ["https://spa.example", "https://evil.example", "null"] {
            same("GET", path, |request| request.header("origin", origin));
            same("OPTIONS", path, |request| {
                request.header("origin", origin).header("access-control-request-method", "GET")
            });
        }
    }
    same("POST", "/oauth2/userinfo", |request| {
        request.bearer(&tokens.access).form(&[("access_token", &tokens.access)])
    });
    same("DELETE", "/api/auth/logout", |request| request);
}

#[test]
fn everything_else_is_answered_alike() {
    let _log = Server::edge().log_on_failure();
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/oauth2/jwks",
        "/oauth2/login",
        "/oauth2/login?tx=AAAAAAAAAAAAAAAA",
        "/oauth2/consent",
        "/oauth2/consent/context",
        "/oauth2/logout",
        "/oauth2/logout?state=1&state=2",
        "/oauth2/logout?id_token_hint=x",
        "/",
        "/oauth2/nothing",
        "/oauth2/token/",
        "/oauth2/status/AAAAAAAAAAAAAAAAAAAAAA",
        "/oauth2/status/x",
        "/oauth2/status/",
    ] {
        same("GET", path, |request| request);
        same("OPTIONS", path, |request| request.header("origin", "https://spa.example"));
    }
    same("POST", "/oauth2/consent/decision", |request| request.form(&[]));
    same("POST", "/oauth2/login", |request| request.form(&[]));
    same("DELETE", "/oauth2/login", |request| request);
}

/// What is granted is granted alike.
#[test]
fn what_is_good_is_answered_alike() {
    let server = Server::edge();
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(server, "openid profile");
    let hinted = [("token", &*tokens.refresh), ("token_type_hint", "refresh_token")];
    same("POST", "/oauth2/introspect", |request| WEB.sign(request, &[("token", &tokens.access)]));
    same("POST", "/oauth2/introspect", |request| WEB.sign(request, &hinted));
    for path in ["/oauth2/userinfo", "/api/me"] {
        same("GET", path, |request| request.bearer(&tokens.access));
    }
    let origin = server.origin.url();
    let at_the_origin = |form: &[(&str, &str)]| {
        WEB.sign(Request::new("POST", format!("{origin}/oauth2/token")), form).send()
    };
    let other = WEB.tokens(server, "openid profile");
    let refresh = |token| [("grant_type", "refresh_token"), ("refresh_token", token)];
    let edge = WEB.refresh(server, &tokens.refresh).expect(200);
    same_head(&edge, &at_the_origin(&refresh(&other.refresh)).expect(200));
    let [code, other] = std::array::from_fn(|_| WEB.code(server, "openid"));
    let edge = WEB.redeem(server, &code).expect(200);
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", &*other),
        ("redirect_uri", WEB.redirect_uri),
        ("code_verifier", VERIFIER),
    ];
    same_head(&edge, &at_the_origin(&redeem).expect(200));
    same("POST", "/oauth2/revoke", |request| WEB.sign(request, &[("token", &tokens.access)]));
    same("POST", "/oauth2/revoke", |request| WEB.sign(request, &[("token", &tokens.refresh)]));
    let inactive = alike(server, "POST", "/oauth2/introspect", |request| {
        WEB.sign(request, &[("token", &tokens.access)])
    });
    assert_eq!(inactive.body, r#"{"active":false}"#);
}
