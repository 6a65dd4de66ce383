//! What is measured, in which order, and what it is compared with.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Options;
use crate::callers::{Authorize, Exchange, Flow, LogIn, Present, Repeat, Rotate, Start, Tokens};
use crate::load::{Caller, Failure, Measured, run, talk};
use crate::system::{System, cpu, cpu_of_all, first_answer, info, modules, resident};
use crate::table::{self, Row, Sample, Target, Want};

/// Connections that load a server.
const CONNECTIONS: usize = 64;
/// Connections that log in: fewer than the attempts that one user may have under way.
const LOGINS: usize = 8;
/// Login sessions that the code flows share.
const SESSIONS: usize = 8;
const ROUNDS: usize = 3;
/// Requests by which round trips are counted.
const QUIET: usize = 200;
/// Starts of which the median is taken.
const STARTS: usize = 5;
/// How long a server is loaded before anything is counted.
const WARM_UP: Duration = Duration::from_millis(300);

const WITHOUT_ID_TOKEN: &str = "profile email";
const WITH_ID_TOKEN: &str = "openid profile email";

const REFRESH: &str = "origin: refresh rotation";
const REFRESH_OPENID: &str = "origin: refresh rotation with ID token";
const ROTATION: &str = "ceiling: form, one script, one ES256";
const INTROSPECT: &str = "origin: introspection";
const LOOK_UP: &str = "ceiling: form, one GET";
const USERINFO: &str = "origin: userinfo, known token";
const USERINFO_NEW: &str = "origin: userinfo, new token";
const AUTHORIZE: &str = "origin: authorize, live session";
const EXCHANGE: &str = "origin: code exchange with ID token";
const FLOW: &str = "origin: authorize + token + userinfo";
const PASSWORD: &str = "origin: password grant (8 connections)";
const HASH: &str = "ceiling: one argon2id (8 connections)";
const HELLO: &str = "ceiling: hello";
const DISCOVERY: &str = "edge: discovery";
const BEARER: &str = "edge: Bearer check, known token";
const BEARER_NEW: &str = "edge: Bearer check, new ES256 token";
const NULL: &str = "null Rust worker: hello";

