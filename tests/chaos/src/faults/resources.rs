//! Too many, too slow, too few.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Fault, Plan};
use crate::checker::Record;
use crate::client::{Client, call};
use crate::history::{Act, Event, History};
use crate::run::Stage;
use crate::system::USERS;
use crate::wire::Door;

pub(super) const FAULTS: &[Fault] = &[
    Fault { fails_nobody: true, ..Fault::new("F21", "slow senders and slow readers", slow) },
    Fault {
        plan: Plan { more_users: CROWD, ..Plan::PLAIN },
        ..Fault::new("F22", "more logins and calls than there is room for", overload)
    },
    Fault::new("F23", "the origin has no file descriptors left", no_files),
];

/// Users who log in all at once.
const CROWD: u32 = 40;

/// Opens sockets that send a head byte by byte, and others that never read their answer.
fn slow(stage: &mut Stage<'_>) {
    let count = if stage.profile.is_long() { 2_000 } else { 200 };
    allow_files(std::process::id(), 8_192);
    let addresses = [stage.system.origin().url(), stage.system.edge.url()];
    stage.begins();
    let mut senders = Vec::new();
    let mut readers = Vec::new();
    for number in 0..count {
        let url = addresses.get(number % 2).map(String::as_str).unwrap_or_default();
        let Ok(mut stream) = TcpStream::connect(url.trim_start_matches("http://")) else {
            continue;
        };
        let _ = stream.set_nonblocking(true);
        if number % 10 == 0 {
            let ask = "GET /.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n";
            let _ = stream.write(ask.repeat(50).as_bytes());
            readers.push(stream);
        } else {
            let _ = stream.write(b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-Slow: ");
            senders.push(stream);
        }
    }
    let opened = senders.len() + readers.len();
    let began = Instant::now();
    while began.elapsed() < stage.profile.fault {
        for stream in &mut senders {
            let _ = stream.write(b"a");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let cut = senders.iter_mut().map(is_closed).filter(|it| *it).count();
    let (first, last) = (stage.last_began(), stage.history.now());
    let p99 = stage.percentile(first, last, 99);
    drop((senders, readers));
    stage.returned();
    stage.note(format!(
        "{opened} sockets, {cut} cut by the server, p99 of the others meanwhile {} ms",
        p99.as_millis()
    ));
    if stage.profile.judges_times {
        let bound = stage.percentile(Duration::ZERO, first, 99) * 2 + Duration::from_millis(100);
        stage.holds(p99 <= bound, "I6", format!("slow ones make others wait: {p99:?}"));
    }
}

fn is_closed(stream: &mut TcpStream) -> bool {
    let mut some = [0; 512];
    loop {
        match stream.read(&mut some) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Floods with logins, then with calls, and looks at what is left for others.
fn overload(stage: &mut Stage<'_>) {
    stage.begins();
    let (first, second) = (stage.history.now(), logins(stage));
    let asked = stage.asked(first, second, |act| matches!(act, Act::UserInfo(_)));
    let failed = stage.failures(first, second, |act| matches!(act, Act::UserInfo(_)));
    stage.note(format!("userinfo under a flood of logins: {failed} of {asked} failed"));
    stage.holds(failed * 10 <= asked, "I6", "userinfo starves under a flood of logins");
    stage.returned();
    stage.settles();

    stage.begins();
    let lasts = stage.profile.fault.mul_f64(0.25);
    let token = own_token(stage);
    let peak = calls(stage, &token, 32, lasts);
    let over = calls(stage, &token, 96, lasts);
    stage.returned();
    stage.note(format!("{peak:.0} calls a second by 32 clients, {over:.0} by 96"));
    if stage.profile.judges_times {
        stage.holds(over >= 0.8 * peak, "I6", format!("{peak:.0} calls a second become {over:.0}"));
    }
}

/// Whoever would wait too long for a password hash is told so at once: nine of ten within this, though
/// the flood itself, and whoever sends it, takes every processor.
const REFUSED_IN: Duration = Duration::from_millis(100);
/// All others within this.
const ALL_REFUSED_IN: Duration = Duration::from_millis(500);

/// Has more browsers log in at the same time than the queue of password hashes has places, and fewer
/// than one network may; returns when they have.
fn logins(stage: &mut Stage<'_>) -> Duration {
    let browsers = if stage.profile.is_long() { 90 } else { 16 };
    let (end, ending) = tokio::sync::watch::channel(false);
    let aside = stack::root().join("target/chaos/F22-logins.jsonl");
    let history = Arc::new(History::begin(&aside).expect("a history can be begun"));
    let tasks: Vec<_> = (0..browsers)
        .map(|number| {
            let door = Door::new(&stage.system.issuer);
            let (history, ending) = (history.clone(), ending.clone());
            let user = USERS + number % CROWD;
            stage.runtime.spawn(async move {
                let pause = Duration::ZERO;
                while !*ending.borrow() {
                    let (door, history, ending) = (door.clone(), history.clone(), ending.clone());
                    Client::new(number, user, door, history, pause, ending).begin().await;
                }
            })
        })
        .collect();
    stage.lasts(0.4);
    let until = stage.history.now();
    let _ = end.send(true);
    stage.runtime.block_on(async {
        for task in tasks {
            let _ = task.await;
        }
    });
    look_at_refusals(stage, &history);
    until
}

/// Looks how soon the logins were refused for which there was no room.
fn look_at_refusals(stage: &mut Stage<'_>, history: &History) {
    let record = Record::of(history.lines());
    let is_login = |event: &&Event| matches!(event.act, Act::LogIn(_));
    stage.asked_aside(record.events.len());
    let asked = record.events.iter().filter(is_login).count();
    let refused = record.events.iter().filter(is_login).filter(|event| event.status() == Some(503));
    let mut took: Vec<Duration> =
        refused.map(|event| event.ended.saturating_sub(event.began)).collect();
    took.sort_unstable();
    let within = |percent: usize| took.get(took.len() * percent / 100);
    let (Some(half), Some(most), Some(last)) = (within(50), within(90), took.last()) else {
        return;
    };
    stage.note(format!(
        "{} of {asked} logins refused with 503, half within {} ms, nine of ten within {} ms, all \
         within {} ms",
        took.len(),
        half.as_millis(),
        most.as_millis(),
        last.as_millis()
    ));
    if stage.profile.judges_times {
        stage.holds(*most <= REFUSED_IN, "I6", format!("one refusal of ten took {most:?}"));
        stage.holds(*last <= ALL_REFUSED_IN, "I6", format!("a refusal took {last:?}"));
    }
}

/// Returns an access token that no client of the load revokes.
fn own_token(stage: &Stage<'_>) -> String {
    let aside = stack::root().join("target/chaos/F22-calls.jsonl");
    let history = Arc::new(History::begin(&aside).expect("a history can be begun"));
    let door = Door::new(&stage.system.issuer);
    let (_end, ending) = tokio::sync::watch::channel(false);
    let mut client = Client::new(0, USERS, door, history, Duration::ZERO, ending);
    stage.runtime.block_on(client.begin());
    client.access_token().expect("somebody can sign in").to_owned()
}

/// Has so many clients call userinfo without a pause; returns how many calls a second went well.
fn calls(stage: &mut Stage<'_>, token: &str, clients: usize, lasts: Duration) -> f64 {
    let (went_well, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let door = Door::new(&stage.system.issuer);
            let (token, went_well, ends) = (token.to_owned(), went_well.clone(), ends.clone());
            stage.runtime.spawn(async move {
                let act = Act::UserInfo(token);
                while !ends.load(Ordering::Relaxed) {
                    if matches!(call(&door, &act).await, Ok((_, 200, _))) {
                        went_well.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    std::thread::sleep(lasts);
    let count = u32::try_from(went_well.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
    ends.store(true, Ordering::Relaxed);
    stage.runtime.block_on(async {
        for task in tasks {
            let _ = task.await;
        }
    });
    stage.asked_aside(usize::try_from(count).unwrap_or(usize::MAX));
    f64::from(count) / lasts.as_secs_f64()
}

/// Leaves the origin a handful of descriptors, takes those, and breaks its connection to Redis.
fn no_files(stage: &mut Stage<'_>) {
    let pid = stage.system.origin().pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(64, Iterator::count);
    let address = stage.system.origin().url();
    let address = address.trim_start_matches("http://").to_owned();
    let allowed = allowed_files(pid);
    stage.begins();
    allow_files(pid, open + 5);
    let taken: Vec<_> = (0..64).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    stage.lasts(0.3);
    stage
        .system
        .store_line()
        .set(crate::proxy::Weather { resets: true, ..crate::proxy::Weather::default() });
    std::thread::sleep(Duration::from_millis(50));
    stage.system.store_line().clear();
    stage.lasts(0.4);
    let lives = stage.system.origin().runs();
    stage.holds(lives, "I7", "the origin ends for want of descriptors");
    drop(taken);
    allow_files(pid, allowed);
    stage.returned();
}

/// Returns how many files a process may open.
fn allowed_files(pid: u32) -> usize {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    files.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024)
}

/// Says how many files a process may open.
fn allow_files(pid: u32, files: usize) {
    let limit = format!("--nofile={files}:");
    let _ = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
}
