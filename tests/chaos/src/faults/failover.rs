//! Redis fails over to a replica that has not received the last writes.

use std::time::Duration;

use stack::Redis;

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
    let written = offset(stage.system.redis(), "master_repl_offset");
    let (replica, _) = stage.system.replica.as_ref().expect("the plan has a replica");
    stack::wait_until("the replica to have what was written", stack::PATIENCE, || {
        offset(replica, "slave_repl_offset") >= written
    });
    stage.history.mark_at(before, Mark::Forgotten);
    promoted(stage);
}

fn offset(redis: &Redis, field: &str) -> u64 {
    redis.info("replication", field).parse().expect("it is a number")
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
