//! What the edge keeps of the origin's knowledge: clients, keys and status lists.
//!
//! Each value lives in a slot of the isolate, and a copy of it in the platform's cache, where the
//! other isolates of the same place find it. A value is *fresh* for a while; then it is still used,
//! and renewed behind the answer; then it is renewed first, and used only when the origin is away;
//! in the end it is not used at all. However many requests want a value, one loads it.

mod cache;
mod clients;
mod keys;
mod status_list;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;
use std::thread::LocalKey;

pub(crate) use clients::Clients;
pub(crate) use keys::Keys;
pub(crate) use status_list::PublishedList;

use crate::answer::Refusal;
use crate::origin::{self, Loaded};
use crate::{Edge, platform};

/// How long nobody asks again after a load has failed, milliseconds.
const RETRY_IN_MS: u64 = 250;

/// How long one request's load keeps others from loading, milliseconds: a little longer than the
/// load itself may take, in case that request is gone.
const LOAD_IN_MS: u64 = 2_500;

/// How often a request looks whether another one's load is done, milliseconds.
const LOOK_AGAIN_IN_MS: i32 = 4;

/// Values of one kind that an isolate keeps at most; there are more only of status lists.
const SLOTS: usize = 256;

/// How old a value may be, milliseconds, to be used …
pub(crate) struct Bounds {
    /// … as it is.
    fresh: u64,
    /// … while a new one is loaded behind the answer.
    renewed_behind: u64,
    /// … while the origin is away.
    stale: u64,
}

/// A value as the origin wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Text, and its `ETag`.
    Text {
        /// The text.
        text: String,
        /// The tag, if there is one.
        etag: Option<String>,
    },
    /// The origin has no such value, or none any more.
    Gone,
}

/// A kind of value that is kept.
pub(crate) trait Kept: Sized + 'static {
    /// Tells the values of the kind apart.
    type Key: Clone + Eq + Hash + 'static;

    /// How long a value is used.
    const BOUNDS: Bounds;

    /// Returns the isolate's slots.
    fn slots() -> &'static LocalKey<RefCell<Slots<Self>>>;

    /// Returns the path of a value at the origin.
    fn path(key: &Self::Key) -> String;

    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it.
    async fn read(edge: &Edge, key: &Self::Key, written: &Written) -> Result<Self, Unreadable>;

    /// Returns the value as the origin wrote it.
    fn written(&self) -> &Written;
}

/// Why what the origin wrote is no value.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It is not in the right form.
    Malformed(String),
    /// What it takes to read it is away.
    Unavailable,
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The isolate's values of one kind.
pub(crate) type Slots<T> = HashMap<<T as Kept>::Key, Slot<T>>;

/// What the isolate knows of a value.
pub(crate) struct Slot<T> {
    value: Option<Rc<T>>,
    loaded_at: u64,
    failed_at: Option<u64>,
    loading_since: Option<u64>,
}

/// What to do for a request that wants a value.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Use,
    UseAndRenew,
    Renew,
}

impl<T> Slot<T> {
    const EMPTY: Self = Self { value: None, loaded_at: 0, failed_at: None, loading_since: None };

    fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.loaded_at)
    }

    fn step(&self, bounds: &Bounds, now: u64) -> Step {
        match self.age(now) {
            _ if self.value.is_none() => Step::Renew,
            age if age < bounds.fresh => Step::Use,
            age if age < bounds.renewed_behind => Step::UseAndRenew,
            _ => Step::Renew,
        }
    }

    fn usable(&self, bounds: &Bounds, now: u64) -> Option<Rc<T>> {
        self.value.clone().filter(|_| self.age(now) < bounds.stale)
    }

    fn is_loading(&self, now: u64) -> bool {
        self.loading_since.is_some_and(|since| now.saturating_sub(since) < LOAD_IN_MS)
    }

    /// Tells whether the value was asked for within `period`, in vain or not.
    fn was_tried(&self, period: u64, now: u64) -> bool {
        let failed = self.failed_at.is_some_and(|at| now.saturating_sub(at) < period);
        failed || (self.value.is_some() && self.age(now) < period)
    }

    /// Tells whether a load behind an answer may begin.
    fn is_idle(&self, now: u64) -> bool {
        !self.is_loading(now) && self.failed_at.is_none_or(|at| now > at + RETRY_IN_MS)
    }
}

/// Looks at the slot of a key, which is empty if there is none.
fn look<T: Kept, R>(key: &T::Key, look: impl FnOnce(&Slot<T>) -> R) -> R {
    T::slots().with_borrow(|slots| look(slots.get(key).unwrap_or(&Slot::EMPTY)))
}

