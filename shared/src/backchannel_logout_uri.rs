//! Where a client is told that a login session has ended.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::redirect_uri::RedirectUri;

/// A back-channel logout URI that a client has registered: `https://host[:port]/…`, or `http://` on
/// `localhost`, `127.0.0.1` or `[::1]`, for development. It may have a query; never a fragment, user
/// information, dot segments, or a character that some URI parser reads in its own way.
///
/// Source: OpenID Connect Back-Channel Logout 1.0 §2.2. Stricter: `http` only where nothing
/// travels; the characters are those of a [`RedirectUri`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackchannelLogoutUri(RedirectUri);

/// A text is not a [`BackchannelLogoutUri`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotABackchannelLogoutUri;

impl fmt::Display for NotABackchannelLogoutUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a backchannel_logout_uri is https, or http on a loopback host, without fragment, \
             user information and dot segments",
        )
    }
}

impl BackchannelLogoutUri {
    /// Reads a back-channel logout URI at registration.
    ///
    /// # Errors
    /// [`NotABackchannelLogoutUri`] for everything else, also for the private-use schemes of
    /// redirect URIs: nobody can be called there.
    pub fn parse(text: &str) -> Result<Self, NotABackchannelLogoutUri> {
        let has_host = text.starts_with("https://") || text.starts_with("http://");
        let uri = RedirectUri::parse(text).ok().filter(|_| has_host);
        uri.map(Self).ok_or(NotABackchannelLogoutUri)
    }

    /// Returns the URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for BackchannelLogoutUri {
    type Error = NotABackchannelLogoutUri;

    fn try_from(text: String) -> Result<Self, NotABackchannelLogoutUri> {
        Self::parse(&text)
    }
}

impl From<BackchannelLogoutUri> for String {
    fn from(uri: BackchannelLogoutUri) -> Self {
        uri.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logout_uri_can_be_called_and_is_not_overheard() {
        for good in [
            "https://app.example/backchannel-logout",
            "https://app.example:8443/a?tenant=1",
            "http://localhost:3000/backchannel-logout",
            "http://127.0.0.1:3000/",
            "http://[::1]:3000/",
        ] {
            assert_eq!(BackchannelLogoutUri::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "app.example/logout",
            "/logout",
            "https://",
            "http://app.example/logout",
            "http://127.0.0.1.evil.example/",
            "https://app.example/logout#now",
            "https://user@app.example/logout",
            "https://app.example/a/../logout",
            "https://app.example/\r\nHost:evil",
            "HTTPS://app.example/logout",
            "ftp://app.example/logout",
            "file:///etc/passwd",
            "com.example.app:/logout",
        ] {
            assert_eq!(BackchannelLogoutUri::parse(bad), Err(NotABackchannelLogoutUri), "{bad:?}");
        }
    }
}
