//! What happens around every request: caps, the edge's signature, a deadline; and on the way out
//! the headers that every answer has, one log line and one count.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, ORIGIN,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use shared::cors::{self, CorsRule, allow_origin};
use shared::endpoint::Endpoint;
use shared::error::{ErrorCode, OAuthError};
use shared::form::{self, Params};
use shared::issuer::Issuer;
use shared::limits::{FORM_LEN, FORM_PASSED_OVER, URL_LEN};
use shared::secret::{Sha256Digest, base64url};
use shared::sign_in;
use shared::signed_request::{self, ClaimedStatement, EdgeStatement, RequestParts};
use shared::time::UnixTime;
use tokio::sync::{SemaphorePermit, TryAcquireError};

use super::answer::{self, Cause, HttpError};
use super::listen::Ambiguous;
use crate::app::App;
use crate::clock;
use crate::seen_requests::Seen;

/// How long a body may take to arrive.
const BODY_IN: Duration = Duration::from_secs(10);

/// How long an answer may take, once the request is here: less than the edge waits.
const ANSWER_IN: Duration = Duration::from_secs(2);

/// How long an answer waits for the list of the clients' browser origins, when it is not at hand.
const ORIGINS_IN: Duration = Duration::from_millis(250);

/// When a client whose authentication failed is told so, after its request has arrived: whether there
/// is such a client, and how far its secret was looked at, takes less, and so is not seen.
const UNAUTHORIZED_IN: Duration = Duration::from_millis(10);

/// Names a request in answers and in the log.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request that has arrived in full, and the moment in which it is answered.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// When it arrived: the one `now` of the whole request.
    pub now: UnixTime,
    /// The method.
    pub method: Method,
    /// The query, as it stands in the request line.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who sent it: the socket's peer, or whom a signing edge names; `None` when the edge cannot
    /// tell.
    pub client_address: Option<IpAddr>,
    /// Whether an edge has signed it.
    pub from_edge: bool,
    /// Its name.
    pub request_id: String,
}

impl Incoming {
    /// Reads the query.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn query(&self) -> Result<Params, OAuthError> {
        Params::parse(self.query.as_deref().unwrap_or_default().as_bytes())
    }

    /// Reads the body as a form.
    ///
    /// # Errors
    /// `invalid_request`, also for another content type.
    pub fn form(&self) -> Result<Params, OAuthError> {
        let mut types = self.headers.get_all(CONTENT_TYPE).iter();
        let content_type = types.next().and_then(|value| value.to_str().ok());
        if types.next().is_some() || !content_type.is_some_and(form::is_form) {
            return Err(OAuthError::invalid_request(
                "the body is application/x-www-form-urlencoded in UTF-8",
            ));
        }
        for coding in self.headers.get_all(CONTENT_ENCODING) {
            form::check_coding(coding.as_bytes())?;
        }
        Params::parse(&self.body)
    }

    /// Reads the query of a `GET`, the form of a `POST`.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn params(&self) -> Result<Params, OAuthError> {
        if self.method == Method::POST { self.form() } else { self.query() }
    }

    /// Returns the `Cookie` headers.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        self.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok())
    }

    /// Returns the `Authorization` headers.
    pub fn authorization(&self) -> impl Iterator<Item = &[u8]> {
        self.headers.get_all("authorization").iter().map(HeaderValue::as_bytes)
    }

    /// Checks that a form was sent by a page of this issuer, as far as the headers tell.
    ///
    /// # Errors
    /// `access_denied`.
    pub fn check_same_origin(&self, issuer: &Issuer) -> Result<(), OAuthError> {
        let says = |name: HeaderName| self.headers.get(name).map(HeaderValue::as_bytes);
        let site = says(HeaderName::from_static("sec-fetch-site"));
        sign_in::check_same_origin(issuer, site, says(ORIGIN))
    }
}

impl<S: Sync> FromRequestParts<S> for Incoming {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        parts.extensions.remove().ok_or(HttpError::OAuth(OAuthError::not_found()))
    }
}

/// Receives a request in full, has it answered in time, and finishes the answer.
pub async fn receive(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let endpoint = Endpoint::at(request.uri().path());
    let route = endpoint.map_or("other", Endpoint::path);
    let origin = request.headers().get(ORIGIN).cloned();
    let mut request_id = new_request_id();
    let arriving = arrive(&app, request, endpoint, &mut request_id).await;
    let arrived = Instant::now();
    let mut response = match arriving {
        Ok(arrived) => match place(&app, endpoint) {
            Ok(_place) => {
                let answered = AssertUnwindSafe(next.run(arrived)).catch_unwind();
                match tokio::time::timeout(ANSWER_IN, answered).await {
                    Ok(Ok(response)) => response,
                    Ok(Err(_)) => instead("the handler panicked", endpoint, &request_id),
                    Err(_) => instead("the answer took too long", endpoint, &request_id),
                }
            }
            Err(_) => instead("too many requests are being answered", endpoint, &request_id),
        },
        Err(response) => response,
    };
    if response.status() == StatusCode::UNAUTHORIZED && endpoint.is_some_and(is_for_clients) {
        tokio::time::sleep_until((arrived + UNAUTHORIZED_IN).into()).await;
    }
    finish(&app, &mut response, endpoint, origin.as_ref(), &request_id).await;
    let status = response.status();
    log(&method, route, &response, &request_id, began);
    metrics::counter!(
        "cadence_http_requests_total",
        "route" => route,
        "method" => known_method(&method),
        "status" => status.as_str().to_owned(),
    )
    .increment(1);
    response
}

