//! The whole router, over the embedded store where the store does not matter: statuses, headers and
//! bodies as clients see them.

mod account;
mod crowd;
mod edge;
mod panics;
mod refresh;
mod revocation;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use insta::assert_snapshot;
use serde_json::Value;
use shared::client::ClientId;
use shared::form::{encode, with_query};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::app::App;
use crate::cli::{client, user};
use crate::clock;
use crate::config::Config;
use crate::directory::sqlite::Sqlite;
use crate::directory::{ClientRecord, Directory};
use crate::grant::tests::client as web_client;
use crate::http::router;
use crate::store::Store;
use crate::store::embedded::Embedded;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Headers that differ from answer to answer.
const VARYING: [&str; 3] = ["x-request-id", "content-length", "content-security-policy"];
const PASSWORD: &str = "correct-horse-battery";

struct Server {
    app: Arc<App>,
    secret: String,
    folder: TempDir,
}

/// An answer as a client sees it; headers that differ each time are left out.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn cookies(&self) -> String {
        let cookies = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        let pairs = cookies.filter_map(|(_, cookie)| cookie.split(';').next());
        pairs.filter(|pair| !pair.ends_with('=')).collect::<Vec<_>>().join("; ")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn shown(&self) -> String {
        let headers: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| !VARYING.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        format!("{}\n{}\n\n{}", self.status, headers.join("\n"), self.body)
    }

    /// Returns the value of a hidden field.
    fn field(&self, name: &str) -> String {
        let at = self.body.find(&format!("name=\"{name}\"")).unwrap();
        let value = self.body[at..].split("value=\"").nth(1).unwrap();
        value.split('"').next().unwrap().to_owned()
    }
}

async fn server() -> Server {
    let folder = TempDir::new().unwrap();
    let store = Embedded::open(&folder.path().join("store.db")).await.unwrap();
    server_over(Arc::new(store), folder, "").await
}

/// A server over any store; `settings` are in the format of `cadence.toml`.
async fn server_over(store: Arc<dyn Store>, folder: TempDir, settings: &str) -> Server {
    let issuer = ("CADENCE_ISSUER".to_owned(), "https://id.example".to_owned());
    let config = Config::parse(settings, [issuer]).unwrap();
    let directory = Sqlite::open(&folder.path().join("directory.db")).await.unwrap();
    let (record, secret) = client::register(web_client("web"));
    directory.put_client(&record).await.unwrap();
    let mut own = web_client("own");
    own.first_party = true;
    directory.put_client(&ClientRecord { client: own, ..record }).await.unwrap();
    let email = Some("alice@example.test".to_owned());
    let alice = user::register("alice@example.test", email, Some("Alice".into()), PASSWORD);
    directory.put_user(&alice.unwrap()).await.unwrap();
    let app = App::new(&config, b"a secret of the tests", store, Arc::new(directory), clock::now());
    Server { app: Arc::new(app.await.unwrap()), secret: secret.unwrap(), folder }
}

