//! A private redis-server on a unix socket, and on a port if it is to have one.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::artifacts::on_path;
use crate::process::{Ending, PATIENCE, Process, wait_until};
use crate::{Artifacts, Authority, Certificate, Clock};

/// What a redis-server has beside its socket.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    port: Option<u16>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    administrator: Option<(String, String)>,
}

impl RedisOptions {
    /// Listens at a port of 127.0.0.1.
    #[must_use]
    pub fn at(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Listens with TLS alone; whoever connects shows a certificate of the authority, too, if
    /// `asks_clients`.
    #[must_use]
    pub fn with_tls(
        self,
        port: u16,
        authority: &Authority,
        own: &Certificate,
        asks_clients: bool,
    ) -> Self {
        self.with(&["--tls-port", &port.to_string()])
            .with(&["--tls-cert-file", &own.certificate.display().to_string()])
            .with(&["--tls-key-file", &own.key.display().to_string()])
            .with(&["--tls-ca-cert-file", &authority.file().display().to_string()])
            .with(&["--tls-auth-clients", if asks_clients { "yes" } else { "no" }])
    }

    /// Adds a user by a rule of an ACL file, in which `PASSWORD` stands for the password.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn with_user(self, rule: &str, password: &str) -> Self {
        let rule = rule.replace("PASSWORD", password);
        let words: Vec<&str> = rule.split_whitespace().collect();
        let rest = words.strip_prefix(&["user"]).expect("a rule begins with `user`");
        self.with(&["--user"]).with(rest)
    }

    /// Adds arguments of the command line.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Goes by a clock of its own.
    #[must_use]
    pub fn by_clock(mut self, clock: &Clock) -> Self {
        self.environment.extend(clock.environment());
        self
    }

    /// Says as whom [`Redis::command`] speaks, once the default user is not allowed to.
    #[must_use]
    pub fn administered_by(mut self, user: &str, password: &str) -> Self {
        self.administrator = Some((user.to_owned(), password.to_owned()));
        self
    }
}

/// A running redis-server that writes an append-only file.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    program: PathBuf,
    folder: PathBuf,
    options: RedisOptions,
    _temporary: Option<TempDir>,
}

