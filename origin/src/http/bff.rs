//! What a signing edge asks about the sessions of its backend-for-frontend.
//!
//! The edge holds a browser's handle; the tokens are here, sealed for it. Whoever asks for a session
//! whose access token is about to end, or is not active any more, gets a renewed one. However many
//! ask at once, by however many edges and origins, the refresh token is used once.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::bff::{
    BeginSession, EndSession, EndSessions, OpenSession, OpenedSession, SessionHandle,
};
use shared::client::{Client, ClientId};
use shared::error::OAuthError;
use shared::limits::{BFF_RENEWED_BEFORE_IN, BFF_SESSION_EXPIRES_IN, BFF_SESSION_IDLE_IN};
use shared::secret::Sha256Digest;
use shared::token::RefreshToken;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::{protected, token, userinfo};
use crate::app::{App, Unavailable};
use crate::clock;
use crate::issue::TokenResponse;
use crate::logout::{self, Outliving};
use crate::store::{
    BffGrant, BffOpened, BffOwner, BffRenewal, BffSessionRecord, BffVersion, Once, UserId,
};

/// How often somebody looks whether another one's renewal is done.
const LOOK_AGAIN_IN: Duration = Duration::from_millis(15);

/// How long somebody waits for another one's renewal: less than a request may take.
const WAITS_AT_MOST: Duration = Duration::from_millis(1_500);

/// What is kept of a session, sealed for its handle.
#[derive(Clone, Serialize, Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
}

