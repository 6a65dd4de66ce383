//! Requests at the token endpoint, as far as their form alone tells.

use core::fmt;

use crate::client::{ClientId, GrantType};
use crate::code::{AuthorizationCode, CodeBinding, CodeRefused};
use crate::edge_keys::TokenKeys;
use crate::error::OAuthError;
use crate::form::Params;
use crate::limits::{PASSWORD_LEN, REDIRECT_URI_LEN, USERNAME_LEN};
use crate::pkce::CodeVerifier;
use crate::scope::Scope;
use crate::time::UnixTime;
use crate::token::{RefreshToken, RefreshTokenRefused};

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

/// A token request whose code or refresh token was made by this server for this client, and with
/// this redirect URI and verifier. A password proves nothing by itself.
#[derive(Debug)]
pub enum ProvenRequest {
    /// RFC 6749 §4.1.3.
    AuthorizationCode(ProvenCode),
    /// RFC 6749 §6.
    RefreshToken {
        /// The refresh token.
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

/// A code that this server has issued for this client, redirect URI and verifier.
#[derive(Debug)]
pub struct ProvenCode {
    /// The code.
    pub code: AuthorizationCode,
    /// What it is bound to.
    pub binding: CodeBinding,
    /// Whether it has expired. It gets nothing then; but if it was redeemed before, this is a
    /// replay, which revokes what it began, however late.
    pub is_late: bool,
}

/// Why a code or refresh token proves nothing: for the log. A client learns `invalid_grant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// The code was not made here, or for another client, redirect URI or verifier.
    CodeForged,
    /// The refresh token was not made here, or for another client.
    RefreshTokenForged,
    /// The refresh token's grant has come to its absolute end.
    RefreshTokenExpired,
}

impl From<Unproven> for OAuthError {
    fn from(_: Unproven) -> Self {
        Self::invalid_grant()
    }
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

    /// Checks what the code or refresh token tells about itself.
    ///
    /// Needs no record of anything, so it comes before the client's secret is looked at: whoever
    /// has no secret to check it with gives the same answer.
    /// **Does NOT** tell whether a code was redeemed or a refresh token used up: the store does.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn prove(
        self,
        keys: &TokenKeys,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<ProvenRequest, Unproven> {
        match self {
            Self::AuthorizationCode { code, redirect_uri, code_verifier } => {
                let binding = CodeBinding {
                    client_id: client_id.clone(),
                    redirect_uri,
                    code_challenge: code_verifier.as_ref().map(CodeVerifier::challenge),
                };
                let is_late = match code.verify(keys, &binding, now) {
                    Ok(()) => false,
                    Err(CodeRefused::Expired) => true,
                    Err(CodeRefused::Malformed | CodeRefused::Forged) => {
                        return Err(Unproven::CodeForged);
                    }
                };
                Ok(ProvenRequest::AuthorizationCode(ProvenCode { code, binding, is_late }))
            }
            Self::RefreshToken { refresh_token, scope } => {
                refresh_token.verify(keys, client_id, now).map_err(|refused| match refused {
                    RefreshTokenRefused::Expired => Unproven::RefreshTokenExpired,
                    RefreshTokenRefused::Malformed | RefreshTokenRefused::Forged => {
                        Unproven::RefreshTokenForged
                    }
                })?;
                Ok(ProvenRequest::RefreshToken { refresh_token, scope })
            }
            Self::Password { username, password, scope } => {
                Ok(ProvenRequest::Password { username, password, scope })
            }
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
    use crate::edge_keys::EdgeKeys;
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

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn keys() -> TokenKeys {
        EdgeKeys::derive(b"a master secret of the tests", None).tokens
    }

    fn client(id: &str) -> ClientId {
        ClientId::parse(id).unwrap()
    }

    fn prove(form: &str, client_id: &str, now: UnixTime) -> Result<ProvenRequest, Unproven> {
        let request = TokenRequest::parse(&Params::parse(form.as_bytes()).unwrap()).unwrap();
        request.prove(&keys(), &client(client_id), now)
    }

    #[test]
    fn a_code_is_for_its_client_redirect_uri_and_verifier() {
        let code = |challenge: bool| {
            let verifier = CodeVerifier::parse(VERIFIER).unwrap();
            let binding = CodeBinding {
                client_id: client("web"),
                redirect_uri: Some("https://app.example/cb".into()),
                code_challenge: challenge.then(|| verifier.challenge()),
            };
            AuthorizationCode::issue(&keys(), [1; 16], NOW, &binding)
        };
        let form = |challenge, uri: &str, verifier: Option<&str>| {
            let verifier = verifier.map(|it| format!("&code_verifier={it}")).unwrap_or_default();
            let code = code(challenge);
            format!("grant_type=authorization_code&code={}{uri}{verifier}", code.as_str())
        };
        let uri = "&redirect_uri=https://app.example/cb";
        let is_late = |form: &str, client_id, now| match prove(form, client_id, now) {
            Ok(ProvenRequest::AuthorizationCode(code)) => Ok(code.is_late),
            Ok(other) => panic!("{other:?}"),
            Err(unproven) => Err(unproven),
        };
        let right = form(true, uri, Some(VERIFIER));
        assert_eq!(is_late(&right, "web", NOW.plus(59)), Ok(false));
        assert_eq!(is_late(&right, "web", NOW.plus(60)), Ok(true));
        assert_eq!(is_late(&form(false, uri, None), "web", NOW), Ok(false));
        let forged = Err(Unproven::CodeForged);
        assert_eq!(is_late(&right, "other", NOW), forged);
        let elsewhere = "&redirect_uri=https://app.example/cb2";
        assert_eq!(is_late(&form(true, elsewhere, Some(VERIFIER)), "web", NOW), forged);
        assert_eq!(is_late(&form(true, "", Some(VERIFIER)), "web", NOW), forged);
        let other = "o".repeat(43);
        assert_eq!(is_late(&form(true, uri, Some(&other)), "web", NOW), forged);
        assert_eq!(is_late(&form(true, uri, None), "web", NOW), forged, "PKCE left out");
        assert_eq!(is_late(&form(false, uri, Some(VERIFIER)), "web", NOW), forged, "PKCE added");
    }

    #[test]
    fn a_refresh_token_is_for_its_client_until_its_grant_ends() {
        let grant_id = crate::token::GrantId::from_bytes([3; 16]);
        let end = NOW.plus(9);
        let token = RefreshToken::first(&keys(), grant_id, end, [7; 16], &client("web"));
        let form = format!("grant_type=refresh_token&refresh_token={}", token.as_str());
        assert!(prove(&form, "web", NOW).is_ok());
        let other = prove(&form, "other", NOW).unwrap_err();
        assert_eq!(other, Unproven::RefreshTokenForged);
        assert_eq!(prove(&form, "web", end).unwrap_err(), Unproven::RefreshTokenExpired);
        assert_eq!(OAuthError::from(other), OAuthError::invalid_grant());
    }

    #[test]
    fn no_secret_is_printed() {
        let form = "grant_type=password&username=a&password=hunter2";
        let request = TokenRequest::parse(&Params::parse(form.as_bytes()).unwrap()).unwrap();
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
