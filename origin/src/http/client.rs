//! Who calls the token, revocation and introspection endpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shared::client_auth::{self, ClientCredentials};
use shared::error::OAuthError;
use shared::form::Params;
use shared::limits::{CLIENT_FAILURES, LOGIN_WINDOW_IN};
use shared::network::network;
use shared::secret::Sha256Digest;

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

/// A client that a request claims to come from: registered, enabled, by its registered method.
/// Its secret is not verified yet.
pub struct Claimed {
    /// What is registered.
    pub record: Arc<ClientRecord>,
    credentials: ClientCredentials,
}

/// Finds the client that a form claims to come from.
///
/// Checks, in order: the form of the credentials, a client that is known and enabled, its
/// registered method. This is as far as the edge can look.
/// **Does NOT** verify the secret: [`authenticate`] does.
///
/// # Errors
/// `invalid_request`, `invalid_client`; unavailable when the directory is away.
pub async fn find(app: &App, incoming: &Incoming, form: &Params) -> Result<Claimed, HttpError> {
    let credentials = ClientCredentials::parse(incoming.authorization(), form)?;
    let record = app.known.client(&credentials.client_id).await?;
    let record = record.ok_or(OAuthError::invalid_client())?;
    credentials.check_method(&record.client)?;
    Ok(Claimed { record, credentials })
}

/// Authenticates a client.
///
/// Checks, in order: too many failures from the same network, the secret, or the one before while it
/// is good. An unknown client and a wrong secret look the same. From where no address is known,
/// everybody else may be who has failed, so there a right secret is always good.
///
/// # Errors
/// `invalid_client`; throttled.
pub fn authenticate(
    app: &App,
    incoming: &Incoming,
    claimed: Claimed,
) -> Result<Arc<ClientRecord>, HttpError> {
    let Claimed { record, credentials } = claimed;
    if record.client.is_public() {
        return Ok(record);
    }
    let failures = failures_key(incoming, &record);
    let failed = app.client_failures.get(&failures);
    let is_throttled =
        failed.is_some_and(|failed| failed.load(Ordering::Relaxed) >= CLIENT_FAILURES);
    let throttled = || Err(HttpError::Throttled { retry_in: LOGIN_WINDOW_IN });
    if is_throttled && incoming.client_address.is_some() {
        return throttled();
    }
    let is_good = |digest| credentials.verify_secret(Some(digest)).is_ok();
    if !record.secrets(incoming.now).any(is_good) {
        if is_throttled {
            return throttled();
        }
        let failed = app.client_failures.get_with(failures, Arc::default);
        failed.fetch_add(1, Ordering::Relaxed);
        return Err(OAuthError::invalid_client().into());
    }
    Ok(record)
}

/// Names a client as one network sees it: guessing from one does not lock it out elsewhere.
fn failures_key(incoming: &Incoming, record: &ClientRecord) -> Sha256Digest {
    let network = incoming.client_address.map(network).unwrap_or_default();
    Sha256Digest::of(format!("{}@{network}", record.client.client_id).as_bytes())
}
