//! An origin that is down, slow, breaks off, or is not the origin at all: the edge says the right
//! thing, in time, and tries nothing twice.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stack::{Edge, EdgeSettings, Stopwatch};

use crate::between::Between;
use crate::bff::{from_own_page, signed_in};
use crate::forge;
use crate::http::{Answer, Request};
use crate::oauth::{CHALLENGE, VERIFIER, WEB};
use crate::scripted::{Received, Scripted, reply};
use crate::server::{EDGE_SECRET, Server, in_time, now};

/// An edge in front of a script that plays the origin; it serves the client `web` and a key, so
/// that requests get as far as being forwarded.
fn edge(script: impl Fn(&Received, &mut TcpStream) + Send + Sync + 'static) -> (Edge, Scripted) {
    edge_tuned(|_| (), script)
}

fn edge_tuned(
    tune: impl FnOnce(&mut EdgeSettings),
    script: impl Fn(&Received, &mut TcpStream) + Send + Sync + 'static,
) -> (Edge, Scripted) {
    let origin = Scripted::start(move |received, stream| {
        let id = received.header("x-request-id").first().map_or("", |id| *id).to_owned();
        let json = [("content-type", "application/json"), ("x-request-id", id.as_str())];
        match received.target.as_str() {
            "/internal/clients" => reply(stream, "200 OK", &json, CLIENTS),
            "/oauth2/jwks" => reply(stream, "200 OK", &json, KEYS),
            _ => script(received, stream),
        }
    });
    let artifacts = stack::artifacts();
    let port = stack::free_port();
    let mut settings = EdgeSettings::new(&artifacts.workerd, &artifacts.worker, port);
    settings.set("CADENCE_ISSUER", &format!("http://127.0.0.1:{port}"));
    settings.set("CADENCE_ORIGIN_URL", &origin.url());
    settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
    tune(&mut settings);
    (Edge::start(settings), origin)
}

const CLIENTS: &str = r#"{"clients":[{"client_id":"web","client_name":"Web",
    "token_endpoint_auth_method":"client_secret_basic",
    "grant_types":["authorization_code","refresh_token"],
    "redirect_uris":["https://app.example/cb"],"scope":"openid profile"}]}"#;

const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","use":"sig",
    "x":"04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY","y":"UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgmw"}]}"#;

fn refresh(edge: &Edge) -> crate::http::Answer {
    let token = forge::refresh_token(now() + 1_000, "web");
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    WEB.sign(Request::new("POST", format!("{}/oauth2/token", edge.url())), &form).send()
}

/// An authorization request of a browser that may be logged in, so that it is forwarded.
fn authorize(edge: &Edge) -> crate::http::Answer {
    let query = WEB.authorization("openid").query();
    let url = format!("{}/oauth2/authorize?{query}", edge.url());
    Request::new("GET", url).header("cookie", "cadence_session=x").send()
}

