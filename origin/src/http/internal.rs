//! What only a signing edge may ask.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::response::Response;
use serde_json::json;
use shared::error::OAuthError;
use shared::secret::Sha256Digest;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::token;
use crate::app::App;

/// Takes a token request that the edge has refused because its code had expired: if the code was
/// redeemed before, this is a replay, and what it began is revoked ([`token::report_late`]). The
/// edge does not wait for the answer, which says nothing.
///
/// **Does NOT** issue or redeem anything, even if the code is still good by the origin's clock.
///
/// # Errors
/// 404 to everybody else; unavailable, when nothing is known to be revoked.
pub async fn late_codes(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    if !incoming.from_edge {
        return Err(OAuthError::not_found().into());
    }
    match token::report_late(&app, &incoming).await {
        Err(unavailable @ HttpError::Unavailable(_)) => Err(unavailable),
        Ok(()) | Err(_) => Ok(answer::empty(StatusCode::NO_CONTENT)),
    }
}

/// Tells the edge all enabled clients, without their secrets.
///
/// # Errors
/// 404 to everybody else; unavailable when the directory is away.
pub async fn clients(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    if !incoming.from_edge {
        return Err(OAuthError::not_found().into());
    }
    let body = json!({ "clients": app.known.clients().await? });
    let etag = format!("\"{}\"", Sha256Digest::of(body.to_string().as_bytes()).to_base64url());
    let known = incoming.headers.get(IF_NONE_MATCH).is_some_and(|known| known == etag.as_str());
    let response = if known {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        answer::json(StatusCode::OK, &body)
    };
    let response = answer::with_header(response, CACHE_CONTROL, "private, no-cache");
    Ok(answer::with_header(response, ETAG, &etag))
}
