//! What is measured, in which order, and what it is compared with.

use std::time::{Duration, Instant};

use shared::limits::STATUS_BLOCK_LEN;

use crate::Options;
use crate::callers::{
    AskVerified, Authorize, Exchange, Flow, Forge, LogIn, Present, Repeat, Revoke, Rotate, Start,
    Tokens, WITH_ID_TOKEN, WITHOUT_ID_TOKEN,
};
use crate::figures::{gzipped, many, mib};
use crate::load::{Caller, Failure, Measured, run, talk};
use crate::system::{System, cpu, cpu_of_all, info, modules, resident};
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
/// How long a server is loaded before anything is counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// Access tokens of one grant that are verified for the first time in one round at most: a
/// revocation reaches the newest thousand.
const TOKENS_OF_A_GRANT: usize = 500;
/// Forged tokens by which the memory of good ones is tried.
const FORGED: usize = 20_000;
/// How often a token is looked for while its revocation is on its way to the edge.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The routes at the origin, as its metrics name them, from which the edge loads what it keeps for
/// everybody. The clients are at no endpoint.
const KEPT_AT_THE_EDGE: [&str; 3] = ["other", "/oauth2/jwks", "/oauth2/status/{list}"];

const USERINFO_TARGET: &str = "/oauth2/userinfo";
const UPSTREAM: &str = "/hello";

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
const HELLO_ONE: &str = "ceiling: hello (1 connection)";
const DISCOVERY: &str = "edge: discovery";
const BEGIN: &str = "edge: authorize, no session";
const BEARER: &str = "edge: Bearer check, known token";
const BEARER_NEW: &str = "edge: Bearer check, new ES256 token";
const FORGED_REFRESH: &str = "edge: forged refresh token";
const PASS: &str = "edge: pass-through, known token";
const PASS_ONE: &str = "edge: pass-through, known token (1 connection)";
const NULL: &str = "null Rust worker: hello";
const VERIFYING: &str = "JavaScript worker: new ES256 token, jose";
const PASSING: &str = "JavaScript worker: pass-through";
const PASSING_ONE: &str = "JavaScript worker: pass-through (1 connection)";

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
    if bench.wants("flood") {
        targets.push(bench.flood()?);
    }
    if bench.wants("start") {
        targets.extend(bench.starts(loaded)?);
    }
    println!(
        "\nOther processes used {foreign:.0} % of one core during the rounds. {ROUNDS} rounds of \
         {} s, {CONNECTIONS} connections where nothing else is said.\n\n{memory}\n\n{}\n{}",
        options.seconds,
        table::rows(&bench.rows),
        table::targets(&targets)
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
            let bearer = |it: &Tokens| Repeat::bearer(USERINFO_TARGET, &it.access, 200);
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
                Present { target: USERINFO_TARGET, tokens, status: 200 }
            })
            .collect();
        self.measure_whole(USERINFO_NEW, origin, presenting)?;
        self.measure(FLOW, origin, flowing)?;
        Ok(())
    }

    /// What the edge answers by itself, and what it passes on to an upstream. The origin gets none
    /// of it: that is checked.
    fn edge_round(&mut self) -> Result<(), Failure> {
        let (edge, null) = (self.system.edge.server(), self.system.null.server());
        let (verifying, passing) = (self.system.verifying.server(), self.system.passing.server());
        let ceiling = self.at_ceiling();
        let mut new = self.revoked_tokens()?;
        let known: Vec<_> = new.iter_mut().filter_map(Vec::pop).collect();
        self.await_revocation(&known)?;
        let good = self.grants(WITH_ID_TOKEN, CONNECTIONS)?;
        let before = self.reached_the_origin();
        self.measure(NULL, null, vec![Repeat::get("/", 200); CONNECTIONS])?;
        let known = known.iter().map(|it| Repeat::bearer(USERINFO_TARGET, it, 401)).collect();
        self.measure(BEARER, edge, known)?;
        let discovery = Repeat::get("/.well-known/openid-configuration", 200);
        self.measure(DISCOVERY, edge, vec![discovery; CONNECTIONS])?;
        self.measure(BEGIN, edge, vec![Repeat::begin(); CONNECTIONS])?;
        let forged = Repeat::refused(&forged(&good[0].refresh)?);
        self.measure(FORGED_REFRESH, edge, vec![forged; CONNECTIONS])?;

        let present = |target, status| {
            move |tokens: &Vec<String>| Present { target, tokens: tokens.clone(), status }
        };
        let presenting = new.iter().map(present(USERINFO_TARGET, 401)).collect();
        self.measure_whole(BEARER_NEW, edge, presenting)?;
        let presenting = new.iter().map(present("/", 200)).collect();
        self.measure_whole(VERIFYING, verifying, presenting)?;

        let good: Vec<_> =
            good.iter().map(|it| Repeat::bearer(UPSTREAM, &it.access, 200)).collect();
        self.measure(PASS, edge, good.clone())?;
        self.measure(PASSING, passing, good.clone())?;
        let one = || vec![good[0].clone()];
        self.measure(PASS_ONE, edge, one())?;
        self.measure(PASSING_ONE, passing, one())?;
        self.measure(HELLO_ONE, ceiling, one())?;

        match self.reached_the_origin() - before {
            0 => Ok(()),
            some => Err(format!("{some} requests reached the origin through the edge").into()),
        }
    }

    /// Makes access tokens whose grants are revoked. Each goes through the whole check, and the
    /// edge refuses it by itself for the very last reason: a good one it would pass on to
    /// somebody, who would be measured as well.
    fn revoked_tokens(&self) -> Result<Vec<Vec<String>>, Failure> {
        let port = self.system.origin_port;
        let rotating = self.rotating(WITH_ID_TOKEN)?.into_iter();
        let rotating = rotating.map(|it| it.times(TOKENS_OF_A_GRANT).collecting()).collect();
        let at_most = Duration::from_secs_f64(self.options.seconds.min(2.0));
        let (_, rotated) = run(port, rotating, Duration::ZERO, at_most)?;
        let (refresh, access) = rotated
            .into_iter()
            .map(|it| (it.tokens.refresh, it.collected.unwrap_or_default()))
            .unzip();
        talk(port, Revoke { tokens: refresh })?;
        Ok(access)
    }

    /// Waits until the edge has heard of a revocation; it knows the tokens then.
    fn await_revocation(&self, tokens: &[String]) -> Result<(), Failure> {
        let mut before = self.reached_the_origin();
        for _ in 0..40 {
            let tokens = tokens.to_vec();
            talk(self.system.edge.port, Present { target: USERINFO_TARGET, tokens, status: 401 })?;
            let now = self.reached_the_origin();
            if now == before {
                return Ok(());
            }
            before = now;
            std::thread::sleep(LOOK_AGAIN);
        }
        Err("the edge does not hear of a revocation".into())
    }

    /// Counts the requests that have reached the origin, but for those of the edge itself.
    fn reached_the_origin(&self) -> u64 {
        let metrics = self.system.origin.metrics();
        let requests = metrics.lines().filter(|line| {
            let is_kept = |route: &&str| line.contains(&format!("route=\"{route}\""));
            line.starts_with("cadence_http_requests_total{")
                && !KEPT_AT_THE_EDGE.iter().any(is_kept)
        });
        requests.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
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
            (
                "E2",
                "Bearer check, new ES256 token / jose in JavaScript",
                BEARER_NEW,
                VERIFYING,
                0.85,
                0.95,
            ),
            ("E5", "pass-through with the check / JavaScript without", PASS, PASSING, 0.6, 0.8),
            ("–", "authorize without a session / null Rust worker", BEGIN, NULL, 0.6, 0.7),
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
        let p50 = |name| self.row(name).map(|row| row.median(|it| it.p50.as_secs_f64() * 1e3));
        if let (Some(through), Some(direct)) = (p50(PASS_ONE), p50(HELLO_ONE)) {
            let what = "pass-through, added p50 (1 connection), ms".to_owned();
            let (figure, want) = (through - direct, Want::AtMost);
            targets.push(Target { id: "E5", what, figure, want, must: 1.5, better: 1.0 });
        }
        targets
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    fn memory(&self) -> String {
        let System { origin, ceiling, edge, null, redis_pid, .. } = &self.system;
        let (edge, null) = (edge.workerd.pid(), null.workerd.pid());
        let [origin, ceiling, edge, null, redis] =
            [origin.pid(), ceiling.pid(), edge, null, *redis_pid].map(|pid| mib(resident(pid)));
        format!(
            "Resident after the rounds, MiB: origin {origin:.1}, ceiling {ceiling:.1}, edge in \
             workerd {edge:.1}, null worker in workerd {null:.1}, Redis {redis:.1}."
        )
    }

    /// Counts what Redis is asked while one connection asks the origin, and nobody else does.
    ///
    /// Places in status lists are reserved a thousand at a time, by a round trip that no request
    /// waits for. It is kept out of the counts: they begin when a block has just been reserved.
    fn round_trips(&self) -> Result<Vec<Target>, Failure> {
        eprintln!("▸ round trips to Redis");
        let port = self.system.origin_port;
        self.await_reservation()?;
        let mut grants = self.grants(WITH_ID_TOKEN, 3)?.into_iter();
        let mut next = || grants.next().ok_or("a grant is missing");
        let rotate = Rotate::at_origin(next()?).times(QUIET);
        let introspect = Repeat::introspect(&next()?.access).times(QUIET);
        let userinfo = Repeat::bearer(USERINFO_TARGET, &next()?.access, 200).times(QUIET);
        // Redis may not know the script yet.
        talk(port, introspect.clone().times(1))?;
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

    /// Rotates until a block of places has just been reserved: one script more than rotations.
    fn await_reservation(&self) -> Result<(), Failure> {
        const AT_A_TIME: usize = 16;
        let mut rotate = self.rotating(WITHOUT_ID_TOKEN)?.remove(0);
        for _ in 0..=STATUS_BLOCK_LEN / 16 {
            let before = self.scripts();
            rotate = talk(self.system.origin_port, rotate.times(AT_A_TIME))?;
            // It is reserved behind the answer.
            std::thread::sleep(Duration::from_millis(5));
            if self.scripts() - before > AT_A_TIME as u64 {
                return Ok(());
            }
        }
        Err("no place in a status list was reserved".into())
    }

    fn scripts(&self) -> u64 {
        info(&self.system.redis, "commandstats", "cmdstat_evalsha").unwrap_or_default()
    }

    /// Redis counts each time that it reads from a connection, and each script that it is asked
    /// for. What scripts do inside shows up in `commandstats`, too, but is no round trip.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn trips<C: Caller + 'static>(&self, name: &str, caller: C) -> Result<Target, Failure> {
        let redis = &self.system.redis;
        let reads = || info(redis, "stats", "total_reads_processed").unwrap_or_default();
        // What asking for the counts costs itself, to be taken off.
        let (scripts_before, first, second) = (self.scripts(), reads(), reads());
        talk(self.system.origin_port, caller)?;
        let third = reads();
        let scripts = self.scripts() - scripts_before;
        let counted = (third - second) - (second - first);
        // To a tenth: the origin reserves statuses and looks for logout notices meanwhile, a question
        // or two among all of these.
        let each = (10.0 * counted as f64 / QUIET as f64).round() / 10.0;
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

    /// Has an edge verify some tokens, then floods it with forged ones, then presents the good ones
    /// again: none of them may be verified again.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn flood(&self) -> Result<Target, Failure> {
        eprintln!("▸ {FORGED} forged tokens");
        let port = self.system.start_counting_edge();
        let (edge, port) = (port.workerd, port.port);
        let grants = self.grants(WITH_ID_TOKEN, CONNECTIONS)?;
        let verified = || {
            let asked = talk(port, AskVerified::default())?;
            asked.verified.ok_or_else(|| Failure::from("the edge does not count"))
        };
        let present = || -> Result<usize, Failure> {
            let tokens = grants.iter().map(|it| it.access.clone()).collect();
            let before = verified()?;
            talk(port, Present { target: UPSTREAM, tokens, status: 200 })?;
            Ok(verified()? - before)
        };
        if present()? != CONNECTIONS || present()? != 0 {
            return Err("the edge does not verify each token once".into());
        }
        let (before, reached) = (verified()?, self.reached_the_origin());
        let forging = (0..CONNECTIONS).map(|at| {
            let each = FORGED / CONNECTIONS + 1;
            let end = FORGED.min((at + 1) * each);
            Forge::new(UPSTREAM, &grants[at].access, at * each..end)
        });
        run(port, forging.collect(), Duration::ZERO, Duration::from_mins(5))?;
        let forged = verified()? - before;
        if forged != FORGED || self.reached_the_origin() != reached {
            return Err(format!("{forged} forged tokens were verified, at the edge alone").into());
        }
        let again = present()?;
        drop(edge);
        Ok(Target {
            id: "E8",
            what: format!("{CONNECTIONS} known tokens, verified again after {FORGED} forged ones"),
            figure: again as f64,
            want: Want::AtMost,
            must: 0.0,
            better: 0.0,
        })
    }

    /// Starts origin and edge again and again; they do not run afterwards.
    fn starts(&mut self, loaded: u64) -> Result<Vec<Target>, Failure> {
        eprintln!("▸ starts");
        let Self { system, .. } = self;
        let edge = system.edge.workerd.command();
        system.edge.workerd.kill();
        let edge = many(edge, system.edge.port, "/.well-known/openid-configuration")?;
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

/// Changes the tag of a refresh token.
fn forged(refresh_token: &str) -> Result<String, Failure> {
    let (body, tag) = refresh_token.split_at_checked(64).ok_or("a short refresh token")?;
    let first = if tag.starts_with('A') { 'B' } else { 'A' };
    Ok(format!("{body}{first}{}", tag.get(1..).unwrap_or_default()))
}

/// Returns processor time per thing counted, microseconds.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per(measured: &Measured, used: Duration, share: f64) -> f64 {
    used.as_secs_f64() * share * 1e6 / measured.latencies.len() as f64
}
