//! What an isolate knows of one value, and what is to be done for a request that wants it.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

/// How long nobody asks again after a load has failed, milliseconds.
const RETRY_IN_MS: u64 = 250;

/// How long after a failed load nobody waits for the next one who can do without, milliseconds: an
/// attempt that takes as long as it may, and the pause before it.
const FAILED_LATELY_MS: u64 = 3_000;

/// How long one request's load keeps others from loading, milliseconds: a little longer than the
/// load itself may take, in case the platform has ended it.
const LOAD_ENDS_IN_MS: u64 = 2_500;

/// How far the clocks of two requests, or of two isolates, are apart at most, milliseconds: the
/// platform lets a request's clock stand while it computes.
const CLOCKS_DIFFER_MS: u64 = 1_000;

/// Values of one kind that an isolate keeps at most; there are more only of status lists.
const SLOTS: usize = 256;

/// How old a value may be, milliseconds, to be used …
pub(crate) struct Bounds {
    /// … as it is.
    pub(super) fresh: u64,
    /// … while a new one is loaded behind the answer.
    pub(super) renewed_behind: u64,
    /// … while the origin is away.
    pub(super) stale: u64,
}

/// What the isolate knows of a value.
pub(crate) struct Slot<T> {
    pub(super) value: Option<Rc<T>>,
    pub(super) loaded_at: u64,
    pub(super) failed_at: Option<u64>,
    pub(super) loading_since: Option<u64>,
}

/// What to do for a request that wants a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Use,
    UseAndRenew,
    Renew,
}

/// Returns the milliseconds since a moment. One that is ahead was written before the clock was set
/// back: nobody knows how long ago that is, so it counts as for ever.
pub(super) fn since(at: u64, now: u64) -> u64 {
    match now.checked_sub(at) {
        Some(age) => age,
        None if at - now <= CLOCKS_DIFFER_MS => 0,
        None => u64::MAX,
    }
}

impl<T> Slot<T> {
    pub(super) const EMPTY: Self =
        Self { value: None, loaded_at: 0, failed_at: None, loading_since: None };

    pub(super) fn age(&self, now: u64) -> u64 {
        since(self.loaded_at, now)
    }

    /// Tells what to do. When a load has just failed, nobody waits for another while there is a
    /// value that may be used.
    pub(super) fn step(&self, bounds: &Bounds, now: u64) -> Step {
        match self.age(now) {
            _ if self.value.is_none() => Step::Renew,
            age if age < bounds.fresh => Step::Use,
            age if age < bounds.renewed_behind => Step::UseAndRenew,
            age if age < bounds.stale && self.has_failed_within(FAILED_LATELY_MS, now) => {
                Step::UseAndRenew
            }
            _ => Step::Renew,
        }
    }

    /// Returns the value while it may be used.
    pub(super) fn usable(&self, bounds: &Bounds, now: u64) -> Option<Rc<T>> {
        self.younger_than(bounds.stale, now)
    }

    /// Returns the value if it is younger than `period`.
    pub(super) fn younger_than(&self, period: u64, now: u64) -> Option<Rc<T>> {
        self.value.clone().filter(|_| self.age(now) < period)
    }

    pub(super) fn is_loading(&self, now: u64) -> bool {
        self.loading_since.is_some_and(|at| since(at, now) < LOAD_ENDS_IN_MS)
    }

    /// Tells whether the last load has failed so lately that nobody tries again.
    pub(super) fn has_just_failed(&self, now: u64) -> bool {
        self.has_failed_within(RETRY_IN_MS, now)
    }

    fn has_failed_within(&self, period: u64, now: u64) -> bool {
        self.failed_at.is_some_and(|at| since(at, now) < period)
    }
}

