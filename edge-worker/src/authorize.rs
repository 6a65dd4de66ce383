//! `/oauth2/authorize`: requests that cannot be granted end here, and sign-ins begin here.

use shared::authorize::{self, AuthorizationRequest, UNKNOWN_CLIENT};
use shared::endpoint::Endpoint;
use shared::error::OAuthError;
use shared::interaction::{self, Interaction, Standing};
use shared::sign_in::{Randomness, SESSION_COOKIE};

use crate::answer::{Answer, Refusal};
use crate::incoming::Incoming;
use crate::{Edge, clients, origin, platform};

/// Answers a valid authorization request of a known client.
///
/// A browser without a login session is sent to the login page, with its request sealed into a
/// cookie: the origin learns nothing of it. One that may have a session goes on to the origin,
/// which alone can tell; so does a request with an `id_token_hint`, which takes more than a
/// snapshot to judge.
///
/// # Errors
/// On a page as long as client and redirect URI are not proven, by a redirect from there on; also
/// when the origin is away.
pub(crate) async fn answer(edge: &Edge, incoming: &Incoming) -> Result<Answer, Refusal> {
    let params = incoming.params()?;
    let id = authorize::client_id(&params)?;
    let now = incoming.now;
    let (request, interaction) = clients::check(edge, &id, |client| {
        let client = client.ok_or(UNKNOWN_CLIENT)?;
        let request = AuthorizationRequest::validate(&params, client)?;
        let nobody = Standing { auth_time: None, consented: None };
        let interaction = interaction::next(&request, client, nobody, now, now);
        Ok((request, interaction))
    })
    .await?;
    let refuse = |error| Refusal::Redirect(Box::new(request.refuse(error)));
    let policy = edge.config.cookies().policy;
    let may_be_logged_in = policy.has(incoming.header("Cookie").as_deref(), SESSION_COOKIE);
    let is_a_strangers = !may_be_logged_in && request.id_token_hint.is_none();
    match interaction {
        Interaction::Login if is_a_strangers => begin(edge, incoming, &request).map_err(refuse),
        Interaction::Refuse(error) if is_a_strangers => Err(refuse(error)),
        _ => match origin::forward(edge, incoming, Endpoint::Authorize).await {
            Err(Refusal::Unavailable) => Err(refuse(OAuthError::temporarily_unavailable())),
            answered => answered,
        },
    }
}

/// Sends the browser to the login page, with its request.
fn begin(
    edge: &Edge,
    incoming: &Incoming,
    request: &AuthorizationRequest,
) -> Result<Answer, OAuthError> {
    const NONE: OAuthError = OAuthError::temporarily_unavailable();
    let random = Randomness {
        id: platform::random().ok_or(NONE)?,
        csrf: platform::random().ok_or(NONE)?,
        nonce: platform::random().ok_or(NONE)?,
    };
    let header = incoming.header("Cookie");
    let headers = header.as_deref();
    let headers = headers.as_slice();
    let cookies = edge.config.cookies();
    let begun = cookies.begin(headers, request, None, Endpoint::Login, &random, incoming.now)?;
    let mut answer = Answer::redirect(begun.location);
    for cookie in begun.set_cookies {
        answer.append("Set-Cookie", cookie);
    }
    Ok(answer)
}
