//! Requests and answers, and the standing assertions that every answer of every test must keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::blocking::{Body, Client};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::secrets;

/// Paths whose errors are JSON, and whose answers are never stored.
const TOKEN_PATHS: [&str; 4] =
    ["/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/userinfo"];

/// A request, as it will be sent.
pub(crate) struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Body>,
}

impl Request {
    pub(crate) fn new(method: &str, url: impl Into<String>) -> Self {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Self { method, url: url.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Authenticates a client as RFC 6749 §2.3.1 says: both halves form-encoded first.
    pub(crate) fn basic(self, id: &str, secret: &str) -> Self {
        secrets::remember(secret);
        self.basic_raw(&format!("{}:{}", encode(id), encode(secret)))
    }

    /// Sends a Basic header with these user and password, nothing encoded.
    pub(crate) fn basic_raw(self, pair: &str) -> Self {
        self.header("authorization", &format!("Basic {}", STANDARD.encode(pair)))
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn form(self, pairs: &[(&str, &str)]) -> Self {
        for (name, value) in pairs {
            secrets::remember_field(name, value);
        }
        self.body("application/x-www-form-urlencoded", query(pairs))
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", content_type)
    }

    /// Sends a body without saying what it is.
    pub(crate) fn untyped_body(mut self, body: impl Into<Body>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends the request and checks the standing assertions on the answer.
    #[track_caller]
    pub(crate) fn send(self) -> Answer {
        let what = self.what();
        self.try_send().unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// As [`Request::send`], but nobody may be listening.
    #[track_caller]
    pub(crate) fn try_send(self) -> Result<Answer, reqwest::Error> {
        let answer = self.ask()?;
        secrets::remember_answer(&answer);
        answer.check();
        Ok(answer)
    }

    /// Sends the request to another server, of whose answers nothing is expected.
    #[track_caller]
    pub(crate) fn send_elsewhere(self) -> Answer {
        let what = self.what();
        self.ask().unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    fn ask(self) -> Result<Answer, reqwest::Error> {
        let request = self.what();
        let mut builder = client().request(self.method.clone(), &self.url);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        builder = builder.headers(headers);
        if let Some(body) = self.body {
            builder = builder.body(body);
        }
        let response = builder.send()?;
        Ok(Answer {
            request,
            method: self.method,
            url: self.url,
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text()?,
        })
    }

    /// Names the request, for messages.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.method, self.url)
    }

    pub(crate) fn method(&self) -> &str {
        self.method.as_str()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Returns the body, which must not be a stream.
    pub(crate) fn body_bytes(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| body.as_bytes().unwrap())
    }
}

/// One client for all: no redirects, no proxy, no cookies.
fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(15))
            .build()
            .unwrap()
    })
}

/// Form-encodes one text.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            b' ' => "+".into(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Form-encodes pairs.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

/// An answer that has kept the standing assertions.
#[derive(Clone)]
pub(crate) struct Answer {
    request: String,
    method: Method,
    pub(crate) url: String,
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |text: &str, longest| text.chars().take(longest).collect::<String>();
        // Of a page the style comes first and says least.
        let content = self.body.split_once("<main>").map_or(&*self.body, |(_, main)| main);
        let (request, content) = (cut(&self.request, 400), cut(content, 1_500));
        write!(f, "{request}\n-> {} {:#?}\n{content}", self.status, self.headers)
    }
}

impl Answer {
    /// An answer that was read by hand; checks the standing assertions on it.
    #[track_caller]
    pub(crate) fn received(
        request: &Request,
        status: u16,
        headers: HeaderMap,
        body: String,
    ) -> Self {
        let (method, url) = (request.method.clone(), request.url.clone());
        let answer = Self { request: request.what(), method, url, status, headers, body };
        answer.check();
        answer
    }

