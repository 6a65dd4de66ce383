//! The table: what was measured, and what the targets say about it.

use std::fmt::Write as _;
use std::time::Duration;

/// One round of one row.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Per second.
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Processor time of the server for one, microseconds.
    pub(crate) server: f64,
    /// Processor time of Redis for one, microseconds.
    pub(crate) redis: f64,
}

/// What was measured under one name, once per round.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) samples: Vec<Sample>,
}

/// How a figure is compared with its targets.
#[derive(Clone, Copy)]
pub(crate) enum Want {
    AtLeast,
    AtMost,
}

/// A figure with its targets: what must hold, and what would be better.
pub(crate) struct Target {
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) want: Want,
    pub(crate) must: f64,
    pub(crate) better: f64,
}

impl Row {
    /// Returns the median of the rounds.
    pub(crate) fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }
}

/// Returns the median.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Writes the rows.
pub(crate) fn rows(rows: &[Row]) -> String {
    let mut text = String::from(
        "| measured | per second | p50 ms | p99 ms | server CPU µs | Redis CPU µs | rounds |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let rounds: Vec<_> =
            row.samples.iter().map(|sample| format!("{:.0}", sample.rate)).collect();
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {} |",
            row.name,
            row.median(|sample| sample.rate),
            row.median(|sample| sample.p50.as_secs_f64() * 1e3),
            row.median(|sample| sample.p99.as_secs_f64() * 1e3),
            row.median(|sample| sample.server),
            row.median(|sample| sample.redis),
            rounds.join(" "),
        );
    }
    text
}

/// Writes the targets, and whether they hold.
pub(crate) fn targets(targets: &[Target]) -> String {
    let mut text = String::from(
        "| target | what | measured | must | better | verdict |\n|---|---|---|---|---|---|\n",
    );
    for Target { id, what, figure, want, must, better } in targets {
        let holds = |limit: f64| match want {
            Want::AtLeast => *figure >= limit,
            Want::AtMost => *figure <= limit,
        };
        let verdict = if holds(*better) {
            "better"
        } else if holds(*must) {
            "holds"
        } else {
            "MISSED"
        };
        let _ = writeln!(text, "| {id} | {what} | {figure:.2} | {must} | {better} | {verdict} |");
    }
    text
}
