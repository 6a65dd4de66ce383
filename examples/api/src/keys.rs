//! The issuer's keys, kept and renewed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Mutex;

use crate::bearer::Refused;
use crate::issuer::{Issuer, Unreachable};
use crate::jwt::Key;

/// How long a key set is taken without a look at the issuer's, so that a withdrawn key goes.
const FRESH_IN: Duration = Duration::from_mins(5);

/// How long a key set may be used while the issuer cannot be reached.
const STALE_IN: Duration = Duration::from_hours(24);

/// The issuer is asked no more often than this, however many unknown keys are named.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// How soon it is asked again when it could not be reached.
const RETRY_IN: Duration = Duration::from_secs(1);

/// The keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: RwLock<Option<Known>>,
    /// The last attempt to renew, and how it ended. Whoever holds it renews for all.
    renewal: Mutex<Option<(Instant, Result<(), Unreachable>)>>,
}

#[derive(Clone, Debug)]
struct Known {
    keys: Arc<HashMap<String, Key>>,
    fetched_at: Instant,
}

impl Keys {
    /// Finds the key with this `kid`; an unknown one makes the set be fetched again.
    ///
    /// # Errors
    /// [`Refused::InvalidToken`] when the issuer has no such key, [`Refused::Unavailable`] when it
    /// cannot be asked.
    pub(crate) async fn find(&self, issuer: &Issuer, kid: &str) -> Result<Key, Refused> {
        if let Some(key) = self.known(kid, FRESH_IN) {
            return Ok(key);
        }
        let renewed = self.renew(issuer).await;
        // A key that has been good today still is, while nobody can say otherwise.
        match (self.known(kid, STALE_IN), renewed) {
            (Some(key), _) => Ok(key),
            (None, Ok(())) => Err(Refused::InvalidToken("kid")),
            (None, Err(Unreachable(why))) => Err(Refused::Unavailable(why)),
        }
    }

    fn known(&self, kid: &str, younger_than: Duration) -> Option<Key> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().filter(|known| known.fetched_at.elapsed() < younger_than)?;
        known.keys.get(kid).cloned()
    }

    /// Fetches the key set, unless somebody has done so a moment ago.
    async fn renew(&self, issuer: &Issuer) -> Result<(), Unreachable> {
        let mut renewal = self.renewal.lock().await;
        if let Some((at, outcome)) = *renewal {
            let again_in = if outcome.is_ok() { COOL_DOWN } else { RETRY_IN };
            if at.elapsed() < again_in {
                return outcome;
            }
        }
        let outcome = self.fetch(issuer).await;
        *renewal = Some((Instant::now(), outcome));
        outcome
    }

    async fn fetch(&self, issuer: &Issuer) -> Result<(), Unreachable> {
        let body = issuer.key_set().await?;
        let set: JwkSet =
            serde_json::from_slice(&body).map_err(|_| Unreachable("the key set cannot be read"))?;
        let keys = Arc::new(set.keys.iter().filter_map(Key::of).collect());
        let known = Known { keys, fetched_at: Instant::now() };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(())
    }
}
