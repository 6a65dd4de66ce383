//! The origin dies, hangs, or is replaced.

use std::time::{Duration, Instant};

use super::{Fault, Plan};
use crate::client::call;
use crate::history::{Act, Answer, By, Event, Line};
use crate::run::Stage;
use crate::wire::Door;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("F14", "the origin is killed with 500 requests under way", killed),
    Fault {
        plan: Plan { backing: stack::Backing::Embedded, ..Plan::PLAIN },
        ..Fault::new("F14-embedded", "the same on the embedded store", killed)
    },
    Fault {
        plan: Plan { origins: 2, ..Plan::PLAIN },
        fails_nobody: true,
        ..Fault::new("F15", "two origins are replaced in turn, ten times", replaced)
    },
    Fault::new("F16", "the origin stops for 10 s", stopped),
];

fn killed(stage: &mut Stage<'_>) {
    let door = Door::new(&stage.system.issuer);
    let Some(token) = stage.newest_access_token() else { return };
    let under_way = if stage.profile.is_long() { 500 } else { 100 };
    stage.begins();
    let act = Act::UserInfo(token);
    let user = stage.user_of(&act);
    let burst: Vec<_> = (0..under_way)
        .map(|_| {
            let (door, act, history) = (door.clone(), act.clone(), stage.history.clone());
            stage.runtime.spawn(async move {
                let began = history.now();
                let answer = match call(&door, &act).await {
                    Ok((told, status, broke)) => Answer::Came { status, told, broke },
                    Err(how) => Answer::Lost(how),
                };
                let (by, ended) = (By::Probe, history.now());
                history.add(Line::Event(Event { by, user, began, ended, act, answer }));
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(30));
    stage.system.origin().kill();
    let began = Instant::now();
    stage.system.origin().restart();
    let took = began.elapsed();
    stage.returned();
    stage.note(format!("ready again in {:.2} s", took.as_secs_f64()));
    let bound = Duration::from_secs(if stage.profile.judges_times { 1 } else { 10 });
    stage.holds(took <= bound, "I6", format!("ready only after {took:?}"));
    stage.runtime.block_on(async {
        for task in burst {
            let _ = task.await;
        }
    });
}

fn replaced(stage: &mut Stage<'_>) {
    let rounds = if stage.profile.is_long() { 10 } else { 2 };
    let mut longest = Duration::ZERO;
    stage.begins();
    for round in 0..rounds {
        for index in 0..2 {
            let origin = stage.system.origins.get_mut(index).expect("there are two origins");
            let began = Instant::now();
            origin.signal("TERM");
            origin.wait_end();
            longest = longest.max(began.elapsed());
            origin.restart();
            // The balancer sees it before the other one goes.
            std::thread::sleep(Duration::from_millis(300));
        }
        if stage.profile.is_long() && round + 1 < rounds {
            stage.lasts(0.05);
        }
    }
    stage.returned();
    stage.note(format!("{rounds} rounds, drained in {:.1} s at most", longest.as_secs_f64()));
}

fn stopped(stage: &mut Stage<'_>) {
    let lasts = Duration::from_secs(if stage.profile.is_long() { 10 } else { 3 });
    stage.begins();
    stage.system.origin().signal("STOP");
    std::thread::sleep(lasts);
    stage.returned();
    stage.system.origin().signal("CONT");
}
