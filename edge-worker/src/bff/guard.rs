//! Whether a request was made by a page of this host. Pure but for the reading of headers.

use shared::error::{ErrorCode, OAuthError};
use shared::issuer::Issuer;
use shared::sign_in;

use crate::incoming::Incoming;

/// Checks that a request was made by a page of the issuer's own host.
///
/// A method that may change something needs both a header that no page of another host can add
/// without being asked first (`X-CSRF: 1`) and the browser's own word for where it comes from
/// (`Sec-Fetch-Site`, or `Origin` where the browser does not send that). For others it is enough that
/// nothing speaks against it: no other host's page may read the answer.
///
/// # Errors
/// `access_denied`.
///
/// Source: OAuth 2.0 for Browser-Based Applications, BFF: cross-site request forgery protections.
pub(super) fn check(incoming: &Incoming, issuer: &Issuer) -> Result<(), OAuthError> {
    let header = |name| incoming.header(name);
    judge(
        matches!(incoming.method.as_str(), "GET" | "HEAD"),
        header("X-CSRF").as_deref(),
        header("Sec-Fetch-Site").as_deref(),
        header("Origin").as_deref(),
        issuer,
    )
}

fn judge(
    is_safe: bool,
    csrf: Option<&str>,
    site: Option<&str>,
    origin: Option<&str>,
    issuer: &Issuer,
) -> Result<(), OAuthError> {
    const NO_CSRF: OAuthError =
        OAuthError::new(ErrorCode::AccessDenied, "the header X-CSRF: 1 is missing");
    const ELSEWHERE: OAuthError =
        OAuthError::new(ErrorCode::AccessDenied, "the request does not come from this site");
    sign_in::check_same_origin(issuer, site.map(str::as_bytes), origin.map(str::as_bytes))
        .map_err(|_| ELSEWHERE)?;
    if is_safe {
        return Ok(());
    }
    if csrf != Some("1") {
        return Err(NO_CSRF);
    }
    let is_said = site == Some("same-origin") || origin == Some(issuer.as_str());
    is_said.then_some(()).ok_or(ELSEWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(is_safe: bool, csrf: Option<&str>, site: Option<&str>, origin: Option<&str>) -> bool {
        let issuer = Issuer::parse("https://id.example").unwrap();
        judge(is_safe, csrf, site, origin, &issuer).is_ok()
    }

    #[test]
    fn only_pages_of_this_host_may_change_anything() {
        let own = Some("https://id.example");
        assert!(allows(false, Some("1"), Some("same-origin"), own));
        assert!(allows(false, Some("1"), Some("same-origin"), None));
        assert!(allows(false, Some("1"), None, own));
        for (csrf, site, origin) in [
            (None, Some("same-origin"), own),
            (Some(""), Some("same-origin"), own),
            (Some("0"), Some("same-origin"), own),
            (Some("1, 1"), Some("same-origin"), own),
            (Some("1"), None, None),
            (Some("1"), Some("none"), None),
            (Some("1"), Some("same-site"), own),
            (Some("1"), Some("cross-site"), None),
            (Some("1"), None, Some("null")),
            (Some("1"), None, Some("https://evil.example")),
            (Some("1"), Some("same-origin"), Some("https://id.example.evil")),
            (Some("1"), Some("same-origin"), Some("http://id.example")),
        ] {
            assert!(!allows(false, csrf, site, origin), "{csrf:?} {site:?} {origin:?}");
        }
    }

    #[test]
    fn nothing_is_told_to_another_host() {
        assert!(allows(true, None, None, None));
        assert!(allows(true, None, Some("same-origin"), None));
        assert!(allows(true, None, Some("none"), None), "typed in by a person");
        for (site, origin) in [
            (Some("cross-site"), None),
            (Some("same-site"), None),
            (None, Some("https://evil.example")),
        ] {
            assert!(!allows(true, Some("1"), site, origin), "{site:?} {origin:?}");
        }
    }
}
