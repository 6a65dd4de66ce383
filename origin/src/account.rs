//! The account page's own client: with it, the page signs people in as any app does, from the edge
//! on, and nothing about signing in is there twice.

use shared::client::{AuthMethod, Client, ClientId, GrantType, PkceRule};
use shared::endpoint::Endpoint;
use shared::form;
use shared::issuer::Issuer;
use shared::jwk::Alg;
use shared::redirect_uri::RedirectUri;
use shared::scope::Scope;

use crate::directory::ClientRecord;

/// The `client_id` of the account page. It is in no directory, and cannot be registered.
pub const CLIENT_ID: &str = "account";

/// Refuses to register the account page's own `client_id`.
///
/// # Errors
/// One sentence.
pub fn check_not_reserved(id: &ClientId) -> Result<(), String> {
    if id.as_str() == CLIENT_ID {
        Err(format!("the client_id {CLIENT_ID} is that of the account page, choose another"))
    } else {
        Ok(())
    }
}

/// Makes the client of the account page, if the issuer can be redirected to.
///
/// It has a secret that nobody knows, so that no code of its is ever redeemed: the code only says
/// that the login is done, which the session says as well.
#[must_use]
pub fn client(issuer: &Issuer) -> Option<ClientRecord> {
    let page = RedirectUri::parse(&issuer.url(Endpoint::Account.path())).ok()?;
    let client = Client {
        client_id: ClientId::parse(CLIENT_ID).ok()?,
        client_name: "your account".to_owned(),
        token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
        grant_types: vec![GrantType::AuthorizationCode],
        redirect_uris: vec![page.clone()],
        post_logout_redirect_uris: vec![],
        initiate_login_uri: Some(page),
        backchannel_logout_uri: None,
        backchannel_logout_session_required: false,
        scope: Scope::default(),
        pkce: PkceRule::Required,
        first_party: true,
        cors_origins: vec![],
        audience: vec![],
        id_token_signed_response_alg: Alg::ES256,
    };
    Some(ClientRecord { client, secret_digest: None, former_secret: None, disabled_at: None })
}

/// Returns where to log in for the account page. Nobody knows the verifier of `challenge`, which is
/// random.
#[must_use]
pub fn login_location(issuer: &Issuer, challenge: &str) -> String {
    let page = issuer.url(Endpoint::Account.path());
    let pairs = [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", &page),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ];
    form::with_query(Endpoint::Authorize.path(), pairs)
}

#[cfg(test)]
mod tests {
    use shared::authorize::AuthorizationRequest;
    use shared::form::Params;
    use shared::interaction::{self, Interaction, Standing};
    use shared::secret::base64url;
    use shared::time::UnixTime;

    use super::*;

    /// Wherever the server stands, its page's request is good, and nobody is asked for consent.
    #[test]
    fn the_page_signs_in_at_every_issuer() {
        const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
        for issuer in [
            "https://id.example",
            "https://id.example:8443",
            "http://localhost:8787",
            "http://127.0.0.1:8888",
            "http://[::1]:8888",
        ] {
            let issuer = Issuer::parse(issuer).unwrap();
            let client = client(&issuer).unwrap().client;
            assert_eq!(client.validate(), Ok(()));
            let location = login_location(&issuer, &base64url(&[7; 32]));
            let query = location.strip_prefix("/oauth2/authorize?").unwrap();
            let params = Params::parse(query.as_bytes()).unwrap();
            let request = AuthorizationRequest::validate(&params, &client).unwrap();
            let standing = Standing { auth_time: Some(NOW), consented: None };
            let next = interaction::next(&request, &client, standing, NOW, NOW);
            assert_eq!(next, Interaction::Issue, "{issuer}");
        }
    }

    #[test]
    fn its_name_is_reserved() {
        check_not_reserved(&ClientId::parse("account").unwrap()).unwrap_err();
        check_not_reserved(&ClientId::parse("accounts").unwrap()).unwrap();
    }
}
