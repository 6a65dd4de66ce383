//! Where a sign-in leads back to. Pure.

use serde::{Deserialize, Serialize};
use shared::form;
use shared::issuer::Issuer;
use shared::limits::RETURN_TO_LEN;

use crate::route;

/// A path of the issuer's own host, perhaps with query and fragment, which no browser reads as
/// another host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReturnTo(String);

impl ReturnTo {
    /// Reads a path.
    ///
    /// `None` for anything else: what has a scheme or a host, what a browser would take for that
    /// (`//host`, `/\host`, control characters, which it leaves out), segments that climb, what is too
    /// long, and the paths of the backend-for-frontend: one begins another sign-in, and others are
    /// answered by APIs, whose answers are no pages of this host.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let dots = |segment: &str| segment.to_ascii_lowercase().replace("%2e", ".");
        let climbs = path.split('/').any(|segment| matches!(dots(segment).as_str(), "." | ".."));
        let is_own = route::is_at_or_below(path, "/bff");
        let good = is_path && is_plain && !climbs && !is_own && text.len() <= RETURN_TO_LEN;
        good.then(|| Self(text.to_owned()))
    }

    /// Returns the path.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the URL, with the host spelled out.
    pub(super) fn url(&self, issuer: &Issuer) -> String {
        issuer.url(&self.0)
    }

    /// Returns the URL with why nobody was signed in: `error` is added to its query.
    pub(super) fn url_with_error(&self, issuer: &Issuer, error: &str) -> String {
        let (before, fragment) = match self.0.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (self.0.as_str(), None),
        };
        let url = form::with_query(&issuer.url(before), [("error", error)]);
        match fragment {
            Some(fragment) => format!("{url}#{fragment}"),
            None => url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_host_are_led_back_to() {
        for good in ["/", "/spa/", "/spa/?tab=2#top", "/a//b", "/@x", "/?next=https://app.example"]
        {
            assert!(ReturnTo::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "spa",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            "/spa\r\nSet-Cookie: a=b",
            " /spa",
            "/sp a",
            "/späh",
            "/bff/login",
            "/bff/login?return_to=/bff/login",
            "/bff",
            "/./bff/api/notes",
            "/x/../bff/api/notes",
            "/%2e/bff/api/notes",
            "/x/.%2E/bff/api/notes",
            "/%2E%2e",
            &format!("/{}", "a".repeat(RETURN_TO_LEN)),
        ] {
            assert_eq!(ReturnTo::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_error_stands_in_the_query() {
        let issuer = Issuer::parse("https://id.example").unwrap();
        let url =
            |path: &str| ReturnTo::parse(path).unwrap().url_with_error(&issuer, "access_denied");
        assert_eq!(url("/spa/"), "https://id.example/spa/?error=access_denied");
        assert_eq!(url("/a?b=c#d"), "https://id.example/a?b=c&error=access_denied#d");
    }
}
