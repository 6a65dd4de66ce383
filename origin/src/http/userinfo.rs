//! `GET, POST /oauth2/userinfo` (OpenID Connect Core §5.3).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use shared::bearer;
use shared::scope::Scope;

use super::answer::{self, HttpError};
use super::arrival::Incoming;
use super::protected;
use crate::app::App;
use crate::directory::UserRecord;

/// The claims about a user that a scope allows.
#[derive(Serialize)]
pub struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

/// Tells what the access token's scope allows about its user.
///
/// # Errors
/// A Bearer challenge; unavailable.
pub async fn userinfo(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, HttpError> {
    let form = if incoming.method == Method::POST { incoming.form().ok() } else { None };
    bearer::check_one_method(incoming.authorization().next().is_some(), form.as_ref())
        .map_err(|error| HttpError::Bearer { error: Some(error), scope: None })?;
    let protected = protected::check(&app, &incoming, Some("openid")).await?;
    let claims = claims(&protected.user, &protected.token.claims.scope);
    Ok(answer::json(StatusCode::OK, &claims))
}

/// Chooses the claims that a scope allows (OpenID Connect Core §5.4).
#[must_use]
pub fn claims<'a>(user: &'a UserRecord, scope: &Scope) -> Claims<'a> {
    let profile = scope.contains("profile");
    Claims {
        sub: &user.user_id.0,
        name: user.name.as_deref().filter(|_| profile),
        preferred_username: Some(user.username.as_str()).filter(|_| profile),
        email: user.email.as_deref().filter(|_| scope.contains("email")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::UserId;

    #[test]
    fn the_scope_decides_which_claims_are_told() {
        let user = UserRecord {
            user_id: UserId("u1".into()),
            username: "alice".into(),
            email: Some("alice@example.test".into()),
            name: Some("Alice".into()),
            password_hash: "secret".into(),
            valid_from: shared::time::UnixTime::default(),
            disabled_at: None,
        };
        let told =
            |scope| serde_json::to_string(&claims(&user, &Scope::parse(scope).unwrap())).unwrap();
        assert_eq!(told("openid"), r#"{"sub":"u1"}"#);
        assert_eq!(told("openid email"), r#"{"sub":"u1","email":"alice@example.test"}"#);
        assert_eq!(
            told("openid profile"),
            r#"{"sub":"u1","name":"Alice","preferred_username":"alice"}"#
        );
    }
}
