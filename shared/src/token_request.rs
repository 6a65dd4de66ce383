//! Requests at the token endpoint, as far as their form alone tells.

use core::fmt;

use crate::client::GrantType;
use crate::code::AuthorizationCode;
use crate::error::OAuthError;
use crate::form::Params;
use crate::limits::{PASSWORD_LEN, REDIRECT_URI_LEN, USERNAME_LEN};
use crate::pkce::CodeVerifier;
use crate::scope::Scope;
use crate::token::RefreshToken;

/// An access token request whose parameters are well formed.
#[derive(Debug)]
pub enum TokenRequest {
    /// RFC 6749 §4.1.3.
    AuthorizationCode {
        /// The code, not verified.
        code: AuthorizationCode,
        /// The redirect URI, as the request spells it.
        redirect_uri: Option<String>,
        /// The verifier.
        code_verifier: Option<CodeVerifier>,
    },
    /// RFC 6749 §6.
    RefreshToken {
        /// The refresh token, not verified.
        refresh_token: RefreshToken,
        /// The scope asked for; `None` asks for all.
        scope: Option<Scope>,
    },
    /// RFC 6749 §4.3.2.
    Password {
        /// What was typed as username.
        username: String,
        /// What was typed as password.
        password: Password,
        /// The scope asked for; `None` asks for the client's.
        scope: Option<Scope>,
    },
}

/// A password as it was typed: 1–1024 bytes. Never printed.
#[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Password(String);

impl Password {
    /// Reads a password. Nothing is trimmed, folded or cut.
    ///
    /// # Errors
    /// `invalid_request` when it is empty or longer than [`PASSWORD_LEN`].
    pub fn parse(text: &str) -> Result<Self, OAuthError> {
        if text.is_empty() || text.len() > PASSWORD_LEN {
            return Err(OAuthError::invalid_request("a password has 1 to 1024 bytes"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the bytes to hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Every parameter that the token endpoint knows: none may be repeated, whatever the grant.
const KNOWN: [&str; 12] = [
    "grant_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "scope",
    "username",
    "password",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

impl TokenRequest {
    /// Reads a token request's form.
    ///
    /// Checks, in order: repeated parameters, `grant_type`, then each parameter of that grant:
    /// what is missing or malformed is `invalid_request`, a code or refresh token that cannot be
    /// ours is `invalid_grant`, a malformed scope `invalid_scope`.
    /// **Does NOT** look at the client, and proves nothing about codes and tokens.
    ///
    /// # Errors
    /// As listed.
    ///
    /// Source: RFC 6749 §3.2, §4.1.3, §4.3.2, §5.2 and §6; RFC 7636 §4.5.
    pub fn parse(params: &Params) -> Result<Self, OAuthError> {
        for name in KNOWN {
            params.one(name)?;
        }
        let grant_type = params
            .one("grant_type")?
            .ok_or(OAuthError::invalid_request("grant_type is missing"))?;
        match GrantType::parse(grant_type)? {
            GrantType::AuthorizationCode => Self::authorization_code(params),
            GrantType::RefreshToken => Self::refresh_token(params),
            GrantType::Password => Self::password(params),
        }
    }

    /// Returns the grant type.
    #[must_use]
    pub const fn grant_type(&self) -> GrantType {
        match self {
            Self::AuthorizationCode { .. } => GrantType::AuthorizationCode,
            Self::RefreshToken { .. } => GrantType::RefreshToken,
            Self::Password { .. } => GrantType::Password,
        }
    }

    fn authorization_code(params: &Params) -> Result<Self, OAuthError> {
        let code = params.one("code")?.ok_or(OAuthError::invalid_request("code is missing"))?;
        let redirect_uri = params.one("redirect_uri")?.map(str::to_owned);
        if redirect_uri.as_ref().is_some_and(|uri| uri.len() > REDIRECT_URI_LEN) {
            return Err(OAuthError::invalid_grant());
        }
        let code_verifier = params
            .one("code_verifier")?
            .map(CodeVerifier::parse)
            .transpose()
            .map_err(|_| OAuthError::invalid_grant())?;
        let code = AuthorizationCode::parse(code).map_err(|_| OAuthError::invalid_grant())?;
        Ok(Self::AuthorizationCode { code, redirect_uri, code_verifier })
    }

    fn refresh_token(params: &Params) -> Result<Self, OAuthError> {
        let refresh_token = params
            .one("refresh_token")?
            .ok_or(OAuthError::invalid_request("refresh_token is missing"))?;
        let scope = params.one("scope")?.map(Scope::parse).transpose()?;
        let refresh_token =
            RefreshToken::parse(refresh_token).map_err(|_| OAuthError::invalid_grant())?;
        Ok(Self::RefreshToken { refresh_token, scope })
    }

    fn password(params: &Params) -> Result<Self, OAuthError> {
        let username =
            params.one("username")?.ok_or(OAuthError::invalid_request("username is missing"))?;
        if username.len() > USERNAME_LEN {
            return Err(OAuthError::invalid_request("username is too long"));
        }
        let password =
            params.one("password")?.ok_or(OAuthError::invalid_request("password is missing"))?;
        let scope = params.one("scope")?.map(Scope::parse).transpose()?;
        Ok(Self::Password {
            username: username.to_owned(),
            password: Password::parse(password)?,
            scope,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode::{self, InvalidGrant, InvalidRequest, InvalidScope};

    fn parse(form: &str) -> Result<GrantType, ErrorCode> {
        TokenRequest::parse(&Params::parse(form.as_bytes()).unwrap())
            .map(|request| request.grant_type())
            .map_err(|error| error.code())
    }

    #[test]
    fn every_malformed_form_has_its_error() {
        let code = "A".repeat(55);
        for (form, code) in [
            (String::new(), InvalidRequest),
            ("grant_type=".into(), InvalidRequest),
            ("grant_type=implicit".into(), ErrorCode::UnsupportedGrantType),
            ("grant_type=client_credentials".into(), ErrorCode::UnsupportedGrantType),
            ("grant_type=authorization_code".into(), InvalidRequest),
            ("grant_type=authorization_code&code=x".into(), InvalidGrant),
            (
                format!("grant_type=authorization_code&code={code}&code_verifier=short"),
                InvalidGrant,
            ),
            (format!("grant_type=authorization_code&code={code}&code={code}"), InvalidRequest),
            ("grant_type=password&grant_type=password".into(), InvalidRequest),
            ("grant_type=refresh_token".into(), InvalidRequest),
            ("grant_type=refresh_token&refresh_token=x".into(), InvalidGrant),
            ("grant_type=refresh_token&refresh_token=x&scope=%22".into(), InvalidScope),
            ("grant_type=password&username=a".into(), InvalidRequest),
            ("grant_type=password&password=a".into(), InvalidRequest),
            ("grant_type=password&username=a&password=b&code=1&code=2".into(), InvalidRequest),
            (
                format!("grant_type=password&username=a&password={}", "p".repeat(1025)),
                InvalidRequest,
            ),
            (
                format!("grant_type=password&username={}&password=b", "u".repeat(257)),
                InvalidRequest,
            ),
        ] {
            assert_eq!(parse(&form), Err(code), "{form}");
        }
        assert_eq!(parse("grant_type=password&username=a&password=+b"), Ok(GrantType::Password));
    }

    #[test]
    fn no_secret_is_printed() {
        let form = "grant_type=password&username=a&password=hunter2";
        let request = TokenRequest::parse(&Params::parse(form.as_bytes()).unwrap()).unwrap();
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
