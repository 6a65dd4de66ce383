//! The one map from what went wrong to what a client is told: code, status, JSON.

use core::fmt;

/// An `error` value of OAuth 2, Bearer tokens or OpenID Connect.
///
/// Source: RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, OpenID Connect Core §3.1.2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A parameter is missing, repeated or malformed.
    InvalidRequest,
    /// The client is unknown or did not prove who it is.
    InvalidClient,
    /// The code, refresh token or password is not (or no longer) good.
    InvalidGrant,
    /// The client may not use this grant.
    UnauthorizedClient,
    /// The server has no such grant.
    UnsupportedGrantType,
    /// The scope is unknown, malformed or more than may be had.
    InvalidScope,
    /// The user, or a rule, said no.
    AccessDenied,
    /// The server has no such response type.
    UnsupportedResponseType,
    /// A dependency is away; the same request may succeed later.
    TemporarilyUnavailable,
    /// `prompt=none`, and nobody is logged in.
    LoginRequired,
    /// `prompt=none`, and the user has not consented.
    ConsentRequired,
    /// The `request` parameter is not supported.
    RequestNotSupported,
    /// The `request_uri` parameter is not supported.
    RequestUriNotSupported,
    /// The `registration` parameter is not supported.
    RegistrationNotSupported,
    /// The access token is expired, revoked, malformed or forged.
    InvalidToken,
    /// The access token is good but its scope is too small.
    InsufficientScope,
}

impl ErrorCode {
    /// Returns the wire value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// Returns the status that goes with the code where the specification names one, else 400.
    const fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::AccessDenied | Self::InsufficientScope => 403,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client is told: a code, a fixed sentence and a status.
///
/// The sentence is `&'static str`, so no input can be reflected in it, and it is written in the
/// characters that RFC 6749 §5.2 allows (printable ASCII without `"` and `\`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OAuthError {
    code: ErrorCode,
    description: &'static str,
    status: u16,
}

impl OAuthError {
    /// Makes an error with the status that belongs to `code`.
    #[must_use]
    pub const fn new(code: ErrorCode, description: &'static str) -> Self {
        Self { code, description, status: code.status() }
    }

    /// Makes an `invalid_request`, status 400.
    #[must_use]
    pub const fn invalid_request(description: &'static str) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// Makes the one `invalid_client`, status 401: unknown clients and wrong secrets look the same.
    #[must_use]
    pub const fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "client authentication failed")
    }

    /// Makes the one `invalid_grant`, status 400: why it is not good is nobody's business.
    #[must_use]
    pub const fn invalid_grant() -> Self {
        Self::new(
            ErrorCode::InvalidGrant,
            "the grant is invalid, expired, revoked or was issued to another client",
        )
    }

    /// Makes the one `temporarily_unavailable`, status 503.
    #[must_use]
    pub const fn temporarily_unavailable() -> Self {
        Self::new(
            ErrorCode::TemporarilyUnavailable,
            "a part of the service is away, please try again",
        )
    }

    /// Tells somebody who tries too often, status 429.
    #[must_use]
    pub const fn too_many_attempts() -> Self {
        Self::new(ErrorCode::TemporarilyUnavailable, "there were too many attempts")
            .with_status(429)
    }

    /// Makes the one `invalid_token`, status 401.
    #[must_use]
    pub const fn invalid_token() -> Self {
        Self::new(ErrorCode::InvalidToken, "the access token is expired, revoked or malformed")
    }

    /// Answers a method that the endpoint does not have, status 405.
    #[must_use]
    pub const fn method_not_allowed() -> Self {
        Self::invalid_request("the endpoint does not have this method").with_status(405)
    }

    /// Answers a path that does not exist, status 404.
    #[must_use]
    pub const fn not_found() -> Self {
        Self::invalid_request("there is no such endpoint").with_status(404)
    }

    /// Answers a body above its cap, status 413.
    #[must_use]
    pub const fn too_large() -> Self {
        Self::invalid_request("the request body is too large").with_status(413)
    }

    /// Replaces the status.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns the sentence.
    #[must_use]
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// Returns the HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Writes the error response's JSON body (RFC 6749 §5.2).
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(r#"{{"error":"{}","error_description":"{}"}}"#, self.code, self.description)
    }
}

/// Returns what `Retry-After` says when something is away: `1` to `5` seconds, by a random byte, so that
/// not everybody is back at the same moment.
///
/// Source: RFC 9110 §10.2.3; the time is Cadence's own.
#[must_use]
pub const fn retry_in(drawn: u8) -> &'static str {
    match drawn % 5 {
        0 => "1",
        1 => "2",
        2 => "3",
        3 => "4",
        _ => "5",
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.description)
    }
}

impl std::error::Error for OAuthError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_what_the_rfc_shows() {
        assert_eq!(
            OAuthError::invalid_client().to_json(),
            r#"{"error":"invalid_client","error_description":"client authentication failed"}"#
        );
    }

    #[test]
    fn not_everybody_is_back_at_the_same_moment() {
        let mut times = [0; 6];
        for drawn in 0..=u8::MAX {
            times[retry_in(drawn).parse::<usize>().unwrap()] += 1;
        }
        assert_eq!(times, [0, 52, 51, 51, 51, 51]);
    }

    #[test]
    fn statuses_follow_the_rfcs() {
        assert_eq!(OAuthError::invalid_client().status(), 401);
        assert_eq!(OAuthError::invalid_grant().status(), 400);
        assert_eq!(OAuthError::temporarily_unavailable().status(), 503);
        assert_eq!(OAuthError::method_not_allowed().status(), 405);
    }
}
