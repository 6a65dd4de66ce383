//! The three grants: what decides whether a client gets tokens. Pure, and not async: the caller
//! brings records and time, and carries out what comes back.

pub mod authorization_code;
pub mod password;
pub mod refresh_token;

use shared::error::{ErrorCode, OAuthError};
use shared::token_request::Unproven;

/// Why a grant is denied: for the log and the tests. A client learns only [`OAuthError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The code's tag is not good for this client, redirect URI and verifier.
    CodeForged,
    /// The code's record belongs to another client, redirect URI or challenge.
    CodeMismatched,
    /// The code was redeemed before; its grant is revoked now.
    CodeReplayed,
    /// There is no record of the code.
    CodeMissing,
    /// The refresh token's tag is not good for this client.
    RefreshTokenForged,
    /// The refresh token's grant has come to its absolute end.
    RefreshTokenExpired,
    /// The refresh token had been used up; its grant is revoked now.
    RefreshTokenReused,
    /// There is no live grant for the refresh token.
    RefreshTokenMissing,
    /// The successor cannot be told any more, because the keys were rotated twice.
    SuccessorUnknown,
    /// The scope is more than the grant or the client has.
    ScopeExceeded,
    /// So many access tokens of the grant live that there is no room for one more.
    Crowded,
    /// The user is disabled or gone.
    UserDisabled,
    /// The user has taken back what the client was allowed.
    ConsentWithdrawn,
    /// No such user, or not the user's password.
    WrongPassword,
}

impl From<Unproven> for Denied {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::CodeForged => Self::CodeForged,
            Unproven::RefreshTokenForged => Self::RefreshTokenForged,
            Unproven::RefreshTokenExpired => Self::RefreshTokenExpired,
        }
    }
}

impl From<Denied> for OAuthError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::ScopeExceeded => {
                Self::new(ErrorCode::InvalidScope, "the scope is more than may be had")
            }
            Denied::Crowded => Self::too_many_attempts(),
            _ => Self::invalid_grant(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use shared::client::{AuthMethod, Client, ClientId, GrantType, PkceRule};
    use shared::edge_keys::{EdgeKeys, TokenKeys};
    use shared::jwk::Alg;
    use shared::redirect_uri::RedirectUri;
    use shared::scope::Scope;
    use shared::status_list::{StatusIndex, StatusListId};
    use shared::time::UnixTime;
    use shared::token::GrantId;

    use super::*;
    use crate::store::{GrantRecord, UserId};

    pub(crate) fn keys() -> TokenKeys {
        EdgeKeys::derive(b"a master secret of the tests", None).tokens
    }

    pub(crate) fn status() -> StatusIndex {
        StatusIndex { list: StatusListId::from_bytes([5; 16]), idx: 6 }
    }

    pub(crate) fn client(id: &str) -> Client {
        Client {
            client_id: ClientId::parse(id).unwrap(),
            client_name: id.into(),
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

    pub(crate) fn grant() -> GrantRecord {
        GrantRecord {
            grant_id: GrantId::from_bytes([3; 16]),
            client_id: ClientId::parse("web").unwrap(),
            user_id: UserId("u1".into()),
            scope: Scope::parse("openid").unwrap(),
            auth_time: UnixTime::from_secs(1_800_000_000),
            expires_at: UnixTime::from_secs(1_900_000_000),
        }
    }

    #[test]
    fn a_client_learns_nothing_but_the_code() {
        for denied in [
            Denied::CodeForged,
            Denied::CodeReplayed,
            Denied::RefreshTokenReused,
            Denied::UserDisabled,
            Denied::WrongPassword,
        ] {
            assert_eq!(OAuthError::from(denied), OAuthError::invalid_grant());
        }
        let scope = OAuthError::from(Denied::ScopeExceeded);
        assert_eq!((scope.code(), scope.status()), (ErrorCode::InvalidScope, 400));
    }
}