/// Changes the slot of a key; makes room for it if need be.
fn change<T: Kept, R>(key: &T::Key, change: impl FnOnce(&mut Slot<T>) -> R) -> R {
    T::slots().with_borrow_mut(|slots| {
        if slots.len() >= SLOTS && !slots.contains_key(key) {
            make_room(slots);
        }
        change(slots.entry(key.clone()).or_insert(Slot::EMPTY))
    })
}

/// Removes the slot that was loaded longest ago.
fn make_room<K: Clone + Eq + Hash, T>(slots: &mut HashMap<K, Slot<T>>) {
    let oldest = slots.iter().min_by_key(|(_, slot)| slot.loaded_at);
    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
        slots.remove(&key);
    }
}

/// Returns the value, as new as its bounds want it.
///
/// # Errors
/// [`Refusal::Unavailable`] when there is none and the origin is away.
pub(crate) async fn current<T: Kept>(edge: &Edge, key: &T::Key) -> Result<Rc<T>, Refusal> {
    let now = platform::now_ms();
    let (step, value) =
        look::<T, _>(key, |slot| (slot.step(&T::BOUNDS, now), slot.usable(&T::BOUNDS, now)));
    match (step, value) {
        (Step::Use, Some(value)) => Ok(value),
        (Step::UseAndRenew, Some(value)) => {
            if look::<T, _>(key, |slot| slot.is_idle(now)) {
                let (behind, key) = (edge.clone(), key.clone());
                edge.context.wait_until(async move {
                    drop(renew::<T>(&behind, &key, RETRY_IN_MS).await);
                });
            }
            Ok(value)
        }
        _ => match renew::<T>(edge, key, RETRY_IN_MS).await {
            Ok(renewed) => Ok(renewed),
            Err(refusal) => {
                let now = platform::now_ms();
                look::<T, _>(key, |slot| slot.usable(&T::BOUNDS, now)).ok_or(refusal)
            }
        },
    }
}

/// Returns how old the value is, seconds.
pub(crate) fn age_in<T: Kept>(key: &T::Key) -> u64 {
    let now = platform::now_ms();
    look::<T, _>(key, |slot| slot.age(now) / 1_000)
}

/// Returns a value that was asked for within the last `period` milliseconds: looks for a copy that
/// is as new, then asks the origin, unless somebody has just done so.
///
/// A request never waits for another one's promise: the platform ties it to the other's life. It
/// looks at the slot again and again instead.
///
/// # Errors
/// [`Refusal::Unavailable`] when the last attempt failed.
pub(crate) async fn renew<T: Kept>(
    edge: &Edge,
    key: &T::Key,
    period: u64,
) -> Result<Rc<T>, Refusal> {
    loop {
        let now = platform::now_ms();
        let (is_loading, was_tried) =
            look::<T, _>(key, |slot| (slot.is_loading(now), slot.was_tried(period, now)));
        if is_loading {
            platform::sleep(LOOK_AGAIN_IN_MS).await;
        } else if was_tried {
            return look::<T, _>(key, |slot| match (&slot.value, slot.failed_at) {
                (Some(value), None) => Ok(Rc::clone(value)),
                _ => Err(Refusal::Unavailable),
            });
        } else {
            break;
        }
    }
    let known = change::<T, _>(key, |slot| {
        slot.loading_since = Some(platform::now_ms());
        slot.value.clone()
    });
    let outcome = load::<T>(edge, key, known, period).await;
    let now = platform::now_ms();
    let (answer, copied) = change::<T, _>(key, |slot| {
        slot.loading_since = None;
        match outcome {
            Outcome::Loaded { value, loaded_at, is_copy } => {
                slot.value = Some(Rc::clone(&value));
                slot.loaded_at = loaded_at;
                slot.failed_at = None;
                (Ok(Rc::clone(&value)), (!is_copy).then_some((value, loaded_at)))
            }
            Outcome::Failed { copy } => {
                slot.failed_at = Some(now);
                if let Some((value, loaded_at)) = copy.filter(|_| slot.value.is_none()) {
                    slot.value = Some(Rc::new(value));
                    slot.loaded_at = loaded_at;
                }
                (Err(Refusal::Unavailable), None)
            }
        }
    });
    if let Some((value, loaded_at)) = copied {
        cache::put(edge, &T::path(key), value.written(), loaded_at, T::BOUNDS.stale).await;
    }
    answer
}

/// What became of a load.
enum Outcome<T> {
    /// There is a value, and the moment for which it stands.
    Loaded {
        value: Rc<T>,
        loaded_at: u64,
        /// Whether it came from the platform's cache.
        is_copy: bool,
    },
    /// The origin is away; an older copy, if there is one.
    Failed { copy: Option<(T, u64)> },
}