/// Begins a session with the tokens of a sign-in, and ends the one that it replaces.
///
/// Checks, in order: the handle, the access token (which must be of a live grant of an enabled client
/// and user), the refresh token (which must be of the same grant).
///
/// # Errors
/// 404 to everybody but the edge; `invalid_request`; a Bearer challenge; unavailable.
pub async fn begin(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, HttpError> {
    const OTHER: OAuthError = OAuthError::invalid_request("the tokens do not belong together");
    let asked: BeginSession = read(&incoming)?;
    let handle = handle(&app, &asked.handle)?;
    let invalid = HttpError::Bearer { error: Some(OAuthError::invalid_token()), scope: None };
    let access = protected::verify(&app, &incoming, &asked.access_token).ok_or(invalid)?;
    let client_id = ClientId::parse(&access.claims.client_id).map_err(|_| OTHER)?;
    let refresh = RefreshToken::parse(&asked.refresh_token).map_err(|_| OTHER)?;
    refresh.verify(&app.edge_keys.tokens, &client_id, incoming.now).map_err(|_| OTHER)?;
    if refresh.grant_id() != access.jti.grant_id {
        return Err(OTHER.into());
    }
    let tokens = Tokens { access_token: asked.access_token, refresh_token: asked.refresh_token };
    let session = BffSessionRecord {
        digest: handle.digest(),
        user_id: UserId(access.claims.sub.clone()),
        client_id,
        grant_id: access.jti.grant_id,
        auth_time: access.claims.auth_time,
        expires_at: incoming.now.plus(BFF_SESSION_EXPIRES_IN),
        renew_at: access.expires_at.minus(BFF_RENEWED_BEFORE_IN),
        sealed: seal(&handle, &tokens)?,
    };
    let opened = told(&app, &incoming, &session, tokens).await?.ok_or(OTHER)?;
    let mut owners = vec![BffOwner::User(session.user_id.clone())];
    owners.extend(asked.sid.map(BffOwner::LoginSession));
    app.store.put_bff_session(&session, &owners, incoming.now).await?;
    // Last: whoever has no new session keeps the one before.
    if let Some(replaced) = asked.replaces.as_deref()
        && let Ok(replaced) = self::handle(&app, replaced)
        && let Err(error) = end_one(&app, &incoming, &replaced.digest()).await
    {
        let request_id = &incoming.request_id;
        tracing::warn!(
            request_id,
            ?error,
            "a BFF session that was replaced lives until it is idle"
        );
    }
    Ok(answer::json(StatusCode::OK, &opened))
}

/// Tells the access token and the claims of a session, and moves its idle end.
///
/// An access token that is about to end, or is not active any more, is renewed first.
///
/// # Errors
/// 404 when there is no such session, or its grant is over; to everybody but the edge, too.
/// Unavailable, when that cannot be told: the session stays.
pub async fn open(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, HttpError> {
    let asked: OpenSession = read(&incoming)?;
    let handle = handle(&app, &asked.handle)?;
    let opened = opened(&app, &incoming, &handle).await?;
    Ok(answer::json(StatusCode::OK, &opened.ok_or(OAuthError::not_found())?))
}

/// Ends a session: its grant is revoked, then its row goes. With the browser's login session, that
/// ends as well, unless it is another user's. When the session is over already, or there never was
/// one, the login session ends all the same: whoever signs out is to be signed out.
///
/// # Errors
/// 404 to everybody but the edge; unavailable: the same call goes on where this one stopped.
pub async fn end(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, HttpError> {
    let asked: EndSession = read(&incoming)?;
    let handle = asked.handle.as_deref().and_then(|text| handle(&app, text).ok());
    let digest = handle.map(|handle| handle.digest());
    let grant = match &digest {
        Some(digest) => app.store.find_bff_grant(digest).await?,
        None => None,
    };
    if let Some(BffGrant { grant_id, .. }) = &grant {
        app.store.revoke_grant(grant_id, incoming.now).await?;
    }
    if let Some(cookie) = &asked.login_session {
        let login = Sha256Digest::of(cookie.as_bytes());
        let user = grant.map(|grant| grant.user_id);
        let found = app.store.find_session(&login, incoming.now).await?;
        let is_anothers =
            found.zip(user.as_ref()).is_some_and(|(found, user)| found.user_id != *user);
        // One that is over already may have left grants behind when its logout was cut short.
        if !is_anothers {
            let user = user.as_ref().map(|user| user.0.as_str());
            logout::end(&app, &login, user, Outliving::Offline, incoming.now).await?;
        }
    }
    // The row goes last: it tells whose session it was, should this be asked again.
    if let Some(digest) = &digest {
        app.store.end_bff_session(digest).await?;
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// Ends the sessions that a logout token names. The edge has validated it; each works once.
///
/// # Errors
/// `invalid_request` for one that names nobody, or was here before; 404 to everybody but the edge;
/// unavailable: the same call goes on where this one stopped.
pub async fn end_all(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    const NOBODY: OAuthError = OAuthError::invalid_request("the logout token names nobody");
    const AGAIN: OAuthError = OAuthError::invalid_request("the logout token was used before");
    let asked: EndSessions = read(&incoming)?;
    let owner = match (asked.sid, &asked.sub) {
        (Some(sid), _) => BffOwner::LoginSession(sid),
        (None, Some(sub)) => BffOwner::User(UserId(sub.clone())),
        (None, None) => return Err(NOBODY.into()),
    };
    for session in app.store.list_bff_sessions(&owner).await? {
        let Some(grant) = app.store.find_bff_grant(&session).await? else { continue };
        let is_users = asked.sub.as_ref().is_none_or(|sub| grant.user_id.0 == *sub);
        if is_users && grant.client_id == asked.client_id {
            end_one(&app, &incoming, &session).await?;
        }
    }
    // Last, so that one whose answer was lost can be repeated until all of it has happened.
    let digest = Sha256Digest::of(format!("logout token {}", asked.jti).as_bytes());
    match app.store.spend_transaction(&digest, asked.expires_at, incoming.now).await? {
        Once::First => Ok(answer::empty(StatusCode::NO_CONTENT)),
        Once::Again => Err(AGAIN.into()),
    }
}

/// Reads the body of a request that an edge has signed.
fn read<T: DeserializeOwned>(incoming: &Incoming) -> Result<T, OAuthError> {
    if !incoming.from_edge {
        return Err(OAuthError::not_found());
    }
    serde_json::from_slice(&incoming.body)
        .map_err(|_| OAuthError::invalid_request("the body is not the expected JSON"))
}

/// Reads a handle. One that no key has made is of no session.
fn handle(app: &App, text: &str) -> Result<SessionHandle, OAuthError> {
    SessionHandle::parse(&app.edge_keys.bff_handles, text).ok_or(OAuthError::not_found())
}

fn seal(handle: &SessionHandle, tokens: &Tokens) -> Result<String, HttpError> {
    let json = serde_json::to_vec(tokens).map_err(Unavailable::new)?;
    let sealed = handle.seal_key().seal(clock::random(), handle.digest().as_bytes(), &json);
    Ok(sealed.ok_or_else(|| Unavailable::new("the tokens of a session cannot be sealed"))?)
}

fn unseal(handle: &SessionHandle, session: &BffSessionRecord) -> Option<Tokens> {
    let context = session.digest;
    let json = handle.seal_key().open(context.as_bytes(), &session.sealed).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Returns a session with an access token that is active; `None` when it is over.
async fn opened(
    app: &Arc<App>,
    incoming: &Incoming,
    handle: &SessionHandle,
) -> Result<Option<OpenedSession>, HttpError> {
    let (digest, renewal) = (handle.digest(), BffRenewal(clock::random()));
    let began = tokio::time::Instant::now();
    let mut refused: Option<BffVersion> = None;
    while began.elapsed() < WAITS_AT_MOST {
        let opened =
            app.store.open_bff_session(&digest, refused.as_ref(), &renewal, incoming.now).await?;
        match opened {
            BffOpened::Missing => return Ok(None),
            BffOpened::Underway => tokio::time::sleep(LOOK_AGAIN_IN).await,
            BffOpened::Current(session, version) => {
                let Some(tokens) = unseal(handle, &session) else {
                    tracing::warn!(request_id = incoming.request_id, "a BFF session is unreadable");
                    return Ok(None);
                };
                if let Some(told) = told(app, incoming, &session, tokens).await? {
                    return Ok(Some(told));
                }
                // Not active any more: revoked, or its row was lost. The refresh token tells.
                refused = Some(version);
            }
            BffOpened::Renew { session, was_begun } => {
                let renewed = renew(app, incoming, handle, &session, was_begun, &renewal).await;
                if renewed.is_err() {
                    app.store.yield_bff_renewal(&digest, &renewal).await?;
                }
                return renewed;
            }
        }
    }
    Err(Unavailable::new("somebody else\u{2019}s renewal took too long").into())
}

/// Renews the tokens of a session; ends it when nothing will ever come of its refresh token.
async fn renew(
    app: &Arc<App>,
    incoming: &Incoming,
    handle: &SessionHandle,
    session: &BffSessionRecord,
    was_begun: bool,
    renewal: &BffRenewal,
) -> Result<Option<OpenedSession>, HttpError> {
    let outcome = match rotate(app, incoming, handle, session, was_begun, renewal).await {
        Ok(tokens) => tokens,
        Err(HttpError::Denied(denied)) => {
            tracing::info!(request_id = incoming.request_id, ?denied, "a BFF session is over");
            None
        }
        Err(error) => {
            count("failed");
            return Err(error);
        }
    };
    let Some((tokens, expires_in)) = outcome else {
        count("refused");
        end_one(app, incoming, &session.digest).await?;
        return Ok(None);
    };
    count("renewed");
    let renew_at = incoming.now.plus(expires_in.saturating_sub(BFF_RENEWED_BEFORE_IN));
    let sealed = seal(handle, &tokens)?;
    app.store.renew_bff_session(&session.digest, renewal, &sealed, renew_at).await?;
    told(app, incoming, session, tokens).await
}

/// Rotates a session's refresh token; `None` when it cannot be, whoever asks.
///
/// When an earlier renewal did not come back, its rotation may have happened: the store knows the
/// successor then. That is written down, and goes on from there. So what is written down is never more
/// than one generation behind, and nothing is presented twice, however late and however often a
/// renewal is cut short.
async fn rotate(
    app: &Arc<App>,
    incoming: &Incoming,
    handle: &SessionHandle,
    session: &BffSessionRecord,
    was_begun: bool,
    renewal: &BffRenewal,
) -> Result<Option<(Tokens, u64)>, HttpError> {
    let Some(record) = app.known.client(&session.client_id).await? else { return Ok(None) };
    let client = &record.client;
    let Some(tokens) = unseal(handle, session) else { return Ok(None) };
    let Ok(kept) = RefreshToken::parse(&tokens.refresh_token) else { return Ok(None) };
    let successor = if was_begun { successor(app, incoming, client, &kept).await? } else { None };
    let presented = match successor {
        Some(successor) => {
            let refresh_token = successor.as_str().to_owned();
            let sealed = seal(handle, &Tokens { refresh_token, ..tokens })?;
            if !app.store.advance_bff_session(&session.digest, renewal, &sealed).await? {
                return Err(Unavailable::new("another renewal has taken this one's place").into());
            }
            successor
        }
        None => kept,
    };
    if presented.verify(&app.edge_keys.tokens, &client.client_id, incoming.now).is_err() {
        return Ok(None);
    }
    let TokenResponse { access_token, expires_in, refresh_token, .. } =
        token::by_refresh_token(app, incoming, client, &presented, None).await?;
    let tokens = refresh_token.map(|refresh_token| Tokens { access_token, refresh_token });
    Ok(tokens.map(|tokens| (tokens, expires_in)))
}

/// Returns the successor of a refresh token, if the store has it as the current one.
async fn successor(
    app: &App,
    incoming: &Incoming,
    client: &Client,
    kept: &RefreshToken,
) -> Result<Option<RefreshToken>, HttpError> {
    for successor in kept.successors(&app.edge_keys.tokens, &client.client_id) {
        let (grant_id, digest) = (successor.grant_id(), successor.digest());
        if app.store.find_refresh(&grant_id, &digest, incoming.now).await?.is_some() {
            return Ok(Some(successor));
        }
    }
    Ok(None)
}

/// Tells what the edge is told of a session, if its access token is active.
async fn told(
    app: &App,
    incoming: &Incoming,
    session: &BffSessionRecord,
    tokens: Tokens,
) -> Result<Option<OpenedSession>, HttpError> {
    let Some(access) = protected::verify(app, incoming, &tokens.access_token) else {
        return Ok(None);
    };
    let protected = match protected::active(app, incoming, access, None).await {
        Ok(protected) => protected,
        Err(HttpError::Bearer { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let scope = &protected.token.claims.scope;
    let claims = match json!(userinfo::claims(&protected.user, scope)) {
        Value::Object(claims) => claims,
        _ => serde_json::Map::new(),
    };
    Ok(Some(OpenedSession {
        access_token: tokens.access_token,
        access_expires_at: protected.token.expires_at,
        claims,
        auth_time: session.auth_time,
        expires_at: session.expires_at,
        idle_expires_at: session.expires_at.min(incoming.now.plus(BFF_SESSION_IDLE_IN)),
    }))
}

/// Ends a session: first its grant, so that a call that is cut short can be repeated.
async fn end_one(app: &App, incoming: &Incoming, session: &Sha256Digest) -> Result<(), HttpError> {
    if let Some(BffGrant { grant_id, .. }) = app.store.find_bff_grant(session).await? {
        app.store.revoke_grant(&grant_id, incoming.now).await?;
    }
    Ok(app.store.end_bff_session(session).await?)
}

fn count(outcome: &'static str) {
    metrics::counter!("cadence_bff_renewals_total", "outcome" => outcome).increment(1);
}
