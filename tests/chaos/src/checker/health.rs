//! What health checks must say.

use super::{Record, UNREADY_IN, Violation};
use crate::history::{Health, Mark};

/// I8: readiness turns false soon after the store is lost, and stays so until it may be back; liveness
/// stays true, so that nobody restarts what is not broken.
#[must_use]
pub fn i8(record: &Record) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut lost = None;
    let mut windows = Vec::new();
    for (at, mark) in &record.marks {
        match mark {
            Mark::StoreLost => lost = Some(*at),
            Mark::StoreMayBeBack | Mark::Returned => {
                windows.extend(lost.take().map(|lost| (lost, *at)));
            }
            _ => {}
        }
    }
    for (lost, may_be_back) in windows {
        let within = |health: &&Health| health.at > lost && health.at < may_be_back;
        for health in record.health.iter().filter(within) {
            let mut violation = |what: &str| {
                found.push(Violation::new("I8", health.at, what));
            };
            // What was answered later may have been seen later.
            let is_of_then = health.until < may_be_back && health.at > lost + UNREADY_IN;
            if is_of_then && health.ready == Some(true) {
                violation("ready without a store");
            }
            if health.live != Some(true) {
                violation("not alive, though only the store is away");
            }
        }
    }
    found
}
