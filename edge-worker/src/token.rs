//! `/oauth2/token`, `/oauth2/revoke`, `/oauth2/introspect`: what is malformed, or of a client that
//! nobody knows, ends here.

use std::rc::Rc;

use shared::client_auth::{self, ClientCredentials};
use shared::endpoint::Endpoint;
use shared::error::OAuthError;
use shared::form::Params;
use shared::token_request::TokenRequest;
use worker::Context;

use crate::answer::{Answer, Refusal};
use crate::clients;
use crate::config::Config;
use crate::incoming::Incoming;
use crate::origin;

/// Forwards a well-formed request of a known client, as it came.
///
/// Checks, in the origin's order: the content type and the form, no secret in the query, the
/// endpoint's parameters, the form of the credentials, a known client, its registered method.
/// **Does NOT** verify the client's secret, the code or the token: the origin does.
///
/// # Errors
/// Those of RFC 6749 §5.2; [`Refusal::Unavailable`].
pub(crate) async fn answer(
    config: &Rc<Config>,
    context: &Context,
    incoming: &Incoming,
    endpoint: Endpoint,
) -> Result<Answer, Refusal> {
    let form = incoming.form()?;
    client_auth::check_query(incoming.query())?;
    check_parameters(endpoint, &form)?;
    let authorization = incoming.authorization();
    let credentials = ClientCredentials::parse(authorization.iter().map(String::as_bytes), &form)?;
    clients::check(config, context, &credentials.client_id, |client| {
        let client = client.ok_or(OAuthError::invalid_client())?;
        credentials.check_method(client)?;
        if endpoint == Endpoint::Introspect && client.is_public() {
            return Err(OAuthError::invalid_client().into());
        }
        Ok(())
    })
    .await?;
    origin::forward(config, incoming, endpoint).await
}

/// Checks the parameters that the endpoint itself needs.
fn check_parameters(endpoint: Endpoint, form: &Params) -> Result<(), OAuthError> {
    if endpoint == Endpoint::Token {
        return TokenRequest::parse(form).map(|_| ());
    }
    let token = form.one("token")?;
    form.one("token_type_hint")?;
    token.map(|_| ()).ok_or(OAuthError::invalid_request("token is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::error::ErrorCode::{self, InvalidRequest, UnsupportedGrantType};

    fn check(endpoint: Endpoint, form: &str) -> Result<(), ErrorCode> {
        let form = Params::parse(form.as_bytes()).unwrap();
        check_parameters(endpoint, &form).map_err(|error| error.code())
    }

    #[test]
    fn each_endpoint_has_its_parameters() {
        let missing = Err(InvalidRequest);
        for endpoint in [Endpoint::Revoke, Endpoint::Introspect] {
            assert_eq!(check(endpoint, "token=x&token_type_hint=whatever"), Ok(()));
            for bad in
                ["", "token=", "token=x&token=x", "token=x&token_type_hint=a&token_type_hint=b"]
            {
                assert_eq!(check(endpoint, bad), missing, "{endpoint:?} {bad}");
            }
        }
        assert_eq!(check(Endpoint::Token, "token=x"), missing);
        assert_eq!(check(Endpoint::Token, "grant_type=x"), Err(UnsupportedGrantType));
        assert_eq!(check(Endpoint::Token, "grant_type=password&username=a&password=b"), Ok(()));
    }
}
