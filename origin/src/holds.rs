//! Refresh tokens that stay good because nobody was told what came of them, also when the store could
//! not be reached at first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::secret::Sha256Digest;

use crate::store::{AttemptId, PRESENTATIONS, RefreshRotation, Store};

/// Tokens of which that is remembered at a time. The first of an outage are those with which the store
/// may have done something; it knows nothing of those that come later.
const AT_ONCE: usize = 1_000;

/// How long one waits before the store is told again.
const AGAIN_IN: Duration = Duration::from_secs(1);

/// What is known of a presentation whose answer nobody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store has said what came of it.
    Known,
    /// The store has not answered: it may have rotated the token, or may do so yet.
    Unknown,
}

/// What is remembered of a token.
#[derive(Debug, Default)]
struct Untold {
    /// Its presentations, the last [`PRESENTATIONS`].
    attempts: Vec<AttemptId>,
    /// Whether somebody tells the store again and again.
    is_being_told: bool,
}

/// Remembers presentations of refresh tokens of which nobody was told the answer, by the token's digest,
/// until the store knows it ([`Store::hold_refresh`]), or somebody is told.
#[derive(Clone, Debug, Default)]
pub struct Holds(Arc<Mutex<HashMap<Sha256Digest, Untold>>>);

impl Holds {
    /// Returns the presentations of a token of which nobody was told the answer.
    #[must_use]
    pub fn untold(&self, presented: &Sha256Digest) -> Vec<AttemptId> {
        self.tokens().get(presented).map(|token| token.attempts.clone()).unwrap_or_default()
    }

    /// Remembers a presentation of which nobody will be told the answer: before whoever made it can
    /// make the next one.
    pub fn note(&self, rotation: &RefreshRotation) {
        let mut tokens = self.tokens();
        if tokens.len() >= AT_ONCE && !tokens.contains_key(&rotation.presented) {
            tracing::warn!(
                "a refresh that nobody is told of is not remembered: there are too many"
            );
            return;
        }
        let attempts = &mut tokens.entry(rotation.presented).or_default().attempts;
        if attempts.contains(&rotation.attempt) {
            return;
        }
        if attempts.len() >= PRESENTATIONS {
            attempts.remove(0);
        }
        attempts.push(rotation.attempt);
    }

    /// Forgets a token: somebody was told.
    pub fn forget(&self, presented: &Sha256Digest) {
        self.tokens().remove(presented);
    }

    /// Notes a presentation, and tells the store what is noted of its token: now, and when it cannot be
    /// reached, every second until it can. Where it is not known what the store has done, it is told
    /// once more a second later, because a store that had stopped does what it was asked before.
    pub async fn hold(&self, store: &Arc<dyn Store>, rotation: &RefreshRotation, outcome: Outcome) {
        self.note(rotation);
        let mut untold = self.untold(&rotation.presented);
        if !untold.contains(&rotation.attempt) {
            // There are too many to remember it: it is told nevertheless.
            untold.push(rotation.attempt);
        }
        if tell(&**store, rotation, &untold).await && outcome == Outcome::Known {
            self.remove(&rotation.presented, &[rotation.attempt]);
        } else if self.begins_telling(&rotation.presented) {
            let (holds, store, rotation) = (self.clone(), Arc::clone(store), rotation.clone());
            tokio::spawn(async move { holds.go_on(&*store, &rotation).await });
        }
    }

    /// Tells the store until it has heard twice of every presentation that is remembered.
    async fn go_on(&self, store: &dyn Store, rotation: &RefreshRotation) {
        let mut heard = Vec::new();
        loop {
            tokio::time::sleep(AGAIN_IN).await;
            let untold = self.untold(&rotation.presented);
            if untold.is_empty() && self.remove(&rotation.presented, &[]) {
                return;
            }
            if !tell(store, rotation, &untold).await {
                continue;
            }
            heard.retain(|attempt| untold.contains(attempt));
            if self.remove(&rotation.presented, &heard) {
                return;
            }
            heard = untold;
        }
    }

