//! Redis dies, hangs, forgets, is full, or is not what it was.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Fault;
use crate::history::Act;
use crate::run::Stage;
use crate::system::redis_options;
use crate::wire::Door;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("F1", "Redis is killed and comes back", killed),
    Fault::new("F2", "Redis stops for 1, 5 and 30 s", stopped),
    Fault::new("F5", "Redis comes back empty", emptied),
    Fault::new("F6", "Redis is full", full),
    Fault::new("F7", "Redis is full and evicts", evicting),
    Fault::new("F8", "Redis becomes a replica, then cannot save", read_only),
    Fault::new("F9", "Redis loads for a while after a restart", loading),
    Fault::new("F10", "Redis's file has a torn tail, then a torn middle", torn),
    Fault::new("F12", "Redis lets the origin in no more", closed),
];

fn killed(stage: &mut Stage<'_>) {
    stage.begins();
    stage.system.redis().kill();
    stage.loses_store();
    stage.lasts(0.4);
    stage.restarts_redis();
}

fn stopped(stage: &mut Stage<'_>) {
    let seconds: &[u64] = if stage.profile.is_long() { &[1, 5, 30] } else { &[1, 3] };
    for (index, seconds) in seconds.iter().enumerate() {
        if index > 0 {
            stage.settles();
        }
        stage.begins();
        stage.system.redis().signal(stack::Signal::STOP);
        stage.loses_store();
        std::thread::sleep(Duration::from_secs(*seconds));
        // Before, because what was sent meanwhile is done at once.
        stage.returned();
        stage.system.redis().signal(stack::Signal::CONT);
    }
}

fn emptied(stage: &mut Stage<'_>) {
    stage.begins();
    stage.system.redis().kill();
    stage.loses_store();
    stage.forgets();
    stage.system.redis().lose_data();
    stage.lasts(0.4);
    stage.restarts_redis();
}

fn full(stage: &mut Stage<'_>) {
    stage.begins();
    fill(stage, |_, answer| answer.starts_with("-OOM"));
    stage.lasts(1.0);
    tell(stage, &["CONFIG", "SET", "maxmemory", "0"]);
    stage.returned();
    let (began, returned) = stage.last_window();
    let needs_no_memory = |act: &Act| {
        matches!(
            act,
            Act::UserInfo(_) | Act::Introspect(_) | Act::RevokeGrant(_) | Act::RevokeAccess(_)
        )
    };
    let asked = stage.asked(began, returned, needs_no_memory);
    let lost = stage.failures(began, returned, needs_no_memory);
    let what = format!("{lost} of {asked} failed that need no memory");
    stage.holds(asked > 0 && lost == 0, "I6", what);
    let refused = stage.failures(began, returned, |_| true);
    stage.holds(refused > 0, "I6", "Redis was never full");
}

fn evicting(stage: &mut Stage<'_>) {
    stage.begins();
    stage.forgets();
    tell(stage, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    fill(stage, |stage, _| number(stage, "stats", "evicted_keys") > 0);
    let filled = number(stage, "stats", "evicted_keys");
    let began = Instant::now();
    let is_ready = |stage: &mut Stage<'_>| {
        let url = format!("{}/readyz", stage.system.origin().admin_url());
        stage.runtime.block_on(Door::new(&url).send("", &[], None)).map(|raw| raw.status)
    };
    stack::wait_until("the origin to be ready no more", stack::PATIENCE, || {
        is_ready(stage) == Ok(503)
    });
    stage.note(format!("not ready after {:.1} s", began.elapsed().as_secs_f64()));
    stage.lasts(1.0);
    let evicted = number(stage, "stats", "evicted_keys") - filled;
    tell(stage, &["CONFIG", "SET", "maxmemory", "0"]);
    tell(stage, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    stage.returned();
    stage.holds(evicted > 0, "I2", "nothing was evicted");
    stage.note(format!("{evicted} rows evicted"));
}

/// Leaves Redis no memory but what it has, and fills it until `is_full`.
fn fill(stage: &mut Stage<'_>, is_full: fn(&mut Stage<'_>, &str) -> bool) {
    let bound = (number(stage, "memory", "used_memory") + 8 * 1024).to_string();
    tell(stage, &["CONFIG", "SET", "maxmemory", &bound]);
    let value = "x".repeat(1_024);
    for row in 0..10_000 {
        let answer = stage.system.redis().command(&["SET", &format!("filling:{row}"), &value]);
        if is_full(stage, &answer) {
            return;
        }
    }
    panic!("Redis is never full");
}

