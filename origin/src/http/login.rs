//! `GET, POST /oauth2/login`: the login page and its form.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{RETRY_AFTER, USER_AGENT};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use shared::endpoint::Endpoint;
use shared::interaction::Interaction;
use shared::limits::{LOGIN_SESSION_EXPIRES_IN, USER_AGENT_LEN};
use shared::page::LoginProblem;
use shared::secret::{Sha256Digest, base64url};
use shared::sign_in::{LoginForm, SESSION_COOKIE};
use shared::time::UnixTime;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::sign_in::{self, NotSigningIn, SignIn};
use crate::app::App;
use crate::clock;
use crate::directory::LOGIN_LATER_AT_MOST;
use crate::login::{self, Login};
use crate::logout::{self, Outliving};
use crate::store::{SessionGrant, SessionRecord, UserId};

/// Shows the login page of a transaction; or takes its form, logs the user in and goes on.
pub async fn login(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let answered = if incoming.method == Method::POST {
        submitted(&app, &incoming).await
    } else {
        page(&app, &incoming).await
    };
    answered.unwrap_or_else(|not| not.into_response(&app, &incoming))
}

async fn page(app: &App, incoming: &Incoming) -> Result<Response, NotSigningIn> {
    let sign_in = sign_in::open(app, incoming, &incoming.query()?).await?;
    let hint = sign_in.request.login_hint.clone().unwrap_or_default();
    Ok(show(StatusCode::OK, &sign_in, &hint, None))
}

async fn submitted(app: &Arc<App>, incoming: &Incoming) -> Result<Response, NotSigningIn> {
    let form = incoming.form()?;
    incoming.check_same_origin(&app.issuer)?;
    let sign_in = sign_in::open(app, incoming, &form).await?;
    let LoginForm { username, password } = sign_in.opened.login_form(&form)?;
    let password = match password {
        Ok(password) => password,
        Err(problem) => {
            return Ok(show(StatusCode::BAD_REQUEST, &sign_in, &username, Some(problem)));
        }
    };
    let attempt =
        login::login(app, &username, password, incoming.client_address, incoming.now).await;
    let user = match attempt {
        Ok(Login::Right(user)) => user,
        Ok(Login::Wrong) => {
            let problem = Some(LoginProblem::WrongCredentials);
            return Ok(show(StatusCode::BAD_REQUEST, &sign_in, &username, problem));
        }
        Ok(Login::Throttled { retry_in }) => {
            let problem = Some(LoginProblem::Throttled { retry_in });
            let page = show(StatusCode::TOO_MANY_REQUESTS, &sign_in, &username, problem);
            return Ok(answer::with_header(page, RETRY_AFTER, &retry_in.to_string()));
        }
        Err(cause) => {
            tracing::warn!(request_id = incoming.request_id, %cause, "a login cannot be checked");
            let problem = Some(LoginProblem::Unavailable);
            let page = show(StatusCode::SERVICE_UNAVAILABLE, &sign_in, &username, problem);
            return Ok(answer::with_header(page, RETRY_AFTER, answer::retry_in()));
        }
    };
    let now = incoming.now;
    let handle = base64url(&clock::random::<32>());
    // The request may have begun at an edge whose clock is ahead, or after a login that counts as later
    // than it was: this login came after both.
    let started_at = sign_in.opened.transaction.started_at.min(now.plus(LOGIN_LATER_AT_MOST));
    let session = SessionRecord {
        digest: Sha256Digest::of(handle.as_bytes()),
        auth_time: user.auth_time(now).max(started_at),
        user_id: user.user_id,
        expires_at: now.plus(LOGIN_SESSION_EXPIRES_IN),
        user_agent: user_agent(incoming),
        address: incoming.client_address,
    };
    app.store.put_session(&session, now).await.map_err(HttpError::from)?;
    if let Err(error) = replace_session(app, incoming, &session).await {
        // The browser keeps the cookie that it has: with it, the next login can end what is left.
        return Ok(sign_in::unavailable(app, incoming, &sign_in.request, &error));
    }
    let response = match go_on(app, incoming, &sign_in, &session).await {
        Ok(response) => response,
        Err(NotSigningIn::Error(error)) => {
            sign_in::unavailable(app, incoming, &sign_in.request, &error)
        }
        Err(not) => not.into_response(app, incoming),
    };
    let cookie = app.cookies.set(SESSION_COOKIE, &handle, None);
    Ok(answer::with_cookies(response, [cookie]))
}

