//! `GET /bff/session`: who is signed in?

use serde_json::json;
use shared::bff::{COOKIE, OpenedSession};
use shared::error::{ErrorCode, OAuthError};

use super::guard;
use super::sessions::{self, Found};
use crate::Edge;
use crate::answer::{Answer, Refusal};
use crate::config::Bff;
use crate::incoming::Incoming;

/// Tells the claims about the user, and when the session ends.
///
/// # Errors
/// `access_denied` for a page of another host; `login_required` with status 401 when nobody is
/// signed in; unavailable when that cannot be told.
pub(super) async fn answer(edge: &Edge, incoming: &Incoming, bff: &Bff) -> Result<Answer, Refusal> {
    guard::check(incoming, &edge.config.issuer)?;
    match sessions::find(edge, incoming).await? {
        Found::Alive { session, .. } => Ok(Answer::json(200, told(&session))),
        Found::None => Ok(nobody(edge, bff, false)),
        Found::Over => Ok(nobody(edge, bff, true)),
    }
}

/// Says that nobody is signed in; removes a cookie that is of no use any more.
pub(super) fn nobody(edge: &Edge, bff: &Bff, forgets: bool) -> Answer {
    let error = OAuthError::new(ErrorCode::LoginRequired, "nobody is signed in").with_status(401);
    let mut answer = Answer::json(error.status(), error.to_json());
    if forgets {
        let policy = edge.config.cookies().policy;
        answer.append("Set-Cookie", policy.set_for(bff.same_site, COOKIE, "", Some(0)));
    }
    answer
}

fn told(session: &OpenedSession) -> String {
    let mut told = session.claims.clone();
    told.insert("auth_time".to_owned(), json!(session.auth_time));
    told.insert("expires_at".to_owned(), json!(session.expires_at));
    told.insert("idle_expires_at".to_owned(), json!(session.idle_expires_at));
    serde_json::Value::Object(told).to_string()
}
