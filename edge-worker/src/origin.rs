//! Requests to the origin: signed, and its answers held against what it would say.

use core::net::IpAddr;

use js_sys::{ArrayBuffer, Uint8Array};
use serde::Serialize;
use serde_json::Value;
use shared::endpoint::{Endpoint, LATE_CODES};
use shared::error::OAuthError;
use shared::secret::Sha256Digest;
use shared::signed_request::{self, EdgeStatement, RequestParts};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, Request, Response};

use crate::answer::{Answer, Body, Refusal};
use crate::config::Config;
use crate::incoming::Incoming;
use crate::snapshot::Written;
use crate::{Edge, platform, route};

/// How long a request that is forwarded may take in all, milliseconds: what it has waited for before,
/// it does not wait for again.
const FORWARD_DEADLINE_MS: u32 = 5_000;

/// What a request has at least when it is forwarded, milliseconds: one that has waited for everything
/// else is not given up unasked.
const FORWARD_AT_LEAST_MS: u32 = 500;

/// How long a request of the edge itself may take, milliseconds: somebody's request may wait for
/// it and be forwarded afterwards.
const LOAD_DEADLINE_MS: u32 = 2_000;

/// The request headers that go up; all others stay here, so that nothing which only a proxy or the
/// platform may say (`Forwarded`, `X-Forwarded-*`, `CF-*`) and nothing hop-by-hop gets through.
const UP: [&str; 11] = [
    "Authorization",
    "Content-Type",
    "Accept",
    "Accept-Language",
    "Cookie",
    "Origin",
    "Sec-Fetch-Site",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Dest",
    "Sec-Fetch-User",
    "User-Agent",
];

/// The response headers that come down, beside `Set-Cookie`. CORS headers are not among them: the
/// edge sets its own.
const DOWN: [&str; 16] = [
    "Content-Type",
    "Cache-Control",
    "Pragma",
    "Location",
    "WWW-Authenticate",
    "Retry-After",
    "Content-Security-Policy",
    "Referrer-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "Strict-Transport-Security",
    "ETag",
    "X-Request-Id",
    "Vary",
    "Allow",
    "Content-Language",
];

/// What the origin said to a request of the edge itself.
pub(crate) enum Loaded {
    /// Nothing new.
    NotModified,
    /// What it has, or that it has nothing.
    Written(Written),
}

/// Forwards a request as it came and returns the origin's answer.
///
/// Checks of the answer, in order: that it is the origin's own (it names the request as the edge
/// does, which no proxy in between would), that its status is none of something broken, that JSON
/// is JSON where clients expect it.
/// **Does NOT** follow redirects, and does NOT try again.
///
/// # Errors
/// [`Refusal::Unavailable`] when there is no such answer within 5 seconds of the request.
pub(crate) async fn forward(
    edge: &Edge,
    incoming: &Incoming,
    endpoint: Endpoint,
) -> Result<Answer, Refusal> {
    let outgoing = Outgoing {
        method: &incoming.method,
        target: &incoming.target,
        body: (incoming.method == "POST").then_some(incoming.body.as_slice()),
        client_address: incoming.client_address(),
        request_id: &incoming.request_id,
        deadline_ms: forwarded_in(edge),
    };
    let copy = |headers: &Headers| {
        for name in UP {
            if let Some(value) = incoming.headers.get(name)? {
                headers.set(name, &value)?;
            }
        }
        Ok(())
    };
    let response = send(&edge.config, &outgoing, copy).await?;
    let status = response.status();
    let away = |cause: &str| {
        let Outgoing { method, request_id, .. } = outgoing;
        let path = endpoint.path();
        platform::log(&format!("origin: {method} {path}: {cause} ({status}, {request_id})"));
        Refusal::Unavailable
    };
    if status >= 500 && status != 503 {
        return Err(away("a server error"));
    }
    let body: ArrayBuffer = match response.array_buffer() {
        Ok(body) => JsFuture::from(body).await.map_err(|_| away("the body broke off"))?.into(),
        Err(_) => return Err(away("there is no body to read")),
    };
    let headers = response.headers();
    let content_type = headers.get("Content-Type").ok().flatten().unwrap_or_default();
    let is_empty = body.byte_length() == 0;
    if !is_expected(endpoint, status, &content_type, is_empty || incoming.method == "HEAD") {
        return Err(away("neither JSON nor a page"));
    }
    let mut answer = Answer::new(status, if is_empty { Body::Empty } else { Body::Buffer(body) });
    for name in DOWN {
        if let Ok(Some(value)) = headers.get(name) {
            answer.append(name, value);
        }
    }
    for cookie in platform::set_cookies(&headers) {
        answer.append("Set-Cookie", cookie);
    }
    Ok(answer)
}

