//! Authorization responses, as a client reads them.

use crate::error::OAuthError;
use crate::form::Params;
use crate::issuer::Issuer;
use crate::limits::{OPAQUE_LEN, STATE_LEN};

/// What an authorization server sends a client by way of the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationResponse {
    /// `state`, as it came.
    pub state: String,
    /// A code, or why there is none.
    pub outcome: Result<String, AuthorizationRefused>,
}

/// An error response: the authorization server's own code, which may be any (RFC 6749 §4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRefused {
    /// `error`: 1–64 characters of those that error codes are made of.
    pub error: String,
}

impl AuthorizationResponse {
    /// Reads an authorization response of `issuer`.
    ///
    /// Checks, in order: no parameter twice, a `state`, the `iss` of this very issuer (which Cadence
    /// always sends, so its absence is refused), either a code or an error.
    /// **Does NOT** tell whether `state` is one that this browser was given, nor anything of the
    /// code.
    ///
    /// # Errors
    /// `invalid_request`.
    ///
    /// Source: RFC 6749 §4.1.2, RFC 9207 §2.4.
    pub fn parse(params: &Params, issuer: &Issuer) -> Result<Self, OAuthError> {
        const NO_STATE: OAuthError = OAuthError::invalid_request("state is missing");
        const OTHER_ISSUER: OAuthError =
            OAuthError::invalid_request("the response is not this issuer's");
        const NEITHER: OAuthError = OAuthError::invalid_request("neither one code nor one error");
        let short = |state: &&str| !state.is_empty() && state.len() <= STATE_LEN;
        let state = params.one("state")?.filter(short).ok_or(NO_STATE)?.to_owned();
        if params.one("iss")? != Some(issuer.as_str()) {
            return Err(OTHER_ISSUER);
        }
        let outcome = match (params.one("code")?, params.one("error")?) {
            (Some(code), None) if !code.is_empty() && code.len() <= OPAQUE_LEN => {
                Ok(code.to_owned())
            }
            (None, Some(error)) if is_error_code(error) => {
                Err(AuthorizationRefused { error: error.to_owned() })
            }
            _ => return Err(NEITHER),
        };
        Ok(Self { state, outcome })
    }
}

/// Tells whether a text can be an error code. RFC 6749 §4.1.2.1 lets more characters be; no
/// registered code has others than these.
fn is_error_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Option<Result<String, String>> {
        let issuer = Issuer::parse("https://id.example").unwrap();
        let params = Params::parse(query.as_bytes()).unwrap();
        let response = AuthorizationResponse::parse(&params, &issuer).ok()?;
        assert_eq!(response.state, "s");
        Some(response.outcome.map_err(|refused| refused.error))
    }

    #[test]
    fn a_response_is_a_code_or_an_error_of_this_issuer() {
        let iss = "&iss=https%3A%2F%2Fid.example";
        assert_eq!(parse(&format!("state=s&code=c{iss}")), Some(Ok("c".to_owned())));
        let denied = Some(Err("access_denied".to_owned()));
        assert_eq!(parse(&format!("state=s&error=access_denied{iss}")), denied);
        for bad in [
            format!("code=c{iss}"),
            format!("state=&code=c{iss}"),
            format!("state=s&state=s&code=c{iss}"),
            "state=s&code=c".to_owned(),
            "state=s&code=c&iss=https%3A%2F%2Fid.example%2F".to_owned(),
            "state=s&code=c&iss=https%3A%2F%2Fevil.example".to_owned(),
            format!("state=s&code=c{iss}{iss}"),
            format!("state=s{iss}"),
            format!("state=s&code={iss}"),
            format!("state=s&code=c&error=access_denied{iss}"),
            format!("state=s&code=c&code=d{iss}"),
            format!("state=s&error=%3Cscript%3E{iss}"),
            format!("state=s&code={}{iss}", "c".repeat(OPAQUE_LEN + 1)),
            format!("state={}&code=c{iss}", "s".repeat(STATE_LEN + 1)),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
