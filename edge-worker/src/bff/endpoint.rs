//! The endpoints of the backend-for-frontend: paths and methods. Pure.

/// An endpoint of the backend-for-frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BffEndpoint {
    /// `/bff/login`: begins a sign-in.
    Login,
    /// `/bff/callback`: ends it.
    Callback,
    /// `/bff/session`, and `/bff/user`: who is signed in?
    Session,
    /// `/bff/logout`: ends the session.
    Logout,
    /// `/bff/backchannel-logout`: the authorization server ends sessions.
    BackchannelLogout,
    /// Everything below `/bff/api`: APIs, with the session's access token.
    Api,
}

/// Below it are the APIs, by their own paths.
pub(super) const API: &str = "/bff/api";

/// The redirect URI's path.
pub(super) const CALLBACK: &str = "/bff/callback";

/// Where sign-ins begin.
pub(super) const LOGIN: &str = "/bff/login";

impl BffEndpoint {
    /// Finds the endpoint of a path, compared as bytes.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Some(match path {
            LOGIN => Self::Login,
            CALLBACK => Self::Callback,
            "/bff/session" | "/bff/user" => Self::Session,
            "/bff/logout" => Self::Logout,
            "/bff/backchannel-logout" => Self::BackchannelLogout,
            _ => path.strip_prefix(API).filter(|rest| rest.starts_with('/')).map(|_| Self::Api)?,
        })
    }

    /// Returns the methods, as an `Allow` header names them.
    pub(crate) const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Login | Self::Callback | Self::Session => &["GET"],
            Self::Logout | Self::BackchannelLogout => &["POST"],
            Self::Api => &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        }
    }

    /// Tells whether people see the answers: their errors are pages, all others are JSON.
    pub(crate) const fn is_page(self) -> bool {
        matches!(self, Self::Login | Self::Callback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_to_one_endpoint() {
        for (path, expected) in [
            ("/bff/login", Some(BffEndpoint::Login)),
            ("/bff/callback", Some(BffEndpoint::Callback)),
            ("/bff/session", Some(BffEndpoint::Session)),
            ("/bff/user", Some(BffEndpoint::Session)),
            ("/bff/logout", Some(BffEndpoint::Logout)),
            ("/bff/backchannel-logout", Some(BffEndpoint::BackchannelLogout)),
            ("/bff/api/me", Some(BffEndpoint::Api)),
            ("/bff/api/", Some(BffEndpoint::Api)),
            ("/bff/api", None),
            ("/bff/apis/me", None),
            ("/bff", None),
            ("/bff/", None),
            ("/bff/login/", None),
            ("/BFF/login", None),
            ("/bff//login", None),
        ] {
            assert_eq!(BffEndpoint::at(path), expected, "{path}");
        }
    }
}