impl Server {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response<Body> = router(self.app.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers, body }
    }

    async fn get(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, uri: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
        let mut request =
            Request::post(uri).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(encode(form.iter().copied()))).unwrap()).await
    }

    fn basic(&self, id: &str) -> String {
        use base64::Engine as _;
        let pair = format!("{id}:{}", self.secret);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    async fn token(&self, id: &str, form: &[(&str, &str)]) -> Answer {
        self.post("/oauth2/token", &[("authorization", &self.basic(id))], form).await
    }

    /// Logs in to the client that needs no consent, with a browser that calls itself so.
    async fn sign_in_as(&self, user_agent: &[u8]) -> Answer {
        let authorize = self.get(&authorize_url("own"), &[]).await;
        let cookies = authorize.cookies();
        let login = self.get(authorize.header("location").unwrap(), &[("cookie", &cookies)]).await;
        let (tx, csrf) = (login.field("tx"), login.field("csrf"));
        let form = [
            ("tx", tx.as_str()),
            ("csrf", csrf.as_str()),
            ("username", "alice@example.test"),
            ("password", PASSWORD),
        ];
        let request = Request::post("/oauth2/login")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", cookies)
            .header("user-agent", user_agent)
            .body(Body::from(encode(form)))
            .unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer
    }

    /// Opens the login page, and submits its form.
    async fn log_in(&self, page: &str, cookies: &str, username: &str) -> Answer {
        let login = self.get(page, &[("cookie", cookies)]).await;
        assert_eq!(login.status, 200, "{page}: {}", login.body);
        let (tx, csrf) = (login.field("tx"), login.field("csrf"));
        let form = [
            ("tx", tx.as_str()),
            ("csrf", csrf.as_str()),
            ("username", username),
            ("password", PASSWORD),
        ];
        self.post("/oauth2/login", &[("cookie", cookies)], &form).await
    }

    /// Signs in through the pages and returns the redirect to the client.
    async fn sign_in(&self, client_id: &str) -> Answer {
        let authorize = self.get(&authorize_url(client_id), &[]).await;
        assert_eq!(authorize.status, 303, "{}", authorize.body);
        let mut cookies = authorize.cookies();
        let login = authorize.header("location").unwrap();
        let logged_in = self.log_in(login, &cookies, "Alice@example.test").await;
        assert_eq!(logged_in.status, 303, "{}", logged_in.body);
        let location = logged_in.header("location").unwrap();
        if !location.starts_with("/oauth2/consent") {
            return logged_in;
        }
        cookies = format!("{cookies}; {}", logged_in.cookies());
        let consent = self.get(location, &[("cookie", &cookies)]).await;
        assert_eq!(consent.status, 200, "{}", consent.body);
        let (tx, csrf) = (consent.field("tx"), consent.field("csrf"));
        let form = [("tx", tx.as_str()), ("csrf", csrf.as_str()), ("decision", "approve")];
        self.post("/oauth2/consent/decision", &[("cookie", &cookies)], &form).await
    }

    async fn redeem(&self, client_id: &str, code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", "https://app.example/cb"),
            ("code_verifier", VERIFIER),
        ];
        self.token(client_id, &form).await
    }
}

