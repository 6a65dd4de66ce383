//! Failures that are the machine's own: while it stands still, and soon after, the parts of a system
//! may take each other for lost.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use stack::Watch;

use crate::faults::is_unavailable;
use crate::http::Answer;

/// How late a nap is that counts: more than on a machine that is merely busy.
const NOTICED: Duration = Duration::from_millis(20);

/// For how long the machine must stand still, all in all, before failures are its own.
const STALL: Duration = Duration::from_millis(150);

/// For how long after that a system may still believe that its parts are away: it has to ask them
/// again.
const AFTERMATH: Duration = Duration::from_secs(1);

/// How soon the watch has said what it saw: it naps meanwhile.
const SAID_IN: Duration = Duration::from_millis(200);

/// Remembers when the whole machine stood still. Excuses what failed then, and nothing else.
pub(crate) struct Stalls {
    seen: Arc<Mutex<Vec<(Instant, Instant)>>>,
    _watch: Watch,
}

impl Stalls {
    /// Begins to watch.
    pub(crate) fn watch() -> Self {
        let seen = Arc::<Mutex<Vec<(Instant, Instant)>>>::default();
        let of_watch = Arc::clone(&seen);
        let watch = Watch::begin(NOTICED, move |_, late| {
            let until = Instant::now();
            let from = until.checked_sub(late).unwrap_or(until);
            of_watch.lock().unwrap().push((from, until));
        });
        Self { seen, _watch: watch }
    }

    /// Tells whether the machine stood still for so long between two moments, or in the second before
    /// them, that a failure says nothing about the system.
    pub(crate) fn excuse(&self, (began, ended): (Instant, Instant)) -> bool {
        thread::sleep(SAID_IN.saturating_sub(ended.elapsed()));
        let before = began.checked_sub(AFTERMATH).unwrap_or(began);
        let within = |(from, until): &(Instant, Instant)| {
            ended.min(*until).saturating_duration_since(before.max(*from))
        };
        self.seen.lock().unwrap().iter().map(within).sum::<Duration>() >= STALL
    }

    /// Asks until the answer is not one that a stall excuses: 503 says neither yes nor no.
    #[track_caller]
    pub(crate) fn ask(&self, ask: impl Fn() -> Answer) -> Answer {
        loop {
            let began = Instant::now();
            let answer = ask();
            if answer.status != 503 || !self.excuse((began, Instant::now())) {
                return answer;
            }
            is_unavailable(&answer);
        }
    }
}
