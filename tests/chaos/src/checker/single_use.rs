//! What is good once.

use std::collections::HashMap;

use super::{Record, Violation, is_refused, short};
use crate::history::{Act, Event, Told};

/// I1: one code, at most one 200, ever.
#[must_use]
pub fn i1(record: &Record) -> Vec<Violation> {
    let mut redeemed = HashMap::new();
    let again = |event: &Event| {
        let Act::Redeem(code) = &event.act else { return None };
        if event.status() != Some(200) {
            return None;
        }
        let since = redeemed.insert(code.clone(), event.ended)?;
        let what = format!("code {} is redeemed again", short(code));
        Some(Violation { since, ..Violation::new("I1", event.ended, what) })
    };
    record.events.iter().filter_map(again).collect()
}

/// I3: at most one live leaf for each grant, and nobody is logged out by a fault: whoever does not
/// know what came of a refresh asks again with the same, and goes on.
#[must_use]
pub fn i3(record: &Record) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut successors: HashMap<&str, &str> = HashMap::new();
    let mut predecessors: HashMap<&str, &str> = HashMap::new();
    for event in &record.events {
        let mut violation = |what: String| {
            found.push(Violation::new("I3", event.ended, what));
        };
        match (&event.act, event.told()) {
            (Act::Refresh(old), Some(Told::Tokens { refresh, .. })) => {
                let before = *successors.entry(old).or_insert(refresh);
                if before != refresh {
                    violation(format!(
                        "{} has two successors, {} and {}",
                        short(old),
                        short(before),
                        short(refresh)
                    ));
                }
                let before = *predecessors.entry(refresh).or_insert(old);
                if before != old {
                    violation(format!("{} has two predecessors", short(refresh)));
                }
            }
            (Act::Refresh(old), _) if is_refused(event) && !record.is_explained(old, event) => {
                violation(format!("{} is refused without a reason", short(old)));
            }
            (Act::Authorize, Some(Told::LoginPage(_))) if !record.has_an_excuse(event) => {
                violation(format!("user {} has to log in again", event.user));
            }
            _ => {}
        }
    }
    found
}
