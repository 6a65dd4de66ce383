//! How soon all is well again.

use std::time::Duration;

use super::{Record, Violation};
use crate::history::{Event, Mark};

/// What a run has shown about failures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recovery {
    /// From the return of what had failed to the end of the last failure; of several, the longest.
    pub time: Duration,
    /// How long 99 of 100 answers took at most before the fault.
    pub p99_before: Duration,
    /// … and after the recovery.
    pub p99_after: Duration,
    /// Of the requests that were begun later than the bound after the return, how many failed.
    pub failed_after: usize,
    /// … and how many there were.
    pub asked_after: usize,
}

/// I6: measures the recovery; what fails more than `bound` after the return counts.
#[must_use]
pub fn recovery(record: &Record, bound: Duration) -> Recovery {
    let windows = record.windows();
    let baseline = record.time_of(Mark::Baseline).unwrap_or_default();
    let end = record.time_of(Mark::Ended).unwrap_or(Duration::MAX);
    let first = windows.first().map_or(end, |(began, _)| *began);
    let mut measured =
        Recovery { p99_before: percentile(record, baseline, first, 99), ..Recovery::default() };
    let nexts = windows.iter().map(|(began, _)| *began).skip(1).chain([end]);
    for ((_, returned), next) in windows.iter().zip(nexts) {
        let after: Vec<&Event> = between(record, *returned, next).collect();
        let failed = |event: &&&Event| {
            event.failure().is_some() && event.ended < next && !record.lacked_a_machine(event)
        };
        if let Some(last) = after.iter().filter(failed).map(|event| event.ended).max() {
            measured.time = measured.time.max(last.saturating_sub(*returned));
        }
        let late = after.iter().filter(|event| event.began > *returned + bound);
        measured.asked_after += late.clone().count();
        measured.failed_after += late.filter(failed).count();
    }
    if let Some((_, returned)) = windows.last() {
        measured.p99_after = percentile(record, *returned + bound, end, 99);
    }
    measured
}

/// Judges failures that no fault explains: those before the first one began, and all of them where
/// there is none; except those for want of a machine.
#[must_use]
pub fn failures_outside(record: &Record) -> Vec<Violation> {
    let baseline = record.time_of(Mark::Baseline).unwrap_or_default();
    let end = record.time_of(Mark::Ended).unwrap_or(Duration::MAX);
    let first = record.windows().first().map_or(end, |(began, _)| *began);
    between(record, baseline, first)
        .filter(|event| event.ended < first && event.failure().is_some())
        .filter(|event| !record.lacked_a_machine(event))
        .map(|event| {
            let what = format!("{} failed without a fault: {:?}", event.act.kind(), event.answer);
            Violation::new("I6", event.ended, what)
        })
        .collect()
}

/// Returns how long so many of 100 answers took at most, of the requests that were begun between
/// two moments.
#[must_use]
pub fn percentile(record: &Record, from: Duration, to: Duration, of_100: usize) -> Duration {
    let mut took: Vec<Duration> =
        between(record, from, to).map(|event| event.ended.saturating_sub(event.began)).collect();
    took.sort_unstable();
    percentile_of(&took, of_100)
}

/// Returns the value beneath which so many of 100 lie, of values in order.
#[must_use]
pub fn percentile_of(sorted: &[Duration], of_100: usize) -> Duration {
    let index = (sorted.len() * of_100 / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn between(record: &Record, from: Duration, to: Duration) -> impl Iterator<Item = &Event> {
    record.events.iter().filter(move |event| event.began >= from && event.began < to)
}