/// Asks the origin for something that the edge keeps.
///
/// That there is nothing is believed of the origin's own words alone: what is gone revokes whatever
/// hung on it.
///
/// # Errors
/// [`Refusal::Unavailable`] when there is no answer of the origin's within 2 seconds.
pub(crate) async fn load(
    config: &Config,
    target: &str,
    etag: Option<&str>,
) -> Result<Loaded, Refusal> {
    let request_id = platform::request_id();
    let outgoing = Outgoing {
        method: "GET",
        target,
        body: None,
        client_address: None,
        request_id: &request_id,
        deadline_ms: LOAD_DEADLINE_MS,
    };
    let set = |headers: &Headers| match etag {
        Some(etag) => headers.set("If-None-Match", etag),
        None => Ok(()),
    };
    let response = send(config, &outgoing, set).await?;
    let status = response.status();
    let away = |cause: &str| {
        platform::log(&format!("origin: GET {target}: {cause} ({status}, {request_id})"));
        Refusal::Unavailable
    };
    match status {
        304 => Ok(Loaded::NotModified),
        200 | 404 => {
            let text = response.text().map_err(|_| away("there is no body to read"))?;
            let text = JsFuture::from(text).await.map_err(|_| away("the body broke off"))?;
            let text = text.as_string().ok_or_else(|| away("the body is not text"))?;
            if status == 200 {
                let etag = response.headers().get("ETag").ok().flatten();
                return Ok(Loaded::Written(Written::Text { text, etag }));
            }
            if !says_not_found(&text) {
                return Err(away("the answer is not the origin's own"));
            }
            Ok(Loaded::Written(Written::Gone))
        }
        _ => Err(away("not what was asked for")),
    }
}

/// A question of the edge itself that goes with a browser's request.
pub(crate) struct Ask<'a> {
    target: &'a str,
    content_type: &'static str,
    authorization: Option<String>,
    body: String,
}

impl<'a> Ask<'a> {
    /// A question in JSON.
    pub(crate) fn json(target: &'a str, body: &impl Serialize) -> Self {
        // What has no JSON is refused by the origin.
        let body = serde_json::to_string(body).unwrap_or_default();
        Self { target, content_type: "application/json", authorization: None, body }
    }

    /// A form, sent with an `Authorization` header.
    pub(crate) const fn form(target: &'a str, body: String, authorization: String) -> Self {
        let content_type = "application/x-www-form-urlencoded";
        Self { target, content_type, authorization: Some(authorization), body }
    }
}

/// What the origin says to a question.
pub(crate) struct Told {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) text: String,
}

