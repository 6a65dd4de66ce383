//! `application/x-www-form-urlencoded`, read strictly: queries and bodies become [`Params`].

use crate::error::OAuthError;
use crate::limits::PARAMETERS;

/// The decoded parameters of one query or form body, in their order.
///
/// Holds names and values that are valid UTF-8 without NUL. Does NOT refuse repeated names by
/// itself: [`Params::one`] does, for each name that the reader knows (unknown ones are ignored).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

/// A parameter stands more than once in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl From<Repeated> for OAuthError {
    fn from(_: Repeated) -> Self {
        Self::invalid_request("a parameter is repeated")
    }
}

impl Params {
    /// Decodes a query (without `?`) or a form body.
    ///
    /// # Errors
    /// `invalid_request` for more than [`PARAMETERS`] parameters, a `%` without two hexadecimal
    /// digits, bytes that are not UTF-8, and NUL.
    ///
    /// Source: RFC 6749 Appendix B. Stricter than the WHATWG parser, which repairs such input.
    pub fn parse(encoded: &[u8]) -> Result<Self, OAuthError> {
        let mut pairs = Vec::new();
        for field in encoded.split(|&byte| byte == b'&').filter(|field| !field.is_empty()) {
            if pairs.len() == PARAMETERS {
                return Err(OAuthError::invalid_request("there are too many parameters"));
            }
            let (name, value) = match field.iter().position(|&byte| byte == b'=') {
                Some(at) => (&field[..at], &field[at + 1..]),
                None => (field, &[][..]),
            };
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// Returns the value of `name`, `None` when it is absent or empty (RFC 6749 §3.1: a parameter
    /// without a value is treated as if it were omitted).
    ///
    /// # Errors
    /// [`Repeated`] when the name stands more than once (RFC 6749 §3.1 and §3.2).
    pub fn one(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() {
            return Err(Repeated);
        }
        Ok(first.map(String::as_str).filter(|value| !value.is_empty()))
    }

    /// Tells whether `name` occurs at all, even empty or repeated.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Returns all pairs in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Decodes one form-encoded name or value: `+` is a space, `%XX` is a byte.
///
/// # Errors
/// `invalid_request`, as for [`Params::parse`].
pub fn decode(encoded: &[u8]) -> Result<String, OAuthError> {
    const MALFORMED: OAuthError = OAuthError::invalid_request("a parameter is not form-urlencoded");
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit =
                    || rest.next().and_then(|&byte| char::from(byte).to_digit(16)).ok_or(MALFORMED);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).map_err(|_| MALFORMED)?
            }
            0 => return Err(MALFORMED),
            byte => byte,
        });
    }
    if bytes.contains(&0) {
        return Err(MALFORMED);
    }
    String::from_utf8(bytes).map_err(|_| MALFORMED)
}

/// Encodes pairs as a query or form body.
#[must_use]
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Adds parameters to a URI that may already have a query; keeps the URI as it is otherwise.
///
/// Does NOT expect a fragment: redirect URIs have none (RFC 6749 §3.1.2).
#[must_use]
pub fn with_query<'a>(uri: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let separator = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some((_, query)) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{uri}{separator}{}", encode(pairs))
}

/// Tells whether a `Content-Type` header names a form, with UTF-8 as its only charset.
#[must_use]
pub fn is_form(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && parts.all(|parameter| {
            parameter.eq_ignore_ascii_case("charset=utf-8")
                || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
                || parameter.is_empty()
        })
}

/// Checks that a `Content-Encoding` header leaves a body as it was written: nothing is unpacked here,
/// so no small body becomes a large one, and none is taken for what it is not.
///
/// # Errors
/// `invalid_request`, status 415.
///
/// Source: RFC 9110 §8.4, §15.5.16.
pub fn check_coding(content_encoding: &[u8]) -> Result<(), OAuthError> {
    let mut codings = content_encoding.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let is_plain = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    if codings.all(is_plain) {
        return Ok(());
    }
    Err(OAuthError::invalid_request("the body is compressed").with_status(415))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(encoded: &str) -> Option<Vec<(String, String)>> {
        Params::parse(encoded.as_bytes()).ok().map(|params| params.0)
    }

    #[test]
    fn decoding_follows_appendix_b() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parse("a=b&c"), Some(vec![pair("a", "b"), pair("c", "")]));
        assert_eq!(parse("a=+%25%26%2B%C2%A3"), Some(vec![pair("a", " %&+£")]));
        assert_eq!(parse("&&a=1&"), Some(vec![pair("a", "1")]));
        for malformed in ["a=%", "a=%z", "a=%zz", "a=%4", "a=%00", "a=%c0%af", "a=%ff", "a=\0"] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
        assert_eq!(parse(&"a&".repeat(PARAMETERS + 1)), None);
    }

    #[test]
    fn one_refuses_repeats_and_takes_empty_as_absent() {
        let params = Params::parse(b"a=1&b=&c=1&c=1").unwrap();
        assert_eq!(params.one("a"), Ok(Some("1")));
        assert_eq!(params.one("b"), Ok(None));
        assert_eq!(params.one("c"), Err(Repeated));
        assert_eq!(params.one("d"), Ok(None));
    }

    #[test]
    fn queries_are_added_behind_what_is_there() {
        let add = |uri| with_query(uri, [("state", "a b")]);
        assert_eq!(add("https://a/cb"), "https://a/cb?state=a+b");
        assert_eq!(add("https://a/cb?"), "https://a/cb?state=a+b");
        assert_eq!(add("https://a/cb?x=1"), "https://a/cb?x=1&state=a+b");
        assert_eq!(add("com.example:/cb"), "com.example:/cb?state=a+b");
    }

    #[test]
    fn only_utf_8_forms_are_forms() {
        for good in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
            "application/x-www-form-urlencoded;charset=\"utf-8\"",
        ] {
            assert!(is_form(good), "{good}");
        }
        for bad in [
            "",
            "application/json",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/json, application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded, application/json",
        ] {
            assert!(!is_form(bad), "{bad}");
        }
    }

    #[test]
    fn nothing_is_unpacked() {
        for plain in ["", "identity", " Identity ,"] {
            assert_eq!(check_coding(plain.as_bytes()), Ok(()), "{plain}");
        }
        for packed in ["gzip", "identity, gzip", "br", "deflate", "x"] {
            let status = check_coding(packed.as_bytes()).map_err(|error| error.status());
            assert_eq!(status, Err(415), "{packed}");
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_encode(pairs in proptest::collection::vec(("[^\0]{1,8}", "[^\0]{0,8}"), 0..9)) {
            let encoded = encode(pairs.iter().map(|(name, value)| (&**name, &**value)));
            prop_assert_eq!(parse(&encoded), Some(pairs));
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Params::parse(&bytes);
        }
    }
}
