//! The backend-for-frontend: `/bff/*`, for single-page apps of the issuer's own host.
//!
//! It is an ordinary confidential client, and uses nothing but the public endpoints of the
//! authorization server and the session rows at the origin. No token ever reaches the browser, which
//! holds an opaque handle in a cookie. A session ends when the origin says so, never because
//! something is away.

mod api;
mod callback;
mod endpoint;
mod guard;
mod login;
mod logout;
mod return_to;
mod session;
mod sessions;
mod sign_in;

pub(crate) use endpoint::BffEndpoint;

use crate::Edge;
use crate::answer::{Answer, Refusal};
use crate::incoming::Incoming;
use shared::error::OAuthError;

/// Answers a request of the backend-for-frontend.
///
/// Nothing that it says may be kept by anybody, or be anybody else's.
///
/// # Errors
/// 404 where the settings name no client for it; else those of the endpoint.
pub(crate) async fn answer(
    edge: &Edge,
    incoming: &Incoming,
    endpoint: BffEndpoint,
) -> Result<Answer, Refusal> {
    let Some(bff) = &edge.config.bff else { return Err(OAuthError::not_found().into()) };
    let answer = match endpoint {
        BffEndpoint::Login => login::answer(edge, incoming, bff)?,
        BffEndpoint::Callback => callback::answer(edge, incoming, bff).await?,
        BffEndpoint::Session => session::answer(edge, incoming).await?,
        BffEndpoint::Logout => logout::answer(edge, incoming, bff).await?,
        BffEndpoint::BackchannelLogout => logout::backchannel(edge, incoming, bff).await?,
        BffEndpoint::Api => api::answer(edge, incoming, bff).await?,
    };
    Ok(answer.with("Cache-Control", "private, no-store").varies_by("Cookie"))
}
