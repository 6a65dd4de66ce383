//! One fault under load, from the start of the system to the verdict.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stack::Watch;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::checker::{self, ANSWERED_IN, Record, Recovery, Violation};
use crate::client::Client;
use crate::faults::Fault;
use crate::history::{Act, By, Event, Health, History, Line, Mark, Told};
use crate::probe;
use crate::resources::{HELD_FOR, Resources, more_of_origin, more_of_workerd};
use crate::system::{System, USERS};
use crate::wire::Door;

/// How often health checks are made.
const CHECKED_EVERY: Duration = Duration::from_millis(100);

/// How long the recovery may take at most before it is given up.
const GIVEN_UP_IN: Duration = Duration::from_secs(25);

/// How long connections may stay that nobody uses.
const IDLE_FOR: Duration = Duration::from_secs(20);

/// How much load, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Clients, each with a connection of its own.
    pub clients: u32,
    /// How long each of them pauses on average.
    pub pause: Duration,
    /// How long nothing happens at first.
    pub baseline: Duration,
    /// How long the fault lasts: a fault of several parts shares it out.
    pub fault: Duration,
    /// How long no failure must be seen for all to be well.
    pub quiet: Duration,
    /// How long the load goes on after the fault at least.
    pub after: Duration,
    /// How long the load goes on at least.
    pub whole: Duration,
    /// How soon all must be well (I6).
    pub bound: Duration,
    /// Whether times are judged: they mean nothing on a machine that does other things, too.
    pub judges_times: bool,
    /// Grants that are looked at in the end.
    pub probes: usize,
    /// When Redis has the disk take what it has written: `appendfsync`.
    pub appendfsync: &'static str,
}

impl Profile {
    /// A few seconds, on a machine that does other things, too.
    #[must_use]
    pub const fn short() -> Self {
        Self {
            clients: 24,
            pause: Duration::from_millis(300),
            baseline: Duration::from_millis(800),
            fault: Duration::from_millis(2_500),
            quiet: Duration::from_millis(1_200),
            after: Duration::from_millis(1_200),
            whole: Duration::ZERO,
            bound: Duration::from_secs(10),
            judges_times: false,
            probes: 40,
            // Other tests keep the disk busy, and SIGKILL is to lose nothing that was answered.
            appendfsync: "no",
        }
    }

    /// So many seconds of load, on a machine that does nothing else.
    #[must_use]
    pub fn long(seconds: u32) -> Self {
        let whole = Duration::from_secs(u64::from(seconds));
        Self {
            clients: 64,
            pause: Duration::from_millis(400),
            baseline: whole.mul_f64(0.15),
            fault: whole.mul_f64(0.55),
            quiet: Duration::from_secs(5),
            after: whole.mul_f64(0.15),
            whole,
            bound: Duration::from_secs(5),
            judges_times: true,
            probes: 200,
            appendfsync: "everysec",
        }
    }

    /// Tells whether there is time for what takes tens of seconds.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.fault >= Duration::from_secs(20)
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The fault's id.
    pub id: &'static str,
    /// What the fault is.
    pub name: &'static str,
    /// Requests of clients.
    pub requests: usize,
    /// Failures by kind.
    pub failures: BTreeMap<String, usize>,
    /// The recovery.
    pub recovery: Recovery,
    /// How much more memory the origin and workerd held in the end than before, KB.
    pub grown: [i64; 2],
    /// What else was measured.
    pub notes: Vec<String>,
    /// What must not be.
    pub violations: Vec<Violation>,
    /// Where the history is.
    pub history: PathBuf,
    /// The last lines of the logs.
    pub logs: String,
}

/// What a fault acts on.
pub struct Stage<'r> {
    /// The system.
    pub system: &'r mut System,
    /// The history of the load.
    pub history: Arc<History>,
    /// How long things take.
    pub profile: Profile,
    /// For what a fault does side by side.
    pub runtime: &'r Runtime,
    notes: Vec<String>,
    violations: Vec<Violation>,
    asked_aside: u64,
    connected_aside: u64,
}