fn authorize_url(client_id: &str) -> String {
    let pairs = [
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", "https://app.example/cb"),
        ("scope", "openid email"),
        ("state", "s"),
        ("nonce", "n"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    with_query("/oauth2/authorize", pairs)
}

fn code_of(answer: &Answer) -> String {
    let location = answer.header("location").unwrap();
    let rest = location.strip_prefix("https://app.example/cb?code=").expect(location);
    let (code, rest) = rest.split_once('&').unwrap();
    assert_eq!(rest, "state=s&iss=https%3A%2F%2Fid.example");
    code.to_owned()
}

#[tokio::test]
async fn a_code_is_worth_tokens_once() {
    let server = server().await;
    let signed_in = server.sign_in("web").await;
    let code = code_of(&signed_in);
    let tokens = server.redeem("web", &code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let tokens = tokens.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"Bearer".into(), &300.into()));
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let userinfo = server.get("/oauth2/userinfo", &[("authorization", &bearer)]).await.json();
    assert_eq!(userinfo["email"], "alice@example.test");
    let again = server.redeem("web", &code).await;
    assert_eq!((again.status, &again.json()["error"]), (400, &"invalid_grant".into()));
    let dead = server.get("/oauth2/userinfo", &[("authorization", &bearer)]).await;
    assert_eq!(dead.status, 401, "a replayed code ends its grant");
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let refused = server.token("web", &form).await;
    assert_eq!((refused.status, &refused.json()["error"]), (400, &"invalid_grant".into()));
}

#[tokio::test]
async fn a_code_is_worth_nothing_when_its_consent_was_taken_back() {
    let server = server().await;
    let code = code_of(&server.sign_in("web").await);
    let directory = server.app.known.directory();
    let alice = directory.find_username("alice@example.test").await.unwrap().unwrap();
    let web = ClientId::parse("web").unwrap();
    directory.remove_consent(&alice.user_id, &web).await.unwrap();
    let refused = server.redeem("web", &code).await;
    assert_eq!((refused.status, &refused.json()["error"]), (400, &"invalid_grant".into()));
}

#[tokio::test]
async fn a_first_party_client_is_not_asked_for() {
    let server = server().await;
    let signed_in = server.sign_in("own").await;
    let tokens = server.redeem("own", &code_of(&signed_in)).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
}

#[tokio::test]
async fn refresh_tokens_rotate_and_repeat_within_the_grace() {
    let server = server().await;
    let code = code_of(&server.sign_in("own").await);
    let first = server.redeem("own", &code).await.json();
    let refresh = |token: Value| {
        let server = &server;
        async move {
            let token = token.as_str().unwrap().to_owned();
            let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
            server.token("own", &form).await
        }
    };
    let second = refresh(first["refresh_token"].clone()).await.json();
    let repeated = refresh(first["refresh_token"].clone()).await.json();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(second["refresh_token"], repeated["refresh_token"]);
    let third = refresh(second["refresh_token"].clone()).await;
    assert_eq!(third.status, 200);
    let reused = refresh(first["refresh_token"].clone()).await;
    assert_eq!(reused.status, 400, "two generations back");
    let dead = refresh(third.json()["refresh_token"].clone()).await;
    assert_eq!(dead.status, 400, "reuse ends the grant");
}

#[tokio::test]
async fn errors_are_what_the_rfcs_show() {
    let server = server().await;
    let refused = server.token("web", &[("grant_type", "client_credentials")]).await;
    assert_snapshot!(refused.shown(), @r#"
    400
    content-type: application/json
    cache-control: no-store
    pragma: no-cache
    vary: Origin
    x-content-type-options: nosniff
    strict-transport-security: max-age=63072000; includeSubDomains

    {"error":"unsupported_grant_type","error_description":"the grant types are authorization_code, refresh_token and password"}
    "#);
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let refused = server.post("/oauth2/token", &[], &form).await;
    assert_eq!(refused.json()["error"], "invalid_grant", "form before client");
    let form = [("token", "x"), ("client_id", "nobody")];
    let refused = server.post("/oauth2/revoke", &[], &form).await;
    assert_snapshot!(refused.shown(), @r#"
    401
    content-type: application/json
    cache-control: no-store
    pragma: no-cache
    www-authenticate: Basic realm="cadence", charset="UTF-8"
    vary: Origin
    x-content-type-options: nosniff
    strict-transport-security: max-age=63072000; includeSubDomains

    {"error":"invalid_client","error_description":"client authentication failed"}
    "#);
    let refused = server.get("/oauth2/token", &[]).await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
    let refused = server.get("/oauth2/nothing", &[]).await;
    assert_eq!(refused.status, 404);
}

#[tokio::test]
async fn bearer_challenges_tell_three_cases_apart() {
    let server = server().await;
    let none = server.get("/oauth2/userinfo", &[]).await;
    assert_eq!(
        (none.status, none.header("www-authenticate")),
        (401, Some("Bearer realm=\"cadence\""))
    );
    let bad = server.get("/oauth2/userinfo", &[("authorization", "Bearer a.b.c")]).await;
    assert_snapshot!(bad.header("www-authenticate").unwrap(), @r#"Bearer realm="cadence", error="invalid_token", error_description="the access token is expired, revoked or malformed""#);
    assert_eq!(bad.status, 401);
    let malformed = server.get("/oauth2/userinfo", &[("authorization", "Bearer a b")]).await;
    assert_eq!(malformed.status, 400);
}

#[tokio::test]
async fn a_request_that_is_not_proven_is_shown_and_never_redirected() {
    let server = server().await;
    let elsewhere = authorize_url("web").replace("app.example", "evil.example");
    for url in [elsewhere, authorize_url("nobody"), "/oauth2/authorize".to_owned()] {
        let shown = server.get(&url, &[]).await;
        assert_eq!(shown.status, 400, "{url}");
        assert_eq!(shown.header("location"), None, "{url}");
        assert_eq!(shown.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(shown.header("x-frame-options"), Some("DENY"));
    }
}

#[tokio::test]
async fn cookies_are_host_only() {
    let server = server().await;
    let authorize = server.get(&authorize_url("web"), &[]).await;
    let cookie = authorize.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-cadence_tx_"), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=86400"),
        "{cookie}"
    );
}

#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let server = server().await;
    let authorize = server.get(&authorize_url("web"), &[]).await;
    let cookies = authorize.cookies();
    let login = server.get(authorize.header("location").unwrap(), &[("cookie", &cookies)]).await;
    let (tx, csrf) = (login.field("tx"), login.field("csrf"));
    let form = |csrf| {
        [
            ("tx", tx.as_str()),
            ("csrf", csrf),
            ("username", "alice@example.test"),
            ("password", PASSWORD),
        ]
    };
    let cross = [("cookie", cookies.as_str()), ("sec-fetch-site", "cross-site")];
    let foreign = [("cookie", cookies.as_str()), ("origin", "https://evil.example")];
    let own = [("cookie", cookies.as_str()), ("origin", "https://id.example")];
    assert_eq!(server.post("/oauth2/login", &cross, &form(&csrf)).await.status, 403);
    assert_eq!(server.post("/oauth2/login", &foreign, &form(&csrf)).await.status, 403);
    let sandboxed =
        [("cookie", cookies.as_str()), ("origin", "null"), ("sec-fetch-site", "cross-site")];
    assert_eq!(server.post("/oauth2/login", &sandboxed, &form(&csrf)).await.status, 403);
    assert_eq!(server.post("/oauth2/login", &own, &form("x")).await.status, 403);
    assert_eq!(server.post("/oauth2/login", &[], &form(&csrf)).await.status, 400, "no cookie");
    assert_eq!(server.post("/oauth2/login", &own, &form(&csrf)).await.status, 303);
}

#[tokio::test]
async fn another_user_than_the_expected_one_gets_no_code() {
    let server = server().await;
    let bob = user::register("bob@example.test", None, None, PASSWORD).unwrap();
    server.app.known.directory().put_user(&bob).await.unwrap();
    let code = code_of(&server.sign_in("own").await);
    let tokens = server.redeem("own", &code).await.json();
    let hint = tokens["id_token"].as_str().unwrap();
    let url = with_query(&authorize_url("own"), [("id_token_hint", hint)]);
    let authorize = server.get(&url, &[]).await;
    let cookies = authorize.cookies();
    let login = server.get(authorize.header("location").unwrap(), &[("cookie", &cookies)]).await;
    let (tx, csrf) = (login.field("tx"), login.field("csrf"));
    let form = [
        ("tx", tx.as_str()),
        ("csrf", csrf.as_str()),
        ("username", "bob@example.test"),
        ("password", PASSWORD),
    ];
    let refused = server.post("/oauth2/login", &[("cookie", &cookies)], &form).await;
    let location = refused.header("location").unwrap();
    assert!(location.starts_with("https://app.example/cb?error=login_required&"), "{location}");
}

#[tokio::test]
async fn what_began_before_a_password_changed_is_dead() {
    let server = server().await;
    let code = code_of(&server.sign_in("own").await);
    let tokens = server.redeem("own", &code).await.json();
    let directory = server.app.known.directory();
    let mut alice = directory.find_username("alice@example.test").await.unwrap().unwrap();
    alice.valid_from = clock::now().plus(1);
    directory.put_user(&alice).await.unwrap();
    tokio::time::sleep(crate::known::BELIEVED_IN).await;
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let userinfo = server.get("/oauth2/userinfo", &[("authorization", &bearer)]).await;
    assert_eq!(userinfo.status, 401);
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(server.token("own", &form).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn guessing_a_client_secret_is_throttled_for_the_network() {
    use shared::limits::CLIENT_FAILURES;
    let server = server().await;
    let wrong = [("authorization", "Basic d2ViOndyb25n")];
    let form = [("token", "x")];
    for _ in 0..CLIENT_FAILURES {
        assert_eq!(server.post("/oauth2/revoke", &wrong, &form).await.status, 401);
    }
    let throttled = server.post("/oauth2/revoke", &wrong, &form).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("900")));
}

#[tokio::test]
async fn a_logout_without_a_hint_asks_even_when_the_session_is_over() {
    let server = server().await;
    let asked = server.get("/oauth2/logout", &[("cookie", "__Host-cadence_session=gone")]).await;
    assert_eq!(asked.status, 200);
    assert!(asked.body.contains("name=\"csrf\""), "{}", asked.body);
}

/// F26: whose handler panics is told that something is away; everybody else is answered.
#[tokio::test]
async fn a_handler_that_panics_fails_its_own_request_alone() {
    async fn panics() -> axum::response::Response {
        panic!("a secret of the handler");
    }
    let server = server().await;
    let receive = from_fn_with_state(server.app.clone(), super::arrival::receive);
    let router = Router::new()
        .route("/oauth2/token", any(panics))
        .route("/oauth2/logout", any(panics))
        .route("/healthz", any(super::health::live))
        .layer(receive);
    for (method, path, kind) in [
        ("POST", "/oauth2/token", "application/json"),
        ("GET", "/oauth2/logout", "text/html; charset=utf-8"),
    ] {
        let ask = |method, path| Request::builder().method(method).uri(path).body(Body::empty());
        let failed = router.clone().oneshot(ask(method, path).unwrap()).await.unwrap();
        let (parts, body) = failed.into_parts();
        assert_eq!(parts.status, 503);
        let wait: u8 = parts.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=5).contains(&wait), "{wait}");
        assert_eq!(parts.headers["content-type"], kind);
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("temporarily_unavailable") && !body.contains("secret"), "{body}");
        let lives = router.clone().oneshot(ask("GET", "/healthz").unwrap()).await.unwrap();
        assert_eq!(lives.status(), 200);
    }
}
