//! The endpoints: paths, methods and what each lets other origins do. Both routers stand on this
//! one table.

use crate::cors::CorsRule;
use crate::status_list::StatusListId;

/// Below it is what edge and origin have to tell each other. Nothing there is an endpoint: the edge
/// leads nobody to it, and the origin answers signed requests alone.
pub const INTERNAL: &str = "/internal";

/// The registered clients, for the edge.
pub const CLIENTS: &str = "/internal/clients";

/// Token requests whose codes the edge has refused because they were late.
pub const LATE_CODES: &str = "/internal/late-codes";

/// A public endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// RFC 6749 §3.1.
    Authorize,
    /// The login form.
    Login,
    /// The consent page.
    Consent,
    /// The consent page's content, for a consent page of one's own.
    ConsentContext,
    /// The user's decision.
    ConsentDecision,
    /// RFC 6749 §3.2.
    Token,
    /// OpenID Connect Core §5.3.
    Userinfo,
    /// RFC 7009.
    Revoke,
    /// RFC 7662.
    Introspect,
    /// OpenID Connect RP-Initiated Logout.
    Logout,
    /// The account page: where I am signed in, and what I have allowed.
    Account,
    /// OpenID Connect Discovery §4.
    OpenidConfiguration,
    /// RFC 8414 §3.
    OauthMetadata,
    /// RFC 7517 §5.
    Jwks,
    /// A status list (draft-ietf-oauth-status-list §8.1).
    StatusList,
    /// The protected API: who am I?
    Me,
    /// The protected API: end this grant.
    ApiLogout,
    /// What the endpoints take and answer, as an `OpenAPI` document.
    Openapi,
    /// The process lives.
    Health,
    /// The process can work.
    Ready,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Authorize,
        Self::Login,
        Self::Consent,
        Self::ConsentContext,
        Self::ConsentDecision,
        Self::Token,
        Self::Userinfo,
        Self::Revoke,
        Self::Introspect,
        Self::Logout,
        Self::Account,
        Self::OpenidConfiguration,
        Self::OauthMetadata,
        Self::Jwks,
        Self::StatusList,
        Self::Me,
        Self::ApiLogout,
        Self::Openapi,
        Self::Health,
        Self::Ready,
    ];

    /// Returns the path; a parameter stands in braces.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Authorize => "/oauth2/authorize",
            Self::Login => "/oauth2/login",
            Self::Consent => "/oauth2/consent",
            Self::ConsentContext => "/oauth2/consent/context",
            Self::ConsentDecision => "/oauth2/consent/decision",
            Self::Token => "/oauth2/token",
            Self::Userinfo => "/oauth2/userinfo",
            Self::Revoke => "/oauth2/revoke",
            Self::Introspect => "/oauth2/introspect",
            Self::Logout => "/oauth2/logout",
            Self::Account => "/account",
            Self::OpenidConfiguration => "/.well-known/openid-configuration",
            Self::OauthMetadata => "/.well-known/oauth-authorization-server",
            Self::Jwks => "/oauth2/jwks",
            Self::StatusList => "/oauth2/status/{list}",
            Self::Me => "/api/me",
            Self::ApiLogout => "/api/auth/logout",
            Self::Openapi => "/openapi.json",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
        }
    }

    /// Finds the endpoint of a path, compared as bytes.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        if StatusListId::of_path(path).is_some() {
            return Some(Self::StatusList);
        }
        let is_at = |endpoint: &Self| *endpoint != Self::StatusList && endpoint.path() == path;
        Self::ALL.into_iter().find(is_at)
    }

    /// Returns the methods, as an `Allow` header names them. `HEAD` goes with `GET` only where
    /// answering changes nothing.
    #[must_use]
    pub const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Authorize | Self::Login | Self::Userinfo | Self::Logout | Self::Account => {
                &["GET", "POST"]
            }
            Self::ConsentDecision | Self::Token | Self::Revoke | Self::Introspect => &["POST"],
            Self::Consent | Self::ConsentContext | Self::Me => &["GET"],
            Self::OpenidConfiguration
            | Self::OauthMetadata
            | Self::Jwks
            | Self::StatusList
            | Self::Openapi
            | Self::Health
            | Self::Ready => &["GET", "HEAD"],
            Self::ApiLogout => &["DELETE"],
        }
    }

    /// Returns what the endpoint lets other origins do.
    #[must_use]
    pub const fn cors(self) -> CorsRule {
        match self {
            Self::OpenidConfiguration
            | Self::OauthMetadata
            | Self::Jwks
            | Self::StatusList
            | Self::Openapi => CorsRule::Anyone,
            Self::Token | Self::Userinfo | Self::Revoke | Self::Me | Self::ApiLogout => {
                CorsRule::Registered
            }
            _ => CorsRule::Never,
        }
    }

    /// Tells whether people see the answers: their errors are pages, all others are JSON.
    #[must_use]
    pub const fn is_page(self) -> bool {
        matches!(
            self,
            Self::Authorize
                | Self::Login
                | Self::Consent
                | Self::ConsentDecision
                | Self::Logout
                | Self::Account
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_to_one_endpoint() {
        for endpoint in Endpoint::ALL {
            let path = endpoint.path().replace("{list}", "AwMDAwMDAwMDAwMDAwMDAw");
            assert_eq!(Endpoint::at(&path), Some(endpoint));
        }
        for other in [
            "/",
            "/oauth2/token/",
            "/OAUTH2/token",
            "/oauth2//token",
            "/oauth2/jwks/x.css",
            "/oauth2/status/",
            "/oauth2/status/x",
            "/oauth2/status/AwMDAwMDAwMDAwMDAwMDAw/",
            "/oauth2/status/AwMDAwMDAwMDAwMDAwMDAx",
        ] {
            assert_eq!(Endpoint::at(other), None, "{other}");
        }
    }
}