/// Reads what the browser calls itself, cut to what is kept: text without control characters.
fn user_agent(incoming: &Incoming) -> Option<String> {
    let bytes = incoming.headers.get(USER_AGENT)?.as_bytes();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(USER_AGENT_LEN)]);
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    // What was not UTF-8 was replaced by something longer.
    text.truncate(text.floor_char_boundary(USER_AGENT_LEN));
    Some(text).filter(|text| !text.is_empty())
}

/// Takes the next step with the new session.
async fn go_on(
    app: &App,
    incoming: &Incoming,
    sign_in: &SignIn,
    session: &SessionRecord,
) -> Result<Response, NotSigningIn> {
    let SignIn { opened, request, client } = sign_in;
    let transaction = &opened.transaction;
    if !transaction.expects(&session.user_id.0) {
        return Ok(sign_in::unexpected_user(app, request));
    }
    let started_at = transaction.started_at;
    match sign_in::next(app, incoming, request, client, Some(session), started_at).await? {
        Interaction::Consent => Ok(answer::redirect(&sign_in::step(Endpoint::Consent, sign_in))),
        Interaction::Issue => {
            sign_in::spend(app, incoming, sign_in).await?;
            let response = sign_in::issue_code(app, incoming, request, session).await?;
            Ok(answer::with_cookies(response, [app.cookies.remove(&opened.id.cookie())]))
        }
        Interaction::Login => Ok(answer::redirect(&sign_in::step(Endpoint::Login, sign_in))),
        Interaction::Refuse(error) => {
            Ok(answer::error_redirect(&request.refuse(error), &app.issuer))
        }
    }
}

/// Ends the session that the browser had. What the same user began under it goes over to the new
/// one, so that a logout ends it; what another user began there ends now.
///
/// Dead grants go over, too: their clients are still to hear of a logout, and a code that is not
/// redeemed yet looks like one.
async fn replace_session(
    app: &App,
    incoming: &Incoming,
    session: &SessionRecord,
) -> Result<(), HttpError> {
    let Some(old) = sign_in::session_digest(app, incoming) else { return Ok(()) };
    let now = incoming.now;
    let before = app.store.find_session(&old, now).await?;
    let same_user = before.map(|before| before.user_id == session.user_id);
    if same_user == Some(false) {
        return Ok(logout::end(app, &old, None, Outliving::Offline, now).await?);
    }
    let mut grants = app.store.take_session(&old).await?;
    if same_user.is_none() {
        // It is over, perhaps because a login before this one came as far as that and no further.
        let (own, others) = divide(app, grants, &session.user_id, now).await?;
        logout::tell(app, &others, None, now).await?;
        logout::revoke(app, &others, None, Outliving::Offline, now).await?;
        grants = own;
    }
    Ok(app.store.link_grants(&session.digest, &grants, now).await?)
}

/// Tells a user's grants from all others. Where it is not said whose one is, a live one tells
/// itself, and a dead one is among the others.
async fn divide(
    app: &App,
    grants: Vec<SessionGrant>,
    user_id: &UserId,
    now: UnixTime,
) -> Result<(Vec<SessionGrant>, Vec<SessionGrant>), HttpError> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for grant in grants {
        let is_own = if let Some(notice) = &grant.notice {
            notice.user_id == *user_id
        } else {
            let found = app.store.find_grant(&grant.grant_id, now).await?;
            found.is_some_and(|found| found.user_id == *user_id)
        };
        if is_own { own.push(grant) } else { others.push(grant) }
    }
    Ok((own, others))
}

fn show(
    status: StatusCode,
    sign_in: &SignIn,
    username: &str,
    problem: Option<LoginProblem>,
) -> Response {
    let SignIn { opened, request, client } = sign_in;
    answer::page(status, opened.login_page(client, request, username, problem))
}
