//! The issuer identifier.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The issuer: an origin (`scheme://host[:port]`), `https`, or `http` on a loopback host.
///
/// Source: RFC 8414 §2. Stricter: no path, so that cookies with the `__Host-` prefix cover it and
/// both well-known paths lie at the root. `http` is for development on one machine alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Issuer(String);

/// A text is not an [`Issuer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnIssuer;

impl fmt::Display for NotAnIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an issuer is https://host[:port], or http:// on localhost, 127.0.0.1 or [::1], \
             in lower case, without a path or a trailing slash",
        )
    }
}

impl Issuer {
    /// Reads an issuer.
    ///
    /// # Errors
    /// [`NotAnIssuer`] for everything else, also for upper case and a trailing slash: the issuer
    /// is compared as a string, so it has one spelling.
    pub fn parse(text: &str) -> Result<Self, NotAnIssuer> {
        let (scheme, authority) = text.split_once("://").ok_or(NotAnIssuer)?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(NotAnIssuer)?;
                address.parse::<core::net::Ipv6Addr>().map_err(|_| NotAnIssuer)?;
                (address, after.strip_prefix(':').or((!after.is_empty()).then_some("x")))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let is_host_char = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b':')
        };
        let host_is_good = !host.is_empty() && host.bytes().all(is_host_char);
        let port_is_good = port.is_none_or(|port| {
            !port.starts_with('0') && port.parse::<u16>().is_ok() && !port.starts_with('+')
        });
        let scheme_is_good = match scheme {
            "https" => true,
            "http" => matches!(host, "localhost" | "127.0.0.1" | "::1"),
            _ => false,
        };
        (host_is_good && port_is_good && scheme_is_good)
            .then(|| Self(text.to_owned()))
            .ok_or(NotAnIssuer)
    }

    /// Returns the identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether this is an `http` issuer of development, where cookies cannot be `Secure`.
    #[must_use]
    pub fn is_loopback_http(&self) -> bool {
        self.0.starts_with("http://")
    }

    /// Returns the URL of a path below the issuer; `path` begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Issuer {
    type Error = NotAnIssuer;

    fn try_from(text: String) -> Result<Self, NotAnIssuer> {
        Self::parse(&text)
    }
}

impl From<Issuer> for String {
    fn from(issuer: Issuer) -> Self {
        issuer.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_https_origin_or_a_loopback_one() {
        for good in [
            "https://id.example",
            "https://id.example:8443",
            "http://localhost:8787",
            "http://127.0.0.1:8888",
            "http://[::1]:8888",
        ] {
            assert!(Issuer::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "id.example",
            "https://",
            "https://id.example/",
            "https://ID.example",
            "https://id.example/a",
            "https://id.example?a",
            "https://id.example#a",
            "https://a@id.example",
            "https://id.example:",
            "https://id.example:0443",
            "https://id.example:70000",
            "http://id.example",
            "http://[::1]x",
            "ftp://id.example",
        ] {
            assert_eq!(Issuer::parse(bad), Err(NotAnIssuer), "{bad}");
        }
    }
}
