//! Refresh tokens that stay good because nobody was told what came of them, also when the store could
//! not be reached at first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::secret::Sha256Digest;

use crate::store::{AttemptId, RefreshRotation, Store};

/// Tokens of which that is remembered at a time. The first of an outage are those with which the store
/// may have done something; it knows nothing of those that come later.
const AT_ONCE: usize = 1_000;

/// Presentations of one token that are remembered: the last ones.
const OF_A_TOKEN: usize = 32;

/// How long one waits before the store is told again.
const AGAIN_IN: Duration = Duration::from_secs(1);

/// How often it is told at most.
const TRIES: u32 = 600;

/// What is known of a presentation whose answer nobody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store has said what came of it.
    Known,
    /// The store has not answered: it may have rotated the token, or may do so yet.
    Unknown,
}

/// Remembers presentations of refresh tokens of which nobody was told the answer, by the token's digest,
/// until the store knows it ([`Store::hold_refresh`]), or somebody is told.
#[derive(Clone, Debug, Default)]
pub struct Holds(Arc<Mutex<HashMap<Sha256Digest, Vec<AttemptId>>>>);

impl Holds {
    /// Returns the presentations of a token of which nobody was told the answer.
    #[must_use]
    pub fn untold(&self, presented: &Sha256Digest) -> Vec<AttemptId> {
        self.tokens().get(presented).cloned().unwrap_or_default()
    }

    /// Remembers a presentation of which nobody will be told the answer: before whoever made it can
    /// make the next one.
    pub fn note(&self, rotation: &RefreshRotation) {
        let mut tokens = self.tokens();
        if tokens.len() >= AT_ONCE && !tokens.contains_key(&rotation.presented) {
            tracing::warn!("a refresh that nobody is told of is not held: there are too many");
            return;
        }
        let attempts = tokens.entry(rotation.presented).or_default();
        if attempts.contains(&rotation.attempt) {
            return;
        }
        if attempts.len() >= OF_A_TOKEN {
            attempts.remove(0);
        }
        attempts.push(rotation.attempt);
    }

    /// Forgets a token: somebody was told.
    pub fn forget(&self, presented: &Sha256Digest) {
        self.tokens().remove(presented);
    }

    /// Tells the store what is noted of a token: now, and when it cannot be reached, as soon as it can.
    /// Where it is not known what the store has done, it is told once more a second later, because a
    /// store that had stopped does what it was asked before.
    pub async fn hold(&self, store: &Arc<dyn Store>, rotation: &RefreshRotation, outcome: Outcome) {
        let is_first = self.untold(&rotation.presented).len() == 1;
        if self.tell(&**store, rotation).await && outcome == Outcome::Known {
            self.forget(&rotation.presented);
            return;
        }
        // Else somebody is at it.
        if is_first {
            let (holds, store, rotation) = (self.clone(), Arc::clone(store), rotation.clone());
            tokio::spawn(async move { holds.go_on(&*store, &rotation).await });
        }
    }

    async fn go_on(&self, store: &dyn Store, rotation: &RefreshRotation) {
        let (mut known, mut times) = (Vec::new(), 0);
        for _ in 0..TRIES {
            tokio::time::sleep(AGAIN_IN).await;
            let untold = self.untold(&rotation.presented);
            if untold.is_empty() {
                return;
            }
            if !self.tell(store, rotation).await {
                continue;
            }
            times = if known == untold { times + 1 } else { 1 };
            known = untold;
            if times == 2 {
                break;
            }
        }
        self.forget(&rotation.presented);
    }

    /// Tells the store what is noted of a token; tells whether it has heard it.
    async fn tell(&self, store: &dyn Store, rotation: &RefreshRotation) -> bool {
        let RefreshRotation { grant_id, presented, .. } = rotation;
        match store.hold_refresh(grant_id, presented, &self.untold(presented)).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a refresh that nobody was told of is not held yet");
                false
            }
        }
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Sha256Digest, Vec<AttemptId>>> {
        // Each change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
