//! The only place where a token is minted.

use serde::Serialize;
use shared::claims::{AccessTokenClaims, Audience, IdTokenClaims, SessionId, at_hash};
use shared::client::Client;
use shared::issuer::Issuer;
use shared::jwk::Alg;
use shared::jwt::Typ;
use shared::limits::{ID_TOKEN_EXPIRES_IN, LOGOUT_TOKEN_EXPIRES_IN};
use shared::logout_token::LogoutTokenClaims;
use shared::scope::Scope;
use shared::secret::base64url;
use shared::status_list::Status;
use shared::time::UnixTime;
use shared::token::RefreshToken;

use crate::keys::{KeyRing, SigningFailed};
use crate::store::{AccessRow, GrantRecord, LogoutNotice};

/// A token response (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    token_type: &'static str,
    /// Seconds that the access token lives.
    pub expires_in: u64,
    /// The refresh token, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Scope::is_empty")]
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
}

/// What the store and the grant's rules have decided.
#[derive(Debug)]
pub struct Issuance<'a> {
    /// The grant.
    pub grant: &'a GrantRecord,
    /// The access token's row, already written.
    pub access: AccessRow,
    /// What this access token covers: the grant's scope, or less.
    pub scope: &'a Scope,
    /// The refresh token, if the client gets one.
    pub refresh_token: Option<&'a RefreshToken>,
    /// The authorization request's `nonce`.
    pub nonce: Option<String>,
    /// The login session, where a code tells it.
    pub sid: Option<SessionId>,
}

/// Claims with the times of their JWT.
#[derive(Serialize)]
pub struct WithTimes<T> {
    /// The other claims.
    #[serde(flatten)]
    pub claims: T,
    /// When it is signed.
    pub iat: UnixTime,
    /// Its end.
    pub exp: UnixTime,
}

/// Mints a logout token by the client's ID token algorithm (OpenID Connect Back-Channel Logout 1.0
/// §2.4): it says that the session of `notice` has ended. `jti` is new each time.
///
/// # Errors
/// [`SigningFailed`].
pub fn logout_token(
    keys: &KeyRing,
    issuer: &Issuer,
    client: &Client,
    notice: &LogoutNotice,
    jti: &[u8; 16],
    now: UnixTime,
) -> Result<String, SigningFailed> {
    let LogoutNotice { user_id, sid, .. } = notice;
    let (sub, sid, jti) = (user_id.0.clone(), sid.clone(), base64url(jti));
    let claims = LogoutTokenClaims::new(issuer, client.client_id.as_str(), sub, sid, jti);
    let claims = WithTimes { claims, iat: now, exp: now.plus(LOGOUT_TOKEN_EXPIRES_IN) };
    keys.sign(client.id_token_signed_response_alg, Typ::LogoutToken, &claims, now)
}

/// Mints the tokens of one token response: an access token (RFC 9068, ES256) and, when the scope
/// has `openid`, an ID token by the client's algorithm.
///
/// Does NOT decide anything: whoever calls has the store's word that the grant is good.
///
/// # Errors
/// [`SigningFailed`].
pub fn tokens(
    keys: &KeyRing,
    issuer: &Issuer,
    client: &Client,
    issuance: Issuance<'_>,
    now: UnixTime,
) -> Result<TokenResponse, SigningFailed> {
    let Issuance { grant, access, scope, refresh_token, nonce, sid } = issuance;
    let mut audiences = vec![issuer.as_str().to_owned()];
    audiences.extend(client.audience.iter().cloned());
    let claims = AccessTokenClaims {
        iss: issuer.as_str().to_owned(),
        sub: grant.user_id.0.clone(),
        aud: Audience::new(audiences),
        client_id: client.client_id.as_str().to_owned(),
        scope: scope.clone(),
        jti: access.jti.to_string(),
        auth_time: grant.auth_time,
        status: Status::new(issuer, &access.status),
    };
    let access_claims = WithTimes { claims, iat: now, exp: access.expires_at };
    let access_token = keys.sign(Alg::ES256, Typ::AccessToken, &access_claims, now)?;
    let id_token = if scope.contains("openid") {
        let alg = client.id_token_signed_response_alg;
        let claims = IdTokenClaims {
            iss: issuer.as_str().to_owned(),
            sub: grant.user_id.0.clone(),
            aud: Audience::One(client.client_id.as_str().to_owned()),
            azp: Some(client.client_id.as_str().to_owned()),
            auth_time: grant.auth_time,
            nonce,
            at_hash: Some(at_hash(alg, &access_token)),
            sid,
        };
        let id_claims = WithTimes { claims, iat: now, exp: now.plus(ID_TOKEN_EXPIRES_IN) };
        Some(keys.sign(alg, Typ::IdToken, &id_claims, now)?)
    } else {
        None
    };
    Ok(TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in: access.expires_at.since(now),
        refresh_token: refresh_token.map(|token| token.as_str().to_owned()),
        scope: scope.clone(),
        id_token,
    })
}
