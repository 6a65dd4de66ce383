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

    /// Notes a presentation, and tells the store what is noted of its token: now, and when it cannot be reached, as soon as it can.
    /// Where it is not known what the store has done, it is told once more a second later, because a
    /// store that had stopped does what it was asked before.
    pub async fn hold(&self, store: &Arc<dyn Store>, rotation: &RefreshRotation, outcome: Outcome) {
        self.note(rotation);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{AnyStore, NOW, Party};
    use crate::store::embedded::Embedded;

    fn rotation(party: &Party, attempt: usize) -> RefreshRotation {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&attempt.to_be_bytes());
        RefreshRotation { attempt: AttemptId(id), ..party.rotation(1, NOW) }
    }

    async fn party() -> (AnyStore, Party, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(&folder.path().join("data/store.db")).await.unwrap();
        let store: AnyStore = Arc::new(store);
        let party = Party::begun(&store).await;
        (store, party, folder)
    }

    #[tokio::test]
    async fn the_last_presentations_of_a_token_are_remembered_until_somebody_is_told() {
        let (_store, party, _folder) = party().await;
        let holds = Holds::default();
        // One that is noted twice is there once.
        for attempt in (0..OF_A_TOKEN + 5).chain([OF_A_TOKEN]) {
            holds.note(&rotation(&party, attempt));
        }
        let presented = rotation(&party, 0).presented;
        let last: Vec<AttemptId> =
            (5..OF_A_TOKEN + 5).map(|attempt| rotation(&party, attempt).attempt).collect();
        assert_eq!(holds.untold(&presented), last);
        holds.forget(&presented);
        assert!(holds.untold(&presented).is_empty());
    }

    #[tokio::test]
    async fn of_too_many_tokens_the_first_are_remembered() {
        let (_store, party, _folder) = party().await;
        let holds = Holds::default();
        let of = |token: usize| RefreshRotation {
            presented: Sha256Digest::of(&token.to_be_bytes()),
            ..rotation(&party, token)
        };
        (0..=AT_ONCE).for_each(|token| holds.note(&of(token)));
        assert_eq!(holds.untold(&of(0).presented), [of(0).attempt]);
        assert!(holds.untold(&of(AT_ONCE).presented).is_empty());
        // One of those that are known may be presented again.
        holds.note(&RefreshRotation { presented: of(0).presented, ..of(1) });
        assert_eq!(holds.untold(&of(0).presented).len(), 2);
    }

    #[tokio::test]
    async fn a_presentation_that_may_be_carried_out_later_is_taken_back_once_more() {
        let (store, party, _folder) = party().await;
        let holds = Holds::default();
        let first = rotation(&party, 1);
        holds.hold(&store, &first, Outcome::Unknown).await;
        // Only now does the store what it was asked.
        store.rotate_refresh(&first, NOW).await.unwrap();
        tokio::time::sleep(AGAIN_IN * 4).await;
        assert!(holds.untold(&first.presented).is_empty(), "the store has heard it");
        let late = NOW.plus(shared::limits::REFRESH_GRACE_IN + 1);
        let repeated = store.rotate_refresh(&rotation(&party, 2), late).await.unwrap();
        assert!(matches!(repeated, crate::store::Rotated::Repeated { .. }), "{repeated:?}");
    }
}