/// Measures everything that was asked for, and prints it.
pub(crate) fn measure_all(options: &Options) -> Result<(), Failure> {
    let mut bench = Bench::start(options)?;
    let began = (Instant::now(), bench.own_cpu(), cpu_of_all());
    for round in 1..=ROUNDS {
        eprintln!("▸ round {round} of {ROUNDS}");
        bench.round()?;
    }
    let busy = cpu_of_all().saturating_sub(began.2);
    let foreign = busy.saturating_sub(bench.own_cpu().saturating_sub(began.1));
    let foreign = 100.0 * foreign.as_secs_f64() / began.0.elapsed().as_secs_f64();
    let loaded = resident(bench.system.origin.pid());
    let memory = bench.memory();
    let mut targets = bench.ratios();
    if bench.wants("trips") {
        targets.extend(bench.round_trips()?);
    }
    if bench.wants("growth") {
        targets.extend(bench.growth(options.rotations)?);
    }
    if bench.wants("start") {
        targets.extend(bench.starts(loaded)?);
    }
    println!("\n{}\n{}\n{memory}", table::rows(&bench.rows), table::targets(&targets));
    println!(
        "Other processes used {foreign:.0} % of one core meanwhile. Rounds of {} s, {CONNECTIONS} \
         connections where nothing else is said.",
        options.seconds
    );
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    system: System,
    sessions: Vec<String>,
    rows: Vec<Row>,
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options) -> Result<Self, Failure> {
        eprintln!("▸ start redis-server, origin, ceiling, edge, null worker");
        let system = System::start()?;
        let sessions = (0..SESSIONS)
            .map(|_| talk(system.origin_port, LogIn::default())?.session())
            .collect::<Result<_, _>>()?;
        Ok(Self { options, system, sessions, rows: Vec::new() })
    }

    fn wants(&self, group: &str) -> bool {
        self.options.only.as_deref().is_none_or(|only| only == group)
    }

    fn own_cpu(&self) -> Duration {
        self.system.pids().into_iter().map(cpu).sum()
    }

    fn round(&mut self) -> Result<(), Failure> {
        let (origin, ceiling) = (self.at_origin(), self.at_ceiling());
        if self.wants("refresh") {
            let callers = self.rotating(WITHOUT_ID_TOKEN)?;
            self.measure(REFRESH, origin, callers)?;
            let started = self.ceiling_tokens()?;
            let callers = started.into_iter().map(Rotate::at_ceiling).collect();
            self.measure(ROTATION, ceiling, callers)?;
            let callers = self.rotating(WITH_ID_TOKEN)?;
            self.measure(REFRESH_OPENID, origin, callers)?;
        }
        if self.wants("introspect") {
            let grants = self.grants(WITH_ID_TOKEN, CONNECTIONS)?;
            let callers = grants.iter().map(|it| Repeat::introspect(&it.access)).collect();
            self.measure(INTROSPECT, origin, callers)?;
            let rows = self.ceiling_tokens()?;
            let callers = rows.iter().map(|it| Repeat::look_up(&it.refresh)).collect();
            self.measure(LOOK_UP, ceiling, callers)?;
        }
        if self.wants("userinfo") {
            let grants = self.grants(WITH_ID_TOKEN, CONNECTIONS)?;
            let bearer = |it: &Tokens| Repeat::bearer("/oauth2/userinfo", &it.access, 200);
            self.measure(USERINFO, origin, grants.iter().map(bearer).collect())?;
        }
        if self.wants("code") {
            self.code_round()?;
        }
        if self.wants("login") {
            self.measure(PASSWORD, origin, vec![Repeat::password(); LOGINS])?;
            self.measure(HASH, ceiling, vec![Repeat::get("/hash", 200); LOGINS])?;
        }
        if self.wants("hello") {
            self.measure(HELLO, ceiling, vec![Repeat::get("/hello", 200); CONNECTIONS])?;
        }
        if self.wants("edge") {
            self.edge_round()?;
        }
        Ok(())
    }

    /// Codes first, then all of them redeemed; then access tokens of those, each used once; then
    /// the three together.
    fn code_round(&mut self) -> Result<(), Failure> {
        let origin = self.at_origin();
        let session = |at: usize| &*self.sessions[at % SESSIONS];
        let authorizing =
            (0..CONNECTIONS).map(|at| Authorize::new(session(at), WITH_ID_TOKEN)).collect();
        let flowing: Vec<_> = (0..CONNECTIONS).map(|at| Flow::new(session(at))).collect();
        let authorized = self.measure(AUTHORIZE, origin, authorizing)?;
        let redeeming = authorized
            .into_iter()
            .map(|it| Exchange { codes: it.codes, tokens: Vec::new() })
            .collect();
        let redeemed = self.measure_whole(EXCHANGE, origin, redeeming)?;
        let presenting = redeemed
            .into_iter()
            .map(|it| {
                let tokens = it.tokens.into_iter().map(|it| it.access).collect();
                Present { tokens, status: 200 }
            })
            .collect();
        self.measure_whole(USERINFO_NEW, origin, presenting)?;
        self.measure(FLOW, origin, flowing)?;
        Ok(())
    }

    /// Tokens without `openid`: after the whole check, userinfo refuses them for their scope, so
    /// the edge answers by itself.
    fn edge_round(&mut self) -> Result<(), Failure> {
        let edge = (self.system.edge_port, self.system.edge.pid());
        let null = (self.system.null_port, self.system.null.pid());
        let discovery = Repeat::get("/.well-known/openid-configuration", 200);
        self.measure(DISCOVERY, edge, vec![discovery; CONNECTIONS])?;
        let collecting: Vec<_> =
            self.rotating(WITHOUT_ID_TOKEN)?.into_iter().map(Rotate::collecting).collect();
        let known: Vec<_> = collecting
            .iter()
            .map(|it| Repeat::bearer("/oauth2/userinfo", &it.tokens.access, 403))
            .collect();
        let before = self.system.origin.requests(None);
        self.measure(BEARER, edge, known)?;
        // The key set and the clients may be asked for, no more.
        let reached = self.system.origin.requests(None) - before;
        if reached > 8 {
            return Err(format!("{reached} requests reached the origin through the edge").into());
        }
        self.measure(NULL, null, vec![Repeat::get("/", 200); CONNECTIONS])?;
        let second = Duration::from_secs_f64(self.options.seconds.min(2.0));
        let (_, collected) = run(self.system.origin_port, collecting, Duration::ZERO, second)?;
        let presenting = collected
            .into_iter()
            .map(|it| Present { tokens: it.collected.unwrap_or_default(), status: 403 })
            .collect();
        self.measure_whole(BEARER_NEW, edge, presenting)?;
        Ok(())
    }

    fn at_origin(&self) -> (u16, u32) {
        (self.system.origin_port, self.system.origin.pid())
    }

    fn at_ceiling(&self) -> (u16, u32) {
        (self.system.ceiling_port, self.system.ceiling.pid())
    }

    /// Makes grants by the code flow.
    fn grants(&self, scope: &str, count: usize) -> Result<Vec<Tokens>, Failure> {
        let authorize = Authorize::new(&self.sessions[0], scope).times(count);
        let codes = talk(self.system.origin_port, authorize)?.codes;
        Ok(talk(self.system.origin_port, Exchange { codes, tokens: Vec::new() })?.tokens)
    }

    fn rotating(&self, scope: &str) -> Result<Vec<Rotate>, Failure> {
        Ok(self.grants(scope, CONNECTIONS)?.into_iter().map(Rotate::at_origin).collect())
    }

    fn ceiling_tokens(&self) -> Result<Vec<Tokens>, Failure> {
        (0..CONNECTIONS)
            .map(|_| {
                let start = talk(self.system.ceiling_port, Start::default())?;
                Ok(start.tokens.ok_or("the ceiling gave no token")?)
            })
            .collect()
    }

    /// Loads a server for a while.
    fn measure<C: Caller + 'static>(
        &mut self,
        name: &'static str,
        server: (u16, u32),
        callers: Vec<C>,
    ) -> Result<Vec<C>, Failure> {
        let at_most = WARM_UP + Duration::from_secs_f64(self.options.seconds);
        self.sample(name, server, callers, WARM_UP, at_most)
    }

    /// Loads a server until the callers have nothing left.
    fn measure_whole<C: Caller + 'static>(
        &mut self,
        name: &'static str,
        server: (u16, u32),
        callers: Vec<C>,
    ) -> Result<Vec<C>, Failure> {
        self.sample(name, server, callers, Duration::ZERO, Duration::from_secs(40))
    }

    fn sample<C: Caller + 'static>(
        &mut self,
        name: &'static str,
        (port, pid): (u16, u32),
        callers: Vec<C>,
        from: Duration,
        at_most: Duration,
    ) -> Result<Vec<C>, Failure> {
        let redis = self.system.redis_pid;
        let before = (Instant::now(), cpu(pid), cpu(redis));
        let (mut measured, callers) =
            run(port, callers, from, at_most).map_err(|failure| format!("{name}: {failure}"))?;
        // The processors' time covers the warm-up as well, so it is held against the whole time.
        let share = measured.took.as_secs_f64() / before.0.elapsed().as_secs_f64();
        let each = |now: Duration, then: Duration| per(&measured, now.saturating_sub(then), share);
        let (server, redis) = (each(cpu(pid), before.1), each(cpu(redis), before.2));
        let (p50, p99) = (measured.percentile(50), measured.percentile(99));
        let sample = Sample { rate: measured.rate(), p50, p99, server, redis };
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.samples.push(sample),
            None => self.rows.push(Row { name, samples: vec![sample] }),
        }
        eprintln!("  {:>8.0} /s  {name}", sample.rate);
        Ok(callers)
    }

    /// Compares rows with each other.
    fn ratios(&self) -> Vec<Target> {
        let rate = |name: &str| self.row(name).map(|row| row.median(|it| it.rate));
        // The same by processor time, which other processes disturb less.
        let cost = |name: &str| self.row(name).map(|row| row.median(|it| it.server));
        let mut targets = Vec::new();
        let compared = [
            ("P1", "refresh rotation / token ceiling", REFRESH, ROTATION, 0.5, 0.65),
            ("P5", "introspection / form + GET", INTROSPECT, LOOK_UP, 0.4, 0.55),
            ("E1", "Bearer check, known token / null Rust worker", BEARER, NULL, 0.8, 0.88),
            ("–", "discovery at the edge / null Rust worker", DISCOVERY, NULL, 0.8, 0.88),
            ("(P8)", "password grant / one argon2id", PASSWORD, HASH, 0.85, 0.95),
        ];
        for (id, what, own, ceiling, must, better) in compared {
            let (Some(own_rate), Some(ceiling_rate)) = (rate(own), rate(ceiling)) else {
                continue;
            };
            let by_cost = cost(ceiling).zip(cost(own)).map_or(f64::NAN, |(all, own)| all / own);
            let what = format!("{what} ({by_cost:.2} by CPU time)");
            let figure = own_rate / ceiling_rate;
            targets.push(Target { id, what, figure, want: Want::AtLeast, must, better });
        }
        if let Some(row) = self.row(REFRESH) {
            let ratio = |sample: &Sample| sample.p99.as_secs_f64() / sample.p50.as_secs_f64();
            let (what, figure) = ("refresh rotation, p99 / p50".to_owned(), row.median(ratio));
            let want = Want::AtMost;
            targets.push(Target { id: "P10", what, figure, want, must: 4.0, better: 2.5 });
        }
        targets
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    fn memory(&self) -> String {
        let System { origin, ceiling, edge, null, redis_pid, .. } = &self.system;
        let [origin, ceiling, edge, null, redis] =
            [origin.pid(), ceiling.pid(), edge.pid(), null.pid(), *redis_pid]
                .map(|pid| mib(resident(pid)));
        format!(
            "Resident after the rounds, MiB: origin {origin:.1}, ceiling {ceiling:.1}, edge in \
             workerd {edge:.1}, null worker in workerd {null:.1}, Redis {redis:.1}."
        )
    }

    /// Counts what Redis is asked while one connection asks the origin, and nobody else does.
    fn round_trips(&self) -> Result<Vec<Target>, Failure> {
        eprintln!("▸ round trips to Redis");
        let port = self.system.origin_port;
        let mut grants = self.grants(WITH_ID_TOKEN, 3)?.into_iter();
        let mut next = || grants.next().ok_or("a grant is missing");
        let rotate = Rotate::at_origin(next()?).times(QUIET);
        let introspect = Repeat::introspect(&next()?.access).times(QUIET);
        let userinfo = Repeat::bearer("/oauth2/userinfo", &next()?.access, 200).times(QUIET);
        let authorize = Authorize::new(&self.sessions[0], WITH_ID_TOKEN).times(QUIET);
        let codes = talk(port, authorize)?.codes;
        let exchange = Exchange { codes, tokens: Vec::new() };
        Ok(vec![
            self.trips("refresh rotation", rotate)?,
            self.trips("introspection", introspect)?,
            self.trips("userinfo", userinfo)?,
            self.trips("code exchange", exchange)?,
        ])
    }

    /// Redis counts each time that it reads from a connection, and each script that it is asked
    /// for. What scripts do inside shows up in `commandstats`, too, but is no round trip.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn trips<C: Caller + 'static>(&self, name: &str, caller: C) -> Result<Target, Failure> {
        let redis = &self.system.redis;
        let reads = || info(redis, "stats", "total_reads_processed").unwrap_or_default();
        let scripts = || info(redis, "commandstats", "cmdstat_evalsha").unwrap_or_default();
        // What asking for the counts costs itself, to be taken off.
        let (scripts_before, first, second) = (scripts(), reads(), reads());
        talk(self.system.origin_port, caller)?;
        let third = reads();
        let scripts = scripts() - scripts_before;
        let counted = (third - second) - (second - first);
        let each = counted as f64 / QUIET as f64;
        let scripts = scripts as f64 / QUIET as f64;
        Ok(Target {
            id: "P13",
            what: format!("round trips to Redis, {name} (of them scripts: {scripts:.2})"),
            figure: each,
            want: Want::AtMost,
            must: 1.0,
            better: 1.0,
        })
    }

    /// Compares the origin's memory before and after many rotations.
    fn growth(&self, rotations: usize) -> Result<Vec<Target>, Failure> {
        eprintln!("▸ {rotations} rotations");
        let pid = self.system.origin.pid();
        let rotate = |rotations: usize| -> Result<(), Failure> {
            let callers = self.rotating(WITHOUT_ID_TOKEN)?;
            let callers = callers.into_iter().map(|it| it.times(rotations / CONNECTIONS));
            let at_most = Duration::from_mins(10);
            run(self.system.origin_port, callers.collect(), Duration::ZERO, at_most)?;
            Ok(())
        };
        // Whatever is kept for a while is full after these.
        rotate(20_000)?;
        let before = resident(pid);
        rotate(rotations)?;
        let grown = resident(pid).saturating_sub(before);
        let what = format!("memory grown over {rotations} rotations, MiB");
        let (figure, want) = (mib(grown), Want::AtMost);
        Ok(vec![Target { id: "P11", what, figure, want, must: 4.0, better: 4.0 }])
    }

    /// Starts origin and edge again and again; they do not run afterwards.
    fn starts(&mut self, loaded: u64) -> Result<Vec<Target>, Failure> {
        eprintln!("▸ starts");
        let Self { system, .. } = self;
        let edge = system.edge.command();
        system.edge.kill();
        let edge = many(edge, system.edge_port, "/.well-known/openid-configuration")?;
        let origin = system.origin.command();
        system.origin.kill();
        let origin = many(origin, system.origin_port, "/healthz")?;
        let gzipped = gzipped(&modules("edge"))?;
        let target = |id, what: &str, figure, must, better| Target {
            id,
            what: what.to_owned(),
            figure,
            want: Want::AtMost,
            must,
            better,
        };
        Ok(vec![
            target("P11", "origin's memory, idle, MiB", origin.1, 24.0, 16.0),
            target("P11", "origin's memory, after the rounds, MiB", mib(loaded), 48.0, 28.0),
            target("P12", "start of the origin to the first 200, ms", origin.0, 120.0, 60.0),
            target("E6", "worker and glue, gzipped, KB", gzipped, 220.0, 180.0),
            target("E7", "start of workerd to the first answer, ms", edge.0, 200.0, 100.0),
        ])
    }
}

/// Returns processor time per thing counted, microseconds.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per(measured: &Measured, used: Duration, share: f64) -> f64 {
    used.as_secs_f64() * share * 1e6 / measured.latencies.len() as f64
}

/// Returns the medians of the time to the first answer, ms, and of the memory then, MiB.
fn many(mut command: Command, port: u16, path: &str) -> Result<(f64, f64), Failure> {
    let (mut times, mut memories) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (took, resident) = first_answer(&mut command, port, path)?;
        times.push(took.as_secs_f64() * 1e3);
        memories.push(mib(resident));
    }
    Ok((table::median(times), table::median(memories)))
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 KiB")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Returns the size of all modules below a folder, each gzipped, KB.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn gzipped(folder: &Path) -> Result<f64, Failure> {
    let mut size = 0.0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            size += gzipped(&path)?;
        } else if path.extension().is_some_and(|it| it == "js" || it == "wasm") {
            let output = Command::new("gzip")
                .args(["-9", "-c"])
                .arg(&path)
                .stderr(Stdio::null())
                .output()?;
            size += output.stdout.len() as f64 / 1000.0;
        }
    }
    Ok(size)
}
