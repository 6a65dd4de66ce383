//! What the edge keeps of the origin's knowledge: clients and keys, in the isolate.
//!
//! Each kind lives in one slot. A value is *fresh* for a while; then it is still used, and renewed
//! behind the answer; then it is renewed first, and used only when the origin is away; in the end
//! it is not used at all. However many requests want a value, one loads it.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread::LocalKey;

use shared::client::{Client, ClientId};
use shared::endpoint::Endpoint;
use shared::jwk::JwkSet;
use shared::limits::{JWKS_FRESH_IN, JWKS_STALE_IN};
use worker::Context;

use crate::answer::Refusal;
use crate::config::Config;
use crate::origin::{self, Loaded};
use crate::platform;

/// Path of the client snapshot at the origin; the edge alone may ask for it.
const CLIENTS: &str = "/internal/clients";

/// How long nobody asks again after a load has failed, milliseconds.
const RETRY_IN_MS: u64 = 1_000;

/// How long one request's load keeps others from loading, milliseconds: a little longer than the
/// load itself may take, in case that request is gone.
const LOAD_IN_MS: u64 = 2_500;

/// How often a request looks whether another one's load is done, milliseconds.
const LOOK_AGAIN_IN_MS: i32 = 4;

/// How old a value may be, milliseconds, to be used …
pub(crate) struct Bounds {
    /// … as it is.
    fresh: u64,
    /// … while a new one is loaded behind the answer.
    renewed_behind: u64,
    /// … while the origin is away.
    stale: u64,
}

/// A kind of value that is kept.
pub(crate) trait Kept: Sized + 'static {
    /// How long it is used.
    const BOUNDS: Bounds;

    /// Returns the isolate's slot.
    fn slot() -> &'static LocalKey<RefCell<Slot<Self>>>;

    /// Loads the value; `None` when `known` is still the one.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    async fn load(config: &Config, known: Option<&Self>) -> Result<Option<Self>, Refusal>;
}

/// The registered clients.
pub(crate) struct Clients {
    clients: Vec<Client>,
    etag: Option<String>,
}

/// The public keys, and the bytes that they were published in.
pub(crate) struct Keys {
    /// The set.
    pub(crate) set: JwkSet,
    /// The set as the origin writes it.
    pub(crate) json: String,
}

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

impl Clients {
    /// Finds a client.
    pub(crate) fn find(&self, id: &ClientId) -> Option<&Client> {
        self.clients.iter().find(|client| client.client_id == *id)
    }

    /// Returns all of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter()
    }
}

impl Kept for Clients {
    /// A change is seen within 10 seconds. While the origin is away, nothing can be issued anyway;
    /// an hour lets requests still be refused, and told so, by what was last known.
    const BOUNDS: Bounds = Bounds { fresh: 5_000, renewed_behind: 10_000, stale: 3_600_000 };

    fn slot() -> &'static LocalKey<RefCell<Slot<Self>>> {
        thread_local!(static SLOT: RefCell<Slot<Clients>> = const { RefCell::new(Slot::EMPTY) });
        &SLOT
    }

    async fn load(config: &Config, known: Option<&Self>) -> Result<Option<Self>, Refusal> {
        #[derive(serde::Deserialize)]
        struct Snapshot {
            clients: Vec<Client>,
        }
        let etag = known.and_then(|known| known.etag.as_deref());
        match origin::load(config, CLIENTS, etag).await? {
            Loaded::NotModified => Ok(None),
            Loaded::Text { text, etag } => match serde_json::from_str::<Snapshot>(&text) {
                Ok(Snapshot { clients }) => Ok(Some(Self { clients, etag })),
                Err(error) => Err(unusable(CLIENTS, &error.to_string())),
            },
        }
    }
}

impl Kept for Keys {
    /// Renewed every minute, so that it is never older than [`JWKS_FRESH_IN`] while the origin is
    /// there.
    const BOUNDS: Bounds = Bounds {
        fresh: 60_000,
        renewed_behind: JWKS_FRESH_IN * 1_000,
        stale: JWKS_STALE_IN * 1_000,
    };

