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
use stack::{Seen, decode};
pub(crate) use stack::{encode, query};

use crate::openapi;
use crate::secrets;

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
        let encoded = STANDARD.encode(pair);
        secrets::remember_basic(pair, &encoded);
        self.header("authorization", &format!("Basic {encoded}"))
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
            // Before the server closes a connection that is idle: it may do so as the next request comes.
            .pool_idle_timeout(Duration::from_secs(2))
            .build()
            .unwrap()
    })
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
        secrets::remember_answer(&answer);
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

    /// Asserts what holds for every answer, whatever was asked.
    #[track_caller]
    fn check(&self) {
        let (method, path) = (self.method.as_str(), self.path());
        let seen =
            Seen { method, path, status: self.status, headers: &self.headers, body: &self.body };
        if let Err(rule) = seen.check() {
            panic!("{rule}: {self:?}");
        }
        // What is answered is what the document of the interface says.
        let media_type = self.header("content-type").and_then(|it| it.split(';').next());
        let media_type = media_type.filter(|_| !self.body.is_empty());
        if let Err(missing) = openapi::describes(method, path, self.status, media_type) {
            panic!("{missing}: {self:?}");
        }
    }
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
