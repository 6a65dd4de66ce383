//! Answers: the one place where a refusal becomes a response.

use std::borrow::Cow;

use js_sys::ArrayBuffer;
use shared::authorize::{AuthorizeError, ErrorRedirect};
use shared::bearer;
use shared::client_auth;
use shared::error::{self, ErrorCode, OAuthError};
use shared::issuer::Issuer;
use shared::page::{ErrorKind, ErrorPage, Page};
use wasm_bindgen::JsValue;
use web_sys::{ReadableStream, Response, ResponseInit};

use crate::{limiter, platform};

/// An answer that is not sent yet.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    /// None.
    Empty,
    /// Text that was made here.
    Text(String),
    /// Bytes of the origin, which are passed on without a look at them.
    Buffer(ArrayBuffer),
    /// What an upstream sends, as it comes.
    Stream(ReadableStream),
}

/// Why a request goes no further than the edge.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Said as JSON, or on a page where people look.
    OAuth(OAuthError),
    /// Said as JSON, with a Bearer challenge.
    Bearer {
        /// What is wrong with the token; `None` when there is none.
        error: Option<OAuthError>,
        /// The scope that the endpoint needs.
        scope: Option<String>,
    },
    /// Said on a page of its own, with this status.
    Page(u16, Box<Page>),
    /// Said to the client by way of the browser.
    Redirect(Box<ErrorRedirect>),
    /// The origin is away. The reason was logged where it was met.
    Unavailable,
}

impl From<OAuthError> for Refusal {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl From<AuthorizeError> for Refusal {
    fn from(error: AuthorizeError) -> Self {
        match error {
            AuthorizeError::Page(error) => Self::OAuth(error),
            AuthorizeError::Redirect(error) => Self::Redirect(Box::new(error)),
        }
    }
}

impl Refusal {
    /// Answers for it: with a page where people look, else with JSON.
    pub(crate) fn into_answer(self, is_page: bool, issuer: &Issuer, request_id: &str) -> Answer {
        match self {
            Self::OAuth(error) => {
                let answer =
                    if is_page { error_page(&error, request_id) } else { oauth_error(&error) };
                match error.status() {
                    429 => answer.with("Retry-After", limiter::PERIOD_IN),
                    503 | 504 => answer.with("Retry-After", retry_in()),
                    _ => answer,
                }
            }
            Self::Bearer { error, scope } => bearer_error(error, scope.as_deref()),
            Self::Page(status, page) => Answer::page(status, *page),
            Self::Redirect(error) => error_redirect(&error, issuer),
            Self::Unavailable => Self::OAuth(OAuthError::temporarily_unavailable())
                .into_answer(is_page, issuer, request_id),
        }
    }
}

/// Draws how soon a client is asked to try again when something is away: see [`error::retry_in`].
fn retry_in() -> &'static str {
    let [drawn] = platform::random().unwrap_or_default();
    error::retry_in(drawn)
}

impl Answer {
    /// Makes an answer with nothing but a status.
    pub(crate) const fn new(status: u16, body: Body) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    /// Makes an answer without a body that is not to be stored.
    pub(crate) fn empty(status: u16) -> Self {
        Self::new(status, Body::Empty).no_store()
    }

    /// Makes an answer of JSON that is not to be stored.
    pub(crate) fn json(status: u16, text: String) -> Self {
        Self::new(status, Body::Text(text)).with("Content-Type", "application/json").no_store()
    }

    /// Makes an answer of JSON that anybody may keep for `max_age` seconds.
    pub(crate) fn public_json(text: String, max_age: u64) -> Self {
        Self::new(200, Body::Text(text))
            .with("Content-Type", "application/json")
            .with("Cache-Control", format!("public, max-age={max_age}"))
    }

    /// Makes a page that is not to be stored.
    pub(crate) fn page(status: u16, page: Page) -> Self {
        Self::new(status, Body::Text(page.html))
            .with("Content-Type", "text/html; charset=utf-8")
            .no_store()
            .with("Content-Security-Policy", page.content_security_policy)
            .with("Referrer-Policy", "no-referrer")
            .with("X-Frame-Options", "DENY")
    }

    /// Sends the browser elsewhere with 303: whatever the method was, the next one is `GET`
    /// (RFC 9700 §4.12).
    pub(crate) fn redirect(location: String) -> Self {
        Self::empty(303).with("Location", location).with("Referrer-Policy", "no-referrer")
    }

    /// Returns the status.
    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    /// Takes a header away.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Sets a header; replaces what it was.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self = self.without(name);
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a header beside what is there.
    pub(crate) fn append(&mut self, name: impl Into<Cow<'static, str>>, value: String) {
        self.headers.push((name.into(), value.into()));
    }

    /// Says that the answer depends on a request header, beside those that it depends on already.
    #[must_use]
    pub(crate) fn varies_by(self, header: &str) -> Self {
        let known = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Vary"));
        let known: Vec<&str> = known.map(|(_, value)| value.as_ref()).collect();
        let known = known.join(", ");
        let mut names = known.split(',').map(str::trim);
        if names.any(|name| name == "*" || name.eq_ignore_ascii_case(header)) {
            return self;
        }
        let value = if known.is_empty() { header.to_owned() } else { format!("{known}, {header}") };
        self.with("Vary", value)
    }

