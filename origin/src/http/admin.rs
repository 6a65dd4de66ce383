//! The admin listener: metrics, and health in detail. For the operator's network alone.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::answer;
use crate::app::App;

/// The admin routes.
pub fn router(app: Arc<App>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/metrics", get(move || async move { metrics.render() }))
        .route("/healthz", get(super::health::live))
        .route("/readyz", get(ready))
        .fallback(answer::not_found)
        .with_state(app)
}

/// Says which dependency answers, and whether the process is ending.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let store = app.store.ping().await;
    let directory = app.known.directory().ping().await;
    let serving = app.ending.is_serving();
    let status = match (&store, &directory) {
        (Ok(()), Ok(())) if serving => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let word = |answers: bool| if answers { "up" } else { "down" };
    let body = json!({
        "store": word(store.is_ok()),
        "directory": word(directory.is_ok()),
        "process": if serving { "serving" } else { "ending" },
    });
    answer::json(status, &body)
}
