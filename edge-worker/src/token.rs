//! `/oauth2/token`, `/oauth2/revoke`, `/oauth2/introspect`: what is malformed, of a client that
//! nobody knows, or proves nothing, ends here.

use shared::client::ClientId;
use shared::client_auth::{self, ClientCredentials};
use shared::endpoint::Endpoint;
use shared::error::OAuthError;
use shared::form::Params;
use shared::token_request::{ProvenCode, ProvenRequest, TokenRequest};

use crate::answer::{Answer, Refusal};
use crate::incoming::Incoming;
use crate::{Edge, clients, limiter, origin};

/// Forwards a well-formed request of a known client, as it came.
///
/// Checks, in the origin's order: the content type and the form, no secret in the query, the
/// endpoint's parameters, the form of the credentials, a known client, its registered method; then
/// how often a public client's network has asked, and what a code or refresh token proves by itself.
/// **Does NOT** verify the client's secret, nor tell whether a code was redeemed or a refresh token
/// used up: the origin does.
///
/// # Errors
/// Those of RFC 6749 §5.2; [`Refusal::Unavailable`].
pub(crate) async fn answer(
    edge: &Edge,
    incoming: &Incoming,
    endpoint: Endpoint,
) -> Result<Answer, Refusal> {
    let form = incoming.form()?;
    client_auth::check_query(incoming.query())?;
    let request = parameters(endpoint, &form)?;
    let authorization = incoming.authorization();
    let credentials = ClientCredentials::parse(authorization.iter().map(String::as_bytes), &form)?;
    let client_id = &credentials.client_id;
    let is_public = clients::check(edge, client_id, |client| {
        let client = client.ok_or(OAuthError::invalid_client())?;
        credentials.check_method(client)?;
        if endpoint == Endpoint::Introspect && client.is_public() {
            return Err(OAuthError::invalid_client().into());
        }
        Ok(client.is_public())
    })
    .await?;
    if let Some(request) = request {
        // A confidential client asks for all its users from a few addresses; the origin counts what
        // it does with its secret.
        if is_public {
            let address = incoming.client_address();
            limiter::check(edge, limiter::TOKEN, address, client_id.as_str()).await?;
        }
        prove(edge, incoming, request, client_id)?;
    }
    origin::forward(edge, incoming, endpoint).await
}

/// Reads the parameters that the endpoint itself needs; a token request is one of its own.
fn parameters(endpoint: Endpoint, form: &Params) -> Result<Option<TokenRequest>, OAuthError> {
    if endpoint == Endpoint::Token {
        return TokenRequest::parse(form).map(Some);
    }
    let token = form.one("token")?;
    form.one("token_type_hint")?;
    token.map(|_| None).ok_or(OAuthError::invalid_request("token is missing"))
}

/// Refuses what cannot become tokens, whatever anybody remembers of it.
///
/// A code that proves itself but is late gets nothing either. If it was redeemed before, this is a
/// replay, and what it began is to be revoked: the origin is told behind the answer.
fn prove(
    edge: &Edge,
    incoming: &Incoming,
    request: TokenRequest,
    client_id: &ClientId,
) -> Result<(), OAuthError> {
    match request.prove(&edge.config.keys.tokens, client_id, incoming.now)? {
        ProvenRequest::AuthorizationCode(ProvenCode { is_late: true, .. }) => {
            let (config, late) = (edge.config.clone(), incoming.clone());
            edge.context.wait_until(async move { origin::report_late_code(&config, &late).await });
            Err(OAuthError::invalid_grant())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use shared::error::ErrorCode::{self, InvalidRequest, UnsupportedGrantType};

    use super::*;

    fn check(endpoint: Endpoint, form: &str) -> Result<bool, ErrorCode> {
        let form = Params::parse(form.as_bytes()).unwrap();
        parameters(endpoint, &form).map(|it| it.is_some()).map_err(|error| error.code())
    }

    #[test]
    fn each_endpoint_has_its_own_parameters() {
        use Endpoint::{Introspect, Revoke, Token};
        for (endpoint, form, expected) in [
            (Token, "grant_type=password&username=a&password=b", Ok(true)),
            (Token, "grant_type=implicit", Err(UnsupportedGrantType)),
            (Token, "token=x", Err(InvalidRequest)),
            (Revoke, "token=x", Ok(false)),
            (Revoke, "token=x&token_type_hint=anything", Ok(false)),
            (Revoke, "", Err(InvalidRequest)),
            (Revoke, "token=x&token=y", Err(InvalidRequest)),
            (Introspect, "token=x", Ok(false)),
            (Introspect, "token=x&token_type_hint=a&token_type_hint=a", Err(InvalidRequest)),
            (Introspect, "grant_type=password", Err(InvalidRequest)),
        ] {
            assert_eq!(check(endpoint, form), expected, "{endpoint:?} {form}");
        }
    }
}
