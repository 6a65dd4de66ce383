//! `GET, POST /oauth2/authorize` (RFC 6749 §3.1).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use shared::authorize::AuthorizationRequest;
use shared::claims::IdTokenClaims;
use shared::client::Client;
use shared::endpoint::Endpoint;
use shared::error::{ErrorCode, OAuthError};
use shared::interaction::Interaction;
use shared::jwt::{JwtRefused, Typ};

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::sign_in::{self, NotSigningIn};
use crate::app::App;

/// Answers an authorization request: with a code, an error, or the step that is needed first.
pub async fn authorize(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let request = match valid_request(&app, &incoming).await {
        Ok(valid) => valid,
        Err(not) => return not.into_response(&app, &incoming),
    };
    let (client, request) = request;
    match answer(&app, &incoming, &client, &request).await {
        Ok(response) => response,
        Err(error) => sign_in::unavailable(&app, &incoming, &request, &error),
    }
}

async fn valid_request(
    app: &App,
    incoming: &Incoming,
) -> Result<(Client, AuthorizationRequest), NotSigningIn> {
    sign_in::validate(app, &incoming.params()?).await
}

async fn answer(
    app: &App,
    incoming: &Incoming,
    client: &Client,
    request: &AuthorizationRequest,
) -> Result<Response, HttpError> {
    let session = sign_in::session(app, incoming).await?;
    let expected = match expected(app, incoming, request) {
        Ok(expected) => expected,
        Err(error) => return Ok(answer::error_redirect(&request.refuse(error), &app.issuer)),
    };
    let session = session.filter(|session| expected.is(&session.user_id.0));
    // A login session that is there was before this request, whichever clock has dated it.
    let after_login = session.as_ref().map(|session| session.auth_time.plus(1));
    let started_at = after_login.unwrap_or(incoming.now).max(incoming.now);
    let begin = |step| sign_in::begin(app, incoming, request, expected.sub(), step, started_at);
    match sign_in::next(app, incoming, request, client, session.as_ref(), started_at).await? {
        Interaction::Issue => match &session {
            Some(session) => sign_in::issue_code(app, incoming, request, session).await,
            None => Ok(begin(Endpoint::Login)),
        },
        Interaction::Login => Ok(begin(Endpoint::Login)),
        Interaction::Consent => Ok(begin(Endpoint::Consent)),
        Interaction::Refuse(error) => {
            Ok(answer::error_redirect(&request.refuse(error), &app.issuer))
        }
    }
}

/// Whom the client expects (`id_token_hint`).
enum Expected {
    /// It does not say.
    Anybody,
    /// This user: another one's session does not count, and no other may complete the sign-in.
    User(String),
    /// Somebody of whom nothing can be said: no session counts, so whoever it is logs in.
    Unknown,
}

impl Expected {
    fn is(&self, user: &str) -> bool {
        match self {
            Self::Anybody => true,
            Self::User(sub) => sub == user,
            Self::Unknown => false,
        }
    }

    fn sub(&self) -> Option<String> {
        match self {
            Self::User(sub) => Some(sub.clone()),
            Self::Anybody | Self::Unknown => None,
        }
    }
}

/// Reads whom `id_token_hint` names. An expired hint is still a hint; one whose key is not
/// published, or not any more, names nobody that is known.
///
/// # Errors
/// `invalid_request` for a hint that this server did not issue to this client.
///
/// Source: OpenID Connect Core §3.1.2.1 and §3.1.2.2.
fn expected(
    app: &App,
    incoming: &Incoming,
    request: &AuthorizationRequest,
) -> Result<Expected, OAuthError> {
    const BAD: OAuthError = OAuthError::new(
        ErrorCode::InvalidRequest,
        "the id_token_hint is not an ID token of the application",
    );
    let Some(hint) = &request.id_token_hint else { return Ok(Expected::Anybody) };
    let keys = app.keys.load();
    let claims = match keys.verify::<IdTokenClaims>(hint, Typ::IdToken, incoming.now) {
        Ok(verified) => verified.claims,
        Err(JwtRefused::Kid) => return Ok(Expected::Unknown),
        Err(_) => return Err(BAD),
    };
    if claims.iss != app.issuer.as_str() || !claims.aud.contains(request.client_id.as_str()) {
        return Err(BAD);
    }
    Ok(Expected::User(claims.sub))
}
