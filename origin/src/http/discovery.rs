//! Discovery and keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use shared::limits::JWKS_FRESH_IN;
use shared::metadata::ProviderMetadata;

use super::answer;
use super::arrival::Incoming;
use crate::app::App;

/// Answers at both well-known paths (OpenID Connect Discovery §4, RFC 8414 §3).
pub async fn metadata(State(app): State<Arc<App>>) -> Response {
    cacheable(answer::json(StatusCode::OK, &ProviderMetadata::new(&app.issuer)))
}

/// `GET /oauth2/jwks` (RFC 7517 §5).
pub async fn jwks(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    cacheable(answer::json(StatusCode::OK, &app.keys.load().jwks(incoming.now)))
}

fn cacheable(response: Response) -> Response {
    answer::cacheable(response, &format!("public, max-age={JWKS_FRESH_IN}"))
}
