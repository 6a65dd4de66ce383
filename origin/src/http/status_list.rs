//! `GET /oauth2/status/{list}`: a status list, signed (draft-ietf-oauth-status-list §5.1, §8.1).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::response::Response;
use shared::error::OAuthError;
use shared::jwk::Alg;
use shared::jwt::Typ;
use shared::limits::{STATUS_LIST_EXPIRES_IN, STATUS_LIST_TTL_IN};
use shared::secret::Sha256Digest;
use shared::status_list::{self, Bits, StatusList, StatusListClaims, StatusListId};

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use crate::app::App;
use crate::issue::WithTimes;

/// How often a list that has not changed is signed again, seconds: its signature, and so its tag,
/// stays the same meanwhile. Far less than the list is good for.
const SIGNED_AGAIN_IN: u64 = 60;

/// Answers with a list.
///
/// # Errors
/// 404 for a list that is not there: its tokens have expired, or the store has lost it, and then
/// they are to be refused. Unavailable when the store is away.
pub async fn status_list(
    State(app): State<Arc<App>>,
    Path(list): Path<String>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    let now = incoming.now;
    let list = StatusListId::parse(&list).ok_or(OAuthError::not_found())?;
    let bits = app.store.find_status_list(&list, now).await?.ok_or(OAuthError::not_found())?;
    // Whoever has this version has these statuses, and a signature that is good for long enough.
    let signed_at = now.minus(now.as_secs() % SIGNED_AGAIN_IN);
    let version = [&bits[..], &signed_at.as_secs().to_be_bytes()].concat();
    let etag = format!("\"{}\"", Sha256Digest::of(&version).to_base64url());
    let known = incoming.headers.get(IF_NONE_MATCH).is_some_and(|known| known == etag.as_str());
    let response = if known {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        let claims = StatusListClaims {
            sub: list.uri(&app.issuer),
            ttl: STATUS_LIST_TTL_IN,
            status_list: StatusList::new(Bits::One, bits).compress(),
        };
        let claims = WithTimes { claims, iat: now, exp: now.plus(STATUS_LIST_EXPIRES_IN) };
        let jwt = app.keys.load().sign(Alg::ES256, Typ::StatusList, &claims, now)?;
        answer::text(StatusCode::OK, status_list::MEDIA_TYPE, jwt)
    };
    let response = answer::cacheable(response, &format!("public, max-age={STATUS_LIST_TTL_IN}"));
    Ok(answer::with_header(response, ETAG, &etag))
}
