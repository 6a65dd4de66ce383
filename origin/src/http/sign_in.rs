//! What authorize, login and consent have in common: sessions, transactions, and the step that
//! comes next.

use axum::http::StatusCode;
use axum::response::Response;
use shared::authorize::{AuthorizationRequest, AuthorizeError};
use shared::client::{Client, ClientId};
use shared::code::{AuthorizationCode, CodeBinding};
use shared::endpoint::Endpoint;
use shared::error::{ErrorCode, OAuthError};
use shared::form::Params;
use shared::interaction::{self, Interaction, Standing};
use shared::limits::CODE_EXPIRES_IN;
use shared::secret::Sha256Digest;
use shared::sign_in::{self, Cookies, Opened, Over, Randomness, SESSION_COOKIE};
use shared::time::UnixTime;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use crate::app::App;
use crate::clock;
use crate::store::{CodeRecord, Once, SessionRecord};

/// A sign-in under way: the browser's transaction, opened, its request valid again.
pub struct SignIn {
    /// The transaction and its identifier.
    pub opened: Opened,
    /// Its request, validated against the client as it is now.
    pub request: AuthorizationRequest,
    /// The client.
    pub client: Client,
}

/// Why a sign-in cannot go on.
pub enum NotSigningIn {
    /// Said on a page.
    Error(HttpError),
    /// The transaction is over or was lost: said on a page that leads on where it can.
    Over {
        /// What is known of the transaction.
        over: Over,
        /// The client that stands in the URL.
        client: Option<Box<Client>>,
    },
    /// Somebody has to log in first: sent to this location.
    LogIn(String),
    /// Said to the client.
    Redirect(Box<shared::authorize::ErrorRedirect>),
}

impl<E: Into<HttpError>> From<E> for NotSigningIn {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl NotSigningIn {
    /// Answers for it.
    #[must_use]
    pub fn into_response(self, app: &App, incoming: &Incoming) -> Response {
        match self {
            Self::Error(error) => error.on_page(&incoming.request_id),
            Self::Redirect(error) => answer::error_redirect(&error, &app.issuer),
            Self::LogIn(location) => answer::redirect(&location),
            Self::Over { over, client } => {
                let page = over.page(client.as_deref(), &app.issuer, &incoming.request_id);
                answer::page(StatusCode::BAD_REQUEST, page)
            }
        }
    }
}

/// Finds the login session of the browser, if it is live and its user enabled.
///
/// # Errors
/// Unavailable.
pub async fn session(app: &App, incoming: &Incoming) -> Result<Option<SessionRecord>, HttpError> {
    let Some(digest) = session_digest(app, incoming) else { return Ok(None) };
    let Some(session) = app.store.find_session(&digest, incoming.now).await? else {
        return Ok(None);
    };
    let user = app.known.user(&session.user_id, session.auth_time).await?;
    Ok(user.map(|_| session))
}

/// Returns the digest of the session cookie.
#[must_use]
pub fn session_digest(app: &App, incoming: &Incoming) -> Option<Sha256Digest> {
    let cookie = app.cookies.find(incoming.cookies(), SESSION_COOKIE)?;
    Some(Sha256Digest::of(cookie.as_bytes()))
}

/// Opens the transaction that the parameters name.
///
/// # Errors
/// [`NotSigningIn`].
pub async fn open(app: &App, incoming: &Incoming, params: &Params) -> Result<SignIn, NotSigningIn> {
    let headers: Vec<&str> = incoming.cookies().collect();
    let opened = match cookies(app).open(&headers, params, incoming.now)? {
        Ok(opened) => opened,
        Err(over) => return Err(lost(app, params, over).await),
    };
    let query = Params::parse(opened.transaction.query.as_bytes())?;
    let (client, request) = validate(app, &query).await?;
    Ok(SignIn { opened, request, client })
}

/// Names the client of a transaction that is over, as far as the URL tells.
async fn lost(app: &App, params: &Params, over: Over) -> NotSigningIn {
    let id = params.one("client_id").ok().flatten().and_then(|id| ClientId::parse(id).ok());
    let record = match id {
        Some(id) => app.known.client(&id).await.ok().flatten(),
        None => None,
    };
    NotSigningIn::Over { over, client: record.map(|record| Box::new(record.client.clone())) }
}

fn cookies(app: &App) -> Cookies<'_> {
    Cookies { policy: app.cookies, keys: &app.edge_keys.transactions }
}

/// Validates an authorization request against its client.
///
/// # Errors
/// [`NotSigningIn`].
pub async fn validate(
    app: &App,
    params: &Params,
) -> Result<(Client, AuthorizationRequest), NotSigningIn> {
    let id = shared::authorize::client_id(params)?;
    let record = app.known.client(&id).await?;
    let client = record.ok_or(shared::authorize::UNKNOWN_CLIENT)?.client.clone();
    match AuthorizationRequest::validate(params, &client) {
        Ok(request) => Ok((client, request)),
        Err(AuthorizeError::Page(error)) => Err(error.into()),
        Err(AuthorizeError::Redirect(error)) => Err(NotSigningIn::Redirect(Box::new(error))),
    }
}

