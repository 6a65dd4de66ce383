//! The issuer, and the only requests that leave this process.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use serde::Deserialize;
use tokio::sync::OnceCell;

/// How long the issuer may take to answer.
const ANSWER_IN: Duration = Duration::from_secs(2);

/// Bytes of an answer at most: a status list of eight million tokens fits.
const ANSWER_LEN: usize = 1024 * 1024;

/// Nothing can be had from the issuer at the moment, and why: for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable(pub(crate) &'static str);

/// An answer of the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200, with the body.
    Found(Vec<u8>),
    /// 404 or 410: there is no such thing, or no longer.
    Gone,
}

/// The authorization server whose tokens are taken.
#[derive(Debug)]
pub(crate) struct Issuer {
    http: reqwest::Client,
    url: String,
    metadata: OnceCell<Metadata>,
}

/// What of the discovery document is needed (RFC 8414 §2).
#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Issuer {
    /// Makes the issuer at a URL; nothing is asked yet, so it may still be starting.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(ANSWER_IN)
            .build()?;
        Ok(Self { http, url: url.to_owned(), metadata: OnceCell::new() })
    }

    /// Returns its identifier.
    pub(crate) fn as_str(&self) -> &str {
        &self.url
    }

    /// Tells whether a URL lies below the issuer: others are never asked, whatever a token says.
    pub(crate) fn is_home_of(&self, url: &str) -> bool {
        url.strip_prefix(&self.url).is_some_and(|path| path.starts_with('/'))
    }

    /// Fetches the key set from where the discovery document, read once, says that it is.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub(crate) async fn key_set(&self) -> Result<Vec<u8>, Unreachable> {
        let metadata = self.metadata.get_or_try_init(|| self.discover()).await?;
        match self.get(&metadata.jwks_uri, "application/json").await? {
            Answer::Found(body) => Ok(body),
            Answer::Gone => Err(Unreachable("the issuer has no key set")),
        }
    }

    /// Reads the discovery document.
    ///
    /// Source: OpenID Connect Discovery §4.3: a document of another issuer is not believed.
    async fn discover(&self) -> Result<Metadata, Unreachable> {
        let url = format!("{}/.well-known/openid-configuration", self.url);
        let Answer::Found(body) = self.get(&url, "application/json").await? else {
            return Err(Unreachable("the issuer has no discovery document"));
        };
        let metadata: Metadata = serde_json::from_slice(&body)
            .map_err(|_| Unreachable("the discovery document cannot be read"))?;
        if metadata.issuer != self.url || !self.is_home_of(&metadata.jwks_uri) {
            return Err(Unreachable("the discovery document is another issuer's"));
        }
        Ok(metadata)
    }

    /// Sends one `GET`.
    ///
    /// # Errors
    /// [`Unreachable`] for anything but 200, 404 and 410.
    pub(crate) async fn get(&self, url: &str, accept: &str) -> Result<Answer, Unreachable> {
        let broken_off = |error: reqwest::Error| {
            tracing::warn!(url, ?error, "the issuer does not answer");
            Unreachable("the issuer does not answer")
        };
        let request = self.http.get(url).header(ACCEPT, accept);
        let mut response = request.send().await.map_err(broken_off)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Gone),
            _ => return Err(Unreachable("the issuer cannot tell")),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken_off)? {
            if body.len() + chunk.len() > ANSWER_LEN {
                return Err(Unreachable("the issuer's answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer::Found(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_the_issuer_is_its_own() {
        let issuer = Issuer::new("https://id.example").unwrap();
        assert!(issuer.is_home_of("https://id.example/oauth2/status/1"));
        for url in ["https://id.example.evil/", "https://id.example", "https://id.example@evil/"] {
            assert!(!issuer.is_home_of(url), "{url}");
        }
    }
}