/// Asks the origin a question.
///
/// **Does NOT** try again.
///
/// # Errors
/// [`Refusal::Unavailable`] when there is no answer of the origin's within 5 seconds of the request,
/// or it is a server error, or a 404 in other words than the origin's.
pub(crate) async fn ask(edge: &Edge, incoming: &Incoming, ask: &Ask<'_>) -> Result<Told, Refusal> {
    let outgoing = Outgoing {
        method: "POST",
        target: ask.target,
        body: Some(ask.body.as_bytes()),
        client_address: incoming.client_address(),
        request_id: &incoming.request_id,
        deadline_ms: forwarded_in(edge),
    };
    let set = |headers: &Headers| {
        headers.set("Content-Type", ask.content_type)?;
        ask.authorization.as_ref().map_or(Ok(()), |value| headers.set("Authorization", value))
    };
    let response = send(&edge.config, &outgoing, set).await?;
    let status = response.status();
    let broken = |_| away(&outgoing, &format!("the body broke off ({status})").into());
    if status >= 500 {
        return Err(away(&outgoing, &format!("a server error ({status})").into()));
    }
    let text = JsFuture::from(response.text().map_err(broken)?).await.map_err(broken)?;
    let text = text.as_string().unwrap_or_default();
    if status == 404 && !says_not_found(&text) {
        return Err(away(&outgoing, &"the answer is not the origin's own (404)".into()));
    }
    Ok(Told { status, text })
}

/// Tells whether the body of a 404 is the origin's ([`OAuthError::not_found`]). Some proxies put the
/// request's name on a page of their own.
fn says_not_found(body: &str) -> bool {
    let told: Value = serde_json::from_str(body).unwrap_or_default();
    told["error"] == OAuthError::not_found().code().as_str()
}

/// Tells the origin of a token request whose code was refused because it was late. What it makes of
/// it, nobody waits for; when it is away, a replay is not noticed.
pub(crate) async fn report_late_code(config: &Config, incoming: &Incoming) {
    let request_id = platform::request_id();
    let outgoing = Outgoing {
        method: &incoming.method,
        target: LATE_CODES,
        body: Some(&incoming.body),
        client_address: incoming.client_address(),
        request_id: &request_id,
        deadline_ms: FORWARD_DEADLINE_MS,
    };
    let set = |headers: &Headers| {
        for name in ["Authorization", "Content-Type"] {
            if let Some(value) = incoming.headers.get(name)? {
                headers.set(name, &value)?;
            }
        }
        Ok(())
    };
    drop(send(config, &outgoing, set).await);
}

/// Returns how long a request may still take, milliseconds.
fn forwarded_in(edge: &Edge) -> u32 {
    edge.left_of(FORWARD_DEADLINE_MS).max(FORWARD_AT_LEAST_MS)
}

/// A request on its way up.
struct Outgoing<'a> {
    method: &'a str,
    target: &'a str,
    body: Option<&'a [u8]>,
    client_address: Option<IpAddr>,
    request_id: &'a str,
    deadline_ms: u32,
}

/// Signs and sends a request; returns only answers that the origin itself has written.
async fn send(
    config: &Config,
    outgoing: &Outgoing<'_>,
    set_headers: impl FnOnce(&Headers) -> Result<(), JsValue>,
) -> Result<Response, Refusal> {
    let request = match prepare(config, outgoing, set_headers) {
        Ok(Some(request)) => request,
        // The URL is one that the platform does not send as it came: it has no place here.
        Ok(None) => return Err(OAuthError::invalid_request("the URL is malformed").into()),
        Err(error) => return Err(away(outgoing, &error)),
    };
    let response = JsFuture::from(platform::global().fetch_with_request(&request)).await;
    let response: Response = response.map_err(|error| away(outgoing, &error))?.unchecked_into();
    let echoed = response.headers().get("X-Request-Id").ok().flatten();
    if echoed.as_deref() != Some(outgoing.request_id) {
        return Err(away(outgoing, &"the answer is not the origin's own".into()));
    }
    Ok(response)
}

fn away(outgoing: &Outgoing<'_>, cause: &JsValue) -> Refusal {
    let path = route::split(outgoing.target).0;
    let cause = cause.as_string().unwrap_or_else(|| format!("{cause:?}"));
    platform::log(&format!(
        "origin: {} {path}: {cause} ({})",
        outgoing.method, outgoing.request_id
    ));
    Refusal::Unavailable
}

