//! Clocks step, one at a time, both ways.

use std::time::Duration;

use stack::Clock;

use super::{Fault, Plan};
use crate::client::ask;
use crate::history::{Act, By};
use crate::run::Stage;
use crate::system::Clocks;
use crate::wire::Door;

const PLAN: Plan = Plan { clocks: true, ..Plan::PLAIN };

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        plan: PLAN,
        ..Fault::new("F17", "the origin's clock steps by 120, 20 and 8 s, both ways", origin)
    },
    Fault {
        plan: PLAN,
        ..Fault::new("F17-edge", "workerd's clock steps by 60, 20 and 8 s, both ways", edge)
    },
    Fault {
        plan: PLAN,
        ..Fault::new("F17-redis", "Redis's clock steps by 120, 20 and 8 s, both ways", redis)
    },
];

/// Clocks that are so far apart are no reason to refuse anything.
const HARMLESS: i64 = 10;

fn origin(stage: &mut Stage<'_>) {
    for seconds in [120, -120, 20, -20, 8, -8] {
        let wrong = step(stage, |clocks| &clocks.origin, seconds, |_, _| ());
        edge_is_believed(stage, seconds, wrong);
    }
}

fn edge(stage: &mut Stage<'_>) {
    for seconds in [60, -60, 20, -20, 8, -8] {
        let wrong = step(stage, |clocks| &clocks.edge, seconds, |_, _| ());
        edge_is_believed(stage, seconds, wrong);
    }
}

/// Whatever Redis takes for the time, all that it is told is how long a row lives.
fn redis(stage: &mut Stage<'_>) {
    for seconds in [120, -120, 20, -20, 8, -8] {
        let (from, until) = step(stage, |clocks| &clocks.redis, seconds, redis_is_wrong);
        let failed = stage.failures_of_the_system(from, until);
        stage.holds(failed == 0, "I6", format!("{failed} requests failed by Redis's clock"));
    }
}

/// Clocks of edge and origin that are further than 30 s apart are an outage, which shows that they
/// are indeed; those that are a little apart harm nobody.
fn edge_is_believed(stage: &mut Stage<'_>, seconds: i64, (from, until): (Duration, Duration)) {
    let (failed, holds) = match seconds.abs() {
        0..=HARMLESS => {
            let failed = stage.failures_of_the_system(from, until);
            (failed, failed == 0)
        }
        apart => {
            let failed = stage.failures(from, until, |_| true);
            (failed, apart < 30 || failed > 0)
        }
    };
    stage.holds(holds, "I6", format!("{failed} requests failed with clocks {seconds} s apart"));
}

/// Lets a clock be wrong for a while, and looks whether it is; returns from when
/// until when it surely was.
fn step(
    stage: &mut Stage<'_>,
    whose: fn(&Clocks) -> &Clock,
    seconds: i64,
    looks: fn(&mut Stage<'_>, i64),
) -> (Duration, Duration) {
    stage.begins();
    if seconds.abs() > HARMLESS {
        stage.doubts_clocks();
    }
    whose(stage.system.clocks()).set(seconds);
    looks(stage, seconds);
    // What was under way when the clock stepped is another matter.
    let from = stage.history.now();
    stage.lasts(0.08);
    replay_codes(stage);
    stage.lasts(0.08);
    let until = stage.history.now();
    whose(stage.system.clocks()).set(0);
    stage.returned();
    stage.settles();
    (from, until)
}

/// Redis says itself that its clock is wrong.
fn redis_is_wrong(stage: &mut Stage<'_>, by: i64) {
    let told = stage.system.redis().command(&["TIME"]);
    let told: i64 = told.lines().nth(2).and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let apart = told - i64::try_from(now).unwrap_or(0);
    stage.holds((apart - by).abs() <= 3, "I6", format!("Redis's clock is {apart} s off"));
}

/// Presents codes that were redeemed: no clock makes them good again.
fn replay_codes(stage: &Stage<'_>) {
    let door = Door::new(&stage.system.issuer);
    for (user, code) in stage.redeemed_codes(5) {
        stage.runtime.block_on(ask(&door, &stage.history, By::Copy, user, Act::Redeem(code)));
    }
}
