//! A running origin.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Ending, PATIENCE, Process, free_port, wait_until};
use crate::{Clock, Randomness};

/// How an origin is started.
#[derive(Clone, Debug)]
pub struct OriginSettings {
    program: PathBuf,
    port: u16,
    admin_port: u16,
    environment: Vec<(String, String)>,
    data_dir: Option<PathBuf>,
}

impl OriginSettings {
    /// Settings for `issuer`, listening at `port` of 127.0.0.1.
    #[must_use]
    pub fn new(program: &Path, issuer: &str, port: u16) -> Self {
        let admin_port = free_port();
        let mut settings = Self {
            program: program.to_owned(),
            port,
            admin_port,
            environment: Vec::new(),
            data_dir: None,
        };
        settings.set("CADENCE_ISSUER", issuer);
        settings.set("CADENCE_LISTEN", &format!("127.0.0.1:{port}"));
        settings.set("CADENCE_ADMIN_LISTEN", &format!("127.0.0.1:{admin_port}"));
        settings
    }

    /// Runs another program in place of `cadence`.
    pub fn run_by(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Returns the port of 127.0.0.1 at which it will listen.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Sets a variable of the origin's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Draws its randomness from a source that can fail.
    pub fn draw_from(&mut self, randomness: &Randomness) {
        self.environment.extend(randomness.environment());
    }

    /// Goes by a clock of its own.
    pub fn by_clock(&mut self, clock: &Clock) {
        self.environment.extend(clock.environment());
    }

    /// Keeps the data in a folder that outlives the origin.
    pub fn keep_in(&mut self, data_dir: &Path) {
        self.data_dir = Some(data_dir.to_owned());
    }

    /// Listens for administrators at a port of 127.0.0.1.
    pub fn admin_at(&mut self, port: u16) {
        self.admin_port = port;
        self.set("CADENCE_ADMIN_LISTEN", &format!("127.0.0.1:{port}"));
    }
}

/// A running origin. Dropping it kills it.
#[derive(Debug)]
pub struct Origin {
    process: Option<Process>,
    settings: OriginSettings,
    data_dir: PathBuf,
    log: PathBuf,
    _temporary: TempDir,
}

impl Origin {
    /// Starts an origin, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(mut settings: OriginSettings) -> Self {
        let temporary = TempDir::new().expect("a folder can be made");
        let data_dir = settings.data_dir.clone().unwrap_or_else(|| temporary.path().join("data"));
        settings.set("CADENCE_DATA_DIR", &data_dir.display().to_string());
        let log = temporary.path().join("origin.log");
        let mut origin = Self { process: None, settings, data_dir, log, _temporary: temporary };
        origin.restart();
        origin
    }

    /// Kills it (SIGKILL) if it runs, and starts it again on the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let OriginSettings { program, environment, port, admin_port, .. } = &self.settings;
        let process =
            Process::start(program, &[OsStr::new("serve")], environment, &self.log, Ending::Kill);
        wait_until("the origin", PATIENCE, || {
            assert!(process.runs(), "the origin has ended:\n{}", process.log());
            // The public door may be closed to whoever is not the edge, but it is there.
            let admin = get(*admin_port, "/healthz");
            admin.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) && crate::listens(*port)
        });
        self.process = Some(process);
    }

    /// Sets a variable of its environment, for its next start and for `cadence`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.set(name, value);
    }

    /// Listens at another port, from its next start on.
    pub fn move_to(&mut self, port: u16) {
        self.settings.port = port;
        self.settings.set("CADENCE_LISTEN", &format!("127.0.0.1:{port}"));
    }

    /// Takes a variable out of its environment.
    pub fn unset(&mut self, name: &str) {
        self.settings.environment.retain(|(known, _)| known != name);
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the origin runs").signal(signal);
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait_end(&self) {
        let _ = self.ends_in();
    }

    /// Waits until it has ended by itself, and returns how long that took.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn ends_in(&self) -> Duration {
        self.process.as_ref().expect("the origin was started").ends_in()
    }

    /// Tells whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.as_ref().is_some_and(Process::runs)
    }

    /// Returns its process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the origin runs").pid()
    }

    /// Returns its own URL, which is the issuer only when there is no edge.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.settings.port)
    }

    /// Returns the port at which it listens for everybody.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.settings.port
    }

    /// Returns the admin listener's URL.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.settings.admin_port)
    }

    /// Returns its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Returns what it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Makes the command that starts it, for whoever measures how long that takes.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.settings.program);
        command
            .arg("serve")
            .envs(self.settings.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `cadence` with these arguments and this origin's settings.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn cadence(&self, arguments: &[&str]) -> Output {
        Command::new(&self.settings.program)
            .args(arguments)
            .envs(self.settings.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("cadence can be started")
    }

    /// Applies a file of clients and users.
    ///
    /// # Panics
    /// When `cadence apply` refuses it.
    pub fn apply(&self, file: &Path) {
        let output = self.cadence(&["apply", "-f", &file.display().to_string()]);
        assert!(
            output.status.success(),
            "cadence apply failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Returns the Prometheus metrics.
    ///
    /// # Panics
    /// When the admin listener does not answer.
    #[must_use]
    pub fn metrics(&self) -> String {
        get(self.settings.admin_port, "/metrics").expect("the admin listener answers")
    }

    /// Returns one number of the metrics, by its name and labels as they are printed; 0 when it has
    /// not been counted yet.
    ///
    /// # Panics
    /// When the admin listener does not answer.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics();
        let number = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
        metrics.lines().find_map(number).unwrap_or_default()
    }

    /// Counts the requests that have reached this origin at `route`, `None` for all, whatever
    /// their method and status.
    #[must_use]
    pub fn requests(&self, route: Option<&str>) -> u64 {
        self.requests_where(|known| route.is_none_or(|route| route == known))
    }

    /// Counts the requests that have reached this origin at the routes that `counts` names, all at
    /// the same moment.
    ///
    /// # Panics
    /// When the admin listener does not answer.
    #[must_use]
    pub fn requests_where(&self, counts: impl Fn(&str) -> bool) -> u64 {
        let of_line = |line: &str| {
            let labels = line.strip_prefix("cadence_http_requests_total{")?;
            let route = labels.split_once("route=\"")?.1.split('"').next()?;
            let count = labels.rsplit_once(' ')?.1.parse::<u64>().ok()?;
            counts(route).then_some(count)
        };
        self.metrics().lines().filter_map(of_line).sum()
    }
}

/// Sends one `GET` and returns the whole answer.
pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