/// Makes the signed request; `None` when the platform would send it to another path.
///
/// The query may be spelled in another way on its way up: the platform percent-encodes what RFC
/// 3986 does not let stand there, which decodes to the same. So the target is signed as it is sent.
fn prepare(
    config: &Config,
    outgoing: &Outgoing<'_>,
    set_headers: impl FnOnce(&Headers) -> Result<(), JsValue>,
) -> Result<Option<Request>, JsValue> {
    let deadline = AbortSignal::timeout_with_u32(outgoing.deadline_ms);
    let init = platform::request(outgoing.method, &deadline)?;
    if let Some(body) = outgoing.body {
        init.set_body_opt_u8_array(Some(&Uint8Array::from(body)));
    }
    let url = format!("{}{}", config.origin_url, outgoing.target);
    let request = Request::new_with_str_and_init(&url, &init)?;
    let url = request.url();
    let target = route::target(&url);
    if route::split(target).0 != route::split(outgoing.target).0 {
        return Ok(None);
    }
    let nonce = platform::random().ok_or("there is no randomness")?;
    let statement = EdgeStatement {
        signed_at: platform::now(),
        nonce,
        client_address: outgoing.client_address,
    };
    let parts = RequestParts {
        method: outgoing.method,
        target,
        body: Sha256Digest::of(outgoing.body.unwrap_or_default()),
    };
    let headers = request.headers();
    set_headers(&headers)?;
    headers.set("X-Request-Id", outgoing.request_id)?;
    headers.set(signed_request::HEADER, &statement.sign(&config.keys.requests, &parts))?;
    Ok(Some(request))
}

/// Tells whether an answer is of a kind that the endpoint gives.
///
/// A page endpoint says that something is away on a page of its own or by a redirect; when it does
/// so in JSON, it was cut short, and the edge says it better.
fn is_expected(endpoint: Endpoint, status: u16, content_type: &str, is_empty: bool) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json");
    let is_html = essence.eq_ignore_ascii_case("text/html");
    if endpoint.is_page() {
        let is_redirect = is_empty && matches!(status, 302 | 303);
        return is_html || is_redirect || (status != 503 && is_json);
    }
    let may_be_empty = match endpoint {
        Endpoint::Revoke | Endpoint::ApiLogout => true,
        // What these say is the answer: an empty 200 says nothing.
        _ => status != 200,
    };
    is_json || (is_empty && may_be_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_404_is_the_origins_in_its_own_words_alone() {
        assert!(says_not_found(&OAuthError::not_found().to_json()));
        for body in [
            "",
            "<h1>404 Not Found</h1>",
            "{}",
            "[]",
            "null",
            r#""invalid_request""#,
            r#"{"error":"not_found"}"#,
            r#"{"error":{"code":"invalid_request"}}"#,
            r#"{"error":"invalid_request""#,
        ] {
            assert!(!says_not_found(body), "{body}");
        }
    }

    #[test]
    fn an_answer_of_another_kind_is_not_the_origins() {
        use Endpoint::{ApiLogout, Authorize, Revoke, Token};
        for (endpoint, status, content_type, is_empty, expected) in [
            (Token, 200, "application/json", false, true),
            (Token, 200, "application/json; charset=utf-8", false, true),
            (Token, 400, "application/json", false, true),
            (Token, 503, "application/json", false, true),
            (Token, 200, "text/html", false, false),
            (Token, 502, "text/html", false, false),
            (Token, 200, "", true, false),
            (Revoke, 200, "", true, true),
            (ApiLogout, 204, "", true, true),
            (Authorize, 303, "", true, true),
            (Authorize, 400, "text/html; charset=utf-8", false, true),
            (Authorize, 405, "application/json", false, true),
            (Authorize, 503, "text/html; charset=utf-8", false, true),
            (Authorize, 503, "application/json", false, false),
            (Authorize, 200, "", true, false),
            (Authorize, 200, "text/plain", false, false),
        ] {
            assert_eq!(
                is_expected(endpoint, status, content_type, is_empty),
                expected,
                "{endpoint:?} {status} {content_type}"
            );
        }
    }
}
