//! Answers: the one place where an error becomes a response.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    PRAGMA, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE, X_FRAME_OPTIONS,
};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::authorize::ErrorRedirect;
use shared::bearer;
use shared::client_auth;
use shared::error::{self, ErrorCode, OAuthError};
use shared::issuer::Issuer;
use shared::page::{ErrorKind, ErrorPage, Page};

use crate::app::Unavailable;
use crate::clock;
use crate::grant::Denied;

/// Draws how soon a client is asked to try again when something is away: see [`error::retry_in`].
#[must_use]
pub fn retry_in() -> &'static str {
    // Without randomness all are asked to come back at the same time.
    let [drawn] = clock::try_random().unwrap_or_default();
    error::retry_in(drawn)
}

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub enum HttpError {
    /// JSON, for clients.
    OAuth(OAuthError),
    /// JSON: a grant is denied; the reason goes to the log alone.
    Denied(Denied),
    /// JSON and a Bearer challenge; without an error when no credentials were sent.
    Bearer {
        /// What is wrong with the token; `None` when there is none.
        error: Option<OAuthError>,
        /// The scope that the endpoint needs.
        scope: Option<&'static str>,
    },
    /// JSON: too many attempts.
    Throttled {
        /// Seconds until it is worth trying again.
        retry_in: u64,
    },
    /// JSON: a part of the service is away.
    Unavailable(Unavailable),
}

impl<E: Into<Unavailable>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<OAuthError> for HttpError {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

/// When a client asks again whose grant has too many access tokens, seconds: some have ended then.
const CROWDED_IN: u64 = 60;

impl From<Denied> for HttpError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Crowded => Self::Throttled { retry_in: CROWDED_IN },
            denied => Self::Denied(denied),
        }
    }
}

/// Why a request failed, for the log: travels with the response to the layer that logs.
#[derive(Clone, Debug)]
pub struct Cause(pub String);

impl HttpError {
    /// Returns what the client, or the person, is told.
    #[must_use]
    pub fn told(&self) -> OAuthError {
        match self {
            Self::OAuth(error) => *error,
            Self::Denied(denied) => (*denied).into(),
            Self::Bearer { error, .. } => error.unwrap_or(OAuthError::invalid_token()),
            Self::Throttled { .. } => OAuthError::too_many_attempts(),
            Self::Unavailable(_) => OAuthError::temporarily_unavailable(),
        }
    }

    fn cause(&self) -> String {
        match self {
            Self::OAuth(error) | Self::Bearer { error: Some(error), .. } => error.to_string(),
            Self::Denied(denied) => format!("{denied:?}"),
            Self::Bearer { error: None, .. } => "no credentials".to_owned(),
            Self::Throttled { .. } => "throttled".to_owned(),
            Self::Unavailable(cause) => cause.to_string(),
        }
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::Throttled { retry_in } => Some(HeaderValue::from(*retry_in)),
            _ if self.told().status() == 503 => Some(HeaderValue::from_static(retry_in())),
            _ => None,
        }
    }

    /// Shows the error to a person.
    #[must_use]
    pub fn on_page(&self, request_id: &str) -> Response {
        let told = self.told();
        let kind = ErrorKind::of_status(told.status());
        let sentence = kind.sentence();
        let code = told.code().as_str();
        let error = ErrorPage { kind, sentence, code, request_id, back: None };
        let mut response = page(status(told.status()), error.render());
        self.annotate(&mut response);
        response
    }

    fn annotate(&self, response: &mut Response) {
        response.extensions_mut().insert(Cause(self.cause()));
        if let Some(retry_after) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, retry_after);
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let told = self.told();
        let mut response = match self {
            Self::Bearer { error: None, .. } => empty(StatusCode::UNAUTHORIZED),
            _ => json_text(status(told.status()), told.to_json()),
        };
        if matches!(self, Self::Bearer { error: None, .. }) {
            let body = OAuthError::new(ErrorCode::InvalidToken, "an access token is needed");
            response = json_text(StatusCode::UNAUTHORIZED, body.to_json());
        }
        let challenge = match &self {
            Self::Bearer { error: None, .. } => Some(bearer::challenge()),
            Self::Bearer { error: Some(error), scope } => {
                Some(bearer::error_challenge(error, *scope))
            }
            _ if told.code() == ErrorCode::InvalidClient && told.status() == 401 => {
                Some(client_auth::CHALLENGE.to_owned())
            }
            _ => None,
        };
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        self.annotate(&mut response);
        response
    }
}

/// Answers a path that leads nowhere.
pub async fn not_found() -> HttpError {
    HttpError::OAuth(OAuthError::not_found())
}

/// Answers with JSON; not to be stored unless the caller says so.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => json_text(status, text),
        Err(_) => HttpError::OAuth(OAuthError::temporarily_unavailable()).into_response(),
    }
}

fn json_text(status: StatusCode, text: String) -> Response {
    with_body(status, "application/json", text)
}

/// Answers with text of another kind; not to be stored unless the caller says so.
#[must_use]
pub fn text(status: StatusCode, content_type: &'static str, text: String) -> Response {
    with_body(status, content_type, text)
}

/// Lets an answer be stored, as `cache_control` says.
#[must_use]
pub fn cacheable(mut response: Response, cache_control: &str) -> Response {
    response.headers_mut().remove(PRAGMA);
    with_header(response, CACHE_CONTROL, cache_control)
}

/// Answers with a page and its policy.
#[must_use]
pub fn page(status: StatusCode, page: Page) -> Response {
    let mut response = with_body(status, "text/html; charset=utf-8", page.html);
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(page.content_security_policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// Answers without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = status;
    no_store(&mut response);
    response
}

/// Sends the browser elsewhere with 303: whatever the method was, the next one is `GET`
/// (RFC 9700 §4.12).
#[must_use]
pub fn redirect(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        return HttpError::OAuth(OAuthError::invalid_request("the redirect is malformed"))
            .into_response();
    };
    let mut response = empty(StatusCode::SEE_OTHER);
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Sends an error to the client by way of the browser.
#[must_use]
pub fn error_redirect(error: &ErrorRedirect, issuer: &Issuer) -> Response {
    let mut response = redirect(&error.location(issuer));
    response.extensions_mut().insert(Cause(error.error.to_string()));
    response
}

/// Adds `Set-Cookie` headers.
#[must_use]
pub fn with_cookies(mut response: Response, cookies: impl IntoIterator<Item = String>) -> Response {
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    response
}

/// Sets one header.
#[must_use]
pub fn with_header(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

fn with_body(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    no_store(&mut response);
    response
}

fn no_store(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
}
