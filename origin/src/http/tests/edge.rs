//! What only an edge may ask, and what is refused to everybody else.

use std::sync::atomic::{AtomicBool, Ordering};

use shared::secret::Sha256Digest;
use shared::signed_request::{EdgeStatement, HEADER, RequestParts};

use super::revocation::is_active;
use super::*;
use crate::store::redis::tests::Server as RedisServer;

const LATE_CODES: &str = "/internal/late-codes";

impl Server {
    /// Reports a token request as the edge does.
    async fn report_late(&self, authorization: &str, form: &[(&str, &str)]) -> Answer {
        let body = encode(form.iter().copied());
        let statement =
            EdgeStatement { signed_at: clock::now(), nonce: clock::random(), client_address: None };
        let digest = Sha256Digest::of(body.as_bytes());
        let parts = RequestParts { method: "POST", target: LATE_CODES, body: digest };
        let signed = statement.sign(&self.app.edge_keys.requests, &parts);
        let headers = [(HEADER, signed.as_str()), ("authorization", authorization)];
        self.post(LATE_CODES, &headers, form).await
    }
}

fn redemption(code: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", "https://app.example/cb"),
        ("code_verifier", VERIFIER),
    ]
}

async fn a_late_code_that_is_reported_only_revokes(server: Server) {
    let right = server.basic("own");
    let code = code_of(&server.sign_in("own").await);
    // It is still good by the origin's clock: nothing is issued, and it stays good.
    let reported = server.report_late(&right, &redemption(&code)).await;
    assert_eq!((reported.status, reported.body.as_str()), (204, ""));
    let tokens = server.redeem("own", &code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let tokens = tokens.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();

    // Only its own client, authenticated, with the right proof.
    let other = "o".repeat(43);
    let mut wrong_verifier = redemption(&code);
    wrong_verifier[3].1 = &other;
    for (authorization, form) in [
        ("Basic b3duOndyb25n", redemption(&code)),
        (server.basic("web").as_str(), redemption(&code)),
        (right.as_str(), wrong_verifier),
    ] {
        let reported = server.report_late(authorization, &form).await;
        assert_eq!((reported.status, reported.body.as_str()), (204, ""));
        assert!(is_active(&server, &tokens).await);
    }
    let unsigned = [("authorization", right.as_str())];
    assert_eq!(server.post(LATE_CODES, &unsigned, &redemption(&code)).await.status, 404);
    assert!(is_active(&server, &tokens).await);

    // Other grants are not carried out here.
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let reported = server.report_late(&right, &form).await;
    assert_eq!((reported.status, reported.body.as_str()), (204, ""));
    assert_eq!(introspected(&server, refresh).await, true, "it was not rotated");

    assert_eq!(server.report_late(&right, &redemption(&code)).await.status, 204);
    assert!(!is_active(&server, &tokens).await, "a replay");
    assert_eq!(introspected(&server, refresh).await, false);
}

async fn introspected(server: &Server, refresh_token: &str) -> Value {
    let form = [("token", refresh_token), ("token_type_hint", "refresh_token")];
    let headers = [("authorization", &*server.basic("own"))];
    server.post("/oauth2/introspect", &headers, &form).await.json()["active"].clone()
}

#[tokio::test]
async fn a_late_code_that_is_reported_only_revokes_in_the_embedded_store() {
    a_late_code_that_is_reported_only_revokes(server().await).await;
}

#[tokio::test]
async fn a_late_code_that_is_reported_only_revokes_in_redis() {
    let redis = RedisServer::start().await;
    let server = server_over(redis.store().await, TempDir::new().unwrap(), "").await;
    a_late_code_that_is_reported_only_revokes(server).await;
}

/// Sends a request whose body tells whether it was read.
async fn send_watched(server: &Server, header: Option<&[u8]>) -> (u16, bool) {
    let is_read = Arc::new(AtomicBool::new(false));
    let watched = is_read.clone();
    let body = futures_util::stream::once(async move {
        watched.store(true, Ordering::Relaxed);
        Ok::<_, std::io::Error>("grant_type=x")
    });
    let mut request =
        Request::post("/oauth2/token").header("content-type", "application/x-www-form-urlencoded");
    if let Some(header) = header {
        request = request.header(HEADER, header);
    }
    let answer = server.send(request.body(Body::from_stream(body)).unwrap()).await;
    (answer.status, is_read.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_body_is_not_read_before_there_is_a_header_of_the_edge() {
    let folder = TempDir::new().unwrap();
    let store = Embedded::open(&folder.path().join("store.db")).await.unwrap();
    let settings = "require_edge = true\nedge_secret = 'an edge secret of the tests, long enough'";
    let server = server_over(Arc::new(store), folder, settings).await;
    for header in [
        None,
        Some(&b""[..]),
        Some(b"v1"),
        Some(b"v2;1;AAAAAAAAAAAAAAAAAAAAAA;-;AA"),
        Some(b"v1;1;AA;-;AA"),
        Some(b"v1;x;AAAAAAAAAAAAAAAAAAAAAA;-;AA"),
        Some(b"v1;1;AAAAAAAAAAAAAAAAAAAAAA;somewhere;AA"),
        Some(b"v1;1;AAAAAAAAAAAAAAAAAAAAAA;-;AA;more"),
        Some(b"\xff"),
    ] {
        assert_eq!(send_watched(&server, header).await, (403, false), "{header:?}");
    }
    // Whether this one is forged shows only with the body.
    let forged = Some(&b"v1;1;AAAAAAAAAAAAAAAAAAAAAA;-;AA"[..]);
    assert_eq!(send_watched(&server, forged).await, (403, true));
}

#[tokio::test]
async fn only_a_signing_edge_sees_the_snapshot() {
    let server = server().await;
    assert_eq!(server.get("/internal/clients", &[]).await.status, 404);
    let statement =
        EdgeStatement { signed_at: clock::now(), nonce: clock::random(), client_address: None };
    let parts = |target| RequestParts { method: "GET", target, body: Sha256Digest::of(b"") };
    let signed = statement.sign(&server.app.edge_keys.requests, &parts("/internal/clients"));
    let answer = server.get("/internal/clients", &[("cadence-edge", &signed)]).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    let ids: Vec<_> =
        json["clients"].as_array().unwrap().iter().map(|client| &client["client_id"]).collect();
    assert_eq!(ids, ["own", "web", "account"], "the account page's own client, too");
    assert!(!answer.body.contains("backchannel"), "{}", answer.body);
    assert!(!answer.body.contains("secret\""), "{}", answer.body);
    let other = statement.sign(&server.app.edge_keys.requests, &parts("/oauth2/jwks"));
    let refused = server.get("/internal/clients", &[("cadence-edge", &other)]).await;
    assert_eq!(refused.status, 403);
}
