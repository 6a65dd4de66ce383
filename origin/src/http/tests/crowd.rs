//! F22: more requests than can be answered in time.

use super::*;

/// Whoever finds no place is told so at once, in the form of the endpoint; health checks need none.
#[tokio::test]
async fn who_finds_no_place_is_told_so_at_once() {
    let server = server().await;
    let all = u32::try_from(server.app.answering.available_permits()).unwrap();
    let taken = server.app.answering.acquire_many(all).await.unwrap();
    let router = crate::http::router(server.app.clone());
    let ask = async |path| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    for (path, content_type) in
        [("/oauth2/userinfo", "application/json"), ("/oauth2/login", "text/html; charset=utf-8")]
    {
        let response = ask(path).await;
        assert_eq!(response.status(), 503, "{path}");
        assert_eq!(response.headers()["content-type"], content_type);
        assert!(response.headers().contains_key("retry-after"));
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(path).await.status(), 200, "{path}");
    }
    drop(taken);
    assert_eq!(ask("/oauth2/userinfo").await.status(), 401);
    assert_eq!(u32::try_from(server.app.answering.available_permits()).unwrap(), all);
}