    /// Returns a header that may be there once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        first
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Returns the names of all headers.
    pub(crate) fn header_names(&self) -> BTreeSet<String> {
        self.headers.keys().map(ToString::to_string).collect()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Asserts the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts a JSON error.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.error().as_str()), (status, error), "{self:?}");
    }

    /// Returns the `error` of a JSON body.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn location(&self) -> &str {
        assert!(matches!(self.status, 302 | 303), "no redirect: {self:?}");
        self.header("location").unwrap_or_else(|| panic!("no Location: {self:?}"))
    }

    /// Asserts a redirect to `uri`, and returns what was added to its query.
    #[track_caller]
    pub(crate) fn redirects_to(&self, uri: &str) -> BTreeMap<String, String> {
        let location = self.location();
        let rest = location.strip_prefix(uri).unwrap_or_else(|| panic!("not to {uri}: {self:?}"));
        let separator = if uri.contains('?') { '&' } else { '?' };
        let added = rest.strip_prefix(separator).unwrap_or_else(|| panic!("{self:?}"));
        parse_query(added)
    }

    /// Asserts an answer of the server itself, for a person: a page, no redirect.
    #[track_caller]
    pub(crate) fn is_page(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.headers("location").is_empty(), "{self:?}");
        assert!(self.is_html(), "{self:?}");
    }

    pub(crate) fn is_html(&self) -> bool {
        self.header("content-type").is_some_and(|it| it.starts_with("text/html"))
    }

    fn path(&self) -> &str {
        let after_host = self.url.splitn(4, '/').nth(3).unwrap_or_default();
        let end = after_host.find(['?', '#']).unwrap_or(after_host.len());
        let start = self.url.len() - after_host.len() - 1;
        &self.url[start..=start + end]
    }

    /// G1, G2, G3, G5 and G6: what holds for every answer, whatever was asked.
    #[track_caller]
    fn check(&self) {
        let path = self.path();
        let is_token_path = TOKEN_PATHS.contains(&path);
        // G1: no crash shows, and machines get JSON.
        assert!(self.status < 500 || matches!(self.status, 503 | 504), "G1 {self:?}");
        for trace in ["panicked", "stack backtrace", "RUST_BACKTRACE", ".rs:", "Error 1101"] {
            assert!(!self.body.contains(trace), "G1 {trace}: {self:?}");
        }
        if is_token_path && self.status >= 400 && self.method != Method::HEAD {
            assert_eq!(self.header("content-type"), Some("application/json"), "G1 {self:?}");
            assert!(self.json()["error"].is_string(), "G1 {self:?}");
        }
        // G2: errors are in the characters of RFC 6749, in bodies, challenges and redirects.
        if self.header("content-type") == Some("application/json")
            && let Ok(json) = serde_json::from_str::<Value>(&self.body)
        {
            for name in ["error", "error_description"] {
                if let Some(text) = json.get(name) {
                    check_error_characters(text.as_str().unwrap_or("\0"), self);
                }
            }
        }
        if let Some((_, added)) = self.header("location").and_then(|it| it.split_once('?')) {
            let added = parse_query(added);
            for name in ["error", "error_description"] {
                check_error_characters(added.get(name).map_or("", String::as_str), self);
            }
            // G3: a redirect that carries a code is not stored.
            if added.contains_key("code") || added.contains_key("error") {
                self.is_not_stored();
            }
        }
        // G3: neither are tokens.
        if is_token_path && self.method != Method::OPTIONS {
            self.is_not_stored();
            assert_eq!(self.header("pragma"), Some("no-cache"), "G3 {self:?}");
        }
        // G5: no cross-origin request carries cookies.
        assert_eq!(self.header("access-control-allow-credentials"), None, "G5 {self:?}");
        // G6: headers that browsers obey.
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "G6 {self:?}");
        if self.is_html() {
            let policy = self.header("content-security-policy").unwrap_or_default();
            for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
                assert!(policy.contains(directive), "G6 {directive}: {self:?}");
            }
            assert!(!policy.contains("unsafe"), "G6 {self:?}");
            assert_eq!(self.header("referrer-policy"), Some("no-referrer"), "G6 {self:?}");
            assert_eq!(self.header("x-frame-options"), Some("DENY"), "G6 {self:?}");
            self.is_not_stored();
            assert!(!self.body.contains("<script"), "pages need no script: {self:?}");
        }
        // Every answer can be found in the log.
        let id = self.header("x-request-id").unwrap_or_default();
        assert!((8..=64).contains(&id.len()), "X-Request-Id: {self:?}");
        for cookie in self.headers("set-cookie") {
            if cookie.starts_with("theme=") {
                continue; // An upstream's own, of which nothing is expected.
            }
            let name = cookie.strip_prefix("__Host-").unwrap_or(cookie);
            let of_the_bff = name.starts_with("cadence_bff=");
            let same_site = if of_the_bff { "; SameSite=Strict" } else { "; SameSite=Lax" };
            for attribute in ["; Path=/", "; HttpOnly", same_site] {
                assert!(cookie.contains(attribute), "{cookie}");
            }
            assert!(!cookie.to_lowercase().contains("domain="), "{cookie}");
        }
    }

    #[track_caller]
    fn is_not_stored(&self) {
        let control = self.header("cache-control").unwrap_or_default();
        assert!(control.split(", ").any(|it| it == "no-store"), "G3 {self:?}");
    }
}

#[track_caller]
fn check_error_characters(text: &str, answer: &Answer) {
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(text.bytes().all(allowed), "G2 {answer:?}");
}

/// Reads a query that no name is repeated in.
#[track_caller]
pub(crate) fn parse_query(query: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let repeated = pairs.insert(decode(name), decode(value));
        assert!(repeated.is_none(), "{name} is repeated in {query}");
    }
    pairs
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
