//! Logging in: throttle first, then one password hash, whoever it is.

use std::net::IpAddr;
use std::sync::Arc;

use shared::limits::{
    LOGIN_ATTEMPTS_PER_ADDRESS, LOGIN_ATTEMPTS_PER_USER, LOGIN_ATTEMPTS_PER_USER_AND_ADDRESS,
    LOGIN_WINDOW_IN,
};
use shared::network::network;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token_request::Password;

use crate::app::{App, Unavailable};
use crate::clock;
use crate::directory::{UserRecord, canonical_username};
use crate::password::PasswordVerdict;
use crate::store::{Attempt, AttemptId, Store};

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

/// How long an attempt is counted of which nothing is heard, seconds: longer than a request may take.
const UNDER_WAY_IN: u64 = 5;

/// Checks a username and password. Both the login form and the password grant come here, so both
/// share the counters: of the user at this address, of the user, and of the address (the user's
/// alone, where the address is not known). Each is counted in one step before the password is looked
/// at, so that of many guesses at once no more than the limit get there. Only passwords that were
/// looked at and wrong stay counted, and nobody hears that one was wrong before it is: many people may
/// share one address. An attempt that an outage cut off ends by itself, after `UNDER_WAY_IN`.
///
/// A user is counted by canonical name, which is one user's alone: the directory is not asked, so
/// that nobody hears from a refusal, or from how long it takes, whether there is such a user.
///
/// # Errors
/// [`Unavailable`], also when the counters cannot be reached: guessing is never free.
pub async fn login(
    app: &Arc<App>,
    username: &str,
    password: Password,
    address: Option<IpAddr>,
    now: UnixTime,
) -> Result<Login, Unavailable> {
    let (app, username) = (Arc::clone(app), canonical_username(username));
    // A task of its own, which goes on when whoever asked has gone: what was counted before the
    // password was looked at is given back in any case.
    let attempt =
        tokio::spawn(async move { log_in(&app, &username, password, address, now).await });
    attempt.await.map_err(|_| Unavailable::new("a login panicked"))?
}

async fn log_in(
    app: &App,
    username: &str,
    password: Password,
    address: Option<IpAddr>,
    now: UnixTime,
) -> Result<Login, Unavailable> {
    let counters = Counters::of(app, username, address);
    if let Some(retry_in) = counters.count(now).await? {
        return Ok(Login::Throttled { retry_in });
    }
    match check(app, username, password).await {
        Ok(Some(user)) => {
            counters.forget().await?;
            Ok(Login::Right(Box::new(user)))
        }
        Ok(None) => {
            counters.keep(now).await?;
            Ok(Login::Wrong)
        }
        Err(unavailable) => {
            counters.give_back(&counters.keys).await?;
            Err(unavailable)
        }
    }
}

/// What an attempt counts for, the narrowest first, each with its limit.
struct Counters<'a> {
    store: &'a dyn Store,
    attempt: AttemptId,
    keys: Vec<(Sha256Digest, u32)>,
}

impl<'a> Counters<'a> {
    fn of(app: &'a App, username: &str, address: Option<IpAddr>) -> Self {
        let keys = counters(username, address);
        Self { store: &*app.store, attempt: AttemptId(clock::random()), keys }
    }

    /// Counts the attempt as one that is under way; or returns how many seconds to wait, and counts
    /// nothing.
    async fn count(&self, now: UnixTime) -> Result<Option<u64>, Unavailable> {
        let ends_at = now.plus(UNDER_WAY_IN);
        for (at, (key, limit)) in self.keys.iter().enumerate() {
            match self.store.count_attempt(key, &self.attempt, *limit, ends_at, now).await {
                Ok(Attempt::Allowed) => {}
                Ok(Attempt::Refused { retry_in }) => {
                    self.give_back(&self.keys[..at]).await?;
                    // Should the clock have gone back, nobody waits longer than a window.
                    return Ok(Some(retry_in.min(LOGIN_WINDOW_IN)));
                }
                // What was counted ends by itself: nobody waits for a store that does not answer.
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Counts the attempt for the window: the password was wrong.
    async fn keep(&self, now: UnixTime) -> Result<(), Unavailable> {
        let ends_at = now.plus(LOGIN_WINDOW_IN);
        for (key, _) in &self.keys {
            self.store.keep_attempt(key, &self.attempt, ends_at, now).await?;
        }
        Ok(())
    }

    /// Takes the attempt back from some of the counters.
    async fn give_back(&self, keys: &[(Sha256Digest, u32)]) -> Result<(), Unavailable> {
        for (key, _) in keys {
            self.store.return_attempt(key, &self.attempt).await?;
        }
        Ok(())
    }

    /// Somebody here knows the password: what was typed wrong before was typed by them.
    async fn forget(&self) -> Result<(), Unavailable> {
        if let Some(((here, _), elsewhere)) = self.keys.split_first() {
            self.store.forget_attempts(here).await?;
            self.give_back(elsewhere).await?;
        }
        Ok(())
    }
}

/// Names what an attempt counts for, the narrowest first, each with its limit.
fn counters(username: &str, address: Option<IpAddr>) -> Vec<(Sha256Digest, u32)> {
    let counter = |name: String, limit| (Sha256Digest::of(name.as_bytes()), limit);
    let Some(network) = address.map(network) else {
        let name = format!("user:{username}");
        return vec![counter(name, LOGIN_ATTEMPTS_PER_USER_AND_ADDRESS)];
    };
    vec![
        counter(format!("user at {network}:{username}"), LOGIN_ATTEMPTS_PER_USER_AND_ADDRESS),
        counter(format!("user anywhere:{username}"), LOGIN_ATTEMPTS_PER_USER),
        counter(format!("address:{network}"), LOGIN_ATTEMPTS_PER_ADDRESS),
    ]
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