    /// Takes the body away, for `HEAD`.
    #[must_use]
    pub(crate) fn without_body(mut self) -> Self {
        self.body = Body::Empty;
        self
    }

    fn no_store(self) -> Self {
        self.with("Cache-Control", "no-store").with("Pragma", "no-cache")
    }

    /// Hands the answer to the platform.
    ///
    /// # Errors
    /// What the platform says of a status or header that it does not take.
    pub(crate) fn into_response(self) -> Result<Response, JsValue> {
        let init = ResponseInit::new();
        init.set_status(self.status);
        let is_text = matches!(self.body, Body::Text(_));
        let response = match self.body {
            Body::Empty => Response::new_with_opt_str_and_init(None, &init),
            Body::Text(text) => Response::new_with_opt_str_and_init(Some(&text), &init),
            Body::Buffer(buffer) => {
                Response::new_with_opt_buffer_source_and_init(Some(&buffer), &init)
            }
            Body::Stream(stream) => {
                Response::new_with_opt_readable_stream_and_init(Some(&stream), &init)
            }
        }?;
        // Headers that are handed over with the rest would be copied.
        let headers = response.headers();
        if is_text {
            // The platform has guessed it.
            headers.delete("Content-Type")?;
        }
        for (name, value) in &self.headers {
            headers.append(name, value)?;
        }
        Ok(response)
    }
}

fn oauth_error(error: &OAuthError) -> Answer {
    let answer = Answer::json(error.status(), error.to_json());
    if error.code() == ErrorCode::InvalidClient && error.status() == 401 {
        return answer.with("WWW-Authenticate", client_auth::CHALLENGE);
    }
    answer
}

fn bearer_error(error: Option<OAuthError>, scope: Option<&str>) -> Answer {
    let Some(error) = error else {
        let told = OAuthError::new(ErrorCode::InvalidToken, "an access token is needed");
        return Answer::json(401, told.to_json()).with("WWW-Authenticate", bearer::challenge());
    };
    Answer::json(error.status(), error.to_json())
        .with("WWW-Authenticate", bearer::error_challenge(&error, scope))
}

/// Sends an error to the client by way of the browser.
fn error_redirect(error: &ErrorRedirect, issuer: &Issuer) -> Answer {
    Answer::redirect(error.location(issuer))
}

fn error_page(error: &OAuthError, request_id: &str) -> Answer {
    let kind = ErrorKind::of_status(error.status());
    let sentence = kind.sentence();
    let code = error.code().as_str();
    let page = ErrorPage { kind, sentence, code, request_id, back: None }.render();
    Answer::page(error.status(), page)
}

#[cfg(test)]
mod tests {
    use shared::endpoint::Endpoint;

    use super::*;

    fn answer(refusal: impl Into<Refusal>, endpoint: Endpoint) -> Answer {
        let issuer = Issuer::parse("https://id.example").unwrap();
        refusal.into().into_answer(endpoint.is_page(), &issuer, "request-1")
    }

    fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        let mut values = answer.headers.iter().filter(|(known, _)| known == name);
        let first = values.next().map(|(_, value)| value.as_ref());
        assert!(values.next().is_none(), "{name} stands once");
        first
    }

    #[test]
    fn clients_get_json_and_people_get_pages() {
        let error = OAuthError::invalid_request("x");
        let json = answer(error, Endpoint::Token);
        assert_eq!(json.status, 400);
        assert_eq!(header(&json, "Content-Type"), Some("application/json"));
        assert_eq!(header(&json, "Cache-Control"), Some("no-store"));
        assert_eq!(header(&json, "Pragma"), Some("no-cache"));
        let page = answer(error, Endpoint::Authorize);
        assert_eq!(page.status, 400);
        assert_eq!(header(&page, "Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!(header(&page, "X-Frame-Options"), Some("DENY"));
        assert!(matches!(page.body, Body::Text(html) if html.contains("request-1")));
    }

    #[test]
    fn a_401_names_how_to_authenticate() {
        let client = answer(OAuthError::invalid_client(), Endpoint::Token);
        assert_eq!(client.status, 401);
        assert_eq!(
            header(&client, "WWW-Authenticate"),
            Some("Basic realm=\"cadence\", charset=\"UTF-8\"")
        );
        let nobody = answer(Refusal::Bearer { error: None, scope: None }, Endpoint::Me);
        assert_eq!(nobody.status, 401);
        assert_eq!(header(&nobody, "WWW-Authenticate"), Some("Bearer realm=\"cadence\""));
        let error = Some(bearer::insufficient_scope());
        let scope = Some("openid".to_owned());
        let small = answer(Refusal::Bearer { error, scope }, Endpoint::Userinfo);
        assert_eq!(small.status, 403);
        assert!(header(&small, "WWW-Authenticate").unwrap().ends_with("scope=\"openid\""));
    }

    #[test]
    fn what_is_away_may_come_back() {
        for endpoint in [Endpoint::Token, Endpoint::Login] {
            let away = answer(Refusal::Unavailable, endpoint);
            assert_eq!(away.status, 503);
            let wait: u8 = header(&away, "Retry-After").unwrap().parse().unwrap();
            assert!((1..=5).contains(&wait), "{wait}");
        }
    }
}