    /// Tells whether the caller is the one who is to tell the store, which nobody else does yet.
    fn begins_telling(&self, presented: &Sha256Digest) -> bool {
        let mut tokens = self.tokens();
        let token = tokens.get_mut(presented).filter(|token| !token.is_being_told);
        token.map(|token| token.is_being_told = true).is_some()
    }

    /// Forgets presentations that the store has heard of; tells whether none of the token is left.
    fn remove(&self, presented: &Sha256Digest, heard: &[AttemptId]) -> bool {
        let mut tokens = self.tokens();
        let Some(token) = tokens.get_mut(presented) else {
            return true;
        };
        token.attempts.retain(|attempt| !heard.contains(attempt));
        let is_empty = token.attempts.is_empty();
        if is_empty {
            tokens.remove(presented);
        }
        is_empty
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Sha256Digest, Untold>> {
        // Each change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the store that nobody was told of presentations; tells whether it has heard it.
async fn tell(store: &dyn Store, rotation: &RefreshRotation, untold: &[AttemptId]) -> bool {
    let told = store.hold_refresh(&rotation.grant_id, &rotation.presented, untold).await;
    told.inspect_err(|error| {
        tracing::debug!(%error, "a refresh that nobody was told of is not held yet");
    })
    .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Rotated;
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

    /// Asserts that the successor is given again when the grace is over.
    async fn is_repeated_late(store: &AnyStore, rotation: &RefreshRotation) {
        let late = NOW.plus(shared::limits::REFRESH_GRACE_IN + 1);
        let repeated = store.rotate_refresh(rotation, late).await.unwrap();
        assert!(matches!(repeated, Rotated::Repeated { .. }), "{repeated:?}");
    }

    #[tokio::test]
    async fn the_last_presentations_of_a_token_are_remembered_until_somebody_is_told() {
        let (_store, party, _folder) = party().await;
        let holds = Holds::default();
        // One that is noted twice is there once.
        for attempt in (0..PRESENTATIONS + 5).chain([PRESENTATIONS]) {
            holds.note(&rotation(&party, attempt));
        }
        let presented = rotation(&party, 0).presented;
        let last: Vec<AttemptId> =
            (5..PRESENTATIONS + 5).map(|attempt| rotation(&party, attempt).attempt).collect();
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
        is_repeated_late(&store, &rotation(&party, 2)).await;
    }

    #[tokio::test]
    async fn of_two_that_are_noted_at_once_one_goes_on_and_both_are_taken_back() {
        let (store, party, _folder) = party().await;
        let holds = Holds::default();
        let both = [rotation(&party, 1), rotation(&party, 2)];
        for rotation in &both {
            holds.note(rotation);
        }
        for rotation in &both {
            holds.hold(&store, rotation, Outcome::Unknown).await;
        }
        assert!(!holds.begins_telling(&both[0].presented), "somebody does");
        for rotation in &both {
            store.rotate_refresh(rotation, NOW).await.unwrap();
        }
        // One more, of which the store has answered: it takes nothing from the others.
        let known = rotation(&party, 3);
        store.rotate_refresh(&known, NOW).await.unwrap();
        holds.hold(&store, &known, Outcome::Known).await;
        let left: Vec<_> = both.iter().map(|rotation| rotation.attempt).collect();
        assert_eq!(holds.untold(&known.presented), left);
        tokio::time::sleep(AGAIN_IN * 4).await;
        assert!(holds.untold(&known.presented).is_empty(), "the store has heard it");
        is_repeated_late(&store, &rotation(&party, 4)).await;
    }

    #[tokio::test]
    async fn one_more_than_are_remembered_is_told_to_a_store_that_can_be_reached() {
        let (store, party, _folder) = party().await;
        let holds = Holds::default();
        for token in 0..AT_ONCE {
            holds.note(&RefreshRotation {
                presented: Sha256Digest::of(&token.to_be_bytes()),
                ..rotation(&party, token)
            });
        }
        let one_more = rotation(&party, AT_ONCE);
        store.rotate_refresh(&one_more, NOW).await.unwrap();
        holds.hold(&store, &one_more, Outcome::Known).await;
        is_repeated_late(&store, &rotation(&party, 0)).await;
    }
}
