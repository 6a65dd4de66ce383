//! Logging in: throttle first, then one password hash, whoever it is.

use std::net::IpAddr;

use shared::limits::{LOGIN_ATTEMPTS_PER_ADDRESS, LOGIN_ATTEMPTS_PER_USER, LOGIN_WINDOW_IN};
use shared::network::network;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token_request::Password;

use crate::app::{App, Unavailable};
use crate::directory::{UserRecord, canonical_username};
use crate::password::PasswordVerdict;
use crate::store::Attempt;

/// What became of an attempt to log in.
#[derive(Debug)]
pub enum Login {
    /// The password was the user's.
    Right(Box<UserRecord>),
    /// No such user, a disabled one, or another password: one and the same to the outside.
    Wrong,
    /// Too many attempts for this user, or from this address; the password was not looked at.
    Throttled {
        /// Seconds until it is worth trying again.
        retry_in: u64,
    },
}

/// Checks a username and password. Both the login form and the password grant come here, so both
/// share one counter per user and one per address (none, where the address is not known). Only
/// passwords that were looked at and wrong stay counted: many people may share one address.
///
/// # Errors
/// [`Unavailable`], also when the counters cannot be reached: guessing is never free.
pub async fn login(
    app: &App,
    username: &str,
    password: Password,
    address: Option<IpAddr>,
    now: UnixTime,
) -> Result<Login, Unavailable> {
    let username = canonical_username(username);
    let user_key = attempts_of("user", &username);
    let address_key = address.map(|address| attempts_of("address", &network(address)));
    if let Some(key) = &address_key
        && let Attempt::Refused { retry_in } =
            app.store.count_attempt(key, LOGIN_ATTEMPTS_PER_ADDRESS, LOGIN_WINDOW_IN, now).await?
    {
        return Ok(Login::Throttled { retry_in });
    }
    if let Attempt::Refused { retry_in } =
        app.store.count_attempt(&user_key, LOGIN_ATTEMPTS_PER_USER, LOGIN_WINDOW_IN, now).await?
    {
        give_back(app, address_key.as_slice()).await?;
        return Ok(Login::Throttled { retry_in });
    }
    match check(app, &username, password).await {
        Ok(Some(user)) => {
            app.store.forget_attempts(&user_key).await?;
            give_back(app, address_key.as_slice()).await?;
            Ok(Login::Right(Box::new(user)))
        }
        Ok(None) => Ok(Login::Wrong),
        Err(unavailable) => {
            give_back(app, address_key.as_slice()).await?;
            give_back(app, &[user_key]).await?;
            Err(unavailable)
        }
    }
}

/// Finds the user whose password this is.
async fn check(
    app: &App,
    username: &str,
    password: Password,
) -> Result<Option<UserRecord>, Unavailable> {
    let user = app.known.directory().find_username(username).await?;
    let hash = user.as_ref().map(|user| user.password_hash.as_str());
    let right = app.passwords.verify(password, hash).await? == PasswordVerdict::Right;
    Ok(user.filter(|user| right && user.disabled_at.is_none()))
}

async fn give_back(app: &App, keys: &[Sha256Digest]) -> Result<(), Unavailable> {
    for key in keys {
        app.store.return_attempt(key).await?;
    }
    Ok(())
}

fn attempts_of(kind: &str, name: &str) -> Sha256Digest {
    Sha256Digest::of(format!("{kind}:{name}").as_bytes())
}
