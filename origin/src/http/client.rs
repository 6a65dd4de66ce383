//! Who calls the token, revocation and introspection endpoints.

use std::sync::Arc;

use shared::client_auth::{self, ClientCredentials};
use shared::error::OAuthError;
use shared::form::Params;

use super::answer::HttpError;
use super::arrival::Incoming;
use crate::app::App;
use crate::directory::ClientRecord;

/// Reads the form of a client's request: no secret in the query, then a well-formed body.
///
/// # Errors
/// `invalid_request`.
pub fn form(incoming: &Incoming) -> Result<Params, OAuthError> {
    let form = incoming.form()?;
    client_auth::check_query(incoming.query.as_deref())?;
    Ok(form)
}

/// Authenticates the client of a form.
///
/// Checks, in order: the form of the credentials, a client that is known and enabled, its
/// registered method, its secret. An unknown client and a wrong secret look the same.
///
/// # Errors
/// `invalid_request`, `invalid_client`; unavailable when the directory is away.
pub async fn authenticate(
    app: &App,
    incoming: &Incoming,
    form: &Params,
) -> Result<Arc<ClientRecord>, HttpError> {
    let credentials = ClientCredentials::parse(incoming.authorization(), form)?;
    let record = app.known.client(&credentials.client_id).await?;
    let record = record.ok_or(OAuthError::invalid_client())?;
    credentials.check_method(&record.client)?;
    credentials.verify_secret(record.secret_digest.as_ref())?;
    Ok(record)
}
