//! Requests with an access token of this server.

use std::sync::Arc;

use shared::bearer::{self, BearerCredentials};
use shared::claims::{AccessToken, AccessTokenClaims};
use shared::error::OAuthError;
use shared::jwt::{Typ, UntrustedJwt, Verified};
use shared::secret::Sha256Digest;

use super::answer::HttpError;
use super::arrival::Incoming;
use crate::app::{App, VerifiedToken};
use crate::directory::UserRecord;
use crate::store::GrantRecord;

/// A request whose access token is good, active and covers what is needed.
pub struct Protected {
    /// The token.
    pub token: AccessToken,
    /// Its grant.
    pub grant: GrantRecord,
    /// Its user, who is not disabled.
    pub user: Arc<UserRecord>,
}

/// Lets a request through to a protected resource.
///
/// Checks, in order: credentials, signature, claims ([`AccessToken::validate`]), `scope`, the row
/// of the token, its client, its user.
///
/// # Errors
/// A Bearer challenge (RFC 6750 §3); unavailable when store or directory are away.
pub async fn check(
    app: &App,
    incoming: &Incoming,
    scope: Option<&'static str>,
) -> Result<Protected, HttpError> {
    let refuse = |error| HttpError::Bearer { error, scope };
    let text = match BearerCredentials::parse(incoming.authorization()) {
        Ok(BearerCredentials::Token(text)) => text,
        Ok(BearerCredentials::None) => return Err(refuse(None)),
        Err(error) => return Err(refuse(Some(error))),
    };
    let token = verify(app, incoming, text).ok_or(refuse(Some(OAuthError::invalid_token())))?;
    active(app, incoming, token, scope).await
}

/// Goes on with a verified access token.
///
/// Checks, in order: `scope`, the row of the token, its client, its user.
///
/// # Errors
/// A Bearer challenge (RFC 6750 §3); unavailable when store or directory are away.
pub async fn active(
    app: &App,
    incoming: &Incoming,
    token: AccessToken,
    scope: Option<&'static str>,
) -> Result<Protected, HttpError> {
    let refuse = |error| HttpError::Bearer { error, scope };
    if scope.is_some_and(|scope| !token.claims.scope.contains(scope)) {
        return Err(refuse(Some(bearer::insufficient_scope())));
    }
    let grant = app.store.find_access(&token.jti, incoming.now).await?;
    let grant = grant.ok_or(refuse(Some(OAuthError::invalid_token())))?;
    let client = app.known.client(&grant.client_id).await?;
    client.ok_or(refuse(Some(OAuthError::invalid_token())))?;
    let user = app.known.user(&grant.user_id, grant.auth_time).await?;
    let user = user.ok_or(refuse(Some(OAuthError::invalid_token())))?;
    Ok(Protected { token, grant, user })
}

/// Returns the access token that is presented, if it was minted here and has not expired.
///
/// Does NOT tell whether it is active: it may have been revoked.
#[must_use]
pub fn presented(app: &App, incoming: &Incoming) -> Option<AccessToken> {
    match BearerCredentials::parse(incoming.authorization()) {
        Ok(BearerCredentials::Token(text)) => verify(app, incoming, text),
        Ok(BearerCredentials::None) | Err(_) => None,
    }
}

/// Verifies an access token for this server, without asking the store. The signature of a token
/// that was verified before is not verified again; its claims are.
#[must_use]
pub fn verify(app: &App, incoming: &Incoming, text: &str) -> Option<AccessToken> {
    let verified = verify_signature(app, incoming, text)?;
    AccessToken::validate(verified, &app.issuer, app.issuer.as_str(), incoming.now).ok()
}

/// Verifies an access token as [`verify`] does, whatever the time is: who wants a token ended is not
/// told that it is because this clock is wrong.
#[must_use]
pub fn verify_at_any_time(app: &App, incoming: &Incoming, text: &str) -> Option<AccessToken> {
    let verified = verify_signature(app, incoming, text)?;
    AccessToken::validate_at_any_time(verified, &app.issuer, app.issuer.as_str()).ok()
}

fn verify_signature(
    app: &App,
    incoming: &Incoming,
    text: &str,
) -> Option<Verified<AccessTokenClaims>> {
    let digest = Sha256Digest::of(text.as_bytes());
    let keys = app.keys.load();
    let known = app.verified.get(digest.as_bytes());
    // A key may be gone since, and with it every token that it has signed.
    let known = known.filter(|token| keys.publishes(&token.kid, incoming.now));
    if let Some(token) = known {
        return Some(token.verified.clone());
    }
    let jwt = UntrustedJwt::parse(text, Typ::AccessToken).ok()?;
    let verified = keys.verify_parsed(&jwt, incoming.now).ok()?;
    let token = VerifiedToken { kid: jwt.kid().to_owned(), verified: verified.clone() };
    app.verified.insert(*digest.as_bytes(), Arc::new(token));
    Some(verified)
}
