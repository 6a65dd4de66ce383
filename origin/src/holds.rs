//! Refresh tokens that stay good because nobody was told what came of them, also when the store could
//! not be reached at first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::store::{RefreshRotation, Store};

/// Presentations that are waiting to be taken back at a time. The first of an outage are those that
/// the store may have carried out; of those that come later it knows nothing.
const AT_ONCE: usize = 1_000;

/// How long one waits before it is tried again.
const AGAIN_IN: Duration = Duration::from_secs(1);

/// How often it is tried again.
const TRIES: u32 = 600;

/// What is known of a presentation whose answer nobody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store has said what came of it.
    Known,
    /// The store has not answered: it may have rotated the token, or may do so yet.
    Unknown,
}

/// Takes presentations back of which nobody was told the answer ([`Store::hold_refresh`]).
#[derive(Clone, Debug)]
pub struct Holds(Arc<Semaphore>);

impl Default for Holds {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Holds {
    /// Takes one back: now, and when the store cannot be reached, as soon as it can. One whose outcome
    /// is unknown is taken back once more a second later, because a store that had stopped does what
    /// it was asked before.
    pub async fn hold(&self, store: &Arc<dyn Store>, rotation: &RefreshRotation, outcome: Outcome) {
        let mut wanted = match outcome {
            Outcome::Known => 1,
            Outcome::Unknown => 2,
        };
        match store.hold_refresh(rotation).await {
            Ok(()) => wanted -= 1,
            Err(error) => {
                tracing::debug!(%error, "a refresh that nobody was told of is not held yet");
            }
        }
        if wanted == 0 {
            return;
        }
        let Ok(place) = Arc::clone(&self.0).try_acquire_owned() else {
            tracing::warn!("a refresh that nobody was told of is not held: too many wait for that");
            return;
        };
        let (store, rotation) = (Arc::clone(store), rotation.clone());
        tokio::spawn(async move {
            let _place = place;
            for _ in 0..TRIES {
                tokio::time::sleep(AGAIN_IN).await;
                wanted -= u32::from(store.hold_refresh(&rotation).await.is_ok());
                if wanted == 0 {
                    return;
                }
            }
            tracing::warn!("a refresh that nobody was told of is not held: the store stays away");
        });
    }
}
