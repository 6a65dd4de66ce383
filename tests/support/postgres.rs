//! A private PostgreSQL server.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::artifacts::root;
use crate::process::{Ending, PATIENCE, Process, free_port, try_send, wait_until};

/// The password of its only user.
const PASSWORD: &str = "a-database-password-of-the-tests";

/// A running PostgreSQL, on a Unix socket and at a port of 127.0.0.1, both with a password.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl Postgres {
    /// Starts one with a folder of its own, which would lose data if the machine lost power.
    ///
    /// # Panics
    /// When it is missing or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&["fsync=off", "full_page_writes=off"])
    }

    /// Starts one that keeps every commit, however it ends.
    ///
    /// # Panics
    /// When it is missing or does not start.
    #[must_use]
    pub fn start_durable() -> Self {
        Self::start_with(&[])
    }

    fn start_with(settings: &[&str]) -> Self {
        let programs = postgres_programs()
            .expect("PostgreSQL is missing; `apt-get install postgresql` brings it");
        let folder = TempDir::new().expect("a folder can be made");
        let user = User::find();
        user.own(folder.path());
        let copied = Command::new("cp")
            .args([OsStr::new("-a"), OsStr::new("--")])
            .args([template(&programs, &user), folder.path().join("data")])
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "the data can be copied");
        let settings = settings.iter().map(ToString::to_string).collect();
        let mut postgres = Self { process: None, programs, port: free_port(), settings, folder };
        postgres.restart();
        postgres
    }

    /// Kills it if it runs, and starts it again on the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let mut words = User::find().run(&self.programs.join("postgres"));
        words.extend(["-D".into(), self.folder.path().join("data").into_os_string()]);
        let common = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.folder.path().display()),
            "max_connections=60".to_owned(),
            "shared_buffers=16MB".to_owned(),
        ];
        for setting in common.iter().chain(&self.settings) {
            words.extend(["-c".into(), setting.into()]);
        }
        let arguments: Vec<&OsStr> = words[1..].iter().map(OsString::as_os_str).collect();
        let log = self.folder.path().join("postgres.log");
        let began = Instant::now();
        let start = || {
            let program = Path::new(&words[0]);
            Process::start_in(self.folder.path(), program, &arguments, &[], &log, Ending::Kill)
        };
        let mut process = start();
        while !self.answers() {
            // What is left of one that was killed may hold its memory for a moment.
            if !process.runs() {
                process = start();
            }
            assert!(began.elapsed() < PATIENCE, "no start:\n{}", process.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
    }

    fn answers(&self) -> bool {
        let mut command = Command::new(self.programs.join("pg_isready"));
        command.arg("-q").arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string()]);
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Kills it, all of it, with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            let parts = parts(process.pid());
            drop(process);
            send_all(&parts, Signal::KILL);
            wait_until("the parts of PostgreSQL to end", PATIENCE, || {
                parts.iter().all(|pid| !Path::new("/proc").join(pid.to_string()).exists())
            });
        }
    }

    /// Stops all of it where it is, with SIGSTOP; connections stay open, and nobody answers.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use = "it goes on when this is dropped"]
    pub fn freeze(&self) -> Frozen {
        let pid = self.process.as_ref().expect("PostgreSQL runs").pid();
        // The first one stops first: it makes no others then.
        send_all(&[pid], Signal::STOP);
        let mut all = parts(pid);
        send_all(&all, Signal::STOP);
        all.push(pid);
        Frozen(all)
    }

    /// Returns the URL under which the origin finds it: the Unix socket.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://cadence:{PASSWORD}@localhost/postgres?{}", self.socket())
    }

    /// Returns where the socket is, as parameters of a URL.
    #[must_use]
    pub fn socket(&self) -> String {
        format!("host={}&port={}", self.folder.path().display(), self.port)
    }

    /// Returns the URL of its port.
    #[must_use]
    pub fn tcp_url(&self) -> String {
        format!("postgres://cadence:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the password.
    #[must_use]
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Returns the folder of its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Lets it read a file that was just made.
    ///
    /// # Panics
    /// When the file is not there.
    pub fn own(&self, file: &Path) {
        User::find().own(file);
    }

    /// Makes another database, and returns its URL.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new_database(&self, name: &str) -> String {
        let _ = self.sql(&format!("CREATE DATABASE {name}"));
        self.url().replace("/postgres?", &format!("/{name}?"))
    }

    /// Runs SQL and returns what it prints, columns between `|`, nothing around them.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn sql(&self, statement: &str) -> String {
        let output = self.client("psql", &["-X", "-q", "-A", "-t", "-c", statement]);
        assert!(output.status.success(), "{statement}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns all that it has, as SQL.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn dump(&self) -> String {
        let output = self.client("pg_dump", &[]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn client(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(self.programs.join(program))
            .args(arguments)
            .arg("-d")
            .arg(self.url())
            .stdin(Stdio::null())
            .output()
            .expect("a client of PostgreSQL can be started")
    }

    /// Returns what it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("postgres.log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A PostgreSQL that does not answer, until this is dropped.
#[derive(Debug)]
pub struct Frozen(Vec<u32>);

impl Drop for Frozen {
    fn drop(&mut self) {
        send_all(&self.0, Signal::CONT);
    }
}

/// Finds the folder of PostgreSQL's programs: Debian's newest, or one of the path.
#[must_use]
pub fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .max();
    let on_path = std::env::var_os("PATH");
    let on_path = on_path.iter().flat_map(std::env::split_paths);
    let folders = newest.map(|(_, path)| path.join("bin")).into_iter().chain(on_path);
    folders.into_iter().find(|folder| folder.join("initdb").is_file())
}

/// Makes an empty cluster once, for all to copy: that is ten times as fast.
fn template(programs: &Path, user: &User) -> PathBuf {
    let version = Command::new(programs.join("initdb")).arg("--version").output();
    let version = version.expect("initdb can be started").stdout;
    let version = String::from_utf8_lossy(&version);
    let is_number = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
    let version = version.split_whitespace().find(is_number).unwrap_or_default();
    let target = root().join("target");
    fs::create_dir_all(&target).expect("the target folder can be made");
    let template = target.join(format!("postgres-{version}-of-{}", user.uid));
    let lock = File::create(target.join("postgres.lock")).expect("the lock can be made");
    lock.lock().expect("the lock can be had");
    if template.exists() {
        return template;
    }
    let folder = TempDir::new().expect("a folder can be made");
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).expect("a file can be written");
    for path in [folder.path(), &password] {
        user.own(path);
    }
    let data = folder.path().join("data");
    let words = user.run(&programs.join("initdb"));
    let made = Command::new(&words[0])
        .args(&words[1..])
        .args(["-U", "cadence", "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256"])
        .args(["--wal-segsize", "1", "--no-sync"])
        .arg("--pwfile")
        .arg(&password)
        .arg("-D")
        .arg(&data)
        .current_dir(folder.path())
        .output()
        .expect("initdb can be started");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let unfinished = template.with_extension("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    let copied = Command::new("cp").arg("-a").arg(&data).arg(&unfinished).status();
    assert!(copied.is_ok_and(|status| status.success()), "the data can be copied");
    fs::rename(&unfinished, &template).expect("the target folder can be written");
    template
}

/// Who runs it: PostgreSQL refuses to run as root.
struct User {
    uid: u32,
    gid: u32,
    is_other: bool,
}

impl User {
    fn find() -> Self {
        let own = fs::metadata("/proc/self").expect("there is /proc");
        if own.uid() != 0 {
            return Self { uid: own.uid(), gid: own.gid(), is_other: false };
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2).map_while(|field| field.parse().ok());
            Some(Self { uid: fields.next()?, gid: fields.next()?, is_other: true })
        };
        find("postgres").or_else(|| find("nobody")).expect("there is a user beside root")
    }

    fn own(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).expect("a file can be given away");
    }

    fn run(&self, program: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if self.is_other {
            let ids = [format!("--reuid={}", self.uid), format!("--regid={}", self.gid)];
            words.push("setpriv".into());
            words.extend(ids.map(OsString::from));
            words.push("--clear-groups".into());
        }
        words.push(program.into());
        words
    }
}

/// Lists the processes that another one has started: they are in groups of their own.
fn parts(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn send_all(pids: &[u32], signal: Signal) {
    for pid in pids {
        // One that has just ended is no failure.
        try_send(*pid, signal);
    }
}
