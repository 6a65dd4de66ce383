//! The `Authorization` header, which may hold a client's secret or a token.

use shared::bearer::{self, BearerCredentials};
use shared::client::AuthMethod;
use shared::client_auth::{self, ClientCredentials};
use shared::form::Params;

use super::check_error;

/// The `Authorization` header, as the token endpoint reads it (Basic) and as protected resources do
/// (Bearer).
pub(crate) fn authorization_header(data: &[u8]) {
    match ClientCredentials::parse([data], &Params::default()) {
        Ok(credentials) => {
            assert_eq!(credentials.method, AuthMethod::ClientSecretBasic);
            assert!(data.len() > 6 && data[..6].eq_ignore_ascii_case(b"Basic "), "{data:?}");
            let known = credentials.secret_digest;
            assert!(credentials.verify_secret(known.as_ref()).is_ok());
            assert!(credentials.verify_secret(None).is_err(), "it is a public client's");
            // Whoever asks with a secret of a client may also do so in the way that is written here.
            let written = client_auth::basic_header(&credentials.client_id, "a secret");
            let again = ClientCredentials::parse([written.as_bytes()], &Params::default());
            assert_eq!(again.map(|it| it.client_id).ok(), Some(credentials.client_id));
        }
        Err(error) => check_error(&error),
    }
    match BearerCredentials::parse([data]) {
        Ok(BearerCredentials::Token(token)) => {
            let written = [&data[..7], token.as_bytes()].concat();
            assert_eq!(written, data, "nothing is left out");
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
            assert!(token.len() <= shared::limits::JWT_LEN);
        }
        Ok(BearerCredentials::None) => {
            let is_bearer = data.get(..7).is_some_and(|it| it.eq_ignore_ascii_case(b"Bearer "));
            assert!(!is_bearer, "a token is not overlooked");
        }
        Err(error) => {
            check_error(&error);
            let challenge = bearer::error_challenge(&error, Some("openid"));
            assert!(challenge.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{challenge}");
        }
    }
    for twice in [[data, &b"Basic d2ViOng="[..]], [&b"Bearer x"[..], data]] {
        assert!(ClientCredentials::parse(twice, &Params::default()).is_err());
        assert!(BearerCredentials::parse(twice).is_err());
    }
}
