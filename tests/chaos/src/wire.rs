//! Requests of a client, over connections of its own.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

/// How long a client waits: longer than any deadline of the server, so that a hang is seen.
pub const GIVEN_UP_IN: Duration = Duration::from_secs(10);

/// A server, as one client reaches it.
#[derive(Clone, Debug)]
pub struct Door {
    url: String,
    http: reqwest::Client,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Door {
    /// A client with connections of its own to the server at `url`.
    ///
    /// # Panics
    /// When no client can be made.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(GIVEN_UP_IN)
            // Before workerd closes a connection that is idle: it may do so as the next request comes.
            .pool_idle_timeout(std::time::Duration::from_secs(2))
            .build();
        Self { url: url.to_owned(), http: http.expect("a client can be made") }
    }

    /// Returns the server's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request, with a form if there is one.
    ///
    /// # Errors
    /// How the answer was lost: `timeout`, `connect`, `reset`.
    pub async fn send(
        &self,
        path: &str,
        headers: &[(&str, String)],
        form: Option<&[(&str, &str)]>,
    ) -> Result<Raw, String> {
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(form) = form {
            request = request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(stack::query(form));
        }
        let lost = |error: reqwest::Error| {
            let how = if error.is_timeout() {
                "timeout"
            } else if error.is_connect() {
                "connect"
            } else {
                "reset"
            };
            how.to_owned()
        };
        let response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await.map_err(lost)?;
        Ok(Raw { status, headers, body })
    }
}
