//! Asks through a machine that stands still now and then, and through nothing else.

use std::time::{Duration, Instant};

use stack::Stalls;

use crate::faults::is_unavailable;
use crate::http::Answer;

/// For how long somebody asks.
const ASKED_FOR: Duration = Duration::from_secs(20);

/// Asks until the answer is not one that a stall excuses: 503 says neither yes nor no.
#[track_caller]
pub(crate) fn ask_through(stalls: &Stalls, ask: impl Fn() -> Answer) -> Answer {
    let since = Instant::now();
    loop {
        let began = Instant::now();
        let answer = ask();
        let is_final = answer.status != 503 || since.elapsed() > ASKED_FOR;
        if is_final || !stalls.excuse(began, Instant::now()) {
            return answer;
        }
        is_unavailable(&answer);
    }
}