/// ED15, ED16, ED17, ED20: whatever comes instead of the origin's own answer.
#[test]
fn what_is_not_the_origins_answer_becomes_503() {
    type Script = fn(&Received, &mut TcpStream);
    let scripts: [(&str, Script); 10] = [
        ("nothing", |_, _| ()),
        ("half a body", |received, stream| {
            let id = received.header("x-request-id")[0].to_owned();
            let head = format!(
                "HTTP/1.1 200 OK\r\nx-request-id: {id}\r\ncontent-type: application/json\r\n\
                 content-length: 100\r\n\r\n{{\"access_"
            );
            let _ = stream.write_all(head.as_bytes());
        }),
        ("half a head", |_, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-ty");
        }),
        ("no HTTP", |_, stream| {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        }),
        ("HTML of a proxy", |_, stream| {
            let html = [("content-type", "text/html"), ("server", "nginx"), ("via", "1.1 lb")];
            reply(stream, "502 Bad Gateway", &html, "<h1>502</h1>");
        }),
        ("a cheerful proxy", |_, stream| {
            reply(stream, "200 OK", &[("content-type", "application/json")], "{}");
        }),
        ("an error of the origin", |received, stream| {
            let id = received.header("x-request-id")[0].to_owned();
            let head = [("x-request-id", id.as_str()), ("content-type", "application/json")];
            reply(stream, "500 Internal Server Error", &head, r#"{"error":"panicked at x.rs:1"}"#);
        }),
        ("an empty answer", |received, stream| {
            let id = received.header("x-request-id")[0].to_owned();
            reply(stream, "200 OK", &[("x-request-id", id.as_str())], "");
        }),
        ("text", |received, stream| {
            let id = received.header("x-request-id")[0].to_owned();
            let head = [("x-request-id", id.as_str()), ("content-type", "text/plain")];
            reply(stream, "200 OK", &head, "ok");
        }),
        ("a redirect elsewhere", |_, stream| {
            reply(stream, "307 Temporary Redirect", &[("location", "http://127.0.0.1:1/")], "");
        }),
    ];
    for (what, script) in scripts {
        let (edge, origin) = edge(script);
        let answer = refresh(&edge);
        assert_eq!(
            (answer.status, answer.error()),
            (503, "temporarily_unavailable".into()),
            "{what}"
        );
        assert!(answer.header("retry-after").is_some(), "{what}: {answer:?}");
        for name in ["server", "via", "location"] {
            assert!(answer.headers(name).is_empty(), "{what}: {answer:?}");
        }
        // The redirect URI is proven, so the client is told.
        let answer = authorize(&edge);
        let told = answer.redirects_to(WEB.redirect_uri);
        assert_eq!(told["error"], "temporarily_unavailable", "{what}: {answer:?}");
        // Each was sent once: what it did, it may have done.
        let asked =
            |path: &str| origin.received().iter().filter(|it| it.target.starts_with(path)).count();
        assert_eq!((asked("/oauth2/token"), asked("/oauth2/authorize")), (1, 1), "{what}");
    }
}

/// Asserts that whoever asks an origin that hangs, by as many hands at once, is given up after five
/// seconds. What a busy machine adds to that is told by somebody who waits five seconds for nothing and
/// then asks the edge what it answers alone.
#[track_caller]
pub(crate) fn is_given_up_in_time(url: &str, hands: usize, ask: impl Fn() -> Answer + Sync) {
    let began = Instant::now();
    let (given_up, control) = std::thread::scope(|scope| {
        let control = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(5));
            Request::new("GET", format!("{url}/healthz")).send().expect(200);
            began.elapsed()
        });
        let hands: Vec<_> = (0..hands).map(|_| scope.spawn(|| (ask(), began.elapsed()))).collect();
        let given_up: Vec<_> = hands.into_iter().map(|hand| hand.join().unwrap()).collect();
        (given_up, control.join().unwrap())
    });
    for (answer, took) in given_up {
        answer.refused(503, "temporarily_unavailable");
        assert!(took > Duration::from_millis(4_500), "{took:?}");
        assert!(took < control + Duration::from_millis(1_500), "{took:?}, control {control:?}");
    }
}

/// ED15: five seconds, and the answer is there; with more requests under way than the platform has
/// connections for, too, and all of these are free again.
#[test]
fn an_origin_that_hangs_is_given_up_in_time() {
    let (edge, _origin) = edge(|_, _| std::thread::sleep(Duration::from_secs(20)));
    // What an isolate takes to begin, and to load what it keeps, is not meant.
    Request::new("GET", format!("{}/oauth2/jwks", edge.url())).send().expect(200);
    let query = WEB.authorization("openid").query();
    Request::new("GET", format!("{}/oauth2/authorize?{query}", edge.url())).send().expect(303);
    is_given_up_in_time(&edge.url(), 1, || refresh(&edge));
    is_given_up_in_time(&edge.url(), 12, || refresh(&edge));
    Request::new("GET", format!("{}/oauth2/jwks", edge.url())).send().expect(200);
}