fn read_only(stage: &mut Stage<'_>) {
    stage.begins();
    tell(stage, &["REPLICAOF", "127.0.0.1", "1"]);
    stage.lasts(0.5);
    tell(stage, &["REPLICAOF", "NO", "ONE"]);
    stage.returned();
    stage.settles();
    stage.begins();
    // A folder in the file's place: the snapshot cannot be put there.
    let snapshot = stage.system.redis().folder().join("dump.rdb");
    let _ = fs::remove_file(&snapshot);
    fs::create_dir(&snapshot).expect("a folder can be made");
    tell(stage, &["CONFIG", "SET", "save", "3600 1"]);
    let _ = stage.system.redis().command(&["BGSAVE"]);
    let redis = stage.system.redis();
    stack::wait_until("a snapshot to fail", stack::PATIENCE, || {
        redis.command(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")
    });
    stage.lasts(0.5);
    fs::remove_dir(&snapshot).expect("the folder is there");
    tell(stage, &["CONFIG", "SET", "save", ""]);
    stage.returned();
}

fn loading(stage: &mut Stage<'_>) {
    // Rows in the base file, and a delay for each: seconds of `LOADING`. Redis does nothing else while
    // it is given them.
    stage.begins();
    let fill = "for i=1,2000 do redis.call('SET','filling:'..i,'x') end";
    let _ = stage.system.redis().command(&["EVAL", fill, "0"]);
    let _ = stage.system.redis().command(&["BGREWRITEAOF"]);
    let redis = stage.system.redis();
    stack::wait_until("the file to be rewritten", stack::PATIENCE, || {
        let told = redis.command(&["INFO", "persistence"]);
        ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"].iter().all(|it| told.contains(it))
    });
    stage.returned();
    stage.settles();
    let loads_for = stage.profile.fault.mul_f64(0.6).min(Duration::from_secs(10));
    let rows = stage.system.redis().command(&["DBSIZE"]);
    let rows: u128 = rows.trim().trim_start_matches(':').parse().expect("it is a number");
    let delay = (loads_for.as_micros() / rows).max(1);
    let usual = redis_options(stage.system.redis().port(), stage.profile.appendfsync);
    let slow = usual.clone().with(&[
        "--key-load-delay",
        &delay.to_string(),
        // So often does it answer meanwhile that it loads.
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    stage.system.redis().set_options(slow);
    stage.begins();
    stage.system.redis().kill();
    stage.loses_store();
    stage.restarts_redis();
    stage.system.redis().set_options(usual);
    let (began, returned) = stage.last_window();
    let loaded_for = returned.saturating_sub(began);
    stage.note(format!("loading for {:.1} s", loaded_for.as_secs_f64()));
}

fn torn(stage: &mut Stage<'_>) {
    // The tail is a command that nobody was told is done.
    stage.begins();
    stage.system.redis().kill();
    stage.loses_store();
    let file = increments(stage);
    let mut torn = fs::read(&file).expect("the file can be read");
    torn.extend(b"*3\r\n$3\r\nSET\r\n$4\r\ntorn\r\n$9\r\nin th");
    fs::write(&file, torn).expect("it can be written");
    stage.restarts_redis();
    stage.settles();

    stage.begins();
    stage.system.redis().kill();
    stage.loses_store();
    let whole = fs::read(&file).expect("the file can be read");
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    for byte in broken.iter_mut().skip(middle).take(200) {
        *byte = b'?';
    }
    fs::write(&file, broken).expect("the file can be written");
    stage.system.redis().begin_restart();
    stage.lasts(0.5);
    let answers = stage.system.redis().try_command(&["PING"]).is_some();
    stage.holds(!answers, "I2", "Redis starts on a file that is torn in the middle");
    fs::write(&file, whole).expect("the file can be written");
    stage.restarts_redis();
}

fn closed(stage: &mut Stage<'_>) {
    stage.begins();
    tell(stage, &["ACL", "SETUSER", "default", "off"]);
    let _ = stage.system.redis().command(&["CLIENT", "KILL", "USER", "default"]);
    stage.loses_store();
    stage.lasts(1.0);
    stage.store_may_be_back();
    tell(stage, &["ACL", "SETUSER", "default", "on"]);
    stage.returned();
}

/// Has Redis do something, which it must.
fn tell(stage: &mut Stage<'_>, words: &[&str]) {
    let answer = stage.system.redis().command(words);
    assert_eq!(answer, "+OK\r\n", "{words:?}");
}

/// Reads a number of `INFO`.
fn number(stage: &mut Stage<'_>, section: &str, field: &str) -> u64 {
    stage.system.redis().info(section, field).parse().expect("it is a number")
}

/// Finds the file that Redis appends to.
fn increments(stage: &mut Stage<'_>) -> PathBuf {
    let folder = stage.system.redis().folder().join("appendonlydir");
    let files = fs::read_dir(folder).expect("there is an append-only file").flatten();
    let is_increment =
        |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(".incr.aof"));
    files.map(|file| file.path()).find(is_increment).expect("there is an append-only file")
}
