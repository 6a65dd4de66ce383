//! The circuit breaker of one server: whoever is away is not asked by everybody.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open it, when they come within [`WITHIN`].
const FAILURES: usize = 5;

/// See [`FAILURES`].
const WITHIN: Duration = Duration::from_secs(1);

/// While it is open, one request in this time is let through, to see whether the server is back.
pub(super) const PROBE_EVERY: Duration = Duration::from_millis(250);

/// What a [`Breaker`] has just become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// Requests are refused from now on, but for the probes.
    Open,
    /// Requests are let through again.
    Closed,
}

/// Opens after [`FAILURES`] failures in a row within [`WITHIN`], and closes with the first success.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failed_at: VecDeque<Instant>,
    /// While it is open: when the next request is let through.
    probe_at: Option<Instant>,
}

impl Breaker {
    /// Tells whether a request may be sent now. Of those that come while it is open, one in
    /// [`PROBE_EVERY`] may: the others would wait for nothing.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.probe_at {
            None => true,
            Some(at) if now < at => false,
            Some(_) => {
                state.probe_at = Some(now + PROBE_EVERY);
                true
            }
        }
    }

    /// Notes that the server has answered.
    pub(super) fn succeeded(&self) -> Option<Turned> {
        let mut state = self.state();
        state.failed_at.clear();
        state.probe_at.take().map(|_| Turned::Closed)
    }

    /// Notes that the server has not answered, or not as one that serves.
    pub(super) fn failed(&self, now: Instant) -> Option<Turned> {
        let mut state = self.state();
        if state.probe_at.is_some() {
            return None;
        }
        state.failed_at.push_back(now);
        while state.failed_at.front().is_some_and(|at| now.saturating_duration_since(*at) > WITHIN)
        {
            state.failed_at.pop_front();
        }
        if state.failed_at.len() < FAILURES {
            return None;
        }
        state.probe_at = Some(now + PROBE_EVERY);
        Some(Turned::Open)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nobody panics with it in hand, and if somebody did, every state is a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_within_a_second_open_it() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let ms = |ms| start + Duration::from_millis(ms);
        for at in [0, 100, 200, 300] {
            assert_eq!(breaker.failed(ms(at)), None);
        }
        assert_eq!(breaker.succeeded(), None, "it was not open");
        for at in [400, 900, 1_000, 1_100] {
            assert_eq!(breaker.failed(ms(at)), None);
        }
        // The one of 400 ms is more than a second ago.
        assert_eq!(breaker.failed(ms(1_401)), None);
        assert!(breaker.admits(ms(1_401)));
        assert_eq!(breaker.failed(ms(1_402)), Some(Turned::Open));
        assert_eq!(breaker.failed(ms(1_403)), None, "it is open already");
    }

    #[test]
    fn while_it_is_open_one_request_in_250_ms_is_let_through() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let ms = |ms| start + Duration::from_millis(ms);
        for _ in 0..FAILURES {
            breaker.failed(start);
        }
        let admitted: Vec<u64> = (0..=1_000).filter(|at| breaker.admits(ms(*at))).collect();
        assert_eq!(admitted, [250, 500, 750, 1_000]);
        assert_eq!(breaker.failed(ms(1_001)), None);
        assert!(!breaker.admits(ms(1_100)));
        assert_eq!(breaker.succeeded(), Some(Turned::Closed));
        assert!(breaker.admits(ms(1_101)) && breaker.admits(ms(1_102)));
    }
}
