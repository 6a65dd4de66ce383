//! The routes, and what each of them needs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde::Deserialize;

use crate::bearer::{self, Refused};
use crate::notes::{Note, Notes, TooMany};
use crate::settings::Settings;
use crate::verifier::Verifier;

/// Bytes of JSON that a new note may have: it is a note, not a file.
const NOTE_LEN: usize = 4 * 1024;

/// Events of the stream, and the time between them.
const EVENTS: u32 = 5;
const EVENT_EVERY: Duration = Duration::from_millis(500);

/// The user who asks: `sub` of a verified token. No handler runs without one.
#[derive(Clone, Debug)]
struct User(Arc<str>);

/// Makes the routes. Reading needs `notes:read`, and everything else `notes:write`.
///
/// # Errors
/// When no HTTP client can be made.
pub(crate) fn router(settings: &Settings) -> anyhow::Result<Router> {
    let verifier = Arc::new(Verifier::new(settings)?);
    let reads = Router::new()
        .route("/api/notes", get(list))
        .route("/api/notes/events", get(events))
        .route_layer(from_fn_with_state((Arc::clone(&verifier), "notes:read"), admit));
    let writes = Router::new()
        .route("/api/notes", post(create))
        .route("/api/notes/{id}", delete(remove))
        .route("/api/notes/echo", post(echo))
        .route_layer(from_fn_with_state((verifier, "notes:write"), admit));
    let health = Router::new().route("/healthz", get(async || Json(serde_json::json!({}))));
    Ok(reads
        .merge(writes)
        .merge(health)
        .layer(DefaultBodyLimit::max(NOTE_LEN))
        .with_state(Arc::new(Notes::default())))
}

/// Lets a request in whose token is good for `scope`, before anything of its body is read.
async fn admit(
    State((verifier, scope)): State<(Arc<Verifier>, &'static str)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let token = bearer::token(request.headers())?;
    let claims = verifier.verify(token, scope).await?;
    request.extensions_mut().insert(User(claims.sub.into()));
    let mut response = next.run(request).await;
    // What one user may see is nobody else's to keep.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

async fn list(
    State(notes): State<Arc<Notes>>,
    Extension(user): Extension<User>,
) -> Json<Vec<Note>> {
    Json(notes.of(&user.0))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

async fn create(
    State(notes): State<Arc<Notes>>,
    Extension(user): Extension<User>,
    Json(new): Json<NewNote>,
) -> Result<(StatusCode, Json<Note>), StatusCode> {
    let note = notes.add(&user.0, new.text).map_err(|TooMany| StatusCode::INSUFFICIENT_STORAGE)?;
    Ok((StatusCode::CREATED, Json(note)))
}

async fn remove(
    State(notes): State<Arc<Notes>>,
    Extension(user): Extension<User>,
    Path(id): Path<u64>,
) -> StatusCode {
    match notes.remove(&user.0, id) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

/// Tells the number of notes a few times, slowly, so that a stream can be seen to be one.
async fn events(
    State(notes): State<Arc<Notes>>,
    Extension(user): Extension<User>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(0, move |sent| {
        let (notes, user) = (Arc::clone(&notes), user.clone());
        async move {
            if sent == EVENTS {
                return None;
            }
            if sent > 0 {
                tokio::time::sleep(EVENT_EVERY).await;
            }
            let count = notes.of(&user.0).len().to_string();
            let event = Event::default().id(sent.to_string()).event("notes").data(count);
            Some((Ok(event), sent + 1))
        }
    }))
}

/// Sends the body back while it is still coming.
async fn echo(request: Request) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    ([(CONTENT_TYPE, kind)], request.into_body()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use serde_json::json;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::Issuer;

    async fn send(router: &Router, method: &str, path: &str, token: &str, body: &str) -> Response {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_user_reads_and_writes_notes() {
        let issuer = Issuer::start().await;
        let router = router(&issuer.settings()).unwrap();
        let mut claims = issuer.claims();
        claims["scope"] = json!("notes:read notes:write");
        let token = issuer.token(&claims);
        let created = send(&router, "POST", "/api/notes", &token, r#"{"text":"milk"}"#).await;
        assert_eq!(created.status(), 201);
        assert_eq!(text(created).await, r#"{"id":1,"text":"milk"}"#);
        let listed = send(&router, "GET", "/api/notes", &token, "").await;
        assert_eq!(listed.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(text(listed).await, r#"[{"id":1,"text":"milk"}]"#);
        claims["sub"] = json!("bob");
        let bobs = issuer.token(&claims);
        assert_eq!(send(&router, "DELETE", "/api/notes/1", &bobs, "").await.status(), 404);
        assert_eq!(send(&router, "DELETE", "/api/notes/1", &token, "").await.status(), 204);
        let echoed = send(&router, "POST", "/api/notes/echo", &token, &"x".repeat(100_000)).await;
        assert_eq!(text(echoed).await.len(), 100_000);
        let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(NOTE_LEN));
        assert_eq!(send(&router, "POST", "/api/notes", &token, &large).await.status(), 413);
    }

    #[tokio::test]
    async fn each_route_has_its_scope() {
        let issuer = Issuer::start().await;
        let router = router(&issuer.settings()).unwrap();
        let reader = issuer.token(&issuer.claims());
        for (method, path, with_reader) in [
            ("GET", "/api/notes", 200),
            ("HEAD", "/api/notes", 200),
            ("GET", "/api/notes/events", 200),
            ("POST", "/api/notes", 403),
            ("DELETE", "/api/notes/1", 403),
            ("POST", "/api/notes/echo", 403),
        ] {
            let response = send(&router, method, path, &reader, "").await;
            assert_eq!(response.status(), with_reader, "{method} {path}");
            let response = send(&router, method, path, "x", "").await;
            assert_eq!(response.status(), 401, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn events_end() {
        let user = Extension(User("alice".into()));
        let response = events(State(Arc::default()), user).await.into_response();
        assert_eq!(text(response).await.matches("event: notes\ndata: 0\n").count(), 5);
    }
}
