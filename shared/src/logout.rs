//! RP-initiated logout requests.

use crate::client::{Client, ClientId};
use crate::error::OAuthError;
use crate::form::{self, Params};
use crate::limits::{REDIRECT_URI_LEN, STATE_LEN};

/// A logout request whose parameters are well formed; nothing is verified.
///
/// Source: OpenID Connect RP-Initiated Logout §2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogoutRequest {
    /// An ID token that this server issued, expired or not.
    pub id_token_hint: Option<String>,
    /// The client that asks.
    pub client_id: Option<ClientId>,
    /// Where the user may be sent afterwards.
    pub post_logout_redirect_uri: Option<String>,
    /// Echoed there.
    pub state: Option<String>,
}

impl LogoutRequest {
    /// Reads a logout request's parameters.
    ///
    /// # Errors
    /// `invalid_request` for repeated and over-long parameters.
    pub fn parse(params: &Params) -> Result<Self, OAuthError> {
        const TOO_LONG: OAuthError = OAuthError::invalid_request("a parameter is too long");
        let short = |name, longest| match params.one(name)? {
            Some(value) if value.len() > longest => Err(TOO_LONG),
            value => Ok(value.map(str::to_owned)),
        };
        let client_id = params.one("client_id")?.map(ClientId::parse).transpose();
        Ok(Self {
            id_token_hint: short("id_token_hint", crate::limits::JWT_LEN)?,
            client_id: client_id
                .map_err(|_| OAuthError::invalid_request("client_id is malformed"))?,
            post_logout_redirect_uri: short("post_logout_redirect_uri", REDIRECT_URI_LEN)?,
            state: short("state", STATE_LEN)?,
        })
    }

    /// Returns where to send the user: only to a URI that `client` has registered, exactly.
    #[must_use]
    pub fn location(&self, client: &Client) -> Option<String> {
        let requested = self.post_logout_redirect_uri.as_deref()?;
        let registered = client.post_logout_redirect_uris.iter().any(|uri| uri.matches(requested));
        let state = self.state.as_deref().map(|state| ("state", state));
        registered.then(|| match state {
            Some(state) => form::with_query(requested, [state]),
            None => requested.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redirect_uri::RedirectUri;

    #[test]
    fn only_a_registered_uri_is_a_location() {
        let client = Client {
            post_logout_redirect_uris: vec![RedirectUri::parse("https://app.example/bye").unwrap()],
            ..crate::client::tests::web()
        };
        let location = |query: &str| {
            LogoutRequest::parse(&Params::parse(query.as_bytes()).unwrap())
                .unwrap()
                .location(&client)
        };
        let good = "post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fbye";
        assert_eq!(location(good).as_deref(), Some("https://app.example/bye"));
        let with_state = format!("{good}&state=s");
        assert_eq!(location(&with_state).as_deref(), Some("https://app.example/bye?state=s"));
        assert_eq!(location("post_logout_redirect_uri=https%3A%2F%2Fevil.example%2F"), None);
        assert_eq!(location(""), None);
    }
}
