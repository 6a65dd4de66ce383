//! Liveness and readiness.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::{self, HttpError};
use crate::app::App;

/// The process lives. Asks nothing else, so that nobody restarts it because Redis is away.
pub async fn live() -> Response {
    answer::json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// The process can work: store and directory answer.
///
/// # Errors
/// Unavailable.
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response, HttpError> {
    app.store.ping().await?;
    app.known.directory().ping().await?;
    Ok(answer::json(StatusCode::OK, &json!({ "status": "ready" })))
}
