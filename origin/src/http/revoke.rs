//! `POST /oauth2/revoke` (RFC 7009).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use shared::error::OAuthError;
use shared::token::{RefreshToken, RefreshTokenRefused};

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::{client, protected};
use crate::app::App;
use crate::store::AccessName;

/// Revokes a token of the client: a refresh token ends its whole grant, an access token only
/// itself.
///
/// Tokens that are unknown, malformed or another client's are answered alike, with 200, and nothing is
/// revoked (RFC 7009 §2.2). The hint is not needed, and ignored. So are the token's times: by a
/// clock that is wrong, a token that is good everywhere else may be over, or not have begun.
///
/// # Errors
/// `invalid_request`, `invalid_client`; unavailable, when nothing is known to be revoked.
pub async fn revoke(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    let form = client::form(&incoming)?;
    let token = form.one("token").map_err(OAuthError::from)?;
    form.one("token_type_hint").map_err(OAuthError::from)?;
    let token = token.ok_or(OAuthError::invalid_request("token is missing"))?;
    let claimed = client::find(&app, &incoming, &form).await?;
    let record = client::authenticate(&app, &incoming, claimed)?;
    let client_id = &record.client.client_id;
    if let Ok(refresh_token) = RefreshToken::parse(token) {
        let verified = refresh_token.verify(&app.edge_keys.tokens, client_id, incoming.now);
        if matches!(verified, Ok(()) | Err(RefreshTokenRefused::Expired)) {
            app.store.revoke_grant(&refresh_token.grant_id(), incoming.now).await?;
        }
    } else if let Some(access_token) = protected::verify_at_any_time(&app, &incoming, token)
        && access_token.claims.client_id == client_id.as_str()
    {
        let access = AccessName { jti: access_token.jti, status: access_token.status };
        app.store.revoke_access(&access, incoming.now).await?;
    }
    Ok(answer::empty(StatusCode::OK))
}