impl Redis {
    /// Starts one with a folder of its own.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(artifacts: &Artifacts) -> Self {
        Self::begin_apart(artifacts.redis_server.clone(), RedisOptions::default())
    }

    /// Starts the system's, with a folder of its own.
    ///
    /// # Panics
    /// When there is none, or it does not start.
    #[must_use]
    pub fn start_with(options: RedisOptions) -> Self {
        Self::begin_apart(redis_server(), options)
    }

    /// Starts one that keeps its data in `folder`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_in(program: &Path, folder: &Path) -> Self {
        Self::begin(program.to_owned(), folder.to_owned(), RedisOptions::default(), None)
    }

    fn begin_apart(program: PathBuf, options: RedisOptions) -> Self {
        let temporary = TempDir::new().expect("a folder can be made");
        Self::begin(program, temporary.path().to_owned(), options, Some(temporary))
    }

    fn begin(
        program: PathBuf,
        folder: PathBuf,
        options: RedisOptions,
        temporary: Option<TempDir>,
    ) -> Self {
        let mut redis = Self { process: None, program, folder, options, _temporary: temporary };
        redis.restart();
        redis
    }

    /// Kills it if it runs, and starts it again on the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.begin_restart();
        wait_until("redis-server", PATIENCE, || self.answers());
    }

    /// Tells whether it, which was started, answers yet.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn answers(&self) -> bool {
        assert!(self.runs(), "redis-server has ended:\n{}", self.log());
        self.try_command(&["PING"]).is_some()
    }

    /// Waits until this replica has all that its primary has written so far.
    ///
    /// # Panics
    /// When it does not get it.
    pub fn wait_replicated(&self, primary: &Self) {
        let offset = |server: &Self, field: &str| {
            let offset = server.info("replication", field);
            offset.parse::<u64>().expect("an offset is a number")
        };
        let written = offset(primary, "master_repl_offset");
        wait_until("a replica to have it all", PATIENCE, || {
            offset(self, "slave_repl_offset") >= written
        });
    }

    /// Does the same, but does not wait until it answers.
    pub fn begin_restart(&mut self) {
        drop(self.process.take());
        let socket = self.socket();
        let port = self.options.port.unwrap_or_default().to_string();
        let mut arguments = [
            OsStr::new("--port"),
            OsStr::new(&port),
            OsStr::new("--bind"),
            OsStr::new("127.0.0.1"),
            OsStr::new("--unixsocket"),
            socket.as_os_str(),
            OsStr::new("--dir"),
            self.folder.as_os_str(),
            OsStr::new("--appendonly"),
            OsStr::new("yes"),
            // What is written is written before it is answered, and SIGKILL loses none of it: while
            // the disk is slow, `everysec` would let answers go first. Nobody cuts the power here.
            OsStr::new("--appendfsync"),
            OsStr::new("no"),
            OsStr::new("--save"),
            OsStr::new(""),
        ]
        .to_vec();
        arguments.extend(self.options.arguments.iter().map(OsStr::new));
        let log = self.folder.join("redis.log");
        let environment = &self.options.environment;
        let process = Process::start(&self.program, &arguments, environment, &log, Ending::Kill);
        self.process = Some(process);
    }

    /// Sets the options of its next start.
    pub fn set_options(&mut self, options: RedisOptions) {
        self.options = options;
    }

    /// Does the same with other options.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart_with(&mut self, options: RedisOptions) {
        self.options = options;
        self.restart();
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Returns the folder in which it writes down what it is told.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tells whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.as_ref().is_some_and(Process::runs)
    }

    /// Forgets all data, as if the disk were new. It must not run.
    ///
    /// # Panics
    /// When a file cannot be removed.
    pub fn lose_data(&self) {
        let files = self.folder.join("appendonlydir");
        std::fs::remove_dir_all(files).expect("the append-only file can be removed");
    }

    /// Returns the socket's path.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    /// Returns its port.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.options.port.expect("redis-server has a port")
    }

    /// Returns the URL under which the origin finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("redis-server runs").signal(signal);
    }

    /// Sends one command, and returns the answer in Redis's own protocol (RESP 2), as text.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).expect("redis-server answers")
    }

    /// Sends one command, and nobody may answer.
    #[must_use]
    pub fn try_command(&self, words: &[&str]) -> Option<String> {
        let stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let administrator = self.options.administrator.as_ref();
        let credentials = administrator.map(|(user, password)| [user.as_str(), password.as_str()]);
        converse(&stream, || stream.shutdown(Shutdown::Write), credentials, words)
    }

    /// Returns a field of `INFO`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn info(&self, section: &str, field: &str) -> String {
        let info = self.command(&["INFO", section]);
        let value = info
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .map(str::trim);
        value.unwrap_or_else(|| panic!("no {field} in {info}")).to_owned()
    }

    /// Returns what it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}

/// Finds the system's redis-server.
///
/// # Panics
/// When there is none.
pub(crate) fn redis_server() -> PathBuf {
    on_path("redis-server")
        .expect("redis-server is missing; `apt-get install redis-server` brings it")
}

/// Runs the system's redis-cli, which must succeed.
///
/// # Panics
/// When it is missing or fails.
pub(crate) fn redis_cli(arguments: &[&str]) {
    if let Err(printed) = try_redis_cli(arguments) {
        panic!("redis-cli {arguments:?}: {printed}");
    }
}

/// Runs the system's redis-cli.
///
/// # Errors
/// What it has printed, when it fails.
///
/// # Panics
/// When it is missing.
pub(crate) fn try_redis_cli(arguments: &[&str]) -> Result<(), String> {
    let program = on_path("redis-cli")
        .expect("redis-cli is missing; `apt-get install redis-tools` brings it");
    let output = Command::new(program).args(arguments).output().expect("redis-cli can be started");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Sends one command, perhaps behind credentials, and returns the answer as text. `end` says that
/// nothing more will be asked; then the server closes, so that the end of the answer is the end of the
/// stream.
pub(crate) fn converse(
    mut stream: impl Read + Write,
    end: impl FnOnce() -> io::Result<()>,
    credentials: Option<[&str; 2]>,
    words: &[&str],
) -> Option<String> {
    let mut request = String::new();
    let mut add = |words: &[&str]| {
        let _ = write!(request, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
    };
    if let Some([user, password]) = credentials {
        add(&["AUTH", user, password]);
    }
    add(words);
    stream.write_all(request.as_bytes()).ok()?;
    end().ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let answer = if credentials.is_some() { answer.strip_prefix("+OK\r\n")? } else { &answer };
    (!answer.is_empty() && !answer.starts_with("-LOADING")).then(|| answer.to_owned())
}
