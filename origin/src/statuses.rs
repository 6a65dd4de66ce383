//! Places in status lists for access tokens that are about to be minted: reserved in blocks ahead
//! of need, handed out shuffled.
//!
//! Reserving ahead means that issuing a token seldom costs a round trip of its own. The store may
//! come back without the lists, though, and a token of a list that is gone is refused. So the lists
//! are looked for once a second, and whenever a code or a password begins a grant: after a store
//! came back empty no grant is left, and one has to begin before anything else can be issued. (Where
//! one process issues the code and another redeems it, both in the second in which the store came
//! back, that one token is refused by status, and its refresh is good.) The order inside a
//! block is random, so that the place of a token does not tell when it was issued, or how many
//! were (draft-ietf-oauth-status-list §12.4, §12.5).

use std::sync::{Arc, Mutex, PoisonError};

use shared::limits::{STATUS_BLOCK_LEN, STATUS_BLOCK_USED_IN};
use shared::status_list::{StatusIndex, StatusListId};
use shared::time::UnixTime;

use crate::clock;
use crate::store::{StatusBlock, Store, StoreError};

/// How many places are left when the next block is reserved.
const RESERVE_AT: usize = STATUS_BLOCK_LEN as usize / 4;

/// Places in status lists, reserved for this process.
pub struct Statuses {
    store: Arc<dyn Store>,
    places: Mutex<Places>,
    /// Held by whoever reserves.
    reserving: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Places {
    /// In the order in which they are handed out, from the end.
    free: Vec<StatusIndex>,
    /// When the oldest of them was reserved.
    reserved_at: UnixTime,
    /// The second in which their lists were last found to be there.
    confirmed_at: Option<UnixTime>,
}

/// What taking a place has found.
enum Taken {
    /// One, and enough are left.
    Enough(StatusIndex),
    /// One, and it is time for the next block.
    Few(StatusIndex),
    /// None.
    None,
}

impl Statuses {
    /// Makes an empty supply over a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, places: Mutex::default(), reserving: tokio::sync::Mutex::default() }
    }

    /// Takes a place that no other token has, in a list that was there in the second `now`.
    ///
    /// Does NOT see a list go within that second: see [`Self::confirm`].
    ///
    /// # Errors
    /// When the store does not tell whether the list is there, or none is left and none can be
    /// reserved.
    pub async fn take(self: &Arc<Self>, now: UnixTime) -> Result<StatusIndex, StoreError> {
        if self.places().confirmed_at != Some(now) {
            self.confirm(now).await?;
        }
        self.take_any(now).await
    }

    async fn take_any(self: &Arc<Self>, now: UnixTime) -> Result<StatusIndex, StoreError> {
        match self.try_take(now) {
            Taken::Enough(place) => return Ok(place),
            Taken::Few(place) => {
                let statuses = self.clone();
                tokio::spawn(async move { statuses.reserve_ahead(now).await });
                return Ok(place);
            }
            Taken::None => {}
        }
        let _reserving = self.reserving.lock().await;
        loop {
            // Somebody else may have reserved meanwhile.
            if let Taken::Enough(place) | Taken::Few(place) = self.try_take(now) {
                return Ok(place);
            }
            self.reserve(now).await?;
        }
    }

    /// Gives up the places in lists that the store does not have (any more); always takes a round
    /// trip. It is for who begins a grant that more than a round trip has been spent on already.
    ///
    /// # Errors
    /// When the store does not tell.
    pub async fn confirm(&self, now: UnixTime) -> Result<(), StoreError> {
        let mut lists: Vec<_> = self.places().free.iter().map(|place| place.list).collect();
        // A block is of one list, and at most two blocks are held.
        lists.dedup();
        for list in lists {
            if !self.store.has_status_list(&list, now).await? {
                self.places().free.retain(|place| place.list != list);
            }
        }
        self.places().confirmed_at = Some(now);
        Ok(())
    }

    /// Reserves a block, unless somebody is doing so. A failure shows when the last place is gone.
    async fn reserve_ahead(&self, now: UnixTime) {
        if let Ok(_reserving) = self.reserving.try_lock() {
            let _ = self.reserve(now).await;
        }
    }

    async fn reserve(&self, now: UnixTime) -> Result<(), StoreError> {
        let new = StatusListId::from_bytes(clock::random());
        let StatusBlock { list, first } = self.store.reserve_statuses(&new, now).await?;
        let order = shuffled(&clock::random());
        let mut places = self.places();
        if places.free.is_empty() {
            places.reserved_at = now;
        }
        // In front of those that are left, which go first.
        let new = order.into_iter().map(|at| StatusIndex { list, idx: first + at });
        places.free.splice(..0, new);
        Ok(())
    }

