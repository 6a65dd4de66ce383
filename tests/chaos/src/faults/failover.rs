//! Redis fails over to a replica that has not received the last writes.

use std::time::Duration;

use super::{Fault, Plan};
use crate::history::Mark;
use crate::proxy::Weather;
use crate::run::Stage;
use crate::system::{Replica, follower, local};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        plan: Plan { replica: Replica::Follows, ..Plan::PLAIN },
        may_lose: true,
        ..Fault::new("F11", "failover to a replica that was cut off for a second", cut_off)
    },
    Fault {
        plan: Plan { replica: Replica::WaitedFor, ..Plan::PLAIN },
        ..Fault::new("F11-wait", "the same with `redis_wait = 1`", promoted)
    },
];

fn cut_off(stage: &mut Stage<'_>) {
    // What was answered before has arrived.
    let before = stage.history.now();
    let (replica, _) = stage.system.replica.as_ref().expect("the plan has a replica");
    replica.wait_replicated(stage.system.redis.as_ref().expect("the plan has a Redis"));
    stage.history.mark_at(before, Mark::Forgotten);
    promoted(stage);
}

fn promoted(stage: &mut Stage<'_>) {
    let (replica, line) = stage.system.replica.take().expect("the plan has a replica");
    stage.begins();
    line.set(Weather { is_silent: true, ..Weather::default() });
    std::thread::sleep(Duration::from_secs(1));
    stage.system.redis().kill();
    // What was held back on the way never arrives.
    line.set(Weather { resets: true, ..Weather::default() });
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK\r\n");
    stage.system.store_line().lead_to(local(replica.port()));
    let next = follower(replica.port(), stage.profile.appendfsync);
    stage.system.redis = Some(replica);
    stage.system.replica = Some((next, line));
    stage.returned();
}
