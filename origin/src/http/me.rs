//! The protected API of the origin itself: `GET /api/me`, `DELETE /api/auth/logout`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::{protected, userinfo};
use crate::app::App;

/// Tells who the access token speaks for: the claims that its scope allows, and the token's own.
///
/// # Errors
/// A Bearer challenge; unavailable.
pub async fn me(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, HttpError> {
    let protected::Protected { token, user, .. } = protected::check(&app, &incoming, None).await?;
    let mut body = json!(userinfo::claims(&user, &token.claims.scope));
    body["client_id"] = json!(token.claims.client_id);
    body["scope"] = json!(token.claims.scope);
    body["auth_time"] = json!(token.claims.auth_time);
    Ok(answer::json(StatusCode::OK, &body))
}

/// Revokes the grant of the access token that is presented: its refresh tokens and every access
/// token.
///
/// A token that is not active revokes nothing. But its grant may be one whose revocation began and
/// failed half way, and this the second try: that comes to its end before the token is refused.
///
/// # Errors
/// A Bearer challenge; unavailable, when the statuses of the tokens may not have been set.
pub async fn logout(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    let protected = match protected::check(&app, &incoming, None).await {
        Ok(protected) => protected,
        Err(refused) => {
            if let Some(token) = protected::presented(&app, &incoming) {
                app.store.finish_revocation(&token.jti.grant_id, incoming.now).await?;
            }
            return Err(refused);
        }
    };
    app.store.revoke_grant(&protected.grant.grant_id, incoming.now).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
