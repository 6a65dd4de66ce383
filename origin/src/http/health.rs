//! Liveness and readiness.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::{self, HttpError};
use crate::app::{App, Unavailable};

/// The process lives. Asks nothing else, so that nobody restarts it because Redis is away.
pub async fn live() -> Response {
    answer::json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// The process can work, and wants to: store and directory answer, and it is not ending.
///
/// # Errors
/// Unavailable.
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response, HttpError> {
    if !app.ending.is_serving() {
        return Err(Unavailable::new("the process is ending").into());
    }
    app.store.ping().await?;
    app.known.directory().ping().await?;
    Ok(answer::json(StatusCode::OK, &json!({ "status": "ready" })))
}