/// ED20: nobody is sent anywhere by an origin, or by whoever answers in its place: neither the edge,
/// with what it was given, nor whoever has asked it.
#[test]
fn a_redirect_of_the_origin_is_not_followed() {
    let canary = Scripted::start(|_, stream| reply(stream, "200 OK", &[], "{}"));
    let elsewhere = canary.url();
    let redirects = Arc::new(AtomicBool::new(false));
    let on = Arc::clone(&redirects);
    let (server, between) = Between::start(
        |_| (),
        move |received, stream| {
            if !on.load(Ordering::Relaxed) {
                return false;
            }
            let status =
                ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
                    [received.body.len() % 5];
            let to = format!("{elsewhere}{}", received.target);
            reply(stream, status, &[("location", to.as_str())], "");
            true
        },
    );
    let tokens = WEB.tokens(&server, "openid");
    server.get("/oauth2/userinfo").bearer(&tokens.access).send().expect(200);
    redirects.store(true, Ordering::Relaxed);
    for scope in ["", "o", "op", "ope", "open", "openi"] {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens.refresh.as_str()),
            ("scope", scope),
        ];
        let answer = WEB.sign(server.post("/oauth2/token"), &form).send();
        answer.refused(503, "temporarily_unavailable");
        assert!(answer.headers("location").is_empty(), "{answer:?}");
    }
    for path in ["/oauth2/userinfo", "/api/me"] {
        let answer = server.get(path).bearer(&tokens.access).send();
        answer.refused(503, "temporarily_unavailable");
    }
    // The edge's own questions, for what it keeps.
    let before = between.asked_for("/oauth2/jwks");
    crate::server::until("the keys are asked for", || {
        server.get("/oauth2/jwks").send().expect(200);
        between.asked_for("/oauth2/jwks") > before
    });
    assert!(canary.received().is_empty(), "{:?}", canary.received());
}

/// ED16: that there is nothing is believed of the origin alone: a proxy's 404, even if it names the
/// request, makes no list gone and signs nobody out.
#[test]
fn a_404_that_is_not_the_origins_own_ends_nothing() {
    const LIES: [(&str, &str); 4] = [
        ("text/html", "<h1>404 Not Found</h1>"),
        ("text/plain", ""),
        ("application/json", "{}"),
        ("application/json", r#"{"error":"not_found"}"#),
    ];
    let lie = Arc::<Mutex<Option<(&'static str, &'static str)>>>::default();
    let chosen = Arc::clone(&lie);
    let (mut server, between) = Between::start(
        |_| (),
        move |received, stream| {
            let is_asked = received.target.starts_with("/oauth2/status/")
                || received.target == "/internal/bff/open";
            let Some((content_type, body)) = chosen.lock().unwrap().filter(|_| is_asked) else {
                return false;
            };
            let id = received.header("x-request-id")[0].to_owned();
            let head = [("content-type", content_type), ("x-request-id", id.as_str())];
            reply(stream, "404 Not Found", &head, body);
            true
        },
    );
    let browser = signed_in(&server);
    let cookie = browser.cookie();
    drop(browser);
    // Nothing is remembered.
    server.edge.as_mut().unwrap().restart();
    let _log = server.log_on_failure();
    let session = || from_own_page(server.get("/bff/session")).header("cookie", &cookie).send();
    // Each is one that nobody has asked for yet.
    let list = |initial: char| {
        server.get(&format!("/oauth2/status/{initial}wMDAwMDAwMDAwMDAwMDAw")).send()
    };
    for (initial, told) in ('A'..).zip(LIES) {
        *lie.lock().unwrap() = Some(told);
        session().refused(503, "temporarily_unavailable");
        list(initial).refused(503, "temporarily_unavailable");
    }
    assert_eq!(between.asked_for("/internal/bff/open"), LIES.len());
    *lie.lock().unwrap() = None;
    session().expect(200);
    list('Z').expect(404);
}

/// A cache of the platform's that never answers is the same as none: the origin is asked.
#[test]
fn a_cache_that_hangs_keeps_nobody_waiting() {
    const ENTRY: &str = r#"
        import * as wasm from "./edge_worker.js";
        Object.getPrototypeOf(caches.default).match = () => new Promise(() => {});
        export default { fetch: (request, env, context) => wasm.fetch(request, env, context) };
    "#;
    let (edge, origin) = edge_tuned(|settings| settings.enter_by(ENTRY), |_, _| ());
    // What an isolate takes to begin is not meant.
    Request::new("GET", format!("{}/healthz", edge.url())).send().expect(200);
    let began = Stopwatch::start();
    Request::new("GET", format!("{}/oauth2/jwks", edge.url())).send().expect(200);
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert_eq!(origin.received().len(), 1);
}

/// ED14: what the edge answers by itself, it answers without an origin, too.
#[test]
fn without_an_origin_sign_ins_still_begin() {
    let mut server = Server::start_edge();
    let query = WEB.authorization("openid").query();
    server.get(&format!("/oauth2/authorize?{query}")).send().expect(303);
    server.get("/oauth2/jwks").send().expect(200);
    let code = WEB.code(&server, "openid");
    server.origin.kill();
    let mut browser = crate::browser::Browser::new(&server);
    let page = browser.authorize(&query).expect(200);
    let form = crate::browser::Form::of(&page);
    let form = form.with("username", "a").with("password", "b");
    browser.submit(&form).is_page(503);
    let redeem = |verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", WEB.redirect_uri),
            ("code_verifier", verifier),
        ];
        WEB.sign(server.post("/oauth2/token"), &form).send()
    };
    redeem(&"o".repeat(43)).refused(400, "invalid_grant");
    redeem(VERIFIER).refused(503, "temporarily_unavailable");
    let bad = WEB.authorization("openid").with("code_challenge", &CHALLENGE[1..]);
    let answer = server.get(&format!("/oauth2/authorize?{}", bad.query())).send();
    assert_eq!(answer.redirects_to(WEB.redirect_uri)["error"], "invalid_request");
    for path in ["/oauth2/jwks", "/.well-known/openid-configuration", "/healthz"] {
        server.get(path).send().expect(200);
    }
}

