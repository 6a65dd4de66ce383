//! Redirect URIs: registered ones, and the one comparison that decides where a browser is sent.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::REDIRECT_URI_LEN;

/// A redirect URI that a client has registered.
///
/// One of: `https://host[:port]/…`; `http://` on `localhost`, `127.0.0.1` or `[::1]`; a private-use
/// scheme with a dot in it and one slash (`com.example.app:/…`). Never with a fragment, user
/// information, dot segments, or a character that some URI parser reads in its own way.
///
/// Compared as bytes, never parsed again: two parsers that disagree cannot be played against each
/// other.
///
/// Source: RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1 and §4.1.3.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

/// Why a text cannot be registered as a redirect URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unregistrable(&'static str);

impl fmt::Display for Unregistrable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The loopback prefixes behind which a port may differ (RFC 8252 §7.3). `localhost` is none of
/// them: it is a name, and names can be pointed elsewhere (§8.3).
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

impl RedirectUri {
    /// Reads a redirect URI at registration.
    ///
    /// # Errors
    /// [`Unregistrable`] with a sentence that names the rule.
    pub fn parse(text: &str) -> Result<Self, Unregistrable> {
        if text.len() > REDIRECT_URI_LEN {
            return Err(Unregistrable("a redirect URI has at most 1024 bytes"));
        }
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte);
        if !text.bytes().all(is_plain) {
            return Err(Unregistrable(
                "a redirect URI is printable ASCII without fragment, space, quote or backslash",
            ));
        }
        let (scheme, rest) =
            text.split_once(':').ok_or(Unregistrable("a redirect URI begins with a scheme"))?;
        if scheme != scheme.to_ascii_lowercase() {
            return Err(Unregistrable("the scheme of a redirect URI is in lower case"));
        }
        let path = match scheme {
            "https" | "http" => hosted(scheme, rest)?,
            _ if scheme.contains('.') && !rest.starts_with("//") && rest.starts_with('/') => rest,
            _ => {
                return Err(Unregistrable(
                    "a redirect URI is https, http on a loopback host, or has a private-use \
                     scheme with a dot and one slash (com.example.app:/callback)",
                ));
            }
        };
        let path = path.split('?').next().unwrap_or_default();
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(Unregistrable("a redirect URI has no dot segments"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Tells whether `requested` may be redirected to: equal as bytes, or different from a
    /// registered loopback IP only in its port.
    ///
    /// Source: RFC 9700 §4.1.3, RFC 8252 §7.3.
    #[must_use]
    pub fn matches(&self, requested: &str) -> bool {
        if self.0 == requested {
            return true;
        }
        LOOPBACK.iter().any(|prefix| {
            let registered = self.0.strip_prefix(prefix).and_then(after_port);
            let requested = requested.strip_prefix(prefix).and_then(after_port);
            registered.is_some() && registered == requested
        })
    }

    /// Tells whether another program of the same device may receive what is sent here: such a
    /// client cannot be told from its imitators, so the user is always asked (RFC 8252 §8.6).
    #[must_use]
    pub fn is_claimable(&self) -> bool {
        !self.0.starts_with("https://")
    }

    /// Returns the URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks what stands behind `http:` or `https:` and returns the path and query.
fn hosted<'a>(scheme: &str, rest: &'a str) -> Result<&'a str, Unregistrable> {
    let rest = rest
        .strip_prefix("//")
        .ok_or(Unregistrable("a redirect URI with a host has two slashes"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // The authority obeys the rules of an issuer: host in lower case, no user, a sane port.
    crate::issuer::Issuer::parse(&format!("https://{authority}"))
        .map_err(|_| Unregistrable("the host of a redirect URI is host[:port] in lower case"))?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let loopback = matches!(authority, "localhost" | "127.0.0.1" | "[::1]")
        || matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if scheme == "http" && !loopback {
        return Err(Unregistrable("http redirect URIs are for localhost, 127.0.0.1 and [::1]"));
    }
    Ok(path)
}

/// Returns what follows an optional port (1 to 65535, no leading zero).
fn after_port(rest: &str) -> Option<&str> {
    let Some(rest) = rest.strip_prefix(':') else {
        return (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest);
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (port, rest) = rest.split_at(digits);
    let port_is_good = !port.starts_with('0') && port.parse::<u16>().is_ok();
    (port_is_good && (rest.is_empty() || rest.starts_with(['/', '?']))).then_some(rest)
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RedirectUri {
    type Error = Unregistrable;

    fn try_from(text: String) -> Result<Self, Unregistrable> {
        Self::parse(&text)
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registration_takes_only_uris_that_every_parser_reads_alike() {
        for good in [
            "https://app.example/cb",
            "https://app.example/cb?x=1",
            "https://app.example:8443/cb",
            "https://app.example",
            "http://127.0.0.1/cb",
            "http://[::1]/cb",
            "http://[::1]:5/cb",
            "http://localhost:5173/callback",
            "com.example.app:/cb",
        ] {
            assert!(RedirectUri::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "cb",
            "/cb",
            "//app.example/cb",
            "https:/app.example/cb",
            "https:///cb",
            "https://APP.example/cb",
            "HTTPS://app.example/cb",
            "https://app.example/cb#x",
            "https://app.example/../cb",
            "https://app.example/./cb",
            "https://user@app.example/cb",
            "https://app.example\\@evil.example/cb",
            "https://app.example:0443/cb",
            "https://*.example/cb*^",
            "http://app.example/cb",
            "http://127.0.0.2/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "myapp:/cb",
            "com.example.app://cb",
            "com.example.app:cb",
            "https://app.example/c b",
            "https://app.example/ä",
        ] {
            assert!(RedirectUri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_port_of_a_loopback_ip_may_differ() {
        let matches = |registered: &str, requested| {
            RedirectUri::parse(registered).unwrap().matches(requested)
        };
        assert!(matches("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb"));
        assert!(matches("http://127.0.0.1:80/cb", "http://127.0.0.1:49152/cb"));
        assert!(matches("http://[::1]/cb", "http://[::1]:5/cb"));
        for other in [
            "http://localhost:49152/cb",
            "http://127.0.0.2/cb",
            "http://127.1/cb",
            "https://127.0.0.1/cb",
            "http://127.0.0.1:49152/cb/",
            "http://127.0.0.1:49152/cb?x=1",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:-1/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:080/cb",
            "http://127.0.0.1:80:80/cb",
            "http://127.0.0.1:49152@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
        ] {
            assert!(!matches("http://127.0.0.1/cb", other), "{other}");
        }
        assert!(!matches("http://localhost:5173/cb", "http://localhost:5174/cb"));
        assert!(!matches("https://app.example/cb", "https://app.example:443/cb"));
    }
}
