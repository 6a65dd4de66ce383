//! The edge forgets, or cannot learn keys.

use std::time::Duration;

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
        let before = stage.system.origin().requests(Some(JWKS));
        stage.system.edge.restart();
        stage.returned();
        stage.settles();
        let asked = stage.system.origin().requests(Some(JWKS)) - before;
        stage.note(format!("key set asked for {asked} times"));
        stage.holds(asked <= 1, "I6", format!("one isolate asked {asked} times for the key set"));
    }
}
