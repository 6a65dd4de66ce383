//! `/oauth2/authorize`: requests that cannot be granted end here.

use std::rc::Rc;

use shared::authorize::{self, AuthorizationRequest, AuthorizeError, UNKNOWN_CLIENT};
use shared::endpoint::Endpoint;
use shared::error::OAuthError;
use worker::Context;

use crate::answer::{Answer, Refusal};
use crate::clients;
use crate::config::Config;
use crate::incoming::Incoming;
use crate::origin;

/// Forwards a valid authorization request of a known client, as it came.
///
/// # Errors
/// On a page as long as client and redirect URI are not proven, by a redirect from there on; also
/// when the origin is away.
pub(crate) async fn answer(
    config: &Rc<Config>,
    context: &Context,
    incoming: &Incoming,
) -> Result<Answer, Refusal> {
    let params = incoming.params()?;
    let id = authorize::client_id(&params)?;
    let request = clients::check(config, context, &id, |client| {
        let client = client.ok_or(UNKNOWN_CLIENT)?;
        AuthorizationRequest::validate(&params, client).map_err(|error| match error {
            AuthorizeError::Page(error) => Refusal::OAuth(error),
            AuthorizeError::Redirect(error) => Refusal::Redirect(Box::new(error)),
        })
    })
    .await?;
    match origin::forward(config, incoming, Endpoint::Authorize).await {
        Err(Refusal::Unavailable) => {
            let error = request.refuse(OAuthError::temporarily_unavailable());
            Err(Refusal::Redirect(Box::new(error)))
        }
        answered => answered,
    }
}