/// Makes room for one more slot, if need be: removes one without a value, or one whose value is
/// `expendable`, before one that somebody waits for, before the one that was loaded longest ago.
pub(super) fn make_room<K: Clone + Eq + Hash, T>(
    slots: &mut HashMap<K, Slot<T>>,
    now: u64,
    expendable: impl Fn(&T) -> bool,
) {
    if slots.len() < SLOTS {
        return;
    }
    let first = slots.iter().min_by_key(|(_, slot)| {
        let is_kept = slot.value.as_ref().is_some_and(|value| !expendable(value));
        (is_kept, slot.is_loading(now), slot.loaded_at)
    });
    if let Some(key) = first.map(|(key, _)| key.clone()) {
        slots.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { fresh: 5, renewed_behind: 10, stale: 10_000 };

    fn loaded_at(loaded_at: u64) -> Slot<u64> {
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
            (9_999, Step::Renew, true),
            (10_000, Step::Renew, false),
        ] {
            assert_eq!(slot.step(&BOUNDS, 1_000 + age), step, "{age}");
            assert_eq!(slot.usable(&BOUNDS, 1_000 + age).is_some(), usable, "{age}");
        }
        assert_eq!(Slot::<u64>::EMPTY.step(&BOUNDS, 0), Step::Renew);
    }

    #[test]
    fn nobody_waits_again_for_an_origin_that_was_just_away() {
        let away = Slot { failed_at: Some(5_000), ..loaded_at(1_000) };
        assert_eq!(away.step(&BOUNDS, 5_000 + FAILED_LATELY_MS - 1), Step::UseAndRenew);
        assert_eq!(away.step(&BOUNDS, 5_000 + FAILED_LATELY_MS), Step::Renew);
        let late = Slot { failed_at: Some(11_000), ..loaded_at(1_000) };
        assert_eq!(late.step(&BOUNDS, 11_001), Step::Renew, "too old to be used");
        assert!(late.has_just_failed(11_000 + RETRY_IN_MS - 1));
        assert!(!late.has_just_failed(11_000 + RETRY_IN_MS));
    }

    #[test]
    fn a_load_that_never_ends_keeps_nobody_waiting_for_long() {
        let slot = Slot { loading_since: Some(50), ..loaded_at(0) };
        assert!(slot.is_loading(50 + LOAD_ENDS_IN_MS - 1));
        assert!(!slot.is_loading(50 + LOAD_ENDS_IN_MS));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_fresh() {
        let ahead = CLOCKS_DIFFER_MS + 1;
        let slot = Slot {
            failed_at: Some(500 + ahead),
            loading_since: Some(500 + ahead),
            ..loaded_at(500 + ahead)
        };
        assert_eq!(slot.step(&BOUNDS, 500), Step::Renew);
        assert!(slot.usable(&BOUNDS, 500).is_none());
        assert!(!slot.is_loading(500) && !slot.has_just_failed(500));
        assert_eq!(slot.step(&BOUNDS, 501), Step::Use, "two clocks differ that much");
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_first_what_is_worth_least() {
        let full = || -> HashMap<u64, Slot<u64>> {
            (1..=SLOTS as u64).map(|at| (at, loaded_at(at))).collect()
        };
        let mut slots = full();
        make_room(&mut slots, 900, |_| false);
        assert!(slots.len() == SLOTS - 1 && !slots.contains_key(&1), "the oldest");
        make_room(&mut slots, 900, |_| false);
        assert_eq!(slots.len(), SLOTS - 1, "there is room");
        let mut slots = full();
        slots.insert(9, Slot { loading_since: Some(900), ..Slot::EMPTY });
        make_room(&mut slots, 900, |_| false);
        assert!(slots.contains_key(&1) && !slots.contains_key(&9), "one that has no value");
        let mut slots = full();
        slots.insert(9, Slot { value: Some(Rc::new(0)), ..loaded_at(900) });
        make_room(&mut slots, 900, |value| *value == 0);
        assert!(slots.contains_key(&1) && !slots.contains_key(&9), "one whose value says nothing");
        for (now, first) in [(900, 9), (900 + LOAD_ENDS_IN_MS, 8)] {
            let mut slots = full();
            slots.insert(8, Slot { loading_since: Some(900), ..Slot::EMPTY });
            slots.insert(9, Slot { value: Some(Rc::new(0)), ..loaded_at(900) });
            make_room(&mut slots, now, |value| *value == 0);
            assert!(!slots.contains_key(&first), "somebody waits for 8, but not for ever: {now}");
            assert_eq!(slots.len(), SLOTS - 1);
        }
    }
}