/// Names a request: by randomness, and by a number where there is none.
fn new_request_id() -> String {
    static UNNAMED: AtomicU64 = AtomicU64::new(1);
    match clock::try_random::<12>() {
        Some(name) => base64url(&name),
        None => base64url(&UNNAMED.fetch_add(1, Ordering::Relaxed).to_be_bytes()),
    }
}

/// Takes a place among the requests that are being answered. Whoever asks whether the process lives
/// needs none: one that has much to do is not to be replaced.
fn place(
    app: &App,
    endpoint: Option<Endpoint>,
) -> Result<Option<SemaphorePermit<'_>>, TryAcquireError> {
    if matches!(endpoint, Some(Endpoint::Health | Endpoint::Ready)) {
        return Ok(None);
    }
    app.answering.try_acquire().map(Some)
}

/// Tells whether whoever calls an endpoint authenticates as a client.
const fn is_for_clients(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::Token | Endpoint::Revoke | Endpoint::Introspect)
}

/// Writes the one line about a request: what went well only for those who look closely.
fn log(method: &Method, route: &str, response: &Response, request_id: &str, began: Instant) {
    let status = response.status();
    let cause = response.extensions().get::<Cause>().map(|cause| cause.0.as_str());
    let (ms, status_code) = (began.elapsed().as_millis(), status.as_u16());
    if status.is_server_error() {
        tracing::warn!(%method, route, status = status_code, request_id, ms, cause, "failed");
    } else if status.is_client_error() || cause.is_some() {
        tracing::info!(%method, route, status = status_code, request_id, ms, cause, "refused");
    } else {
        tracing::debug!(%method, route, status = status_code, request_id, ms, "answered");
    }
}

/// Answers instead of a handler that took too long, or failed; what it did, it may have done.
fn instead(cause: &str, endpoint: Option<Endpoint>, request_id: &str) -> Response {
    let error = HttpError::OAuth(OAuthError::temporarily_unavailable());
    let mut response = match endpoint {
        Some(endpoint) if endpoint.is_page() => error.on_page(request_id),
        _ => error.into_response(),
    };
    response.extensions_mut().insert(Cause(cause.to_owned()));
    response
}

/// Checks what needs no handler, and reads the rest of the request.
async fn arrive(
    app: &App,
    request: Request,
    endpoint: Option<Endpoint>,
    request_id: &mut String,
) -> Result<Request, Response> {
    let refuse = |error: OAuthError, request_id: &str| match endpoint {
        Some(endpoint) if endpoint.is_page() => HttpError::OAuth(error).on_page(request_id),
        _ => HttpError::OAuth(error).into_response(),
    };
    if let Some(Ambiguous(what)) = request.extensions().get() {
        return Err(refuse(OAuthError::invalid_request(what), request_id));
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    if target.len() > URL_LEN {
        return Err(refuse(
            OAuthError::invalid_request("the URL is too long").with_status(414),
            request_id,
        ));
    }
    let (mut parts, body) = request.into_parts();
    // Before the body: who cannot have signed it has no claim on being listened to.
    let claimed = claimed_statement(app, &parts).map_err(|error| refuse(error, request_id))?;
    let body = tokio::time::timeout(BODY_IN, read(body)).await.unwrap_or(Err(TOO_SLOW));
    let body = body.map_err(|error| refuse(error, request_id))?;
    let now = clock::now();
    let statement = claimed
        .map(|claimed| edge_statement(app, claimed, &parts, &target, &body, now))
        .transpose()
        .map_err(|error| refuse(error, request_id))?;
    let peer = parts.extensions.get::<SocketAddr>().map(SocketAddr::ip);
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if statement.is_some()
        && let Some(id) = parts.headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok())
        && id.len() <= 64
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        id.clone_into(request_id);
    }
    if let Some(endpoint) = endpoint {
        if parts.method == Method::OPTIONS
            && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return Err(preflight(endpoint));
        }
        if !endpoint.methods().contains(&parts.method.as_str()) {
            let response = refuse(OAuthError::method_not_allowed(), request_id);
            return Err(answer::with_header(response, ALLOW, &endpoint.methods().join(", ")));
        }
    }
    let incoming = Incoming {
        now,
        method: parts.method.clone(),
        query: parts.uri.query().map(str::to_owned),
        headers: std::mem::take(&mut parts.headers),
        body,
        client_address: match &statement {
            Some(statement) => statement.client_address,
            None => Some(peer),
        },
        from_edge: statement.is_some(),
        request_id: request_id.clone(),
    };
    parts.extensions.insert(incoming);
    Ok(Request::from_parts(parts, Body::empty()))
}

