//! Cookies: read from a `Cookie` header, written as `Set-Cookie`.

use crate::issuer::Issuer;

/// How cookies are named and protected on this issuer.
///
/// Everywhere but on an `http` loopback issuer, names carry the `__Host-` prefix and cookies are
/// `Secure`; there, both fall away, so that development works in every browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookiePolicy {
    secure: bool,
}

/// To which requests from other sites' pages a cookie is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// To those that a link or redirect makes.
    Lax,
    /// To none.
    Strict,
}

impl CookiePolicy {
    /// Chooses the policy of an issuer.
    #[must_use]
    pub fn new(issuer: &Issuer) -> Self {
        Self { secure: !issuer.is_loopback_http() }
    }

    /// Returns the full name of a cookie.
    #[must_use]
    pub fn name(self, base: &str) -> String {
        if self.secure { format!("__Host-{base}") } else { base.to_owned() }
    }

    /// Writes a `Set-Cookie` value: `Path=/`, `HttpOnly`, `SameSite=Lax`, no `Domain`.
    ///
    /// `max_age` is in seconds; `None` makes a cookie that ends with the browser.
    #[must_use]
    pub fn set(self, base: &str, value: &str, max_age: Option<u64>) -> String {
        self.set_for(SameSite::Lax, base, value, max_age)
    }

    /// Writes a `Set-Cookie` value as [`Self::set`] does, with this `SameSite`.
    #[must_use]
    pub fn set_for(
        self,
        same_site: SameSite,
        base: &str,
        value: &str,
        max_age: Option<u64>,
    ) -> String {
        let name = self.name(base);
        let secure = if self.secure { "; Secure" } else { "" };
        let max_age = max_age.map(|secs| format!("; Max-Age={secs}")).unwrap_or_default();
        format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site:?}{secure}{max_age}")
    }

    /// Writes a `Set-Cookie` value that removes the cookie.
    #[must_use]
    pub fn remove(self, base: &str) -> String {
        self.set(base, "", Some(0))
    }

    /// Finds a cookie in `Cookie` headers.
    ///
    /// Returns `None` also when two cookies have the name: one of them is somebody else's, and
    /// which one cannot be told.
    #[must_use]
    pub fn find<'a>(
        self,
        headers: impl IntoIterator<Item = &'a str>,
        base: &str,
    ) -> Option<&'a str> {
        let name = self.name(base);
        let mut values = pairs(headers).filter(|(known, _)| *known == name).map(|(_, value)| value);
        let first = values.next();
        first.filter(|value| !value.is_empty() && values.next().is_none())
    }

    /// Tells whether there is a cookie of this name, whatever is in it.
    #[must_use]
    pub fn has<'a>(self, headers: impl IntoIterator<Item = &'a str>, base: &str) -> bool {
        let name = self.name(base);
        pairs(headers).any(|(known, _)| *known == name)
    }

    /// Lists what follows `base` in the names of all cookies that begin with it.
    pub fn suffixes<'a>(
        self,
        headers: impl IntoIterator<Item = &'a str>,
        base: &str,
    ) -> impl Iterator<Item = &'a str> {
        let prefix = self.name(base);
        pairs(headers).filter_map(move |(name, _)| name.strip_prefix(prefix.as_str()))
    }
}

/// Splits `Cookie` headers into pairs (RFC 6265 §4.2.1).
fn pairs<'a>(
    headers: impl IntoIterator<Item = &'a str>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    headers
        .into_iter()
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(issuer: &str) -> CookiePolicy {
        CookiePolicy::new(&Issuer::parse(issuer).unwrap())
    }

    #[test]
    fn a_cookie_may_be_kept_from_other_sites_links() {
        assert_eq!(
            policy("https://id.example").set_for(SameSite::Strict, "s", "v", None),
            "__Host-s=v; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert!(
            policy("http://localhost:8787")
                .set_for(SameSite::Lax, "s", "", Some(0))
                .ends_with("; SameSite=Lax; Max-Age=0")
        );
    }

    #[test]
    fn cookies_are_host_only_and_secure() {
        assert_eq!(
            policy("https://id.example").set("s", "v", Some(5)),
            "__Host-s=v; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=5"
        );
        assert_eq!(
            policy("http://localhost:8787").set("s", "v", None),
            "s=v; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn one_cookie_is_found_and_two_are_none() {
        let policy = policy("https://id.example");
        assert_eq!(policy.find(["a=1; __Host-s=v"], "s"), Some("v"));
        assert_eq!(policy.find(["a=1", "__Host-s=v=w"], "s"), Some("v=w"));
        assert_eq!(policy.find(["s=v"], "s"), None);
        assert_eq!(policy.find(["__Host-s="], "s"), None);
        assert_eq!(policy.find(["__Host-s=v; __Host-s=w"], "s"), None);
        assert!(
            policy.has(["a=1", "__Host-s="], "s") && policy.has(["__Host-s=v; __Host-s=w"], "s")
        );
        assert!(!policy.has(["s=v", "__Host-s2=v"], "s"));
    }

    #[test]
    fn suffixes_name_the_cookies_of_a_kind() {
        let policy = policy("http://localhost:8787");
        let ids: Vec<_> = policy.suffixes(["tx_a=1; tx_b=2; s=3"], "tx_").collect();
        assert_eq!(ids, ["a", "b"]);
    }
}
