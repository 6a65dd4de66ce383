//! Clocks step. What counts between edge and origin is how far they are apart, so it is the origin's
//! that steps, both ways.

use super::{Fault, Plan};
use crate::client::call;
use crate::history::{Act, Answer, By, Event, Line};
use crate::run::Stage;
use crate::wire::Door;

pub(super) const FAULTS: &[Fault] = &[Fault {
    plan: Plan { clock: true, ..Plan::PLAIN },
    ..Fault::new("F17", "the origin's clock steps by 120 s and by 20 s, both ways", stepped)
}];

fn stepped(stage: &mut Stage<'_>) {
    for seconds in [120, -120, 20, -20] {
        stage.begins();
        stage.doubts_clocks();
        stage.system.clock.set(seconds);
        stage.lasts(0.1);
        replay_codes(stage);
        stage.lasts(0.1);
        stage.system.clock.set(0);
        stage.returned();
        stage.settles();
    }
}

/// Presents codes that were redeemed: no clock makes them good again.
fn replay_codes(stage: &Stage<'_>) {
    let door = Door::new(&stage.system.issuer);
    for (user, code) in stage.redeemed_codes(5) {
        let act = Act::Redeem(code);
        let began = stage.history.now();
        let answer = match stage.runtime.block_on(call(&door, &act)) {
            Ok((told, status, broke)) => Answer::Came { status, told, broke },
            Err(how) => Answer::Lost(how),
        };
        let ended = stage.history.now();
        let event = Event { by: By::Copy, user, began, ended, act, answer };
        stage.history.add(Line::Event(event));
    }
}
