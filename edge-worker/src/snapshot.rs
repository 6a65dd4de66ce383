//! What the edge keeps of the origin's knowledge: clients, keys and status lists.
//!
//! Each value lives in a slot of the isolate, and a copy of it in the platform's cache, where the
//! other isolates of the same place find it. A value is *fresh* for a while; then it is still used,
//! and renewed behind the answer; then it is renewed first, and used only when the origin is away;
//! in the end it is not used at all. However many requests want a value, one loads it; and the load
//! goes on when that one is given up.

mod cache;
mod clients;
mod keys;
mod slot;
mod status_list;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;
use std::thread::LocalKey;

use js_sys::{Array, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

pub(crate) use clients::Clients;
pub(crate) use keys::{Keys, NotVerified, signed_by_issuer};
pub(crate) use status_list::PublishedList;

use crate::answer::Refusal;
use crate::origin::{self, Loaded};
use crate::snapshot::slot::{Bounds, Slot, Step};
use crate::{Edge, platform};

/// How often a request looks whether another one's load is done, milliseconds.
const LOOK_AGAIN_IN_MS: i32 = 4;

/// How long one request waits for values in all, milliseconds: as long as one load may take, so that
/// there is time left to forward it.
const LOADS_IN_MS: u32 = 2_000;

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

/// Looks at the slot of a key, which is empty if there is none.
fn look<T: Kept, R>(key: &T::Key, look: impl FnOnce(&Slot<T>) -> R) -> R {
    T::slots().with_borrow(|slots| look(slots.get(key).unwrap_or(&Slot::EMPTY)))
}

/// Changes the slot of a key; makes room for it if need be.
fn change<T: Kept, R>(key: &T::Key, change: impl FnOnce(&mut Slot<T>) -> R) -> R {
    T::slots().with_borrow_mut(|slots| {
        if !slots.contains_key(key) {
            let now = platform::now_ms();
            slot::make_room(slots, now, |value| *value.written() == Written::Gone);
        }
        change(slots.entry(key.clone()).or_insert(Slot::EMPTY))
    })
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
            if look::<T, _>(key, |slot| !slot.is_loading(now) && !slot.has_just_failed(now)) {
                drop(begin_load::<T>(edge, key, T::BOUNDS.fresh));
            }
            Ok(value)
        }
        _ => match renew::<T>(edge, key, T::BOUNDS.renewed_behind).await {
            Ok(renewed) => Ok(renewed),
            Err(refusal) => {
                let now = platform::now_ms();
                look::<T, _>(key, |slot| slot.usable(&T::BOUNDS, now)).ok_or(refusal)
            }
        },
    }
}

/// Tells whether the isolate has a value, however old, and not that there is none.
pub(crate) fn holds<T: Kept>(key: &T::Key) -> bool {
    look::<T, _>(key, |slot| {
        slot.value.as_ref().is_some_and(|value| *value.written() != Written::Gone)
    })
}

/// Returns how old the value is, seconds.
pub(crate) fn age_in<T: Kept>(key: &T::Key) -> u64 {
    let now = platform::now_ms();
    look::<T, _>(key, |slot| slot.age(now) / 1_000)
}

/// Returns a value that was asked for within the last `period` milliseconds: one that is here,
/// else a copy, else what the origin says now.
///
/// A request never waits for another one's promise: the platform ties it to the other's life. It
/// looks at the slot again and again instead.
///
/// # Errors
/// [`Refusal::Unavailable`] when the origin has just been away, or is, or this request has waited
/// [`LOADS_IN_MS`] for one value or another.
pub(crate) async fn renew<T: Kept>(
    edge: &Edge,
    key: &T::Key,
    period: u64,
) -> Result<Rc<T>, Refusal> {
    loop {
        let now = platform::now_ms();
        let (is_loading, has_failed, value) = look::<T, _>(key, |slot| {
            (slot.is_loading(now), slot.has_just_failed(now), slot.younger_than(period, now))
        });
        match value {
            Some(value) => return Ok(value),
            None if is_loading && edge.left_of(LOADS_IN_MS) == 0 => {
                return Err(Refusal::Unavailable);
            }
            None if is_loading => platform::sleep(LOOK_AGAIN_IN_MS).await,
            None if has_failed => return Err(Refusal::Unavailable),
            None => break,
        }
    }
    let load = begin_load::<T>(edge, key, period);
    let left = i32::try_from(edge.left_of(LOADS_IN_MS)).unwrap_or(i32::MAX);
    let first = Array::of2(&load, &platform::timer(left));
    drop(JsFuture::from(Promise::race(&first)).await);
    // What this request has asked for is as new as it wants it, however long that took.
    look::<T, _>(key, |slot| match (slot.failed_at, slot.loading_since) {
        (None, None) => slot.value.clone().ok_or(Refusal::Unavailable),
        _ => Err(Refusal::Unavailable),
    })
}

