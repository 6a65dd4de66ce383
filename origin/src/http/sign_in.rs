//! What authorize, login and consent have in common: sessions, transactions, and the step that
//! comes next.

use axum::response::Response;
use shared::authorize::{AuthorizationRequest, AuthorizeError};
use shared::client::Client;
use shared::code::{AuthorizationCode, CodeBinding};
use shared::endpoint::Endpoint;
use shared::error::{ErrorCode, OAuthError};
use shared::form::Params;
use shared::limits::{CODE_EXPIRES_IN, TRANSACTION_KEPT_IN, TRANSACTIONS};
use shared::page::{BackLink, ErrorKind, ErrorPage, FormTarget};
use shared::secret::Sha256Digest;
use shared::transaction::{self, Transaction, TransactionError, TransactionId};

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use crate::app::App;
use crate::clock;
use crate::grant::interaction::{self, Interaction, Standing};
use crate::store::{CodeRecord, Once, SessionRecord};

/// Base name of the login session's cookie.
pub const SESSION_COOKIE: &str = "cadence_session";

/// A sign-in under way: the browser's transaction, opened, its request valid again.
pub struct SignIn {
    /// The transaction's identifier.
    pub id: TransactionId,
    /// The transaction.
    pub transaction: Transaction,
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
        /// The request with which the user can begin again, when it is known.
        query: Option<String>,
    },
    /// Somebody has to log in first.
    LogIn(TransactionId),
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
            Self::LogIn(id) => to_step(Endpoint::Login, &id),
            Self::Over { query } => over(app, incoming, query.as_deref()),
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
    let id = params.one("tx").map_err(OAuthError::from)?.and_then(TransactionId::parse);
    let id = id.ok_or(NotSigningIn::Over { query: None })?;
    let cookie = app.cookies.find(incoming.cookies(), &id.cookie());
    let transaction =
        Transaction::open(&app.transaction_seal, &id, cookie, incoming.now).map_err(|error| {
            match error {
                TransactionError::Expired { query } => NotSigningIn::Over { query: Some(query) },
                _ => NotSigningIn::Over { query: None },
            }
        })?;
    let (client, request) = validate(app, &Params::parse(transaction.query.as_bytes())?).await?;
    Ok(SignIn { id, transaction, request, client })
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
    started_at: shared::time::UnixTime,
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
/// [`Endpoint::Consent`].
#[must_use]
pub fn begin(
    app: &App,
    incoming: &Incoming,
    request: &AuthorizationRequest,
    expected_sub: Option<String>,
    step: Endpoint,
) -> Response {
    let id = TransactionId::new(clock::random());
    let transaction = Transaction::begin(request, expected_sub, clock::random(), incoming.now);
    let Ok(sealed) = transaction.seal(&app.transaction_seal, &id, clock::random()) else {
        let error = OAuthError::invalid_request("the request is too large");
        return answer::error_redirect(&request.refuse(error), &app.issuer);
    };
    let removed = given_way(app, incoming).into_iter().map(|name| app.cookies.remove(&name));
    let set = app.cookies.set(&id.cookie(), &sealed, Some(TRANSACTION_KEPT_IN));
    answer::with_cookies(to_step(step, &id), removed.chain([set]))
}

/// Names the cookies of transactions that make room for one more: those that cannot be opened any
/// more, and the oldest beyond [`TRANSACTIONS`].
fn given_way(app: &App, incoming: &Incoming) -> Vec<String> {
    let names = app.cookies.suffixes(incoming.cookies(), transaction::COOKIE);
    let (mut live, mut removed) = (Vec::new(), Vec::new());
    for suffix in names {
        let name = format!("{}{suffix}", transaction::COOKIE);
        let cookie = app.cookies.find(incoming.cookies(), &name);
        let opened = TransactionId::parse(suffix).and_then(|id| {
            Transaction::open(&app.transaction_seal, &id, cookie, incoming.now).ok()
        });
        match opened {
            Some(transaction) => live.push((transaction.started_at, name)),
            None => removed.push(name),
        }
    }
    live.sort();
    let too_many = (live.len() + 1).saturating_sub(TRANSACTIONS);
    removed.extend(live.into_iter().take(too_many).map(|(_, name)| name));
    removed
}

/// Sends the browser to a step of its transaction.
#[must_use]
pub fn to_step(step: Endpoint, id: &TransactionId) -> Response {
    answer::redirect(&format!("{}?tx={}", step.path(), id.as_str()))
}

/// Completes a transaction, once.
///
/// # Errors
/// [`NotSigningIn::Over`] when it was completed before; unavailable.
pub async fn spend(app: &App, incoming: &Incoming, sign_in: &SignIn) -> Result<(), NotSigningIn> {
    let digest = Sha256Digest::of(sign_in.id.as_str().as_bytes());
    let end = sign_in.transaction.expires_at();
    match app.store.spend_transaction(&digest, end, incoming.now).await.map_err(HttpError::from)? {
        Once::First => Ok(()),
        Once::Again => Err(NotSigningIn::Over { query: Some(sign_in.transaction.query.clone()) }),
    }
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
    let code = AuthorizationCode::issue(&app.token_keys, clock::random(), now, &binding);
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
    app.store.put_code(&record, now).await?;
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

/// Lists where the forms of a client's sign-in may lead to.
#[must_use]
pub fn form_targets(request: &AuthorizationRequest, client: &Client) -> Vec<FormTarget> {
    let registered = client.redirect_uris.iter().map(shared::redirect_uri::RedirectUri::as_str);
    let mut targets: Vec<FormTarget> = Vec::new();
    let origins = client.cors_origins.iter().map(shared::cors::WebOrigin::as_str);
    for uri in std::iter::once(request.redirect_uri.as_str()).chain(registered).chain(origins) {
        if let Ok(target) = FormTarget::parse(uri)
            && targets.iter().all(|known| known.as_str() != target.as_str())
        {
            targets.push(target);
        }
    }
    targets
}

fn over(app: &App, incoming: &Incoming, query: Option<&str>) -> Response {
    let again =
        query.map(|query| app.issuer.url(&format!("{}?{query}", Endpoint::Authorize.path())));
    let kind = ErrorKind::Expired;
    let page = ErrorPage {
        kind,
        sentence: kind.sentence(),
        code: ErrorCode::InvalidRequest.as_str(),
        request_id: &incoming.request_id,
        back: again.as_deref().and_then(|uri| BackLink::parse("the sign-in", uri).ok()),
    };
    answer::page(axum::http::StatusCode::BAD_REQUEST, page.render())
}
