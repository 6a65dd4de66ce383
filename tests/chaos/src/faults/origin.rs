//! The origin dies, hangs, or is replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Fault, Plan};
use crate::client::{ASKS_AGAIN_IN, Client, ask};
use crate::history::{Act, By};
use crate::run::{Stage, at_a_time};
use crate::system::USERS;
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

/// The number of the first client that goes on with a spare grant.
const FIRST_SPARE: u32 = 10_000;
/// How often such a client asks at most.
const TRIES: u32 = 40;
/// How long the origin is waited for that answers none of them.
const WAITS: Duration = Duration::from_secs(2);

/// Kills the origin amid refreshes and code exchanges, each of a grant of its own, whose clients ask
/// again until they know.
fn killed(stage: &mut Stage<'_>) {
    let many: u32 = if stage.profile.is_long() { 500 } else { 100 };
    let acts = spare_grants(stage, many);
    let door = Door::new(&stage.system.issuer);
    stage.begins();
    stage.loses_answers();
    let answered = Arc::new(AtomicU32::new(0));
    let numbered = (FIRST_SPARE..).zip(acts);
    let burst: Vec<_> = numbered
        .map(|(number, (user, act))| {
            let (door, history) = (door.clone(), stage.history.clone());
            let (answered, by) = (answered.clone(), By::Client(number));
            stage.runtime.spawn(async move {
                for _ in 0..TRIES {
                    let event = ask(&door, &history, by, user, act.clone()).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                    if event.failure().is_none() {
                        return;
                    }
                    tokio::time::sleep(ASKS_AGAIN_IN).await;
                }
            })
        })
        .collect();
    let sent = stage.history.now();
    // Some of them are answered, so the others are on their way.
    while answered.load(Ordering::Relaxed) < many / 20 && stage.history.now() < sent + WAITS {
        std::thread::sleep(Duration::from_millis(1));
    }
    stage.system.origin().signal("KILL");
    let under_way = many.saturating_sub(answered.load(Ordering::Relaxed));
    stage.system.origin().kill();
    let began = Instant::now();
    stage.system.origin().restart();
    let took = began.elapsed();
    stage.returned();
    stage.note(format!("{under_way} under way, ready again in {:.2} s", took.as_secs_f64()));
    let bound = Duration::from_secs(if stage.profile.judges_times { 1 } else { 10 });
    stage.holds(took <= bound, "I6", format!("ready only after {took:?}"));
    stage.holds(under_way >= many / 2, "I1", format!("only {under_way} were under way"));
    stage.runtime.block_on(async {
        for task in burst {
            let _ = task.await;
        }
    });
}

/// Begins grants that nobody goes on with. Returns whose they are, and what is next to be done with
/// them: refreshes and code exchanges by turns.
fn spare_grants(stage: &Stage<'_>, many: u32) -> Vec<(u32, Act)> {
    let each = many.div_ceil(USERS);
    let (_end, ending) = tokio::sync::watch::channel(false);
    let begin = |user| {
        let (door, history) = (Door::new(&stage.system.issuer), stage.history.clone());
        let mut client =
            Client::new(FIRST_SPARE + user, user, door, history, Duration::ZERO, ending.clone());
        async move {
            let mut acts = Vec::new();
            client.begin().await;
            for number in 0..each {
                acts.extend(client.spare(number % 2 == 0).await.map(|act| (user, act)));
            }
            acts
        }
    };
    // Each begins with a password, which takes a core for a while.
    stage.runtime.block_on(at_a_time(2, (0..USERS).map(begin))).concat()
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
    stage.loses_answers();
    stage.system.origin().signal("STOP");
    std::thread::sleep(lasts);
    stage.returned();
    stage.system.origin().signal("CONT");
}
