//! Where a page may lead: sources for a policy's `form-action`, and links back to an app.

use core::fmt;

/// A source of the Content-Security-Policy's `form-action` that covers one redirect URI.
///
/// Holds only `a-z`, `0-9` and `.`, `:`, `/`, `-`, so it can never end a directive or a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormTarget {
    source: String,
    host: String,
}

/// A link back to an app: its name, and a URI that is safe to click on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackLink<'a> {
    client_name: &'a str,
    uri: &'a str,
}

/// A URI that a page may not lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsafeTarget;

impl FormTarget {
    /// Reads the scheme and the authority of a redirect URI.
    ///
    /// Takes `https://host[:port]`, `http://host[:port]` and private-use schemes with a dot in
    /// them (`com.example.app:`), all in lower case. An IPv6 host becomes the source `http:` or
    /// `https:`, because a policy's host cannot be one.
    ///
    /// Does NOT tell whether the URI is registered for a client, and does NOT look at its path.
    ///
    /// # Errors
    /// [`UnsafeTarget`] for everything else: `javascript:` and `data:` among it, user information,
    /// wildcards, upper case, ports outside 1 to 65535.
    ///
    /// Source: Content Security Policy Level 3 §2.3.1, RFC 8252 §7.
    pub fn parse(redirect_uri: &str) -> Result<Self, UnsafeTarget> {
        let (scheme, rest) = redirect_uri.split_once(':').ok_or(UnsafeTarget)?;
        if !matches!(scheme, "https" | "http") {
            return Self::private_use(scheme);
        }
        let rest = rest.strip_prefix("//").ok_or(UnsafeTarget)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.rfind(':') {
            Some(at) if !authority.ends_with(']') => (&authority[..at], Some(&authority[at + 1..])),
            _ => (authority, None),
        };
        if !port.is_none_or(is_port) {
            return Err(UnsafeTarget);
        }
        let source = if is_host(host) {
            format!("{scheme}://{authority}")
        } else if is_ipv6(host) {
            format!("{scheme}:")
        } else {
            return Err(UnsafeTarget);
        };
        Ok(Self { source, host: authority.to_owned() })
    }

    /// Reads a scheme that an app claims for itself (RFC 8252 §7.1: a reversed domain name).
    fn private_use(scheme: &str) -> Result<Self, UnsafeTarget> {
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.contains('.')
            && is_host(scheme);
        if !is_scheme {
            return Err(UnsafeTarget);
        }
        Ok(Self { source: format!("{scheme}:"), host: scheme.to_owned() })
    }

    /// Returns the source, as it stands in the policy.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Returns the host and port, or the private-use scheme, to show to a person.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl<'a> BackLink<'a> {
    /// Makes a link to an app, for a URI that is also a [`FormTarget`].
    ///
    /// Does NOT tell whether the URI belongs to the app: the caller has proven that.
    ///
    /// # Errors
    /// [`UnsafeTarget`], as for [`FormTarget::parse`].
    pub fn parse(client_name: &'a str, uri: &'a str) -> Result<Self, UnsafeTarget> {
        FormTarget::parse(uri)?;
        Ok(Self { client_name, uri })
    }

    /// Returns the name of the app.
    #[must_use]
    pub const fn client_name(&self) -> &'a str {
        self.client_name
    }

    /// Returns the URI.
    #[must_use]
    pub const fn uri(&self) -> &'a str {
        self.uri
    }
}

impl fmt::Display for UnsafeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the URI is not one that a page may lead to")
    }
}

impl core::error::Error for UnsafeTarget {}

/// Tells whether `host` is a name or an IPv4 address: dot-separated labels of `a-z0-9-`.
fn is_host(host: &str) -> bool {
    let is_label_byte = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    host.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label_byte))
}

/// Tells whether `host` is an IPv6 address in brackets.
fn is_ipv6(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok())
}

/// Tells whether `port` is 1 to 65535 in plain digits.
fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
        && !port.starts_with('0')
        && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn redirect_uris_become_sources() {
        for (uri, source, host) in [
            ("https://app.example/cb", "https://app.example", "app.example"),
            ("https://app.example", "https://app.example", "app.example"),
            ("https://app.example?x=1", "https://app.example", "app.example"),
            ("https://app.example:8443/cb?x=;", "https://app.example:8443", "app.example:8443"),
            ("http://localhost:5173/callback", "http://localhost:5173", "localhost:5173"),
            ("http://127.0.0.1:49152/cb", "http://127.0.0.1:49152", "127.0.0.1:49152"),
            ("http://[::1]/cb", "http:", "[::1]"),
            ("http://[::1]:5/cb", "http:", "[::1]:5"),
            ("com.example.app:/cb", "com.example.app:", "com.example.app"),
        ] {
            let target = FormTarget::parse(uri).unwrap();
            assert_eq!((target.as_str(), target.host()), (source, host), "{uri}");
        }
    }

    #[test]
    fn hostile_uris_are_refused() {
        for uri in [
            "",
            "app.example",
            "/cb",
            "//app.example/cb",
            "https:",
            "https://",
            "https:///cb",
            "https:/app.example",
            "https://app.example; script-src *",
            "https://app.example;script-src/cb",
            "https://app.example script-src/cb",
            "https://app.example,x/cb",
            "https://app.example\r\nSet-Cookie: a=b",
            "https://app.example\t/cb",
            "https://app.example\\@evil.example/cb",
            "https://user@app.example/cb",
            "https://user:1@app.example/cb",
            "https://*.example/cb",
            "https://*/cb",
            "https://app.example:*/cb",
            "https://app.example:/cb",
            "https://app.example:0/cb",
            "https://app.example:080/cb",
            "https://app.example:65536/cb",
            "https://app.example:1:2/cb",
            "https://app.example:+80/cb",
            "https://APP.example/cb",
            "HTTPS://app.example/cb",
            "https://äpp.example/cb",
            "https://app..example/cb",
            "https://[::1/cb",
            "https://[::1]x/cb",
            "https://[app.example]/cb",
            "https://'self'/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "blob:https://app.example/x",
            "file:///etc/passwd",
            "about:blank",
            "myapp:/cb",
            ".:/cb",
            "com.example.app;x:/cb",
            "com.example app:/cb",
            "1com.example:/cb",
            "'self' com.example:/cb",
        ] {
            assert_eq!(FormTarget::parse(uri), Err(UnsafeTarget), "{uri}");
            assert_eq!(BackLink::parse("App", uri), Err(UnsafeTarget), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn no_source_can_leave_its_directive(
            uri in "(https?://|[a-z.]{1,9}:|)[ -~\r\n]{0,20}(:[0-9]{0,6})?[ -~]{0,20}"
        ) {
            if let Ok(target) = FormTarget::parse(&uri) {
                let is_kept = |byte: u8| {
                    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b':' | b'/' | b'-')
                };
                prop_assert!(target.as_str().bytes().all(is_kept), "{:?}", target);
            }
        }
    }
}
