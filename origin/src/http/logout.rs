//! `GET, POST /oauth2/logout` (OpenID Connect RP-Initiated Logout).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use shared::claims::IdTokenClaims;
use shared::client::{Client, ClientId};
use shared::error::{ErrorCode, OAuthError};
use shared::form::Params;
use shared::jwt::{JwtRefused, Typ};
use shared::logout::LogoutRequest;
use shared::page::{FormTarget, LogoutPage, SignedOutPage};
use shared::secret::{Sha256Digest, base64url, same_bytes};
use shared::sign_in::SESSION_COOKIE;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::sign_in;
use crate::app::App;
use crate::logout::{self, Outliving};

/// Ends the login session, and the grants that were begun under it without `offline_access`; tells
/// the clients that the user has signed in to under it ([`logout::end`]).
///
/// With an ID token of the session's own user as hint, at once; otherwise the user is asked, so
/// that no other site can end a session. Then the user is sent to the client's registered URI, if
/// the request names one, or told.
pub async fn logout(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    match answered(&app, &incoming).await {
        Ok(response) => response,
        Err(error) => error.on_page(&incoming.request_id),
    }
}

async fn answered(app: &App, incoming: &Incoming) -> Result<Response, HttpError> {
    let params = incoming.params()?;
    let request = LogoutRequest::parse(&params)?;
    let hint = hint(app, incoming, &request)?;
    let client = client(app, &request, hint.as_ref()).await?;
    let Some(digest) = sign_in::session_digest(app, incoming) else {
        return Ok(signed_out(app, &request, client.as_ref()));
    };
    // The session may be over, with grants that were begun under it still alive.
    let session = sign_in::session(app, incoming).await?;
    let user = hint.map(|hint| hint.sub);
    let expected = match (&session, &user) {
        (Some(session), Some(user)) => session.user_id.0 == *user,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    if expected || confirmed(app, incoming, &params, &digest)? {
        let user = user.filter(|_| expected);
        logout::end(app, &digest, user.as_deref(), Outliving::Offline, incoming.now).await?;
        return Ok(signed_out(app, &request, client.as_ref()));
    }
    Ok(ask(app, &request, client.as_ref(), &digest))
}

/// Verifies the hint. An expired one is good: people stay signed in longer than ID tokens live.
fn hint(
    app: &App,
    incoming: &Incoming,
    request: &LogoutRequest,
) -> Result<Option<IdTokenClaims>, OAuthError> {
    const BAD: OAuthError =
        OAuthError::invalid_request("the id_token_hint is not an ID token of this server");
    let Some(text) = &request.id_token_hint else { return Ok(None) };
    let claims = match app.keys.load().verify::<IdTokenClaims>(text, Typ::IdToken, incoming.now) {
        Ok(verified) => verified.claims,
        // Its key is retired, so nothing can be said about it: the user is asked.
        Err(JwtRefused::Kid) => return Ok(None),
        Err(_) => return Err(BAD),
    };
    let for_client =
        request.client_id.as_ref().is_none_or(|client| claims.aud.contains(client.as_str()));
    if claims.iss == app.issuer.as_str() && for_client { Ok(Some(claims)) } else { Err(BAD) }
}

async fn client(
    app: &App,
    request: &LogoutRequest,
    hint: Option<&IdTokenClaims>,
) -> Result<Option<Client>, HttpError> {
    let hinted = hint.and_then(|hint| hint.azp.as_deref()).and_then(|id| ClientId::parse(id).ok());
    let Some(id) = request.client_id.clone().or(hinted) else { return Ok(None) };
    Ok(app.known.client(&id).await?.map(|record| record.client.clone()))
}

/// Tells whether this is the form of the page that asks, sent by the user.
fn confirmed(
    app: &App,
    incoming: &Incoming,
    params: &Params,
    session: &Sha256Digest,
) -> Result<bool, OAuthError> {
    let csrf = params.one("csrf")?.filter(|_| incoming.method == Method::POST);
    let Some(csrf) = csrf else { return Ok(false) };
    incoming.check_same_origin(&app.issuer)?;
    if same_bytes(csrf.as_bytes(), csrf_of(app, session).as_bytes()) {
        Ok(true)
    } else {
        Err(OAuthError::new(ErrorCode::AccessDenied, "the form does not belong to this session"))
    }
}

fn signed_out(app: &App, request: &LogoutRequest, client: Option<&Client>) -> Response {
    let response = match client.and_then(|client| request.location(client)) {
        Some(location) => answer::redirect(&location),
        None => answer::page(StatusCode::OK, SignedOutPage { back: None }.render()),
    };
    answer::with_cookies(response, [app.cookies.remove(SESSION_COOKIE)])
}

fn ask(
    app: &App,
    request: &LogoutRequest,
    client: Option<&Client>,
    session: &Sha256Digest,
) -> Response {
    let location = client.and_then(|client| request.location(client));
    let target = location.and_then(|location| FormTarget::parse(&location).ok());
    let page = LogoutPage {
        client_name: client.map(|client| client.client_name.as_str()),
        csrf: &csrf_of(app, session),
        id_token_hint: request.id_token_hint.as_deref(),
        post_logout_redirect_uri: request.post_logout_redirect_uri.as_deref(),
        state: request.state.as_deref(),
        client_id: request.client_id.as_ref().map(ClientId::as_str),
        form_targets: target.as_slice(),
    };
    answer::page(StatusCode::OK, page.render())
}

fn csrf_of(app: &App, session: &Sha256Digest) -> String {
    base64url(&app.form_key.tag(&[b"logout", session.as_bytes()]))
}