/// Loads a value: a copy that is newer than what is known and than `period`, else the origin's.
async fn load<T: Kept>(edge: &Edge, key: &T::Key, known: Option<Rc<T>>, period: u64) -> Outcome<T> {
    let path = T::path(key);
    let began = platform::now_ms();
    let copy = cache::get(edge, &path).await;
    let loaded_at = look::<T, _>(key, |slot| slot.loaded_at);
    let copy = copy.filter(|copy| known.is_none() || copy.loaded_at > loaded_at);
    let mut older = None;
    if let Some(copy) = copy
        && let Ok(value) = T::read(edge, key, &copy.written).await
    {
        if began.saturating_sub(copy.loaded_at) < period.min(T::BOUNDS.fresh) {
            return Outcome::Loaded {
                value: Rc::new(value),
                loaded_at: copy.loaded_at,
                is_copy: true,
            };
        }
        older = Some((value, copy.loaded_at));
    }
    let before = older.as_ref().map(|(value, _)| value).or(known.as_deref());
    let etag = match before.map(Kept::written) {
        Some(Written::Text { etag, .. }) => etag.as_deref(),
        _ => None,
    };
    let loaded = |value| Outcome::Loaded { value, loaded_at: began, is_copy: false };
    let written = match origin::load(&edge.config, &path, etag).await {
        Ok(Loaded::Written(written)) => written,
        Ok(Loaded::NotModified) => {
            return match older.map(|(value, _)| Rc::new(value)).or(known) {
                Some(value) => loaded(value),
                None => Outcome::Failed { copy: None },
            };
        }
        Err(_) => return Outcome::Failed { copy: older },
    };
    match T::read(edge, key, &written).await {
        Ok(value) => loaded(Rc::new(value)),
        Err(unreadable) => {
            if let Unreadable::Malformed(why) = unreadable {
                platform::log(&format!("origin: GET {path}: the answer cannot be used: {why}"));
            }
            Outcome::Failed { copy: older }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { fresh: 5, renewed_behind: 10, stale: 100 };

    fn loaded_at(loaded_at: u64) -> Slot<u8> {
        Slot { value: Some(Rc::new(7)), loaded_at, ..Slot::EMPTY }
    }

    #[test]
    fn a_value_is_used_then_renewed_behind_then_renewed_first_then_not_at_all() {
        let slot = loaded_at(1_000);
        for (age, step, usable) in [
            (0, Step::Use, true),
            (4, Step::Use, true),
            (5, Step::UseAndRenew, true),
            (9, Step::UseAndRenew, true),
            (10, Step::Renew, true),
            (99, Step::Renew, true),
            (100, Step::Renew, false),
        ] {
            assert_eq!(slot.step(&BOUNDS, 1_000 + age), step, "{age}");
            assert_eq!(slot.usable(&BOUNDS, 1_000 + age).is_some(), usable, "{age}");
        }
        assert_eq!(Slot::<u8>::EMPTY.step(&BOUNDS, 0), Step::Renew);
    }

    #[test]
    fn a_load_that_never_ends_keeps_nobody_waiting_for_long() {
        let slot = Slot { loading_since: Some(50), ..loaded_at(0) };
        assert!(slot.is_loading(50 + LOAD_IN_MS - 1));
        assert!(!slot.is_loading(50 + LOAD_IN_MS));
    }

    #[test]
    fn an_attempt_counts_in_vain_or_not() {
        assert!(loaded_at(10).was_tried(5, 14));
        assert!(!loaded_at(10).was_tried(5, 15));
        assert!(Slot { failed_at: Some(20), ..loaded_at(10) }.was_tried(5, 24));
        assert!(!Slot::<u8>::EMPTY.was_tried(5, 3), "nothing was ever loaded");
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_was_loaded_longest_ago() {
        let mut slots: HashMap<u64, Slot<u8>> = (1..=3).map(|at| (at, loaded_at(at))).collect();
        make_room(&mut slots);
        assert!(slots.len() == 2 && !slots.contains_key(&1));
        make_room(&mut HashMap::<u64, Slot<u8>>::new());
    }

    #[test]
    fn the_bounds_are_those_of_the_documents() {
        assert_eq!(Keys::BOUNDS.renewed_behind, 300_000);
        assert_eq!(Keys::BOUNDS.stale, 86_400_000);
        assert_eq!(Clients::BOUNDS.renewed_behind, 10_000);
        assert_eq!(Clients::BOUNDS.stale, 3_600_000);
        assert_eq!(PublishedList::BOUNDS.renewed_behind, 5_000);
        assert_eq!(PublishedList::BOUNDS.stale, 15_000);
    }
}
