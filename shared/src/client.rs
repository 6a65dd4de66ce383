//! Clients: what is registered about them, without their secrets.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::backchannel_logout_uri::BackchannelLogoutUri;
use crate::error::{ErrorCode, OAuthError};
use crate::jwk::Alg;
use crate::limits::CLIENT_ID_LEN;
use crate::redirect_uri::RedirectUri;
use crate::scope::Scope;

/// A `client_id`: 1–128 characters of `A-Z a-z 0-9 - . _ ~`.
///
/// Source: RFC 6749 §2.2 and Appendix A.1. Stricter: only unreserved characters, so that an
/// identifier reads the same in a URL, a form, a header and a key of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// A text is not a `client_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAClientId;

impl fmt::Display for NotAClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a client_id is 1 to 128 letters, digits, `-`, `.`, `_` or `~`")
    }
}

impl ClientId {
    /// Reads a `client_id`.
    ///
    /// # Errors
    /// [`NotAClientId`] for other lengths and characters.
    pub fn parse(text: &str) -> Result<Self, NotAClientId> {
        let is_unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let well_formed =
            (1..=CLIENT_ID_LEN).contains(&text.len()) && text.bytes().all(is_unreserved);
        well_formed.then(|| Self(text.to_owned())).ok_or(NotAClientId)
    }

    /// Returns the identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ClientId {
    type Error = NotAClientId;

    fn try_from(text: String) -> Result<Self, NotAClientId> {
        Self::parse(&text)
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

/// How a client proves who it is at the token endpoint (`token_endpoint_auth_method`).
///
/// Source: RFC 7591 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A public client: it cannot keep a secret, and proves nothing.
    None,
    /// The secret in the `Authorization` header.
    ClientSecretBasic,
    /// The secret in the form.
    ClientSecretPost,
}

/// A grant type that this server has; there are three, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 6749 §4.3; for confidential first-party clients alone.
    Password,
}

impl GrantType {
    /// Reads a `grant_type`.
    ///
    /// # Errors
    /// `unsupported_grant_type` for every other value.
    pub fn parse(text: &str) -> Result<Self, OAuthError> {
        match text {
            "authorization_code" => Ok(Self::AuthorizationCode),
            "refresh_token" => Ok(Self::RefreshToken),
            "password" => Ok(Self::Password),
            _ => Err(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "the grant types are authorization_code, refresh_token and password",
            )),
        }
    }
}

/// Whether a client must use PKCE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PkceRule {
    /// Every authorization request carries a `code_challenge`.
    #[default]
    Required,
    /// A confidential client may leave it out.
    Optional,
}

