//! The processes that are measured, where they run, and what they use.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stack::{
    EDGE_SECRET, Edge, EdgeSettings, Ending, Origin, OriginSettings, Process, Redis, free_port,
    root, wait_until,
};
use tempfile::TempDir;

use crate::load::Failure;

/// Everything that runs.
pub(crate) struct System {
    pub(crate) redis: Redis,
    pub(crate) redis_pid: u32,
    pub(crate) origin: Origin,
    pub(crate) origin_port: u16,
    pub(crate) ceiling: Process,
    pub(crate) ceiling_port: u16,
    /// The edge, which passes `/hello` on to the ceiling.
    pub(crate) edge: Worker,
    /// The least that a worker in Rust does.
    pub(crate) null: Worker,
    /// A worker in JavaScript that verifies each token.
    pub(crate) verifying: Worker,
    /// A worker in JavaScript that passes `/hello` on to the ceiling.
    pub(crate) passing: Worker,
    workerd: PathBuf,
    edge_settings: Vec<(&'static str, String)>,
    _folder: TempDir,
}

/// A worker in workerd.
pub(crate) struct Worker {
    pub(crate) workerd: Edge,
    pub(crate) port: u16,
}

impl Worker {
    /// Starts one with these bindings.
    fn start(workerd: &Path, name: &str, bindings: &[(&str, String)]) -> Self {
        Self::start_at(free_port(), workerd, name, bindings)
    }

    fn start_at(port: u16, workerd: &Path, name: &str, bindings: &[(&str, String)]) -> Self {
        let workerd = Edge::start(settings(port, workerd, name, bindings));
        Self { workerd, port }
    }

    /// Returns where it is asked, and what it is known by.
    pub(crate) fn server(&self) -> (u16, u32) {
        (self.port, self.workerd.pid())
    }
}

fn settings(port: u16, workerd: &Path, name: &str, bindings: &[(&str, String)]) -> EdgeSettings {
    let mut settings = EdgeSettings::new(workerd, &modules(name), port);
    for (name, value) in bindings {
        settings.set(name, value);
    }
    settings
}

/// Where the modules of the workers are.
pub(crate) fn modules(worker: &str) -> PathBuf {
    root().join("build/bench").join(worker)
}

/// Where npm has put workerd.
fn workerd() -> PathBuf {
    let platform = if cfg!(target_arch = "aarch64") { "arm64" } else { "64" };
    root().join(format!("node_modules/@cloudflare/workerd-linux-{platform}/bin/workerd"))
}

impl System {
    /// Starts all: servers on core 0, this process and Redis on core 1, where that can be had.
    pub(crate) fn start() -> Result<Self, Failure> {
        let folder = TempDir::new()?;
        let pinned = pin_to_second_core();
        let on_first_core = |program: &Path, name: &str| -> Result<PathBuf, Failure> {
            if !pinned {
                return Ok(program.to_owned());
            }
            let script = folder.path().join(name);
            fs::write(
                &script,
                format!("#!/bin/sh\nexec taskset -c 0 '{}' \"$@\"\n", program.display()),
            )?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
            Ok(script)
        };
        let release = root().join("target/release");
        let redis_folder = folder.path().join("redis");
        fs::create_dir_all(&redis_folder)?;
        let redis = Redis::start_in(Path::new("redis-server"), &redis_folder);
        // A rewrite of the file in the middle of a round would be measured, too.
        let _ = redis.command(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "0"]);
        let redis_pid = info(&redis, "server", "process_id").ok_or("no process id of Redis")?;
        let (origin_port, edge_port) = (free_port(), free_port());
        let issuer = format!("http://127.0.0.1:{edge_port}");
        let cadence = on_first_core(&release.join("cadence"), "cadence")?;
        let mut settings = OriginSettings::new(&cadence, &issuer, origin_port);
        settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
        settings.set("CADENCE_REDIS_URL", &redis.url());
        let origin = Origin::start(settings);
        origin.apply(&root().join("bench/run/clients.toml"));
        let ceiling_port = free_port();
        let ceiling = Process::start(
            &on_first_core(&release.join("bench-ceiling"), "ceiling")?,
            &[format!("127.0.0.1:{ceiling_port}").as_ref(), redis.url().as_ref()],
            &[],
            &folder.path().join("ceiling.log"),
            Ending::Kill,
        );
        wait_until("the ceiling", Duration::from_secs(5), || get(ceiling_port, "/hello").is_some());
        let workerd = on_first_core(&workerd(), "workerd")?;
        let upstream = format!("http://127.0.0.1:{ceiling_port}");
        let edge_settings = vec![
            ("CADENCE_ISSUER", issuer.clone()),
            ("CADENCE_ORIGIN_URL", origin.url()),
            ("CADENCE_EDGE_SECRET", EDGE_SECRET.to_owned()),
            (
                "CADENCE_UPSTREAMS",
                format!(
                    r#"[{{"prefix":"/hello","url":"{upstream}","scope":"openid","audience":"{issuer}"}}]"#
                ),
            ),
        ];
        let edge = Worker::start_at(edge_port, &workerd, "edge", &edge_settings);
        let null = Worker::start(&workerd, "null", &[]);
        let jwks = get(origin_port, "/oauth2/jwks").ok_or("the origin publishes no keys")?;
        let verifying = Worker::start(&workerd, "verify", &[("JWKS", jwks), ("ISSUER", issuer)]);
        let passing = Worker::start(&workerd, "pass", &[("UPSTREAM", upstream)]);
        Ok(Self {
            redis,
            redis_pid: u32::try_from(redis_pid)?,
            origin,
            origin_port,
            ceiling,
            ceiling_port,
            edge,
            null,
            verifying,
            passing,
            workerd,
            edge_settings,
            _folder: folder,
        })
    }