    fn try_take(&self, now: UnixTime) -> Taken {
        let mut places = self.places();
        if now.since(places.reserved_at) >= STATUS_BLOCK_USED_IN {
            // Their list may be gone before their tokens are.
            places.free.clear();
        }
        match places.free.pop() {
            Some(place) if places.free.len() == RESERVE_AT => Taken::Few(place),
            Some(place) => Taken::Enough(place),
            None => Taken::None,
        }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Statuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Statuses {{ {} left }}", self.places().free.len())
    }
}

/// Shuffles the numbers of a block (Fisher and Yates). Four random bytes choose among at most a
/// thousand, which favors none by more than a millionth.
fn shuffled(random: &[u8; 4 * STATUS_BLOCK_LEN as usize]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..STATUS_BLOCK_LEN).collect();
    let (draws, _) = random.as_chunks::<4>();
    for (at, draw) in draws.iter().enumerate().skip(1) {
        let choices = at as u64 + 1;
        let chosen = (u64::from(u32::from_le_bytes(*draw)) * choices) >> 32;
        order.swap(at, usize::try_from(chosen).unwrap_or(at));
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::store::embedded::Embedded;

    const NOW: UnixTime = UnixTime::from_secs(2_000_000_000);

    async fn statuses() -> (Arc<Statuses>, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(&directory.path().join("store.db")).await.unwrap();
        (Arc::new(Statuses::new(Arc::new(store))), directory)
    }

    #[tokio::test]
    async fn no_place_is_handed_out_twice() {
        let (statuses, _directory) = statuses().await;
        let mut seen = HashSet::new();
        for _ in 0..3 * STATUS_BLOCK_LEN {
            assert!(seen.insert(statuses.take(NOW).await.unwrap()));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nor_to_many_at_once() {
        let (statuses, _directory) = statuses().await;
        let takers: Vec<_> = (0..20)
            .map(|_| {
                let statuses = statuses.clone();
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    for _ in 0..200 {
                        taken.push(statuses.take(NOW).await.unwrap());
                    }
                    taken
                })
            })
            .collect();
        let mut seen = HashSet::new();
        for taker in takers {
            for place in taker.await.unwrap() {
                assert!(seen.insert(place));
            }
        }
    }

    #[tokio::test]
    async fn old_places_are_not_handed_out() {
        let (statuses, _directory) = statuses().await;
        let place = statuses.take(NOW).await.unwrap();
        let last = statuses.take(NOW.plus(STATUS_BLOCK_USED_IN - 1)).await.unwrap();
        assert_eq!(last.idx / STATUS_BLOCK_LEN, place.idx / STATUS_BLOCK_LEN);
        let late = statuses.take(NOW.plus(STATUS_BLOCK_USED_IN)).await.unwrap();
        assert_ne!(late.idx / STATUS_BLOCK_LEN, place.idx / STATUS_BLOCK_LEN);
    }

    #[tokio::test]
    async fn places_in_a_list_that_was_forgotten_are_not_handed_out() {
        let (before, _directory) = statuses().await;
        let forgotten = before.take(NOW).await.unwrap().list;
        for way in ["a second later", "for a new grant"] {
            // A supply whose store has never had these lists.
            let (after, _directory) = statuses().await;
            after.places().clone_from(&before.places());
            let place = if way == "a second later" {
                after.take(NOW.plus(1)).await.unwrap()
            } else {
                after.confirm(NOW).await.unwrap();
                after.take(NOW).await.unwrap()
            };
            assert_ne!(place.list, forgotten, "{way}");
            let next = after.take(NOW.plus(2)).await.unwrap();
            assert_eq!(next.list, place.list, "this one is there");
        }
    }

    #[tokio::test]
    async fn of_two_lists_the_one_that_is_there_is_kept() {
        let (before, _directory) = statuses().await;
        let forgotten = before.take(NOW).await.unwrap();
        let (after, _directory) = statuses().await;
        let kept = after.take(NOW).await.unwrap().list;
        after.places().free.push(forgotten);
        assert_eq!(after.take(NOW.plus(1)).await.unwrap().list, kept);
        after.places().free.insert(0, forgotten);
        after.take(NOW.plus(2)).await.unwrap();
        assert!(after.places().free.iter().all(|place| place.list == kept));
    }

    #[test]
    fn a_shuffle_keeps_all_and_its_order_is_not_theirs() {
        let order = shuffled(&clock::random());
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..STATUS_BLOCK_LEN));
        let in_place = (0..).zip(&order).filter(|(at, it)| at == *it).count();
        assert!(in_place < 20, "{in_place}");
    }
}
