//! The checker: judges a history, when all is over, by what must hold under every fault.
//!
//! It knows nothing of the server but what it answered. A refusal of something that may still be
//! good needs a reason in the history; without one it is a violation.

mod health;
mod recovery;
mod single_use;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use stack::{Stall, excuse};

use crate::history::{Act, Answer, By, Event, Health, Line, Mark, Told};

pub use health::i8;
pub use recovery::{Recovery, failures_outside, percentile, percentile_of, recovery};
pub use single_use::{i1, i3};
pub use tokens::{i2, i4, i5};

/// How long an upstream may let a revoked token pass: the status list's `ttl`, and one fetch.
pub const REVOKED_AT_UPSTREAM_IN: Duration = Duration::from_secs(7);

/// … and while a fault may keep the edge from asking: as long as a list may be used that cannot be
/// renewed, and one fetch. After that an upstream is closed.
pub const REVOKED_IN_AN_OUTAGE_IN: Duration = Duration::from_secs(16);

/// How long the predecessor of a refresh token is good (G).
pub const GRACE: Duration = Duration::from_secs(10);

/// How long an answer may take: the edge's deadline, and what a loaded machine adds.
pub const ANSWERED_IN: Duration = Duration::from_secs(8);

/// How long a password is worked on that is answered 503 then: as long as it may wait for its turn, until
/// the origin's own deadline, and what the way there takes.
pub const PASSWORD_IN: Range<Duration> = Duration::from_secs(1)..Duration::from_millis(2_500);

/// How soon readiness tells that the store is away, and what a loaded machine adds.
pub const UNREADY_IN: Duration = Duration::from_secs(2);

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant, `I1` to `I8`.
    pub invariant: &'static str,
    /// When.
    pub at: Duration,
    /// When that was promised which is broken, if not now.
    pub since: Duration,
    /// What was seen.
    pub what: String,
}

impl Violation {
    /// Something that was seen, and is wrong in itself.
    #[must_use]
    pub fn new(invariant: &'static str, at: Duration, what: impl Into<String>) -> Self {
        Self { invariant, at, since: at, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.invariant, self.at.as_secs_f64(), self.what)
    }
}

/// A history, sorted for those who judge it.
#[derive(Debug, Default)]
pub struct Record {
    /// Requests, by the moment in which they were begun.
    pub events: Vec<Event>,
    /// What happened.
    pub marks: Vec<(Duration, Mark)>,
    /// Health checks.
    pub health: Vec<Health>,
    /// When the whole machine stood still.
    pub stalls: Vec<Stall>,
    /// The grant of each token that a client was given: the code that it began with.
    grants: HashMap<String, String>,
    /// What may have ended a grant, by the code that it began with, or a single token.
    ends: HashMap<String, Vec<End>>,
    /// When the store was told to forget.
    forgotten: Option<Duration>,
    /// When clocks were wrong, and what was issued by them still lived.
    wrong_clocks: Vec<(Duration, Duration)>,
}

/// What may have ended a grant or a token.
#[derive(Clone, Copy, Debug)]
struct End {
    began: Duration,
    by: By,
    /// Whether it is a reason for its own refusal.
    explains_itself: bool,
}

impl Record {
    /// Sorts a history.
    #[must_use]
    pub fn of(lines: Vec<Line>) -> Self {
        let mut record = Self::default();
        for line in lines {
            match line {
                Line::Event(event) => record.events.push(event),
                Line::Mark(to, Mark::StoodStill(from)) => record.stalls.push((from, to)),
                Line::Mark(at, mark) => record.marks.push((at, mark)),
                Line::Health(health) => record.health.push(health),
            }
        }
        record.events.sort_by_key(|event| event.began);
        record.find_grants();
        record.find_ends();
        let forgotten = record.marks.iter().find(|(_, mark)| *mark == Mark::Forgotten);
        record.forgotten = forgotten.map(|(at, _)| *at);
        record.find_wrong_clocks();
        record
    }

    /// Tells whether an event failed for want of a machine, which is nobody's fault where nothing must
    /// fail: while the whole machine stood still, or soon after, for so long that the system may have
    /// taken its parts for lost; or because a password, which the load has checked two at a time, did
    /// not get the processor that it takes, and was answered so.
    #[must_use]
    pub fn lacked_a_machine(&self, event: &Event) -> bool {
        let took = event.ended.saturating_sub(event.began);
        let is_password = matches!(event.act, Act::LogIn(_)) && event.status() == Some(503);
        event.failure().is_some()
            && (excuse(&self.stalls, event.began, event.ended)
                || is_password && PASSWORD_IN.contains(&took))
    }

    /// Follows tokens from code to code exchange to refresh.
    fn find_grants(&mut self) {
        // By the end: a successor is not presented before it was received.
        let mut by_end: Vec<&Event> = self.events.iter().collect();
        by_end.sort_by_key(|event| event.ended);
        for event in by_end {
            let Some(Told::Tokens { access, refresh }) = event.told() else { continue };
            let grant = match &event.act {
                Act::Redeem(code) => Some(code.clone()),
                Act::Refresh(token) => self.grants.get(token).cloned(),
                _ => None,
            };
            if let Some(grant) = grant {
                self.grants.insert(access.clone(), grant.clone());
                self.grants.insert(refresh.clone(), grant);
            }
        }
    }

