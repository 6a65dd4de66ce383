//! `POST /oauth2/token` (RFC 6749 §3.2).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use shared::client::Client;
use shared::scope::Scope;
use shared::time::UnixTime;
use shared::token::RefreshToken;
use shared::token_request::{Password, ProvenCode, ProvenRequest, TokenRequest};
use tokio::sync::oneshot;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::client;
use crate::app::{App, Unavailable};
use crate::clock;
use crate::directory::ClientRecord;
use crate::grant::authorization_code::{self, Begun};
use crate::grant::refresh_token::{self, Successors};
use crate::grant::{Denied, password};
use crate::holds::Outcome;
use crate::issue::{self, Issuance, TokenResponse};
use crate::login::{Login, login};
use crate::store::{AttemptId, GrantRecord, Rotated, StoreError};

/// Issues tokens.
///
/// Checks, in order: the form, the client, what a code or refresh token proves by itself, the
/// client's secret and its right to the grant, then the grant itself. The proof comes before the
/// secret, so that the edge, which does not know secrets, gives the same answer to what it refuses.
///
/// # Errors
/// Those of RFC 6749 §5.2; throttled; unavailable.
pub async fn token(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, HttpError> {
    let (record, proven) = prove(&app, &incoming).await?;
    let client = &record.client;
    let tokens = match proven {
        ProvenRequest::AuthorizationCode(code) if code.is_late => {
            return Err(late(&app, &incoming, client, &code).await?.into());
        }
        ProvenRequest::AuthorizationCode(code) => by_code(&app, &incoming, client, &code).await?,
        ProvenRequest::RefreshToken { refresh_token, scope } => {
            by_refresh_token(&app, &incoming, client, &refresh_token, scope).await?
        }
        ProvenRequest::Password { username, password, scope } => {
            by_password(&app, &incoming, client, &username, password, scope).await?
        }
    };
    Ok(answer::json(StatusCode::OK, &tokens))
}

/// Takes a token request whose code an edge has refused as late, and gives nothing for it, whatever
/// this clock says: if the code was redeemed before, what it began is revoked.
///
/// Checks what [`token`] checks before it looks at the grant. **Does NOT** redeem the code: one that
/// is still good here stays so. Other grants than a code's are ignored.
///
/// # Errors
/// Those of RFC 6749 §5.2; throttled; unavailable, when nothing is known to be revoked.
pub async fn report_late(app: &App, incoming: &Incoming) -> Result<(), HttpError> {
    let (record, proven) = prove(app, incoming).await?;
    if let ProvenRequest::AuthorizationCode(code) = proven {
        late(app, incoming, &record.client, &code).await?;
    }
    Ok(())
}

/// Reads a token request and authenticates its client; what decides over the grant comes later.
async fn prove(
    app: &App,
    incoming: &Incoming,
) -> Result<(Arc<ClientRecord>, ProvenRequest), HttpError> {
    let form = client::form(incoming)?;
    let request = TokenRequest::parse(&form)?;
    let grant_type = request.grant_type();
    let claimed = client::find(app, incoming, &form).await?;
    let client_id = &claimed.record.client.client_id;
    let proven = request.prove(&app.edge_keys.tokens, client_id, incoming.now);
    let proven = proven.map_err(Denied::from)?;
    let record = match (client::authenticate(app, incoming, claimed), &proven) {
        // Nothing comes of a late code, whoever sends it; the edge, which knows no secrets, says so.
        (Err(_), ProvenRequest::AuthorizationCode(code)) if code.is_late => {
            return Err(Denied::CodeMissing.into());
        }
        (authenticated, _) => authenticated?,
    };
    record.client.may_use(grant_type)?;
    Ok((record, proven))
}

/// Revokes what a late code began, and says why it is denied.
async fn late(
    app: &App,
    incoming: &Incoming,
    client: &Client,
    code: &ProvenCode,
) -> Result<Denied, StoreError> {
    let Some(code) = authorization_code::late(client, code, incoming.now) else {
        return Ok(Denied::CodeMissing);
    };
    let is_replayed = app.store.revoke_by_late_code(&code, incoming.now).await?;
    Ok(if is_replayed { Denied::CodeReplayed } else { Denied::CodeMissing })
}

async fn by_code(
    app: &App,
    incoming: &Incoming,
    client: &Client,
    code: &ProvenCode,
) -> Result<TokenResponse, HttpError> {
    let now = incoming.now;
    let status = app.statuses.take(now).await?;
    let keys = &app.edge_keys.tokens;
    let (redemption, refresh_token) =
        authorization_code::present(keys, client, code, clock::random(), status, now);
    let redeemed = app.store.redeem_code(&redemption, now).await?;
    let Begun { grant, access, nonce, sid } = authorization_code::judge(redeemed)?;
    let issuance = Issuance {
        grant: &grant,
        access,
        scope: &grant.scope.intersection(&client.scope),
        refresh_token: refresh_token.as_ref(),
        nonce,
        sid: Some(sid),
    };
    issue_to_a_good_user(app, client, issuance, now).await
}

/// Rotates a refresh token that is proven to be the client's, and issues tokens. When nobody is told
/// what came of the rotation, for want of a part of the service or because whoever asked has gone or
/// was told to ask again, the token that was presented stays good for another try, however late
/// ([`crate::store::Store::hold_refresh`]).
///
/// **Does NOT** authenticate the client.
///
/// # Errors
/// [`HttpError::Denied`] when nothing will ever come of it; unavailable.
pub async fn by_refresh_token(
    app: &Arc<App>,
    incoming: &Incoming,
    client: &Client,
    presented: &RefreshToken,
    scope: Option<Scope>,
) -> Result<TokenResponse, HttpError> {
    let now = incoming.now;
    let status = app.statuses.take(now).await?;
    let keys = &app.edge_keys.tokens;
    let attempt = AttemptId(clock::random());
    let (mut rotation, successors) =
        refresh_token::present(keys, client, presented, scope.clone(), status, attempt, now)?;
    rotation.untold = app.holds.untold(&rotation.presented);
    let (answer, answered) = oneshot::channel();
    // A task of its own, which nobody ends between the rotation and its answer.
    let (app, client) = (Arc::clone(app), client.clone());
    tokio::spawn(async move {
        let (issued, outcome) = match app.store.rotate_refresh(&rotation, now).await {
            Ok(rotated) => {
                let issued = issue_next(&app, &client, rotated, successors, scope, now).await;
                (issued, Outcome::Known)
            }
            Err(error) if error.may_be_done() => (Err(error.into()), Outcome::Unknown),
            Err(error) => {
                let _ = answer.send(Err(error.into()));
                return;
            }
        };
        let (is_ok, is_away) = (issued.is_ok(), matches!(issued, Err(HttpError::Unavailable(_))));
        let is_held = is_away && outcome == Outcome::Known;
        // Before anybody can ask again.
        if is_held {
            app.holds.hold(&app.store, &rotation, outcome).await;
        } else if is_away {
            app.holds.note(&rotation);
        }
        let is_heard = answer.send(issued).is_ok();
        if is_ok && is_heard {
            app.holds.forget(&rotation.presented);
        } else if !is_held && (is_away || !is_heard) {
            app.holds.hold(&app.store, &rotation, outcome).await;
        }
    });
    answered.await.map_err(|_| Unavailable::new("a refresh panicked"))?
}

/// Issues tokens after a rotation.
async fn issue_next(
    app: &App,
    client: &Client,
    rotated: Rotated,
    successors: Successors,
    scope: Option<Scope>,
    now: UnixTime,
) -> Result<TokenResponse, HttpError> {
    let (grant, access, successor) = refresh_token::judge(rotated, successors)?;
    let issuance = Issuance {
        grant: &grant,
        access,
        // What was taken from the client's registration since is not minted any more.
        scope: &scope.as_ref().unwrap_or(&grant.scope).intersection(&client.scope),
        refresh_token: Some(&successor),
        nonce: None,
        sid: None,
    };
    issue_to_a_good_user(app, client, issuance, now).await
}

/// Issues what a code or a rotation came to, if its user and, where there is one, the consent are
/// still good.
async fn issue_to_a_good_user(
    app: &App,
    client: &Client,
    issuance: Issuance<'_>,
    now: UnixTime,
) -> Result<TokenResponse, HttpError> {
    check_user(app, issuance.grant, now).await?;
    check_consent(app, client, issuance.grant, now).await?;
    Ok(issue::tokens(&app.keys.load(), &app.issuer, client, issuance, now)?)
}

async fn by_password(
    app: &Arc<App>,
    incoming: &Incoming,
    client: &Client,
    username: &str,
    typed: Password,
    scope: Option<Scope>,
) -> Result<TokenResponse, HttpError> {
    let now = incoming.now;
    let scope = password::scope(client, scope)?;
    let user = match login(app, username, typed, incoming.client_address, now).await? {
        Login::Right(user) => user,
        Login::Wrong => return Err(Denied::WrongPassword.into()),
        Login::Throttled { retry_in } => return Err(HttpError::Throttled { retry_in }),
    };
    let random = [clock::random(), clock::random()];
    app.statuses.confirm(now).await?;
    let status = app.statuses.take(now).await?;
    let keys = &app.edge_keys.tokens;
    let auth_time = user.auth_time(now);
    let (mut new, refresh_token) =
        password::begin(keys, client, user.user_id, scope, random, status, now);
    new.grant.auth_time = auth_time;
    let access = app.store.put_grant(&new, now).await?;
    let issuance = Issuance {
        grant: &new.grant,
        access,
        scope: &new.grant.scope,
        refresh_token: refresh_token.as_ref(),
        nonce: None,
        sid: None,
    };
    Ok(issue::tokens(&app.keys.load(), &app.issuer, client, issuance, now)?)
}

/// Ends the grant of a user who was disabled meanwhile.
async fn check_user(app: &App, grant: &GrantRecord, now: UnixTime) -> Result<(), HttpError> {
    if app.known.user(&grant.user_id, grant.auth_time).await?.is_some() {
        return Ok(());
    }
    app.store.revoke_grant(&grant.grant_id, now).await?;
    Err(Denied::UserDisabled.into())
}

/// Ends the grant of a user who has taken the consent back. Nobody consents to a first-party client.
async fn check_consent(
    app: &App,
    client: &Client,
    grant: &GrantRecord,
    now: UnixTime,
) -> Result<(), HttpError> {
    if client.first_party {
        return Ok(());
    }
    let directory = app.known.directory();
    if directory.find_consent(&grant.user_id, &client.client_id).await?.is_some() {
        return Ok(());
    }
    app.store.revoke_grant(&grant.grant_id, now).await?;
    Err(Denied::ConsentWithdrawn.into())
}
