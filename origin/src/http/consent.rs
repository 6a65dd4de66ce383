//! `/oauth2/consent`: the page, its content as JSON, and the decision.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use shared::endpoint::Endpoint;
use shared::error::{ErrorCode, OAuthError};
use shared::page::{ConsentPage, FormTarget, ScopeItem, scope_sentence};
use shared::scope::Scope;
use shared::secret::{base64url, same_bytes};
use shared::sign_in::form_targets;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::sign_in::{self, NotSigningIn, SignIn};
use crate::app::App;
use crate::store::SessionRecord;

/// Shows what the client asks for.
pub async fn page(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    match Asked::open(&app, &incoming).await {
        Ok(asked) => asked.show(&app),
        Err(not) => not.into_response(&app, &incoming),
    }
}

/// Tells a consent page of one's own what to show; its form posts the same fields as the built-in
/// one.
///
/// # Errors
/// `invalid_request` when the transaction is over, `login_required` without a session.
pub async fn context(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    match Asked::open(&app, &incoming).await {
        Ok(asked) => Ok(asked.tell(&app)),
        Err(NotSigningIn::Error(error)) => Err(error),
        Err(NotSigningIn::Redirect(error)) => Err(error.error.into()),
        Err(NotSigningIn::LogIn(_)) => {
            Err(OAuthError::new(ErrorCode::LoginRequired, "nobody is logged in").into())
        }
        Err(NotSigningIn::Over { .. }) => {
            Err(OAuthError::invalid_request("the sign-in is over or was lost").into())
        }
    }
}

/// Takes the decision about the request that was shown: nothing of it is in the form.
pub async fn decision(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    match decided(&app, &incoming).await {
        Ok(response) => response,
        Err(not) => not.into_response(&app, &incoming),
    }
}

async fn decided(app: &App, incoming: &Incoming) -> Result<Response, NotSigningIn> {
    let form = incoming.form()?;
    incoming.check_same_origin(&app.issuer)?;
    let sign_in = sign_in::open(app, incoming, &form).await?;
    let Some(session) = fresh_session(app, incoming, &sign_in).await? else {
        return Err(NotSigningIn::LogIn(sign_in::step(Endpoint::Login, &sign_in)));
    };
    let csrf = form.one("csrf").map_err(OAuthError::from)?.unwrap_or_default();
    if !same_bytes(csrf.as_bytes(), csrf_of(app, &sign_in, &session).as_bytes()) {
        return Err(OAuthError::new(
            ErrorCode::AccessDenied,
            "the form does not belong to this sign-in",
        )
        .into());
    }
    let approved = match form.one("decision").map_err(OAuthError::from)? {
        Some("approve") => true,
        Some("deny") => false,
        _ => return Err(OAuthError::invalid_request("the decision is approve or deny").into()),
    };
    sign_in::spend(app, incoming, &sign_in).await?;
    let response = if approved {
        match approve(app, incoming, &sign_in, &session).await {
            Ok(response) => response,
            Err(error) => sign_in::unavailable(app, incoming, &sign_in.request, &error),
        }
    } else {
        let error = OAuthError::new(ErrorCode::AccessDenied, "the user has said no");
        answer::error_redirect(&sign_in.request.refuse(error), &app.issuer)
    };
    Ok(answer::with_cookies(response, [app.cookies.remove(&sign_in.opened.id.cookie())]))
}

async fn approve(
    app: &App,
    incoming: &Incoming,
    sign_in: &SignIn,
    session: &SessionRecord,
) -> Result<Response, HttpError> {
    let SignIn { request, client, .. } = sign_in;
    app.known
        .directory()
        .add_consent(&session.user_id, &client.client_id, &request.scope, incoming.now)
        .await?;
    sign_in::issue_code(app, incoming, request, session).await
}

/// A consent that is asked for, of somebody who is logged in.
struct Asked {
    sign_in: SignIn,
    session: SessionRecord,
    username: String,
    consented: Scope,
}

impl Asked {
    async fn open(app: &App, incoming: &Incoming) -> Result<Self, NotSigningIn> {
        let sign_in = sign_in::open(app, incoming, &incoming.query()?).await?;
        let Some(session) = fresh_session(app, incoming, &sign_in).await? else {
            return Err(NotSigningIn::LogIn(sign_in::step(Endpoint::Login, &sign_in)));
        };
        let user =
            app.known.user(&session.user_id, session.auth_time).await.map_err(HttpError::from)?;
        let directory = app.known.directory();
        let consented = directory.find_consent(&session.user_id, &sign_in.client.client_id).await;
        let consented = consented.map_err(HttpError::from)?.unwrap_or_default();
        let username = user.map(|user| user.username.clone()).unwrap_or_default();
        Ok(Self { sign_in, session, username, consented })
    }

    fn show(&self, app: &App) -> Response {
        let Self { sign_in: SignIn { opened, request, client }, username, .. } = self;
        let scopes: Vec<ScopeItem<'_>> = request
            .scope
            .tokens()
            .map(|scope| ScopeItem { scope, already_granted: self.consented.contains(scope) })
            .collect();
        let page = ConsentPage {
            client_name: &client.client_name,
            user: username,
            redirect_host: &host(&request.redirect_uri),
            scopes: &scopes,
            tx: opened.id.as_str(),
            csrf: &csrf_of(app, &self.sign_in, &self.session),
            form_targets: &form_targets(request, client),
        };
        answer::page(StatusCode::OK, page.render())
    }

    fn tell(&self, app: &App) -> Response {
        let Self { sign_in: SignIn { opened, request, client }, username, .. } = self;
        let scopes: Vec<_> = request
            .scope
            .tokens()
            .map(|scope| {
                json!({
                    "scope": scope,
                    "description": scope_sentence(scope),
                    "already_granted": self.consented.contains(scope),
                })
            })
            .collect();
        let body = json!({
            "client_id": client.client_id,
            "client_name": client.client_name,
            "username": username,
            "redirect_host": host(&request.redirect_uri),
            "scopes": scopes,
            "tx": opened.id.as_str(),
            "csrf": csrf_of(app, &self.sign_in, &self.session),
        });
        answer::json(StatusCode::OK, &body).into_response()
    }
}

/// Finds the session, if it is recent enough for the transaction's request.
async fn fresh_session(
    app: &App,
    incoming: &Incoming,
    sign_in: &SignIn,
) -> Result<Option<SessionRecord>, HttpError> {
    let session = sign_in::session(app, incoming).await?;
    let started_at = sign_in.opened.transaction.started_at;
    Ok(session.filter(|session| {
        sign_in.opened.transaction.expects(&session.user_id.0)
            && sign_in.request.accepts_login(session.auth_time, started_at, incoming.now)
    }))
}

/// Ties the form to the transaction and to the session whose user was shown.
fn csrf_of(app: &App, sign_in: &SignIn, session: &SessionRecord) -> String {
    let parts =
        [b"consent", sign_in.opened.transaction.csrf().as_bytes(), session.digest.as_bytes()];
    base64url(&app.form_key.tag(&parts))
}

fn host(redirect_uri: &str) -> String {
    FormTarget::parse(redirect_uri).map(|target| target.host().to_owned()).unwrap_or_default()
}