    /// Starts one more edge, which counts the signatures that it verifies.
    pub(crate) fn start_counting_edge(&self) -> Worker {
        let port = free_port();
        let mut settings = settings(port, &self.workerd, "edge", &self.edge_settings);
        settings.enter_by(include_str!("../../workers/count.js"));
        Worker { workerd: Edge::start(settings), port }
    }

    /// Returns the processes of the measurement, this one included.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let workers = [&self.edge, &self.null, &self.verifying, &self.passing];
        let others = [self.redis_pid, self.origin.pid(), self.ceiling.pid(), std::process::id()];
        workers.into_iter().map(|worker| worker.workerd.pid()).chain(others).collect()
    }
}

/// Leaves the first core to the servers. Tells whether that worked.
fn pin_to_second_core() -> bool {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-a", "-c", "-p", "1", &pid]).output();
    pinned.is_ok_and(|output| output.status.success())
}

/// Reads one number of Redis's `INFO`.
pub(crate) fn info(redis: &Redis, section: &str, name: &str) -> Option<u64> {
    let text = redis.command(&["INFO", section]);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let line = line.strip_prefix("calls=").unwrap_or(line);
    line.split(',').next()?.trim().parse().ok()
}

/// Returns the processor time that a process has used: its own code, and the kernel's for it.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let ticks: u64 = fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    ticks_to_time(ticks)
}

/// Returns the processor time that all processes of the machine have used.
pub(crate) fn cpu_of_all() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let numbers: Vec<u64> = numbers.filter_map(|it| it.parse().ok()).collect();
    // user, nice, system; then idle and waiting; then interrupts.
    ticks_to_time(
        numbers
            .iter()
            .enumerate()
            .filter(|(at, _)| !matches!(at, 3 | 4 | 8 | 9))
            .map(|(_, it)| it)
            .sum(),
    )
}

/// Linux counts in hundredths of a second, whatever its own clock does.
const fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// Returns a process's resident memory, KiB.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Starts a server and returns how long its first 200 took, and its memory a moment later, KiB.
pub(crate) fn first_answer(
    command: &mut Command,
    port: u16,
    path: &str,
) -> Result<(Duration, u64), Failure> {
    let began = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut took = Err("a server did not start".into());
    while began.elapsed() < Duration::from_secs(10) {
        if get(port, path).is_some() {
            took = Ok(began.elapsed());
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(300));
    let resident = resident(child.id());
    child.kill()?;
    child.wait()?;
    took.map(|took| (took, resident))
}

/// Sends one `GET` and returns the body of a 200. The server may keep the connection open.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line).ok()?;
    let mut length = None;
    if !line.starts_with("HTTP/1.1 200") {
        return None;
    }
    while line != "\r\n" {
        line.clear();
        answer.read_line(&mut line).ok()?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = vec![0; length?];
    answer.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}
