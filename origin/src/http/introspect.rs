//! `POST /oauth2/introspect` (RFC 7662).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use shared::claims::Audience;
use shared::client::Client;
use shared::error::OAuthError;
use shared::scope::Scope;
use shared::time::UnixTime;
use shared::token::RefreshToken;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::{client, protected};
use crate::app::App;
use crate::directory::UserRecord;

/// What is told about a token (RFC 7662 §2.2). Of one that is not active, nothing else is.
#[derive(Serialize)]
#[serde(untagged)]
enum Introspection {
    Inactive { active: bool },
    Active(Box<Told>),
}

#[derive(Serialize)]
struct Told {
    active: bool,
    iss: String,
    sub: String,
    client_id: String,
    scope: Scope,
    exp: UnixTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<UnixTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// For those who may hear the user's profile, as at userinfo.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
}

const INACTIVE: Introspection = Introspection::Inactive { active: false };

/// Tells a confidential client about its own tokens, and about access tokens whose audience it is.
///
/// A refresh token is looked up only with `token_type_hint=refresh_token`: a resource server that
/// asks about what it was handed as an access token never hears `active` for another kind.
///
/// # Errors
/// `invalid_request`, `invalid_client`; unavailable.
pub async fn introspect(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    let form = client::form(&incoming)?;
    let token = form.one("token").map_err(OAuthError::from)?;
    let hint = form.one("token_type_hint").map_err(OAuthError::from)?;
    let token = token.ok_or(OAuthError::invalid_request("token is missing"))?;
    let claimed = client::find(&app, &incoming, &form).await?;
    let record = client::authenticate(&app, &incoming, claimed)?;
    if record.client.is_public() {
        return Err(OAuthError::invalid_client().into());
    }
    let told = match hint {
        Some("refresh_token") if RefreshToken::parse(token).is_ok() => {
            of_refresh_token(&app, &incoming, &record.client, token).await?
        }
        _ => of_access_token(&app, &incoming, &record.client, token).await?,
    };
    Ok(answer::json(StatusCode::OK, &told))
}

async fn of_access_token(
    app: &App,
    incoming: &Incoming,
    client: &Client,
    text: &str,
) -> Result<Introspection, HttpError> {
    let Some(token) = protected::verify(app, incoming, text) else { return Ok(INACTIVE) };
    let asker = client.client_id.as_str();
    if token.claims.client_id != asker && !token.claims.aud.contains(asker) {
        return Ok(INACTIVE);
    }
    let Some(grant) = app.store.find_access(&token.jti, incoming.now).await? else {
        return Ok(INACTIVE);
    };
    if app.known.client(&grant.client_id).await?.is_none() {
        return Ok(INACTIVE);
    }
    let Some(user) = app.known.user(&grant.user_id, grant.auth_time).await? else {
        return Ok(INACTIVE);
    };
    let username = username(&user, &token.claims.scope);
    Ok(Introspection::Active(Box::new(Told {
        active: true,
        iss: token.claims.iss,
        sub: token.claims.sub,
        client_id: token.claims.client_id,
        scope: token.claims.scope,
        exp: token.expires_at,
        iat: Some(token.issued_at),
        aud: Some(token.claims.aud),
        jti: Some(token.claims.jti),
        token_type: Some("Bearer"),
        username,
    })))
}

async fn of_refresh_token(
    app: &App,
    incoming: &Incoming,
    client: &Client,
    text: &str,
) -> Result<Introspection, HttpError> {
    let Ok(token) = RefreshToken::parse(text) else { return Ok(INACTIVE) };
    if token.verify(&app.edge_keys.tokens, &client.client_id, incoming.now).is_err() {
        return Ok(INACTIVE);
    }
    let grant = app.store.find_refresh(&token.grant_id(), &token.digest(), incoming.now).await?;
    let Some(grant) = grant else { return Ok(INACTIVE) };
    let Some(user) = app.known.user(&grant.user_id, grant.auth_time).await? else {
        return Ok(INACTIVE);
    };
    let username = username(&user, &grant.scope);
    Ok(Introspection::Active(Box::new(Told {
        active: true,
        iss: app.issuer.as_str().to_owned(),
        sub: grant.user_id.0,
        client_id: grant.client_id.as_str().to_owned(),
        scope: grant.scope,
        exp: grant.expires_at,
        iat: None,
        aud: None,
        jti: None,
        token_type: None,
        username,
    })))
}

fn username(user: &UserRecord, scope: &Scope) -> Option<String> {
    scope.contains("profile").then(|| user.username.clone())
}
