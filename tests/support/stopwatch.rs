//! Clocks that know when their machine stood still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a watch naps.
const NAP: Duration = Duration::from_millis(20);

/// How much longer than a nap it takes before the machine has stood still: on one that is merely busy
/// it takes a few milliseconds.
const STALL: Duration = Duration::from_millis(150);

/// Watches whether the machine runs, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    is_over: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to watch, and says since when, and for how long, the machine stood still, if it did for
    /// `at_least` so long.
    pub fn begin(
        at_least: Duration,
        mut says: impl FnMut(Instant, Duration) + Send + 'static,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let napped_at = Instant::now();
                thread::sleep(NAP);
                let late = napped_at.elapsed().saturating_sub(NAP);
                if late >= at_least {
                    says(napped_at, late);
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

/// Measures how long something takes, without the time for which the whole machine stood still: what
/// is promised of a service is promised of one that runs.
#[derive(Debug)]
pub struct Stopwatch {
    began: Instant,
    lost: Arc<AtomicU64>,
    _watch: Watch,
}

impl Stopwatch {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let lost = Arc::<AtomicU64>::default();
        let of_watch = Arc::clone(&lost);
        let watch = Watch::begin(STALL, move |_, late| {
            let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
            of_watch.fetch_add(micros, Ordering::Relaxed);
        });
        Self { began: Instant::now(), lost, _watch: watch }
    }

    /// Returns the time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let whole = self.began.elapsed();
        // The watch says it when its nap is over.
        thread::sleep(2 * NAP);
        whole.saturating_sub(Duration::from_micros(self.lost.load(Ordering::Relaxed)))
    }
}
