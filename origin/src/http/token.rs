//! `POST /oauth2/token` (RFC 6749 §3.2).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use shared::client::Client;
use shared::code::AuthorizationCode;
use shared::pkce::CodeVerifier;
use shared::scope::Scope;
use shared::token::RefreshToken;
use shared::token_request::{Password, TokenRequest};

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::client;
use crate::app::App;
use crate::clock;
use crate::grant::{Denied, authorization_code, password, refresh_token};
use crate::issue::{self, Issuance, TokenResponse};
use crate::login::{Login, login};
use crate::store::GrantRecord;

/// Issues tokens.
///
/// Checks, in order: the form, the client, its right to the grant, then the grant itself.
///
/// # Errors
/// Those of RFC 6749 §5.2; throttled; unavailable.
pub async fn token(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, HttpError> {
    let form = client::form(&incoming)?;
    let request = TokenRequest::parse(&form)?;
    let record = client::authenticate(&app, &incoming, &form).await?;
    let client = &record.client;
    client.may_use(request.grant_type())?;
    let tokens = match request {
        TokenRequest::AuthorizationCode { code, redirect_uri, code_verifier } => {
            by_code(&app, &incoming, client, &code, redirect_uri, code_verifier).await?
        }
        TokenRequest::RefreshToken { refresh_token, scope } => {
            by_refresh_token(&app, &incoming, client, &refresh_token, scope).await?
        }
        TokenRequest::Password { username, password, scope } => {
            by_password(&app, &incoming, client, &username, password, scope).await?
        }
    };
    Ok(answer::json(StatusCode::OK, &tokens))
}

async fn by_code(
    app: &App,
    incoming: &Incoming,
    client: &Client,
    code: &AuthorizationCode,
    redirect_uri: Option<String>,
    code_verifier: Option<CodeVerifier>,
) -> Result<TokenResponse, HttpError> {
    let now = incoming.now;
    let (redemption, refresh_token) = authorization_code::present(
        &app.token_keys,
        client,
        code,
        redirect_uri,
        code_verifier.as_ref(),
        clock::random(),
        now,
    )?;
    let redeemed = app.store.redeem_code(&redemption, now).await?;
    let (grant, access, nonce) = authorization_code::judge(redeemed)?;
    check_user(app, incoming, &grant).await?;
    let issuance = Issuance {
        grant: &grant,
        access,
        scope: &grant.scope.intersection(&client.scope),
        refresh_token: refresh_token.as_ref(),
        nonce,
    };
    Ok(issue::tokens(&app.keys.load(), &app.issuer, client, issuance, now)?)
}

async fn by_refresh_token(
    app: &App,
    incoming: &Incoming,
    client: &Client,
    presented: &RefreshToken,
    scope: Option<Scope>,
) -> Result<TokenResponse, HttpError> {
    let now = incoming.now;
    let (rotation, successor) =
        refresh_token::present(&app.token_keys, client, presented, scope.clone(), now)?;
    let rotated = app.store.rotate_refresh(&rotation, now).await?;
    let (grant, access) = refresh_token::judge(rotated, &successor)?;
    check_user(app, incoming, &grant).await?;
    let issuance = Issuance {
        grant: &grant,
        access,
        // What was taken from the client's registration since is not minted any more.
        scope: &scope.as_ref().unwrap_or(&grant.scope).intersection(&client.scope),
        refresh_token: Some(&successor),
        nonce: None,
    };
    Ok(issue::tokens(&app.keys.load(), &app.issuer, client, issuance, now)?)
}

async fn by_password(
    app: &App,
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
    let (new, refresh_token) =
        password::begin(&app.token_keys, client, user.user_id, scope, random, now);
    let access = app.store.put_grant(&new, now).await?;
    let issuance = Issuance {
        grant: &new.grant,
        access,
        scope: &new.grant.scope,
        refresh_token: refresh_token.as_ref(),
        nonce: None,
    };
    Ok(issue::tokens(&app.keys.load(), &app.issuer, client, issuance, now)?)
}

/// Ends the grant of a user who was disabled meanwhile.
async fn check_user(app: &App, incoming: &Incoming, grant: &GrantRecord) -> Result<(), HttpError> {
    if app.known.user(&grant.user_id, grant.auth_time).await?.is_some() {
        return Ok(());
    }
    app.store.revoke_grant(&grant.grant_id, incoming.now).await?;
    Err(Denied::UserDisabled.into())
}