/// Begins to load a value; the promise is kept when the slot has it, or has not got it.
///
/// The load is the platform's to finish: it goes on when the request is answered or given up.
fn begin_load<T: Kept>(edge: &Edge, key: &T::Key, period: u64) -> Promise {
    let known = change::<T, _>(key, |slot| {
        slot.loading_since = Some(platform::now_ms());
        slot.value.clone()
    });
    let (behind, key) = (edge.clone(), key.clone());
    let done = future_to_promise(async move {
        let outcome = load::<T>(&behind, &key, known, period).await;
        let copied = change::<T, _>(&key, |slot| settle(slot, outcome, platform::now_ms()));
        if let Some((value, loaded_at)) = copied {
            let (path, written) = (T::path(&key), value.written());
            let (copying, written) = (behind.clone(), written.clone());
            behind.context.wait_until(async move {
                cache::put(&copying, &path, &written, loaded_at, T::BOUNDS.stale).await;
            });
        }
        Ok(JsValue::UNDEFINED)
    });
    let ends = done.clone();
    edge.context.wait_until(async move { drop(JsFuture::from(ends).await) });
    done
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
    /// The origin is away; an older copy, if there is one that is newer than what was known.
    Failed { copy: Option<(T, u64)> },
}

/// Writes down what became of a load; returns what is to be copied for other isolates.
fn settle<T>(slot: &mut Slot<T>, outcome: Outcome<T>, now: u64) -> Option<(Rc<T>, u64)> {
    slot.loading_since = None;
    match outcome {
        Outcome::Loaded { value, loaded_at, is_copy } => {
            slot.value = Some(Rc::clone(&value));
            slot.loaded_at = loaded_at;
            slot.failed_at = None;
            (!is_copy).then_some((value, loaded_at))
        }
        Outcome::Failed { copy } => {
            slot.failed_at = Some(now);
            if let Some((value, loaded_at)) = copy {
                slot.value = Some(Rc::new(value));
                slot.loaded_at = loaded_at;
            }
            None
        }
    }
}

/// Loads a value: a copy that is newer than what is known and than `period`, else the origin's.
async fn load<T: Kept>(edge: &Edge, key: &T::Key, known: Option<Rc<T>>, period: u64) -> Outcome<T> {
    let path = T::path(key);
    let began = platform::now_ms();
    let age = look::<T, _>(key, |slot| slot.age(began));
    let copy = cache::get(edge, &path).await;
    let copy = copy.filter(|copy| known.is_none() || slot::since(copy.loaded_at, began) < age);
    let mut older = None;
    if let Some(copy) = copy
        && let Ok(value) = T::read(edge, key, &copy.written).await
    {
        if slot::since(copy.loaded_at, began) < period {
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

    #[test]
    fn the_bounds_are_those_of_the_documents() {
        assert_eq!((Keys::BOUNDS.fresh, Keys::BOUNDS.renewed_behind), (10_000, 30_000));
        assert_eq!(Keys::BOUNDS.stale, 86_400_000);
        assert_eq!(Clients::BOUNDS.renewed_behind, 10_000);
        assert_eq!(Clients::BOUNDS.stale, 3_600_000);
        assert_eq!(PublishedList::BOUNDS.renewed_behind, 5_000);
        assert_eq!(PublishedList::BOUNDS.stale, 15_000);
    }

    #[test]
    fn a_newer_copy_is_taken_even_when_the_origin_is_away() {
        let mut slot = Slot { value: Some(Rc::new(1)), loaded_at: 10, ..Slot::EMPTY };
        assert!(settle(&mut slot, Outcome::Failed { copy: Some((2, 20)) }, 30).is_none());
        assert_eq!((slot.value.as_deref(), slot.loaded_at), (Some(&2), 20));
        assert_eq!(slot.failed_at, Some(30));
        assert!(settle(&mut slot, Outcome::Failed { copy: None }, 40).is_none());
        assert_eq!(slot.value.as_deref(), Some(&2), "what is known stays");
        let value = Rc::new(3);
        let outcome = Outcome::Loaded { value, loaded_at: 50, is_copy: false };
        assert!(settle(&mut slot, outcome, 60).is_some(), "others want it too");
        assert_eq!(slot.failed_at, None);
    }
}
