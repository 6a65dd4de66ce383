//! F26: a handler that panics.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::any;

use super::*;
use crate::http::arrival::receive;

/// The request of a handler that panics is answered 503, in the form of its endpoint, and says
/// nothing of why; the next one is answered as ever.
#[tokio::test]
async fn a_panic_fails_one_request_and_no_more() {
    let server = server().await;
    let panics = async || -> Response<Body> { panic!("the secret reason") };
    let router = Router::new()
        .route("/oauth2/token", any(panics))
        .route("/oauth2/login", any(panics))
        .layer(from_fn_with_state(server.app.clone(), receive));
    for (path, content_type) in
        [("/oauth2/token", "application/json"), ("/oauth2/login", "text/html; charset=utf-8")]
    {
        let request = Request::post(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], content_type);
        assert!(response.headers().contains_key("retry-after"));
        assert!(response.headers().contains_key("x-request-id"));
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(!body.contains("reason") && !body.contains("panick"), "{body}");
    }
    let code = code_of(&server.sign_in("web").await);
    assert_eq!(server.redeem("web", &code).await.status, 200);
}
