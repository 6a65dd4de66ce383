//! Bearer tokens in requests, and the challenges that answer for them.

use crate::error::{ErrorCode, OAuthError};
use crate::form::Params;
use crate::limits::JWT_LEN;

/// What a request says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BearerCredentials<'a> {
    /// Nothing: the challenge tells how, and names no error (RFC 6750 §3.1).
    None,
    /// A bearer token that could be one; nothing is verified.
    Token(&'a str),
}

impl<'a> BearerCredentials<'a> {
    /// Reads the `Authorization` headers.
    ///
    /// Only the header is read: a token in the query or form is never accepted.
    ///
    /// # Errors
    /// `invalid_request` for two headers and for a token with characters that no token has;
    /// `invalid_token`, status 401, for one longer than [`JWT_LEN`]. Another scheme is the same as
    /// nothing.
    ///
    /// Source: RFC 6750 §2.1, RFC 9110 §11.4. The scheme ignores case.
    pub fn parse(authorization: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, OAuthError> {
        let mut headers = authorization.into_iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(OAuthError::invalid_request("there are two Authorization headers"));
        }
        let Some((scheme, token)) = header.and_then(|header| header.split_at_checked(7)) else {
            return Ok(Self::None);
        };
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return Ok(Self::None);
        }
        if token.len() > JWT_LEN {
            return Err(OAuthError::invalid_token());
        }
        let is_token68 = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let token = core::str::from_utf8(token)
            .ok()
            .filter(|token| !token.is_empty() && token.as_bytes().iter().all(is_token68));
        token.map(Self::Token).ok_or(OAuthError::invalid_request("the bearer token is malformed"))
    }
}

/// Refuses an access token in the form beside one in the header. `form` is the request's, if it has
/// one; `in_header` tells whether there is any `Authorization`.
///
/// # Errors
/// `invalid_request`.
///
/// Source: RFC 6750 §2.
pub fn check_one_method(in_header: bool, form: Option<&Params>) -> Result<(), OAuthError> {
    if in_header && form.is_some_and(|form| form.has("access_token")) {
        return Err(OAuthError::invalid_request("the access token is sent twice"));
    }
    Ok(())
}

/// Writes the `WWW-Authenticate` value for a request without credentials.
#[must_use]
pub fn challenge() -> String {
    "Bearer realm=\"cadence\"".to_owned()
}

/// Writes the `WWW-Authenticate` value for a request whose token, or shape, is refused.
/// `scope` is what the endpoint needs.
///
/// Source: RFC 6750 §3.
#[must_use]
pub fn error_challenge(error: &OAuthError, scope: Option<&str>) -> String {
    let scope = scope
        .filter(|_| error.code() == ErrorCode::InsufficientScope)
        .map(|scope| format!(", scope=\"{scope}\""))
        .unwrap_or_default();
    format!(
        "{}, error=\"{}\", error_description=\"{}\"{scope}",
        challenge(),
        error.code(),
        error.description()
    )
}

/// Tells that a token is good but does not cover what the endpoint needs.
#[must_use]
pub const fn insufficient_scope() -> OAuthError {
    OAuthError::new(ErrorCode::InsufficientScope, "the access token does not cover this")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(headers: &[&'a str]) -> Result<BearerCredentials<'a>, ErrorCode> {
        BearerCredentials::parse(headers.iter().map(|header| header.as_bytes()))
            .map_err(|error| error.code())
    }

    #[test]
    fn three_cases_are_told_apart() {
        assert_eq!(parse(&[]), Ok(BearerCredentials::None));
        assert_eq!(parse(&["DPoP x"]), Ok(BearerCredentials::None));
        assert_eq!(parse(&["Basic eDp5"]), Ok(BearerCredentials::None));
        assert_eq!(parse(&["Bearer"]), Ok(BearerCredentials::None));
        assert_eq!(parse(&["bearer a.b.c"]), Ok(BearerCredentials::Token("a.b.c")));
        for malformed in ["Bearer ", "Bearer  a", "Bearer a b", "Bearer a,b", "Bearer ä"] {
            assert_eq!(parse(&[malformed]), Err(ErrorCode::InvalidRequest), "{malformed}");
        }
        assert_eq!(parse(&["Bearer a", "Bearer a"]), Err(ErrorCode::InvalidRequest));
        let long = format!("Bearer {}", "a".repeat(JWT_LEN + 1));
        assert_eq!(parse(&[&long]), Err(ErrorCode::InvalidToken));
    }

    #[test]
    fn challenges_are_those_of_rfc_6750() {
        assert_eq!(challenge(), "Bearer realm=\"cadence\"");
        assert_eq!(
            error_challenge(&insufficient_scope(), Some("openid")),
            "Bearer realm=\"cadence\", error=\"insufficient_scope\", \
             error_description=\"the access token does not cover this\", scope=\"openid\""
        );
    }

    #[test]
    fn a_token_is_sent_once() {
        let form = |text: &str| Params::parse(text.as_bytes()).unwrap();
        let twice = check_one_method(true, Some(&form("access_token=x"))).unwrap_err();
        assert_eq!(twice.code(), ErrorCode::InvalidRequest);
        assert!(check_one_method(false, Some(&form("access_token=x"))).is_ok());
        assert!(check_one_method(true, Some(&form("token=x"))).is_ok());
        assert!(check_one_method(true, None).is_ok());
    }
}
