//! Cross-origin requests: which browser origins may read an answer.
//!
//! Source: Fetch Standard, "CORS protocol"; RFC 9700 §2.6 (never at the authorization endpoint).

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::issuer::Issuer;

/// A browser's origin as it stands in an `Origin` header: `scheme://host[:port]`, lower case,
/// `https`, or `http` on a loopback host. Never `null`, never a wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebOrigin(String);

/// A text is not a [`WebOrigin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnOrigin;

impl fmt::Display for NotAnOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a CORS origin is https://host[:port], or http:// on a loopback host, in lower case, \
             without its scheme's own port, a path or a wildcard",
        )
    }
}

impl WebOrigin {
    /// Reads an origin.
    ///
    /// # Errors
    /// [`NotAnOrigin`], also for an origin with its scheme's own port: browsers never send it.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        let own_port = if text.starts_with("https:") { ":443" } else { ":80" };
        if text.ends_with(own_port) {
            return Err(NotAnOrigin);
        }
        Issuer::parse(text).map(|_| Self(text.to_owned())).map_err(|_| NotAnOrigin)
    }

    /// Returns the origin as it stands in the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WebOrigin {
    type Error = NotAnOrigin;

    fn try_from(text: String) -> Result<Self, NotAnOrigin> {
        Self::parse(&text)
    }
}

impl From<WebOrigin> for String {
    fn from(origin: WebOrigin) -> Self {
        origin.0
    }
}

/// What an endpoint lets browsers of other origins do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorsRule {
    /// Nothing: pages and redirects.
    Never,
    /// Anyone may read: discovery and keys, which hold nothing personal.
    Anyone,
    /// Registered origins may read; credentials are never allowed, because none is needed.
    Registered,
}

/// The methods that a preflight may announce.
pub const ALLOW_METHODS: &str = "GET, POST, DELETE";

/// The methods that a preflight for an API behind the gateway may announce.
pub const ALLOW_UPSTREAM_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// The request headers that a preflight for an endpoint may announce.
pub const ALLOW_HEADERS: &str = "Authorization, Content-Type";

/// The request headers that a preflight for an upstream may announce: any, because they are the
/// upstream's affair. `*` stands for all but `Authorization` (Fetch §3.3.5), and not for requests
/// with cookies, which are never allowed.
pub const ALLOW_UPSTREAM_HEADERS: &str = "Authorization, *";

/// The response headers that scripts may read.
pub const EXPOSE_HEADERS: &str = "Retry-After, WWW-Authenticate, X-Request-Id";

/// How long a browser may remember a preflight, seconds.
pub const MAX_AGE: u64 = 600;

/// Returns the value of `Access-Control-Allow-Origin`, if the answer gets one.
///
/// Under [`CorsRule::Anyone`] it is the same without an `Origin`: a cache may hand the answer to
/// somebody who sends one. An answer under [`CorsRule::Registered`] also says `Vary: Origin`, allowed
/// or not.
#[must_use]
pub fn allow_origin<'a>(
    rule: CorsRule,
    origin: Option<&'a str>,
    registered: impl IntoIterator<Item = &'a WebOrigin>,
) -> Option<&'a str> {
    match rule {
        CorsRule::Never => None,
        CorsRule::Anyone => Some("*"),
        CorsRule::Registered => {
            let origin = origin?;
            registered.into_iter().any(|known| known.0 == origin).then_some(origin)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_origins_may_read() {
        let known = [WebOrigin::parse("https://app.example").unwrap()];
        let allow = |origin| allow_origin(CorsRule::Registered, Some(origin), &known);
        assert_eq!(allow("https://app.example"), Some("https://app.example"));
        for other in [
            "null",
            "https://app.example.evil",
            "https://APP.example",
            "https://app.example:443",
            "https://app.example/",
            "http://app.example",
        ] {
            assert_eq!(allow(other), None, "{other}");
        }
        assert_eq!(allow_origin(CorsRule::Anyone, Some("https://any.example"), []), Some("*"));
        assert_eq!(allow_origin(CorsRule::Never, Some("https://app.example"), &known), None);
        assert_eq!(allow_origin(CorsRule::Anyone, None, []), Some("*"), "caches have no origin");
        for rule in [CorsRule::Never, CorsRule::Registered] {
            assert_eq!(allow_origin(rule, None, &known), None, "{rule:?}");
        }
    }

    #[test]
    fn wildcards_and_null_cannot_be_registered() {
        for bad in [
            "*",
            "null",
            "https://*.example",
            "https://a.example/",
            "http://a.example",
            "https://a.example:443",
        ] {
            assert_eq!(WebOrigin::parse(bad), Err(NotAnOrigin), "{bad}");
        }
    }
}
