//! The origin dies, hangs, or is replaced.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{Fault, Plan};
use crate::client::{ASKS_AGAIN_IN, Client, ask};
use crate::history::{Act, By};
use crate::run::{Stage, at_a_time};
use crate::system::{Hop, USERS};
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

/// Kills the origin amid refreshes and code exchanges, each of a grant of its own, whose clients ask
/// again until they know.
fn killed(stage: &mut Stage<'_>) {
    let many: u32 = if stage.profile.is_long() { 500 } else { 100 };
    let acts = spare_grants(stage, many);
    let door = Door::new(&stage.system.issuer);
    stage.begins();
    stage.loses_answers();
    // Once some of them are answered, the others are on their way: whose answer is the last of those
    // kills the origin, for nobody else knows it as soon.
    let (answered, origin) = (Arc::new(AtomicU32::new(0)), stage.system.origin().pid());
    let killed_at = Arc::<OnceLock<Duration>>::default();
    let numbered = (FIRST_SPARE..).zip(acts);
    let burst: Vec<_> = numbered
        .map(|(number, (user, act))| {
            let (door, history) = (door.clone(), stage.history.clone());
            let (answered, by) = (answered.clone(), By::Client(number));
            let killed_at = killed_at.clone();
            stage.runtime.spawn(async move {
                for _ in 0..TRIES {
                    let event = ask(&door, &history, by, user, act.clone()).await;
                    if answered.fetch_add(1, Ordering::Relaxed) + 1 == many / 20 {
                        let _ = killed_at.set(history.now());
                        stack::send(origin, stack::Signal::KILL);
                    }
                    if event.failure().is_none() {
                        return;
                    }
                    tokio::time::sleep(ASKS_AGAIN_IN).await;
                }
            })
        })
        .collect();
    stack::wait_until("some to be answered", stack::PATIENCE, || killed_at.get().is_some());
    stage.system.origin().kill();
    let began = Instant::now();
    stage.system.origin().restart();
    let took = began.elapsed();
    stage.returned();
    let bound = Duration::from_secs(if stage.profile.judges_times { 1 } else { 10 });
    stage.holds(took <= bound, "I6", format!("ready only after {took:?}"));
    stage.runtime.block_on(async {
        for task in burst {
            let _ = task.await;
        }
    });
    let of_burst = |by| matches!(by, By::Client(FIRST_SPARE..));
    let hit = stage.hit_at(killed_at.get().copied().unwrap_or_default(), of_burst);
    stage.note(format!(
        "{hit} of {many} under way without an answer, ready again in {:.2} s",
        took.as_secs_f64()
    ));
    let least = u64::from(many) / if stage.profile.judges_times { 2 } else { 10 };
    stage.holds(hit >= least, "I1", format!("only {hit} were under way"));
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
            origin.signal(stack::Signal::TERM);
            origin.wait_end();
            longest = longest.max(began.elapsed());
            origin.restart();
            let port = origin.port();
            let Hop::Balancer(balancer) = &stage.system.middle else {
                panic!("several origins have a balancer");
            };
            stack::wait_until("the balancer to see it", stack::PATIENCE, || {
                balancer.ready().contains(&port)
            });
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
    stage.system.origin().signal(stack::Signal::STOP);
    std::thread::sleep(lasts);
    stage.returned();
    stage.system.origin().signal(stack::Signal::CONT);
}