/// Signs and sends, and does so again until no more than a second goes by between the signing and the
/// answer: a signature may be good in the next second.
fn while_it_is_signed(mut send: impl FnMut() -> Answer) -> Answer {
    in_time("an answer to what was just signed", || {
        let signed_at = now();
        let answer = send();
        (now() <= signed_at + 1).then_some(answer)
    })
}

/// ED01: a signed request is answered once, within its window, and only as it was signed; where the
/// origin is set to want a signature, nothing is answered without one.
#[test]
fn the_origin_answers_signed_requests_once() {
    let server = Server::start_tuned(|origin| origin.set("CADENCE_REQUIRE_EDGE", "true"), |_| ());
    let _log = server.log_on_failure();
    let direct = |method: &str, target: &str, signature: Option<&str>| {
        let request = Request::new(method, format!("{}{target}", server.origin.url()));
        match signature {
            Some(signature) => request.header("cadence-edge", signature).send(),
            None => request.send(),
        }
    };
    for path in ["/healthz", "/readyz", "/oauth2/jwks", "/oauth2/token", "/internal/clients", "/x"]
    {
        let answer = direct("GET", path, None);
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    let sign = |at, nonce, method: &str, target: &str| {
        forge::signature(at, nonce, "192.0.2.1", method, target)
    };
    let jwks = "/oauth2/jwks";
    let signature = sign(now(), 1, "GET", jwks);
    direct("GET", jwks, Some(&signature)).expect(200);
    direct("GET", jwks, Some(&signature)).expect(403);
    direct("GET", jwks, Some(&sign(now() - 31, 2, "GET", jwks))).expect(403);
    let mut nonces = 100..;
    for (at, status) in [(33, 403), (-27, 200)] {
        let answer = while_it_is_signed(|| {
            let at = now().checked_add_signed(at).unwrap();
            direct("GET", jwks, Some(&sign(at, nonces.next().unwrap(), "GET", jwks)))
        });
        answer.expect(status);
    }
    direct("GET", jwks, Some(&sign(now(), 5, "HEAD", jwks))).expect(403);
    direct("GET", "/oauth2/jwks?x", Some(&sign(now(), 6, "GET", jwks))).expect(403);
    let readdressed = sign(now(), 7, "GET", jwks).replace("192.0.2.1", "192.0.2.2");
    direct("GET", jwks, Some(&readdressed)).expect(403);
    let another_body = Request::new("POST", format!("{}/oauth2/token", server.origin.url()))
        .header("cadence-edge", &sign(now(), 8, "POST", "/oauth2/token"))
        .form(&[("grant_type", "x")]);
    another_body.send().expect(403);
    // Through the edge all is as ever.
    WEB.tokens(&server, "openid");
    // Probes ask at a door of their own.
    assert!(server.origin.metrics().contains("cadence_http_requests_total"));
}

/// What the origin answers, public and internal, and what it does not.
const ROUTES: [(&str, &str); 30] = [
    ("GET", "/oauth2/authorize"),
    ("POST", "/oauth2/authorize"),
    ("GET", "/oauth2/login"),
    ("POST", "/oauth2/login"),
    ("GET", "/oauth2/consent"),
    ("GET", "/oauth2/consent/context"),
    ("POST", "/oauth2/consent/decision"),
    ("POST", "/oauth2/token"),
    ("GET", "/oauth2/userinfo"),
    ("POST", "/oauth2/userinfo"),
    ("POST", "/oauth2/revoke"),
    ("POST", "/oauth2/introspect"),
    ("GET", "/oauth2/logout"),
    ("POST", "/oauth2/logout"),
    ("GET", "/account"),
    ("POST", "/account"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/oauth2/jwks"),
    ("GET", "/oauth2/status/AwMDAwMDAwMDAwMDAwMDAw"),
    ("GET", "/api/me"),
    ("DELETE", "/api/auth/logout"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/internal/clients"),
    ("POST", "/internal/late-codes"),
    ("POST", "/internal/bff/open"),
    ("OPTIONS", "/oauth2/token"),
    ("GET", "/nowhere"),
];

/// ED01, on every route: no signature, and one that is forged, of another time, used, or another
/// request's, open nothing, and hear nothing but that.
#[test]
fn no_route_answers_to_a_signature_that_is_not_good() {
    let server = Server::start_tuned(|origin| origin.set("CADENCE_REQUIRE_EDGE", "true"), |_| ());
    let _log = server.log_on_failure();
    let told = [
        "access-control-allow-origin",
        "access-control-expose-headers",
        "cache-control",
        "content-length",
        "content-security-policy",
        "content-type",
        "date",
        "pragma",
        "referrer-policy",
        "vary",
        "x-content-type-options",
        "x-frame-options",
        "x-request-id",
    ];
    let mut nonce = [0_u8; 16];
    for (method, path) in ROUTES {
        let mut sign = |at: u64, method: &str, target: &str, body: &[u8]| {
            nonce[0] += 1;
            nonce[1] += u8::from(nonce[0] == 255);
            nonce[0] %= 255;
            forge::signature_over(at, nonce, "192.0.2.1", (method, target, body))
        };
        let send = |signature: Option<&str>, target: &str, body: &'static [u8]| {
            let request = Request::new(method, format!("{}{target}", server.origin.url()));
            let request = request.body("application/x-www-form-urlencoded", body);
            match signature {
                Some(signature) => request.header("cadence-edge", signature).send(),
                None => request.send(),
            }
        };
        let refused = |what: &str, answer: &crate::http::Answer| {
            assert_eq!(answer.status, 403, "{what}: {answer:?}");
            for name in answer.header_names() {
                assert!(told.contains(&name.as_str()), "{what}: {name}: {answer:?}");
            }
            assert!(answer.body.contains("access_denied"), "{what}: {answer:?}");
        };
        let good = sign(now(), method, path, b"a=b");
        refused("none", &send(None, path, b"a=b"));
        refused("another body", &send(Some(&good), path, b"a=c"));
        refused("no body", &send(Some(&good), path, b""));
        refused("another query", &send(Some(&good), &format!("{path}?a"), b"a=b"));
        refused("another address", &send(Some(&good.replace("192.0.2.1", "-")), path, b"a=b"));
        let flipped = if good.ends_with('A') { "E" } else { "A" };
        let forged = format!("{}{flipped}", &good[..good.len() - 1]);
        refused("forged", &send(Some(&forged), path, b"a=b"));
        refused("two", &send(Some(&format!("{good}, {good}")), path, b"a=b"));
        refused("of before", &send(Some(&sign(now() - 31, method, path, b"a=b")), path, b"a=b"));
        let later = || send(Some(&sign(now() + 33, method, path, b"a=b")), path, b"a=b");
        refused("of later", &while_it_is_signed(later));
        let other = if method == "GET" { "HEAD" } else { "GET" };
        refused("another method", &send(Some(&sign(now(), other, path, b"a=b")), path, b"a=b"));
        // It was good all the time, once.
        let answer = send(Some(&good), path, b"a=b");
        let of_elsewhere = method == "POST" && answer.is_html();
        assert!(answer.status != 403 || of_elsewhere, "{method} {path}: {answer:?}");
        refused("used", &send(Some(&good), path, b"a=b"));
    }
}
