//! Too many, too slow, too few.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Fault, Plan};
use crate::checker::{Record, percentile_of};
use crate::client::{ASKS_AGAIN_IN, Client};
use crate::history::{Act, Event, History};
use crate::run::{Stage, once_idle};
use crate::system::USERS;
use crate::wire::{Door, Raw};

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
    // Of a handful one says nothing.
    let starves = failed * 10 > asked && (stage.profile.judges_times || failed > 1);
    stage.holds(!starves, "I6", "userinfo starves under a flood of logins");
    stage.returned();
    stage.settles();

    stage.begins();
    // Straight to the origin: of the edge the platform runs as many as it takes.
    let token = own_token(stage);
    let door = Door::new(&stage.system.origin().url());
    allow_files(std::process::id(), 8_192);
    let (callers, peak) = peak(stage, &door, &token);
    let crowd = if stage.profile.is_long() { 2 * PLACES } else { 96 };
    let lasts = stage.profile.fault.mul_f64(0.25);
    let over = calls(stage, &door, &token, crowd, lasts);
    // What it holds after that is no leak when the same once more changes nothing.
    stage.connected_aside(crowd);
    let held = stage.held_by_origin();
    calls(stage, &door, &token, crowd, lasts);
    let whose = ("the origin after a second flood", 8 * 1024);
    for leak in once_idle(|| stage.held_by_origin().judge(held, whose)) {
        stage.holds(false, leak.invariant, leak.what);
    }
    stage.returned();
    stage.note(format!(
        "{peak:.0} calls a second by {callers} clients at most, {:.0} by {crowd}, {}",
        over.goodput,
        over.refusals()
    ));
    if stage.profile.judges_times {
        let what = format!("{peak:.0} calls a second become {:.0}", over.goodput);
        stage.holds(over.goodput >= 0.8 * peak, "I6", what);
        stage.holds(!over.refused.is_empty(), "I6", "nobody was refused");
        let most = percentile_of(&over.refused, 90);
        stage.holds(most <= REFUSED_IN, "I6", format!("one refusal of ten took {most:?}"));
    }
    let others = over.others;
    stage.holds(
        others == 0,
        "I4",
        format!("{others} were neither answered nor refused as they should"),
    );
}

/// Requests that an origin answers at a time.
const PLACES: usize = 1_024;

/// What came of calls.
struct Came {
    /// Those that went well, for each second.
    goodput: f64,
    /// How long those took that were told that there is no room, the shortest first.
    refused: Vec<Duration>,
    /// Those that came to something else.
    others: usize,
}

impl Came {
    fn refusals(&self) -> String {
        let [half, most, all] =
            [50, 90, 100].map(|it| percentile_of(&self.refused, it).as_millis());
        format!(
            "{} refused with 503, half within {half} ms, nine of ten within {most} ms, all within \
             {all} ms",
            self.refused.len()
        )
    }
}

/// Doubles the clients until it makes no difference; returns how many there were when most went well,
/// and how many calls a second those were.
fn peak(stage: &mut Stage<'_>, door: &Door, token: &str) -> (usize, f64) {
    let mut best = (0, 0.0);
    for callers in [8, 16, 32, 64, 128, 256] {
        let goodput = calls(stage, door, token, callers, stage.profile.fault.mul_f64(0.04)).goodput;
        if goodput > best.1 {
            best = (callers, goodput);
        }
    }
    best
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
                    let client = Client::new(number, user, door, history, pause, ending);
                    client.in_a_flood().begin().await;
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
    let came = Came { goodput: 0.0, refused: took, others: 0 };
    stage.note(format!("of {asked} logins {}", came.refusals()));
    if stage.profile.judges_times {
        let [most, last] = [90, 100].map(|it| percentile_of(&came.refused, it));
        stage.holds(!came.refused.is_empty(), "I6", "no login was refused");
        stage.holds(most <= REFUSED_IN, "I6", format!("one refusal of ten took {most:?}"));
        stage.holds(last <= ALL_REFUSED_IN, "I6", format!("a refusal took {last:?}"));
    }
}

/// Returns an access token that no client of the load revokes.
fn own_token(stage: &Stage<'_>) -> String {
    let aside = stack::root().join("target/chaos/F22-calls.jsonl");
    let history = Arc::new(History::begin(&aside).expect("a history can be begun"));
    let door = Door::new(&stage.system.issuer);
    let (_end, ending) = tokio::sync::watch::channel(false);
    let mut client = Client::new(0, USERS, door, history, Duration::ZERO, ending);
    for _ in 0..5 {
        stage.runtime.block_on(client.begin());
        if let Some(token) = client.access_token() {
            return token.to_owned();
        }
        std::thread::sleep(ASKS_AGAIN_IN);
    }
    panic!("nobody can sign in");
}

/// Has so many clients call userinfo, each of them again as soon as it is answered; when it is refused, as
/// late as it is told.
fn calls(stage: &mut Stage<'_>, door: &Door, token: &str, clients: usize, lasts: Duration) -> Came {
    // Connections are made first.
    let warms_up = lasts.mul_f64(0.2);
    let (went_well, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (door, went_well, ends) = (door.clone(), went_well.clone(), ends.clone());
            let bearer = [("authorization", format!("Bearer {token}"))];
            stage.runtime.spawn(async move {
                let (mut refused, mut others) = (Vec::new(), 0);
                let connected_at = Instant::now() + warms_up;
                while !ends.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    match door.send("/oauth2/userinfo", &bearer, None).await {
                        Ok(raw) if raw.status == 200 => {
                            went_well.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(raw) => match retry_in(&raw) {
                            Some(pause) => {
                                if began > connected_at {
                                    refused.push(began.elapsed());
                                }
                                tokio::time::sleep(pause).await;
                            }
                            None => others += 1,
                        },
                        Err(_) => others += 1,
                    }
                }
                (refused, others)
            })
        })
        .collect();
    std::thread::sleep(warms_up);
    let before = went_well.load(Ordering::Relaxed);
    let began = Instant::now();
    std::thread::sleep(lasts.mul_f64(0.8));
    let count = went_well.load(Ordering::Relaxed) - before;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let goodput = f64::from(count) / began.elapsed().as_secs_f64();
    ends.store(true, Ordering::Relaxed);
    let (mut refused, mut others) = (Vec::new(), 0);
    stage.runtime.block_on(async {
        for task in tasks {
            let (some, more) = task.await.unwrap_or_default();
            refused.extend(some);
            others += more;
        }
    });
    refused.sort_unstable();
    let asked = went_well.load(Ordering::Relaxed);
    stage.asked_aside(usize::try_from(asked).unwrap_or(usize::MAX) + refused.len());
    Came { goodput, refused, others }
}

/// Returns when a 503 asks to be tried again.
fn retry_in(raw: &Raw) -> Option<Duration> {
    let told = raw.headers.get("retry-after").filter(|_| raw.status == 503)?;
    told.to_str().ok()?.parse().ok().map(Duration::from_secs)
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
