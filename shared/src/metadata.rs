//! What the server says about itself.

use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::issuer::Issuer;
use crate::jwk::Alg;

/// The scopes that mean something to this server itself; clients may have more.
pub const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// The discovery document: the same at both well-known paths.
///
/// Nothing is advertised that is refused.
///
/// Source: OpenID Connect Discovery §3, RFC 8414 §2, RFC 9207 §3, RP-Initiated Logout §2.1,
/// Back-Channel Logout §2.1.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the document has a member for each")]
pub struct ProviderMetadata {
    issuer: Issuer,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: String,
    jwks_uri: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    end_session_endpoint: String,
    scopes_supported: [&'static str; 4],
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 3],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [Alg; 3],
    token_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    code_challenge_methods_supported: [&'static str; 1],
    prompt_values_supported: [&'static str; 4],
    claims_supported: [&'static str; 12],
    backchannel_logout_supported: bool,
    backchannel_logout_session_supported: bool,
    authorization_response_iss_parameter_supported: bool,
    claims_parameter_supported: bool,
    request_parameter_supported: bool,
    request_uri_parameter_supported: bool,
}

impl ProviderMetadata {
    /// Describes the server at `issuer`.
    #[must_use]
    pub fn new(issuer: &Issuer) -> Self {
        let url = |endpoint: Endpoint| issuer.url(endpoint.path());
        Self {
            issuer: issuer.clone(),
            authorization_endpoint: url(Endpoint::Authorize),
            token_endpoint: url(Endpoint::Token),
            userinfo_endpoint: url(Endpoint::Userinfo),
            jwks_uri: url(Endpoint::Jwks),
            revocation_endpoint: url(Endpoint::Revoke),
            introspection_endpoint: url(Endpoint::Introspect),
            end_session_endpoint: url(Endpoint::Logout),
            scopes_supported: SCOPES,
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: ["authorization_code", "refresh_token", "password"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: Alg::ALL,
            token_endpoint_auth_methods_supported: [
                "client_secret_basic",
                "client_secret_post",
                "none",
            ],
            revocation_endpoint_auth_methods_supported: [
                "client_secret_basic",
                "client_secret_post",
                "none",
            ],
            introspection_endpoint_auth_methods_supported: [
                "client_secret_basic",
                "client_secret_post",
            ],
            code_challenge_methods_supported: ["S256"],
            prompt_values_supported: ["none", "login", "consent", "select_account"],
            claims_supported: [
                "iss",
                "sub",
                "aud",
                "exp",
                "iat",
                "auth_time",
                "nonce",
                "at_hash",
                "sid",
                "name",
                "preferred_username",
                "email",
            ],
            backchannel_logout_supported: true,
            backchannel_logout_session_supported: true,
            authorization_response_iss_parameter_supported: true,
            claims_parameter_supported: false,
            request_parameter_supported: false,
            request_uri_parameter_supported: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_lies_below_the_issuer() {
        let issuer = Issuer::parse("https://id.example").unwrap();
        let json = serde_json::to_value(ProviderMetadata::new(&issuer)).unwrap();
        assert_eq!(json["issuer"], "https://id.example");
        assert_eq!(json["token_endpoint"], "https://id.example/oauth2/token");
        assert_eq!(json["code_challenge_methods_supported"], serde_json::json!(["S256"]));
        assert_eq!(json["response_types_supported"], serde_json::json!(["code"]));
    }
}
