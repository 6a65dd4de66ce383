//! The table of a run, in Markdown.

use std::fmt::Write as _;

use crate::run::Outcome;

/// Prints a row for each fault.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| fault | requests | failures by kind | recovered in | p99 before · after | memory of \
         origin · workerd | violations |\n|---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        let kinds: Vec<String> =
            outcome.failures.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        let failures = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        let recovery = &outcome.recovery;
        let [origin, edge] = outcome.grown;
        let mut name = format!("{}: {}", outcome.id, outcome.name);
        for note in &outcome.notes {
            let _ = write!(name, "; {note}");
        }
        let _ = writeln!(
            text,
            "| {name} | {} | {failures} | {:.1} s | {} · {} ms | {:+} · {:+} MB | {} |",
            outcome.requests,
            recovery.time.as_secs_f64(),
            recovery.p99_before.as_millis(),
            recovery.p99_after.as_millis(),
            origin / 1024,
            edge / 1024,
            outcome.violations.len()
        );
    }
    text
}

/// Says what must not be, for those who read a failure: the first of each kind.
#[must_use]
pub fn report(outcome: &Outcome) -> String {
    let mut text = String::new();
    for violation in outcome.violations.iter().take(20) {
        let _ = writeln!(text, "{violation}");
    }
    let _ = writeln!(
        text,
        "{} violations; failures: {:?}; {:?}; {:?}\nhistory: {}\n{}",
        outcome.violations.len(),
        outcome.failures,
        outcome.recovery,
        outcome.notes,
        outcome.history.display(),
        outcome.logs
    );
    text
}