/// A registered client, without its secret: this is also what the edge knows of it.
///
/// Each member is well formed; whether they fit together, [`Client::validate`] tells at registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The identifier.
    pub client_id: ClientId,
    /// The name that users see.
    pub client_name: String,
    /// How it authenticates; [`AuthMethod::None`] makes it public.
    pub token_endpoint_auth_method: AuthMethod,
    /// The grants that it may use.
    pub grant_types: Vec<GrantType>,
    /// Where users may be sent back to.
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// Where users may be sent after a logout.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Where a sign-in begins anew, for users who have lost theirs (OpenID Connect Core §4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiate_login_uri: Option<RedirectUri>,
    /// Where it is told that a login session has ended (OpenID Connect Back-Channel Logout 1.0
    /// §2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_uri: Option<BackchannelLogoutUri>,
    /// Whether a logout token must say which session has ended. Those of this server always do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub backchannel_logout_session_required: bool,
    /// All that it may ask for.
    pub scope: Scope,
    /// Whether PKCE is required.
    #[serde(default)]
    pub pkce: PkceRule,
    /// Whether it belongs to the operator: its users are not asked for consent.
    #[serde(default)]
    pub first_party: bool,
    /// Browser origins that may call the token and API endpoints (CORS).
    #[serde(default)]
    pub cors_origins: Vec<crate::cors::WebOrigin>,
    /// Who its access tokens are for, beside this server itself.
    #[serde(default)]
    pub audience: Vec<String>,
    /// The algorithm of its ID tokens.
    #[serde(default)]
    pub id_token_signed_response_alg: Alg,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Why a client cannot be registered: a sentence that names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inconsistent(pub &'static str);

impl fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Client {
    /// Tells whether the client is public: it has no secret (RFC 6749 §2.1).
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.token_endpoint_auth_method == AuthMethod::None
    }

    /// Tells whether an authorization request without a `code_challenge` is refused.
    #[must_use]
    pub fn requires_pkce(&self) -> bool {
        self.is_public() || self.pkce == PkceRule::Required
    }

    /// Checks that the client may use `grant`.
    ///
    /// # Errors
    /// `unauthorized_client`.
    pub fn may_use(&self, grant: GrantType) -> Result<(), OAuthError> {
        self.grant_types.contains(&grant).then_some(()).ok_or(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "the client is not registered for this grant",
        ))
    }

    /// Returns the registered redirect URI that `requested` matches.
    #[must_use]
    pub fn registered(&self, requested: &str) -> Option<&RedirectUri> {
        self.redirect_uris.iter().find(|uri| uri.matches(requested))
    }

    /// Checks that what is registered fits together.
    ///
    /// # Errors
    /// [`Inconsistent`] with the rule that is broken.
    pub fn validate(&self) -> Result<(), Inconsistent> {
        let uses = |grant| self.grant_types.contains(&grant);
        let rules = [
            (
                !self.client_name.trim().is_empty() && self.client_name.len() <= 128,
                "client_name has 1 to 128 bytes",
            ),
            (
                !self.client_name.chars().any(char::is_control),
                "client_name has no control characters",
            ),
            (!self.grant_types.is_empty(), "grant_types names at least one grant"),
            (
                !uses(GrantType::AuthorizationCode) || !self.redirect_uris.is_empty(),
                "a client with the authorization_code grant has redirect_uris",
            ),
            (
                !uses(GrantType::Password) || (!self.is_public() && self.first_party),
                "the password grant is for confidential first-party clients alone",
            ),
            (
                !self.is_public() || self.pkce == PkceRule::Required,
                "pkce is never optional for a public client",
            ),
            (
                self.backchannel_logout_uri.is_some() || !self.backchannel_logout_session_required,
                "backchannel_logout_session_required goes with a backchannel_logout_uri",
            ),
            (
                self.audience.iter().all(|audience| !audience.is_empty() && audience.len() <= 256),
                "an audience has 1 to 256 bytes",
            ),
        ];
        rules
            .into_iter()
            .find(|(holds, _)| !holds)
            .map_or(Ok(()), |(_, rule)| Err(Inconsistent(rule)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A confidential client with everything usual.
    pub(crate) fn web() -> Client {
        Client {
            client_id: ClientId::parse("web").unwrap(),
            client_name: "Web".into(),
            token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            redirect_uris: vec![RedirectUri::parse("https://app.example/cb").unwrap()],
            post_logout_redirect_uris: vec![],
            initiate_login_uri: None,
            backchannel_logout_uri: None,
            backchannel_logout_session_required: false,
            scope: Scope::parse("openid profile email").unwrap(),
            pkce: PkceRule::Required,
            first_party: false,
            cors_origins: vec![],
            audience: vec![],
            id_token_signed_response_alg: Alg::ES256,
        }
    }

    #[test]
    fn rules_of_registration() {
        assert_eq!(web().validate(), Ok(()));
        let password = |method, first_party| Client {
            grant_types: vec![GrantType::Password],
            token_endpoint_auth_method: method,
            first_party,
            ..web()
        };
        assert!(password(AuthMethod::ClientSecretBasic, true).validate().is_ok());
        assert!(password(AuthMethod::ClientSecretBasic, false).validate().is_err());
        assert!(password(AuthMethod::None, true).validate().is_err());
        assert!(Client { redirect_uris: vec![], ..web() }.validate().is_err());
        assert!(Client { grant_types: vec![], ..web() }.validate().is_err());
        assert!(Client { client_name: " ".into(), ..web() }.validate().is_err());
        let nowhere = Client { backchannel_logout_session_required: true, ..web() };
        assert!(nowhere.validate().is_err());
        let lax = Client {
            token_endpoint_auth_method: AuthMethod::None,
            pkce: PkceRule::Optional,
            ..web()
        };
        assert!(lax.validate().is_err());
    }

    #[test]
    fn a_client_id_is_unreserved() {
        assert!(ClientId::parse("demo-web.1_~").is_ok());
        for bad in ["", "a b", "a*", "../a", "a\r\nb", "a\0", "é", &"a".repeat(129)] {
            assert_eq!(ClientId::parse(bad), Err(NotAClientId), "{bad:?}");
        }
    }

    #[test]
    fn there_are_three_grant_types() {
        for other in ["implicit", "client_credentials", "", "Password"] {
            let error = GrantType::parse(other).unwrap_err();
            assert_eq!((error.code(), error.status()), (ErrorCode::UnsupportedGrantType, 400));
        }
    }
}
