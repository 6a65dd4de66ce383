//! The edge forgets, or cannot learn keys.

use std::time::{Duration, Instant};

use super::{Fault, Plan};
use crate::gate::{Rule, Trick};
use crate::run::Stage;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        plan: Plan { middle_gate: true, ..Plan::PLAIN },
        ..Fault::new("F25", "the key set is away, garbage and slow while keys change", keys_away)
    },
    Fault::new("F30", "workerd starts anew, with nothing remembered", forgotten),
];

const JWKS: &str = "/oauth2/jwks";
/// How old the edge lets its key set become at most, while it is asked.
const RENEWED_EVERY: Duration = Duration::from_secs(10);

fn keys_away(stage: &mut Stage<'_>) {
    // Tokens by the new key come while nobody can learn it; they must not be taken for bad.
    let signs_in = if stage.profile.is_long() { "12" } else { "310" };
    stage.begins();
    let output = stage.system.origin().cadence(&["key", "rotate", "--signs-in", signs_in]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    stage.holds(output.status.success(), "I4", format!("keys cannot be rotated: {said}"));
    for trick in [
        Trick::Instead(503, "away"),
        Trick::Instead(200, "{\"keys\":[{\"kty\":\"garbage\"}]}"),
        Trick::After(Duration::from_secs(3)),
    ] {
        let rule = Rule { path: JWKS, contains: "", one_in: 1, trick };
        stage.system.middle.gate().play(vec![rule]);
        stage.lasts(0.33);
    }
    stage.system.middle.gate().play(Vec::new());
    stage.returned();
}

fn forgotten(stage: &mut Stage<'_>) {
    let times = if stage.profile.is_long() { 4 } else { 1 };
    for _ in 0..times {
        stage.begins();
        stage.system.edge.kill();
        let before = stage.system.origin().requests(Some(JWKS));
        let logged = stage.system.edge.log().len();
        stage.system.edge.restart();
        let began = Instant::now();
        stage.returned();
        stage.settles();
        let asked = stage.system.origin().requests(Some(JWKS)) - before;
        let log = stage.system.edge.log();
        let failed = log.get(logged..).unwrap_or_default().matches(JWKS).count() as u64;
        let renewed = began.elapsed().as_secs() / RENEWED_EVERY.as_secs();
        stage.note(format!("key set asked for {asked} times"));
        let what = format!("one isolate asked {asked} times for the key set, {failed} in vain");
        stage.holds(asked <= 1 + failed + renewed, "I6", what);
    }
}