    /// Finds what may have ended grants: a revocation, whether it was acknowledged or not; a code
    /// or form that was presented again; a refresh token that the network presented again, or that a
    /// client presented again later than the grace. That begins with the first time that may have
    /// been a success: 503 is none, however often.
    fn find_ends(&mut self) {
        let mut presented: HashMap<&str, Duration> = HashMap::new();
        for event in &self.events {
            let (token, is_end, of_itself) = match &event.act {
                Act::RevokeGrant(token) | Act::RevokeAccess(token) => (token, true, false),
                Act::Redeem(code) => (code, presented.contains_key(&**code), true),
                Act::Refresh(token) => {
                    let first = presented.get(&**token);
                    let is_late =
                        first.is_some_and(|first| event.ended.saturating_sub(*first) > GRACE);
                    (token, is_late || event.by == By::Copy, true)
                }
                Act::LogIn(fields) | Act::Consent(fields) => {
                    (&fields.tx, presented.contains_key(&*fields.tx), true)
                }
                _ => continue,
            };
            if !matches!(event.act, Act::Refresh(_)) || self.may_have_rotated(event) {
                presented.entry(token).or_insert(event.began);
            }
            let ended = match &event.act {
                Act::RevokeAccess(token) => token,
                _ => self.grants.get(token).unwrap_or(token),
            };
            if is_end {
                let end = End { began: event.began, by: event.by, explains_itself: of_itself };
                self.ends.entry(ended.clone()).or_default().push(end);
            }
        }
    }

    /// Tells whether a refresh may have been a success that its client was not told of. A server
    /// that says 503 says that it was none, unless its own answers get lost.
    fn may_have_rotated(&self, event: &Event) -> bool {
        let says_none = matches!(event.answer, Answer::Came { status: 503 | 504, .. });
        !says_none || self.time_of(Mark::AnswersLost).is_some()
    }

    fn find_wrong_clocks(&mut self) {
        let mut wrong = None;
        for (at, mark) in &self.marks {
            match mark {
                Mark::ClocksWrong => wrong = Some(*at),
                Mark::Returned => self.wrong_clocks.extend(wrong.take().map(|from| (from, *at))),
                _ => {}
            }
        }
    }

    /// Takes out of violations what a store that lost its last writes cannot but do: what was
    /// promised between the moment in which it began to lose and its return.
    #[must_use]
    pub fn split_lost(&self, violations: Vec<Violation>) -> (Vec<Violation>, Vec<Violation>) {
        let is_lost = |violation: &Violation| {
            matches!(violation.invariant, "I1" | "I2") && self.is_lost(violation.since)
        };
        violations.into_iter().partition(is_lost)
    }

    /// Tells whether a store that forgot may have lost what was answered at a moment.
    #[must_use]
    pub fn is_lost(&self, at: Duration) -> bool {
        let until = self.time_of(Mark::Returned).unwrap_or_default();
        self.forgotten.is_some_and(|from| at >= from && at <= until)
    }

    /// Returns the grant of a token.
    #[must_use]
    pub fn grant(&self, token: &str) -> Option<&str> {
        self.grants.get(token).map(String::as_str)
    }

    /// Tells whether the refusal of `token` in `event` has a reason in the history.
    fn is_explained(&self, token: &str, event: &Event) -> bool {
        let explains = |end: &End| {
            let is_itself = end.began == event.began && end.by == event.by;
            end.began <= event.ended && (end.explains_itself || !is_itself)
        };
        let ended = |name: &str| self.ends.get(name).is_some_and(|ends| ends.iter().any(explains));
        ended(token) || self.grant(token).is_some_and(ended) || self.has_an_excuse(event)
    }

    /// Tells whether the store has forgotten, or clocks were wrong, before an answer.
    fn has_an_excuse(&self, event: &Event) -> bool {
        let is_wrong =
            |(from, to): &(Duration, Duration)| event.ended >= *from && event.began <= *to + GRACE;
        self.forgotten.is_some_and(|at| at <= event.ended) || self.wrong_clocks.iter().any(is_wrong)
    }

    /// Returns the moments in which something began and returned, in pairs.
    #[must_use]
    pub fn windows(&self) -> Vec<(Duration, Duration)> {
        let mut windows = Vec::new();
        let mut began = None;
        for (at, mark) in &self.marks {
            match mark {
                Mark::Began => began = Some(*at),
                Mark::Returned => windows.extend(began.take().map(|began| (began, *at))),
                _ => {}
            }
        }
        windows
    }

    /// Tells whether a fault lasted at any time between two moments.
    fn is_disturbed(&self, from: Duration, to: Duration) -> bool {
        self.windows().iter().any(|(began, returned)| *began <= to && *returned >= from)
    }

    /// Returns the moment of the first mark of a kind.
    #[must_use]
    pub fn time_of(&self, wanted: Mark) -> Option<Duration> {
        self.marks.iter().find(|(_, mark)| *mark == wanted).map(|(at, _)| *at)
    }

    /// Counts failures by kind.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for kind in self.events.iter().filter_map(Event::failure) {
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }
}

/// Judges a history by everything that a history can show.
#[must_use]
pub fn judge(record: &Record) -> Vec<Violation> {
    [i1, i2, i3, i4, i5, i8].iter().flat_map(|judge| judge(record)).collect()
}

/// Shortens a token for those who read.
fn short(token: &str) -> String {
    let tail: String = token.chars().rev().take(10).collect();
    format!("…{}", tail.chars().rev().collect::<String>())
}

/// Tells whether an answer was given and was a refusal: no, and not a maybe.
fn is_refused(event: &Event) -> bool {
    event.failure().is_none()
        && match &event.answer {
            Answer::Came { told: Told::Error(_) | Told::Active(None), .. } => true,
            Answer::Came { .. } | Answer::Lost(_) => false,
        }
}
