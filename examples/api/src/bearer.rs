//! The token in the header, and the challenges (RFC 6750).

use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

/// Bytes that a token has at most: longer ones are not looked at.
const TOKEN_LEN: usize = 8 * 1024;

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no token.
    NoCredentials,
    /// The header cannot be read.
    Malformed,
    /// The token is not good, and why: for the log alone.
    InvalidToken(&'static str),
    /// The token is good, and does not allow this: names the scope that would.
    InsufficientScope(&'static str),
    /// Nobody can tell at the moment whether the token is good.
    Unavailable(&'static str),
}

/// Takes the token out of the `Authorization` header; a URL or a form is not looked at.
///
/// # Errors
/// [`Refused::NoCredentials`] without a Bearer header, [`Refused::Malformed`] for more than one
/// header, or one that has no token in it.
///
/// Source: RFC 6750 §2.1, §3.
pub(crate) fn token(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refused::NoCredentials)?;
    let value = value.to_str().map_err(|_| Refused::Malformed)?;
    if values.next().is_some() {
        return Err(Refused::Malformed);
    }
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Refused::NoCredentials);
    }
    let token = token.trim_start_matches(' ');
    let characters = token.trim_end_matches('=');
    let is_b64token = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    };
    if characters.is_empty() || !characters.bytes().all(is_b64token) {
        return Err(Refused::Malformed);
    }
    if token.len() > TOKEN_LEN {
        return Err(Refused::InvalidToken("too long"));
    }
    Ok(token)
}

impl IntoResponse for Refused {
    /// Source: RFC 6750 §3.1. An outage is a 503, never a 401: clients throw a refused token away.
    fn into_response(self) -> Response {
        tracing::info!(why = ?self, "refused");
        let challenge = |status, parameters: &str, body: String| {
            let challenge = format!("Bearer realm=\"notes\"{parameters}");
            (status, [(WWW_AUTHENTICATE, challenge)], body).into_response()
        };
        let error = |code: &str| format!(r#"{{"error":"{code}"}}"#);
        let refused = |status, code: &str, more: &str| {
            challenge(status, &format!(", error=\"{code}\"{more}"), error(code))
        };
        let mut response = match self {
            Self::NoCredentials => challenge(StatusCode::UNAUTHORIZED, "", error("unauthorized")),
            Self::Malformed => refused(StatusCode::BAD_REQUEST, "invalid_request", ""),
            Self::InvalidToken(_) => refused(StatusCode::UNAUTHORIZED, "invalid_token", ""),
            Self::InsufficientScope(scope) => refused(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                &format!(", scope=\"{scope}\""),
            ),
            Self::Unavailable(_) => {
                let body = error("temporarily_unavailable");
                (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], body).into_response()
            }
        };
        let headers = response.headers_mut();
        for (name, value) in [("content-type", "application/json"), ("cache-control", "no-store")] {
            headers.insert(name, axum::http::HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_cases_are_told_apart() {
        let long = format!("Bearer {}", "A".repeat(TOKEN_LEN + 1));
        for (values, expected) in [
            (&[][..], Err(Refused::NoCredentials)),
            (&["Basic YTpi"], Err(Refused::NoCredentials)),
            (&["Bearer"], Err(Refused::Malformed)),
            (&["Bearer a b"], Err(Refused::Malformed)),
            (&["Bearer =="], Err(Refused::Malformed)),
            (&["Bearer a", "Bearer a"], Err(Refused::Malformed)),
            (&[&long], Err(Refused::InvalidToken("too long"))),
            (&["Bearer a.b-c_d"], Ok("a.b-c_d")),
            (&["bearer  a=="], Ok("a==")),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(token(&headers), expected, "{values:?}");
        }
    }

    #[test]
    fn each_refusal_has_its_status_and_challenge() {
        for (refused, status, challenge) in [
            (Refused::NoCredentials, 401, Some("Bearer realm=\"notes\"")),
            (Refused::Malformed, 400, Some("Bearer realm=\"notes\", error=\"invalid_request\"")),
            (
                Refused::InvalidToken("expired"),
                401,
                Some("Bearer realm=\"notes\", error=\"invalid_token\""),
            ),
            (
                Refused::InsufficientScope("notes:write"),
                403,
                Some("Bearer realm=\"notes\", error=\"insufficient_scope\", scope=\"notes:write\""),
            ),
            (Refused::Unavailable("no keys"), 503, None),
        ] {
            let response = refused.into_response();
            assert_eq!(response.status(), status, "{refused:?}");
            let told = response.headers().get(WWW_AUTHENTICATE).map(|it| it.to_str().unwrap());
            assert_eq!(told, challenge, "{refused:?}");
        }
    }
}
