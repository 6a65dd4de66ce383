//! `GET /bff/session`: who is signed in?

use serde_json::json;
use shared::bff::OpenedSession;
use shared::error::{ErrorCode, OAuthError};

use super::guard;
use super::sessions::{self, Found};
use crate::Edge;
use crate::answer::{Answer, Refusal};
use crate::incoming::Incoming;

/// Tells the claims about the user, and when the session ends.
///
/// # Errors
/// `access_denied` for a page of another host; `login_required` with status 401 when nobody is
/// signed in; unavailable when that cannot be told.
pub(super) async fn answer(edge: &Edge, incoming: &Incoming) -> Result<Answer, Refusal> {
    guard::check(incoming, &edge.config.issuer)?;
    match sessions::find(edge, incoming).await? {
        Found::Alive { session, .. } => Ok(Answer::json(200, told(&session))),
        Found::None => Ok(nobody()),
    }
}

/// Says that nobody is signed in.
///
/// **Does NOT** remove the cookie, even if it is of no use any more: the answer may be late, and meet
/// the cookie of a sign-in that has happened meanwhile.
pub(super) fn nobody() -> Answer {
    let error = OAuthError::new(ErrorCode::LoginRequired, "nobody is signed in").with_status(401);
    Answer::json(error.status(), error.to_json())
}

fn told(session: &OpenedSession) -> String {
    let mut told = session.claims.clone();
    told.insert("auth_time".to_owned(), json!(session.auth_time));
    told.insert("expires_at".to_owned(), json!(session.expires_at));
    told.insert("idle_expires_at".to_owned(), json!(session.idle_expires_at));
    serde_json::Value::Object(told).to_string()
}