    fn slot() -> &'static LocalKey<RefCell<Slot<Self>>> {
        thread_local!(static SLOT: RefCell<Slot<Keys>> = const { RefCell::new(Slot::EMPTY) });
        &SLOT
    }

    async fn load(config: &Config, known: Option<&Self>) -> Result<Option<Self>, Refusal> {
        let path = Endpoint::Jwks.path();
        let Loaded::Text { text, .. } = origin::load(config, path, None).await? else {
            return Err(unusable(path, "nothing was known that could be unchanged"));
        };
        if known.is_some_and(|known| known.json == text) {
            return Ok(None);
        }
        match serde_json::from_str::<JwkSet>(&text) {
            Ok(set) if !set.keys.is_empty() => Ok(Some(Self { set, json: text })),
            Ok(_) => Err(unusable(path, "there is no key in it")),
            Err(error) => Err(unusable(path, &error.to_string())),
        }
    }
}

fn unusable(path: &str, why: &str) -> Refusal {
    platform::log(&format!("origin: GET {path}: the answer cannot be used: {why}"));
    Refusal::Unavailable
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
}

/// Returns the value, as new as its bounds want it.
///
/// # Errors
/// [`Refusal::Unavailable`] when there is none and the origin is away.
pub(crate) async fn current<T: Kept>(
    config: &Rc<Config>,
    context: &Context,
) -> Result<Rc<T>, Refusal> {
    let now = platform::now_ms();
    let (step, value) =
        T::slot().with_borrow(|slot| (slot.step(&T::BOUNDS, now), slot.usable(&T::BOUNDS, now)));
    match (step, value) {
        (Step::Use, Some(value)) => Ok(value),
        (Step::UseAndRenew, Some(value)) => {
            let config = Rc::clone(config);
            let idle = T::slot().with_borrow(|slot| {
                !slot.is_loading(now) && slot.failed_at.is_none_or(|at| now > at + RETRY_IN_MS)
            });
            if idle {
                context.wait_until(async move { drop(renew::<T>(&config, RETRY_IN_MS).await) });
            }
            Ok(value)
        }
        (_, value) => match renew::<T>(config, RETRY_IN_MS).await {
            Ok(renewed) => Ok(renewed),
            Err(refusal) => value.ok_or(refusal),
        },
    }
}

/// Returns how old the value is, seconds.
pub(crate) fn age_in<T: Kept>() -> u64 {
    let now = platform::now_ms();
    T::slot().with_borrow(|slot| slot.age(now) / 1_000)
}

/// Returns a value that was asked for within the last `period` milliseconds: asks the origin,
/// unless somebody has just done so.
///
/// A request never waits for another one's promise: the platform ties it to the other's life. It
/// looks at the slot again and again instead.
///
/// # Errors
/// [`Refusal::Unavailable`] when the last attempt failed.
pub(crate) async fn renew<T: Kept>(config: &Config, period: u64) -> Result<Rc<T>, Refusal> {
    loop {
        let now = platform::now_ms();
        let (is_loading, was_tried) =
            T::slot().with_borrow(|slot| (slot.is_loading(now), slot.was_tried(period, now)));
        if is_loading {
            platform::sleep(LOOK_AGAIN_IN_MS).await;
        } else if was_tried {
            return T::slot().with_borrow(|slot| match (&slot.value, slot.failed_at) {
                (Some(value), None) => Ok(Rc::clone(value)),
                _ => Err(Refusal::Unavailable),
            });
        } else {
            break;
        }
    }
    let known = T::slot().with_borrow_mut(|slot| {
        slot.loading_since = Some(platform::now_ms());
        slot.value.clone()
    });
    let loaded = T::load(config, known.as_deref()).await;
    let now = platform::now_ms();
    T::slot().with_borrow_mut(|slot| {
        slot.loading_since = None;
        match loaded {
            Ok(loaded) => {
                let value = loaded.map(Rc::new).or(known).ok_or(Refusal::Unavailable)?;
                slot.value = Some(Rc::clone(&value));
                slot.loaded_at = now;
                slot.failed_at = None;
                Ok(value)
            }
            Err(refusal) => {
                slot.failed_at = Some(now);
                Err(refusal)
            }
        }
    })
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
    fn the_bounds_are_those_of_the_documents() {
        assert_eq!(Keys::BOUNDS.renewed_behind, 300_000);
        assert_eq!(Keys::BOUNDS.stale, 86_400_000);
        assert_eq!(Clients::BOUNDS.renewed_behind, 10_000);
        assert_eq!(Clients::BOUNDS.stale, 3_600_000);
    }
}