/// Says what a request needs next.
///
/// # Errors
/// Unavailable.
pub async fn next(
    app: &App,
    incoming: &Incoming,
    request: &AuthorizationRequest,
    client: &Client,
    session: Option<&SessionRecord>,
    started_at: UnixTime,
) -> Result<Interaction, HttpError> {
    let consented = match session {
        Some(session) if !client.first_party => {
            app.known.directory().find_consent(&session.user_id, &client.client_id).await?
        }
        _ => None,
    };
    let standing = Standing {
        auth_time: session.map(|session| session.auth_time),
        consented: consented.as_ref(),
    };
    Ok(interaction::next(request, client, standing, started_at, incoming.now))
}

/// Begins a transaction and sends the browser to `step`, [`Endpoint::Login`] or
/// [`Endpoint::Consent`]; a login before `started_at` is not one for the request.
#[must_use]
pub fn begin(
    app: &App,
    incoming: &Incoming,
    request: &AuthorizationRequest,
    expected_sub: Option<String>,
    step: Endpoint,
    started_at: UnixTime,
) -> Response {
    let random = Randomness { id: clock::random(), csrf: clock::random(), nonce: clock::random() };
    let headers: Vec<&str> = incoming.cookies().collect();
    match cookies(app).begin(&headers, request, expected_sub, step, &random, started_at) {
        Ok(begun) => answer::with_cookies(answer::redirect(&begun.location), begun.set_cookies),
        Err(error) => answer::error_redirect(&request.refuse(error), &app.issuer),
    }
}

/// Completes a transaction, once.
///
/// # Errors
/// [`NotSigningIn::Over`] when it was completed before; unavailable.
pub async fn spend(app: &App, incoming: &Incoming, sign_in: &SignIn) -> Result<(), NotSigningIn> {
    let Opened { id, transaction } = &sign_in.opened;
    let digest = Sha256Digest::of(id.as_str().as_bytes());
    let end = transaction.expires_at();
    match app.store.spend_transaction(&digest, end, incoming.now).await.map_err(HttpError::from)? {
        Once::First => Ok(()),
        Once::Again => Err(NotSigningIn::Over {
            over: Over { query: Some(transaction.query.clone()) },
            client: Some(Box::new(sign_in.client.clone())),
        }),
    }
}

/// Returns where a step of a sign-in is.
#[must_use]
pub fn step(step: Endpoint, sign_in: &SignIn) -> String {
    sign_in::location(step, &sign_in.opened.id, &sign_in.request)
}

/// Tells the client that somebody else than the user it expects is logged in.
#[must_use]
pub fn unexpected_user(app: &App, request: &AuthorizationRequest) -> Response {
    let error = OAuthError::new(
        ErrorCode::LoginRequired,
        "another user than the expected one is logged in",
    );
    answer::error_redirect(&request.refuse(error), &app.issuer)
}

/// Issues a code and sends it to the client.
///
/// # Errors
/// Unavailable.
pub async fn issue_code(
    app: &App,
    incoming: &Incoming,
    request: &AuthorizationRequest,
    session: &SessionRecord,
) -> Result<Response, HttpError> {
    let binding = CodeBinding {
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri_given.then(|| request.redirect_uri.clone()),
        code_challenge: request.code_challenge.clone(),
    };
    let now = incoming.now;
    let code = AuthorizationCode::issue(&app.edge_keys.tokens, clock::random(), now, &binding);
    let record = CodeRecord {
        grant_id: code.grant_id(),
        digest: code.digest(),
        binding: binding.digest(),
        client_id: request.client_id.clone(),
        user_id: session.user_id.clone(),
        scope: request.scope.clone(),
        nonce: request.nonce.clone(),
        auth_time: session.auth_time,
        session: session.digest,
        expires_at: now.plus(CODE_EXPIRES_IN),
    };
    // A store that came back empty is noticed before the first token is minted.
    app.statuses.confirm(now).await?;
    let grants = app.store.put_code(&record, now).await?;
    app.thinning.look(&app.store, &session.digest, grants);
    Ok(answer::redirect(&request.success_location(code.as_str(), &app.issuer)))
}

/// Says to the client that its request cannot be answered at this moment, or to the person what
/// went wrong.
#[must_use]
pub fn unavailable(
    app: &App,
    incoming: &Incoming,
    request: &AuthorizationRequest,
    error: &HttpError,
) -> Response {
    if let HttpError::Unavailable(cause) = error {
        tracing::warn!(request_id = incoming.request_id, %cause, "a sign-in cannot go on");
        let told = OAuthError::temporarily_unavailable();
        return answer::error_redirect(&request.refuse(told), &app.issuer);
    }
    error.on_page(&incoming.request_id)
}
