//! `GET /bff/login`: sends the browser to the authorization server.

use shared::endpoint::Endpoint;
use shared::error::OAuthError;
use shared::form::{self, Params};
use shared::limits::LOGIN_HINT_LEN;

use super::endpoint::CALLBACK;
use super::return_to::ReturnTo;
use super::sign_in::{Randomness, SignIns};
use crate::answer::{Answer, Refusal};
use crate::config::Bff;
use crate::incoming::Incoming;
use crate::{Edge, platform};

/// Begins a sign-in.
///
/// Checks, in order: no parameter twice, a `return_to` on this host (`/` when there is none).
/// `prompt` and `login_hint` are the authorization server's to judge.
///
/// # Errors
/// On a page: `invalid_request`; unavailable when there is no randomness.
pub(super) fn answer(edge: &Edge, incoming: &Incoming, bff: &Bff) -> Result<Answer, Refusal> {
    const ELSEWHERE: OAuthError = OAuthError::invalid_request("return_to is no path of this site");
    const TOO_LONG: OAuthError = OAuthError::invalid_request("a parameter is too long");
    let params = Params::parse(incoming.query().unwrap_or_default().as_bytes())?;
    let return_to = params.one("return_to").map_err(OAuthError::from)?.unwrap_or("/");
    let return_to = ReturnTo::parse(return_to).ok_or(ELSEWHERE)?;
    let prompt = params.one("prompt").map_err(OAuthError::from)?;
    let login_hint = params.one("login_hint").map_err(OAuthError::from)?;
    if [prompt, login_hint].into_iter().flatten().any(|value| value.len() > LOGIN_HINT_LEN) {
        return Err(TOO_LONG.into());
    }
    let random = || {
        Some(Randomness {
            state: platform::random()?,
            nonce: platform::random()?,
            verifier: platform::random()?,
            seal: platform::random()?,
        })
    };
    let random = random().ok_or(Refusal::Unavailable)?;
    let cookies = incoming.header("Cookie");
    let begun = sign_ins(edge)
        .begin(cookies.as_deref(), return_to, &random, incoming.now)
        .ok_or(TOO_LONG)?;
    let issuer = &edge.config.issuer;
    let redirect_uri = issuer.url(CALLBACK);
    let required = [
        ("response_type", "code"),
        ("client_id", bff.client_id.as_str()),
        ("redirect_uri", &redirect_uri),
        ("scope", &bff.scope),
        ("state", &begun.state),
        ("nonce", &begun.nonce),
        ("code_challenge", begun.code_challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let optional = [("prompt", prompt), ("login_hint", login_hint)];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let authorize = issuer.url(Endpoint::Authorize.path());
    let location = form::with_query(&authorize, required.into_iter().chain(optional));
    let mut answer = Answer::redirect(location);
    for cookie in begun.set_cookies {
        answer.append("Set-Cookie", cookie);
    }
    Ok(answer)
}

/// Returns where sign-ins are kept.
pub(super) fn sign_ins(edge: &Edge) -> SignIns<'_> {
    SignIns { policy: edge.config.cookies().policy, keys: &edge.config.keys.bff_sign_ins }
}