impl Stage<'_> {
    /// Says that the fault begins.
    pub fn begins(&self) {
        self.history.mark(Mark::Began);
    }

    /// Says that the store is away from here on.
    pub fn loses_store(&self) {
        self.history.mark(Mark::StoreLost);
    }

    /// Says that the store may be back from here on, whenever the fault itself comes to know it.
    pub fn store_may_be_back(&self) {
        self.history.mark(Mark::StoreMayBeBack);
    }

    /// Starts Redis, which is away, waits for it, and says that it is back. Others may have seen it since
    /// it was asked last in vain.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restarts_redis(&mut self) {
        let mut away_at = self.history.now();
        let redis = self.system.redis();
        redis.begin_restart();
        stack::wait_until("redis-server", stack::PATIENCE, || {
            let asked_at = self.history.now();
            let answers = redis.answers();
            if !answers {
                away_at = asked_at;
            }
            answers
        });
        self.history.mark_at(away_at, Mark::StoreMayBeBack);
        self.returned();
    }

    /// Says that the store forgets.
    pub fn forgets(&self) {
        self.history.mark(Mark::Forgotten);
    }

    /// Says that answers of the origin may get lost before the edge has them.
    pub fn loses_answers(&self) {
        self.history.mark(Mark::AnswersLost);
    }

    /// Says that clocks are wrong until what had failed is back.
    pub fn doubts_clocks(&self) {
        self.history.mark(Mark::ClocksWrong);
    }

    /// Says that what had failed is back.
    pub fn returned(&self) {
        self.history.mark(Mark::Returned);
    }

    /// Lets a part of the fault's time go by.
    pub fn lasts(&self, share: f64) {
        std::thread::sleep(self.profile.fault.mul_f64(share));
    }

    /// Waits until no failure has been seen for a while.
    pub fn settles(&self) {
        let returned = self.history.now();
        let (mut from, mut last) = (0, Duration::ZERO);
        loop {
            from = self.history.look_from(from, |line| {
                if let Line::Event(event) = line
                    && event.failure().is_some()
                {
                    last = last.max(event.ended);
                }
            });
            let now = self.history.now();
            let quiet_since = last.max(returned);
            if now.saturating_sub(quiet_since) >= self.profile.quiet
                || now.saturating_sub(returned) >= GIVEN_UP_IN
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns when the fault began last.
    #[must_use]
    pub fn last_began(&self) -> Duration {
        let record = self.record();
        let began = record.marks.iter().rfind(|(_, mark)| *mark == Mark::Began);
        began.map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// Returns when the fault began and ended last.
    #[must_use]
    pub fn last_window(&self) -> (Duration, Duration) {
        self.record().windows().last().copied().unwrap_or_default()
    }

    /// Counts the requests that were begun between two moments.
    #[must_use]
    pub fn asked(&self, from: Duration, to: Duration, counts: impl Fn(&Act) -> bool) -> u64 {
        self.count(|_, event| event.began >= from && event.began < to && counts(&event.act))
    }

    /// Counts the requests that were begun and failed between two moments, whyever.
    #[must_use]
    pub fn failures(&self, from: Duration, to: Duration, counts: impl Fn(&Act) -> bool) -> u64 {
        self.count(|_, event| is_failure_within(event, from, to) && counts(&event.act))
    }

    /// Counts those of them that failed while the machine ran.
    #[must_use]
    pub fn failures_of_the_system(&self, from: Duration, to: Duration) -> u64 {
        self.count(|record, event| {
            is_failure_within(event, from, to) && !record.lacked_a_machine(event)
        })
    }

    /// Counts the requests that were under way at a moment, and were not answered, or only that they
    /// failed.
    #[must_use]
    pub fn hit_at(&self, moment: Duration, by: impl Fn(By) -> bool) -> u64 {
        self.count(|_, event| {
            let is_under_way = event.began < moment && event.ended > moment;
            is_under_way && event.failure().is_some() && by(event.by)
        })
    }

    fn count(&self, counts: impl Fn(&Record, &Event) -> bool) -> u64 {
        let record = self.record();
        let counted = record.events.iter().filter(|event| counts(&record, event)).count();
        u64::try_from(counted).unwrap_or(u64::MAX)
    }

    /// Returns how long so many of 100 answers took at most.
    #[must_use]
    pub fn percentile(&self, from: Duration, to: Duration, of_100: usize) -> Duration {
        checker::percentile(&self.record(), from, to, of_100)
    }

    /// Returns the access token that was issued last to a client that has only looked since.
    #[must_use]
    pub fn newest_access_token(&self) -> Option<String> {
        let record = self.record();
        record.events.iter().rev().find_map(|event| match (&event.act, event.told()) {
            (Act::UserInfo(token), Some(Told::Subject(_))) => Some(token.clone()),
            _ => None,
        })
    }

    /// Returns codes that were redeemed last, and whose they are.
    #[must_use]
    pub fn redeemed_codes(&self, at_most: usize) -> Vec<(u32, String)> {
        let record = self.record();
        let redeemed = record.events.iter().rev().filter_map(|event| match &event.act {
            Act::Redeem(code) if event.status() == Some(200) => Some((event.user, code.clone())),
            _ => None,
        });
        redeemed.take(at_most).collect()
    }

    /// Returns for which user something was asked that a client asks: waits until it has its answer.
    ///
    /// # Panics
    /// When no client did.
    #[must_use]
    pub fn user_of(&self, act: &Act) -> u32 {
        let (mut from, mut user) = (0, None);
        stack::wait_until("a client's answer", stack::PATIENCE, || {
            from = self.history.look_from(from, |line| match line {
                Line::Event(event) if event.act == *act => user = Some(event.user),
                _ => {}
            });
            user.is_some()
        });
        user.unwrap_or_default()
    }

    fn record(&self) -> Record {
        Record::of(self.history.lines())
    }

    /// Says that so many requests were made that are not in the history.
    pub fn asked_aside(&mut self, requests: usize) {
        self.asked_aside += u64::try_from(requests).unwrap_or(u64::MAX);
    }

    /// Says that the origin had so many connections at once that are not the load's.
    pub fn connected_aside(&mut self, connections: usize) {
        self.connected_aside = u64::try_from(connections).unwrap_or(u64::MAX);
    }

    /// Returns what the origin holds, after a second.
    #[must_use]
    pub fn held_by_origin(&mut self) -> Resources {
        let [held] = Resources::held_by([self.system.origin().pid()]);
        held
    }

    /// Writes down what a fault has measured.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Writes down what must not be, of what the fault itself looks at.
    pub fn holds(&mut self, it: bool, invariant: &'static str, what: impl Into<String>) {
        if !it {
            let at = self.history.now();
            self.violations.push(Violation::new(invariant, at, what));
        }
    }
}

fn is_failure_within(event: &Event, from: Duration, to: Duration) -> bool {
    event.began >= from && event.ended < to && event.failure().is_some()
}

/// Runs one fault.
///
/// # Panics
/// When the system does not start.
#[must_use]
pub fn run(fault: &Fault, profile: Profile) -> Outcome {
    let runtime = Runtime::new().expect("a runtime can be made");
    let file = stack::root().join("target/chaos").join(format!("{}.jsonl", fault.id));
    std::fs::create_dir_all(file.parent().expect("a file has a folder")).expect("it can be made");
    let mut system = System::start(&runtime, fault.plan, profile.appendfsync);
    let history = Arc::new(History::begin(&file).expect("a history can be begun"));
    let of_watch = Arc::clone(&history);
    let _watch = Watch::begin(move |from, to| {
        of_watch.mark_at(of_watch.time_of(to), Mark::StoodStill(of_watch.time_of(from)));
    });
    let (end, ending) = watch::channel(false);

    let clients = begin(&runtime, &system, &history, profile, &ending);
    let load: Vec<_> = clients.into_iter().map(|client| runtime.spawn(client.run())).collect();
    let checks =
        runtime.spawn(check_health(history.clone(), system.origin().admin_url(), ending.clone()));
    std::thread::sleep(Duration::from_millis(300));
    let baseline = history.now();
    history.mark(Mark::Baseline);
    std::thread::sleep(profile.baseline.saturating_sub(HELD_FOR));
    let before = Resources::held_by([system.origin().pid(), system.edge.pid()]);

    let mut stage = Stage {
        system: &mut system,
        history: history.clone(),
        profile,
        runtime: &runtime,
        notes: Vec::new(),
        violations: Vec::new(),
        asked_aside: 0,
        connected_aside: 0,
    };
    (fault.act)(&mut stage);
    stage.settles();
    let Stage { mut notes, mut violations, asked_aside, connected_aside, .. } = stage;
    let until = (history.now() + profile.after).max(baseline + profile.whole);
    std::thread::sleep(until.saturating_sub(history.now()));

    history.mark(Mark::Ended);
    let _ = end.send(true);
    runtime.block_on(async {
        for task in load {
            let _ = task.await;
        }
        let _ = checks.await;
        probe::look(&Door::new(&system.issuer), &history, profile.probes).await;
    });

    let record = Record::of(history.lines());
    let judged = checker::judge(&record);
    let (lost, judged) =
        if fault.may_lose { record.split_lost(judged) } else { (Vec::new(), judged) };
    violations.extend(judged);
    if fault.may_lose {
        let count = |name| lost.iter().filter(|violation| violation.invariant == name).count();
        notes.push(format!(
            "of what was answered in the lost window, {} codes were redeemed again and {} revoked \
             tokens accepted again",
            count("I1"),
            count("I2")
        ));
    }
    let lacked = record.events.iter().filter(|event| record.lacked_a_machine(event)).count();
    if lacked > 0 {
        notes.push(format!("{lacked} requests failed for want of a machine"));
    }
    violations.extend(checker::failures_outside(&record));
    let recovery = checker::recovery(&record, profile.bound);
    violations.extend(judge_recovery(&recovery, profile));
    let requests = u64::try_from(record.events.len()).unwrap_or(u64::MAX);
    let more = [more_of_origin(connected_aside), more_of_workerd(requests + asked_aside)];
    let (leaks, grown) = judge_resources(&mut system, before, more);
    violations.extend(leaks);
    if fault.fails_nobody {
        violations.extend(record.events.iter().filter_map(|event| {
            let failure = event.failure().filter(|_| !record.lacked_a_machine(event))?;
            let what = format!("{} failed ({failure}), and nothing may", event.act.kind());
            Some(Violation::new("I6", event.ended, what))
        }));
    }
    Outcome {
        id: fault.id,
        name: fault.name,
        requests: record.events.len(),
        failures: record.failures(),
        recovery,
        grown,
        notes,
        violations,
        history: file,
        logs: system.last_lines(),
    }
}

/// Makes the clients, and has each of them sign in.
fn begin(
    runtime: &Runtime,
    system: &System,
    history: &Arc<History>,
    profile: Profile,
    ending: &watch::Receiver<bool>,
) -> Vec<Client> {
    let begin = |number| {
        let mut client = Client::new(
            number,
            number % USERS,
            Door::new(&system.issuer),
            history.clone(),
            profile.pause,
            ending.clone(),
        );
        async move {
            client.begin().await;
            client
        }
    };
    runtime.block_on(at_a_time(4, (0..profile.clients).map(begin)))
}

/// Does all of these, so many at a time, and returns what came of them, in no order.
pub async fn at_a_time<T: Send + 'static>(
    many: usize,
    all: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let (mut tasks, mut done) = (tokio::task::JoinSet::new(), Vec::new());
    for one in all {
        while tasks.len() >= many {
            done.extend(tasks.join_next().await.and_then(Result::ok));
        }
        tasks.spawn(one);
    }
    while let Some(one) = tasks.join_next().await {
        done.extend(one.ok());
    }
    done
}

/// I7: idle connections may stay for a while, and then both processes hold what they held before.
/// Returns what is too much, and how much more memory each holds, KB.
fn judge_resources(
    system: &mut System,
    before: [Resources; 2],
    [more_of_origin, more_of_workerd]: [u64; 2],
) -> (Vec<Violation>, [i64; 2]) {
    let mut grown = [0; 2];
    let found = once_idle(|| {
        let [origin, edge] = Resources::held_by([system.origin().pid(), system.edge.pid()]);
        grown = [origin.grown(before[0]), edge.grown(before[1])];
        let of_origin = origin.judge(before[0], ("the origin", more_of_origin));
        [of_origin, edge.judge(before[1], ("workerd", more_of_workerd))].concat()
    });
    (found, grown)
}

/// Looks until nothing is too much any more, for as long as idle connections may stay; returns what is.
pub fn once_idle(mut look: impl FnMut() -> Vec<Violation>) -> Vec<Violation> {
    let began = Instant::now();
    loop {
        let found = look();
        if found.is_empty() || began.elapsed() > IDLE_FOR {
            return found;
        }
    }
}

/// I6: few failures are left after the bound, and answers are as quick as before.
fn judge_recovery(recovery: &Recovery, profile: Profile) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violation = |what: String| {
        found.push(Violation::new("I6", Duration::ZERO, what));
    };
    if recovery.failed_after * 1_000 > recovery.asked_after {
        violation(format!(
            "{} of {} requests failed later than {} s after the return",
            recovery.failed_after,
            recovery.asked_after,
            profile.bound.as_secs()
        ));
    }
    // What is a few milliseconds anyway may be a few more.
    let bound = recovery.p99_before * 2 + Duration::from_millis(100);
    if profile.judges_times && recovery.p99_after > bound {
        violation(format!(
            "99 of 100 answers take {:?}, {:?} before",
            recovery.p99_after, recovery.p99_before
        ));
    }
    found
}

/// Asks the origin's admin listener whether it is ready and alive.
async fn check_health(history: Arc<History>, url: String, mut ending: watch::Receiver<bool>) {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWERED_IN).build();
    let Ok(client) = client else { return };
    let ask = |path: &'static str| {
        let asked = client.get(format!("{url}{path}")).send();
        async move { asked.await.ok().map(|answer| answer.status().as_u16() == 200) }
    };
    while !*ending.borrow() {
        let at = history.now();
        let (ready, live) = tokio::join!(ask("/readyz"), ask("/healthz"));
        history.add(Line::Health(Health { at, until: history.now(), ready, live }));
        let _ = tokio::time::timeout(CHECKED_EVERY, ending.wait_for(|ending| *ending)).await;
    }
}