const TOO_SLOW: OAuthError = OAuthError::invalid_request("the body took too long").with_status(408);

const BROKEN_OFF: OAuthError = OAuthError::invalid_request("the body broke off");

/// Reads a body. One that is too long is passed over as far as [`FORM_PASSED_OVER`].
async fn read(mut body: Body) -> Result<Bytes, OAuthError> {
    if body.size_hint().lower() > FORM_PASSED_OVER as u64 {
        return Err(OAuthError::too_large());
    }
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BROKEN_OFF)?.into_data() else { continue };
        length += data.len();
        if length <= FORM_LEN {
            bytes.extend_from_slice(&data);
        } else if length > FORM_PASSED_OVER {
            return Err(OAuthError::too_large());
        }
    }
    if length > FORM_LEN { Err(OAuthError::too_large()) } else { Ok(bytes.into()) }
}

const NOT_SIGNED: OAuthError =
    OAuthError::new(ErrorCode::AccessDenied, "the edge's signature is not good");

/// Reads the edge's header, if the request has one. Needs no body, and proves nothing:
/// [`edge_statement`] does.
///
/// # Errors
/// `access_denied` for one that is malformed or there twice; and for none, where the settings want
/// one.
fn claimed_statement(app: &App, parts: &Parts) -> Result<Option<ClaimedStatement>, OAuthError> {
    let mut headers = parts.headers.get_all(signed_request::HEADER).iter();
    let Some(header) = headers.next() else {
        return if app.require_edge { Err(NOT_SIGNED) } else { Ok(None) };
    };
    let header = header.to_str().ok().filter(|_| headers.next().is_none()).ok_or(NOT_SIGNED)?;
    ClaimedStatement::parse(header).map(Some).map_err(|_| NOT_SIGNED)
}

/// Verifies what the edge's header claims.
///
/// # Errors
/// `access_denied` for a signature that is not good, or was seen before; unavailable when too many
/// are remembered to tell.
fn edge_statement(
    app: &App,
    claimed: ClaimedStatement,
    parts: &Parts,
    target: &str,
    body: &[u8],
    now: UnixTime,
) -> Result<EdgeStatement, OAuthError> {
    let request =
        RequestParts { method: parts.method.as_str(), target, body: Sha256Digest::of(body) };
    let statement =
        claimed.verify(&app.edge_keys.requests, &request, now).map_err(|_| NOT_SIGNED)?;
    match app.seen_requests.see(&statement, now) {
        Seen::Never => Ok(statement),
        Seen::Before => Err(NOT_SIGNED),
        Seen::TooMany => Err(OAuthError::temporarily_unavailable()),
    }
}

/// Answers a preflight; who may go on is said by the `Allow-Origin` header alone.
fn preflight(endpoint: Endpoint) -> Response {
    let response = answer::empty(StatusCode::NO_CONTENT);
    if endpoint.cors() == CorsRule::Never {
        return response;
    }
    let response = answer::with_header(response, ACCESS_CONTROL_ALLOW_METHODS, cors::ALLOW_METHODS);
    let response = answer::with_header(response, ACCESS_CONTROL_ALLOW_HEADERS, cors::ALLOW_HEADERS);
    answer::with_header(response, ACCESS_CONTROL_MAX_AGE, &cors::MAX_AGE.to_string())
}

/// Adds what every answer has.
async fn finish(
    app: &App,
    response: &mut Response,
    endpoint: Option<Endpoint>,
    origin: Option<&HeaderValue>,
    request_id: &str,
) {
    let rule = endpoint.map_or(CorsRule::Never, Endpoint::cors);
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let registered = match rule {
        CorsRule::Registered if origin.is_some() => {
            let known = tokio::time::timeout(ORIGINS_IN, app.known.cors_origins()).await;
            known.ok().and_then(Result::ok).unwrap_or_default()
        }
        _ => Arc::default(),
    };
    let allowed = allow_origin(rule, origin, app.cors_origins.iter().chain(registered.iter()));
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    if let Some(allowed) = allowed {
        set(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        set(ACCESS_CONTROL_EXPOSE_HEADERS, cors::EXPOSE_HEADERS);
    }
    if rule == CorsRule::Registered {
        set(VARY, "Origin");
    }
    set(X_REQUEST_ID, request_id);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    if !app.issuer.is_loopback_http() {
        set(STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains");
    }
}

/// Names a method for the metrics: strangers cannot invent labels.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        _ => "other",
    }
}
