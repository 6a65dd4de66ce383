//! Clocks that know when their machine stood still.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a watch naps.
const NAP: Duration = Duration::from_millis(20);

/// How late a thread must run for it to count: on a machine that is merely busy it is a few milliseconds
/// late.
const NOTICED: Duration = Duration::from_millis(20);

/// For how long the machine must stand still within [`AFTERMATH`] before failures are its own.
const STALL: Duration = Duration::from_millis(150);

/// For how long after that a system may still believe that its parts are away: it has to ask them again.
const AFTERMATH: Duration = Duration::from_secs(1);

/// From when until when the machine stood still, by any clock that everything else is told by, too.
pub type Stall = (Duration, Duration);

/// Watches whether the machine runs, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    is_over: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to watch, and says from when until when the machine stood still, however shortly.
    pub fn begin(mut says: impl FnMut(Instant, Instant) + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let wakes_at = Instant::now() + NAP;
                thread::sleep(NAP);
                if wakes_at.elapsed() >= NOTICED {
                    says(wakes_at, Instant::now());
                }
            }
        });
        Self { is_over }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Remembers when the machine stood still.
#[derive(Debug)]
pub struct Stalls {
    began: Instant,
    seen: Arc<Mutex<Vec<Stall>>>,
    _watch: Watch,
}

impl Stalls {
    /// Begins to watch.
    #[must_use]
    pub fn watch() -> Self {
        let (began, seen) = (Instant::now(), Arc::<Mutex<Vec<Stall>>>::default());
        let of_watch = Arc::clone(&seen);
        let watch = Watch::begin(move |from, to| {
            let stall = (from.duration_since(began), to.duration_since(began));
            of_watch.lock().unwrap_or_else(PoisonError::into_inner).push(stall);
        });
        Self { began, seen, _watch: watch }
    }

    /// Returns those until now, when the watch, which naps, has had time to tell of them.
    fn seen_in(&self, time: Duration) -> Vec<Stall> {
        thread::sleep(time);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells whether they are a reason for what has failed between two moments.
    #[must_use]
    pub fn excuse(&self, began: Instant, ended: Instant) -> bool {
        let [began, ended] = [began, ended].map(|at| at.duration_since(self.began));
        excuse(&self.seen_in(10 * NAP), began, ended)
    }
}

/// Tells whether the machine stood still for so long, between two moments or shortly before, that a
/// failure says nothing about the system: within one second for 150 ms, all in all.
#[must_use]
pub fn excuse(stalls: &[Stall], began: Duration, ended: Duration) -> bool {
    let before = began.saturating_sub(AFTERMATH);
    let is_long = |&(first, _): &Stall| {
        let first = first.max(before);
        still_for(stalls, first, ended.min(first + AFTERMATH)) >= STALL
    };
    stalls.iter().any(is_long)
}

/// Returns for how long the machine stood still between two moments.
#[must_use]
pub fn still_for(stalls: &[Stall], began: Duration, ended: Duration) -> Duration {
    let within = |(from, to): &Stall| ended.min(*to).saturating_sub(began.max(*from));
    stalls.iter().map(within).sum()
}

/// Measures how long something takes, without the time for which the whole machine stood still: what
/// is promised of a service is promised of one that runs.
#[derive(Debug)]
pub struct Stopwatch(Stalls);

impl Stopwatch {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        Self(Stalls::watch())
    }

    /// Returns the time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let whole = self.0.began.elapsed();
        whole.saturating_sub(still_for(&self.0.seen_in(2 * NAP), Duration::ZERO, whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_during_or_after_a_long_stall_is_excused() {
        let at = Duration::from_millis;
        for (stalls, is_excused) in [
            (&[(2_000, 2_149)][..], false),
            (&[(2_000, 2_150)], true),
            (&[(2_000, 2_050), (2_400, 2_450), (2_900, 2_950)], true),
            (&[(2_000, 2_050), (2_500, 2_550), (3_100, 3_150)], false),
            // A second before counts, and no more; what comes after it does not.
            (&[(900, 1_150)], true),
            (&[(700, 1_149)], false),
            (&[(3_900, 4_200)], false),
        ] {
            let stalls: Vec<Stall> = stalls.iter().map(|(from, to)| (at(*from), at(*to))).collect();
            assert_eq!(excuse(&stalls, at(2_000), at(4_000)), is_excused, "{stalls:?}");
        }
    }

    #[test]
    fn a_stopwatch_runs_while_the_machine_does() {
        let stopwatch = Stopwatch::start();
        thread::sleep(Duration::from_millis(300));
        let told = stopwatch.elapsed();
        let still = still_for(&stopwatch.0.seen_in(10 * NAP), Duration::ZERO, Duration::MAX);
        assert!(told + still >= Duration::from_millis(300), "{told:?}");
    }
}
