//! Processes that end with whoever started them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::Stopwatch;

/// Starts the program given behind it, writes its process id, and ends it with all that it has
/// started when standard input ends, which it does when the parent goes, for whatever reason.
const GUARD: &str = r#"
how=$1; pid=$2; shift 2
trap '' INT TERM
(trap - INT TERM; exec "$@") </dev/null &
child=$!
echo $child >"$pid"
read -r _
kill -$how 0
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  kill -0 $child 2>/dev/null || break
  sleep 0.1
done
kill -KILL 0
"#;

/// How a program is ended when whoever started it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At once.
    Kill,
    /// Asked first, killed after two seconds.
    Terminate,
}

/// A running program, in a process group of its own. Dropping it ends the group.
#[derive(Debug)]
pub struct Process {
    guard: Child,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to `log`, behind what is there already.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(
        program: &Path,
        arguments: &[&OsStr],
        environment: &[(String, String)],
        log: &Path,
        ending: Ending,
    ) -> Self {
        Self::start_in(&std::env::temp_dir(), program, arguments, environment, log, ending)
    }

    /// Starts a program in a folder, as [`Process::start`] does in a temporary one.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_in(
        folder: &Path,
        program: &Path,
        arguments: &[&OsStr],
        environment: &[(String, String)],
        log: &Path,
        ending: Ending,
    ) -> Self {
        let pid_file = log.with_extension("pid");
        let _ = fs::remove_file(&pid_file);
        let out =
            File::options().create(true).append(true).open(log).expect("the log can be opened");
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(match ending {
                Ending::Kill => "KILL",
                Ending::Terminate => "TERM",
            })
            .arg(&pid_file)
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("the log can be opened"))
            .stderr(out)
            .process_group(0)
            .spawn()
            .expect("sh can be started");
        let read = || fs::read_to_string(&pid_file).ok()?.trim().parse().ok();
        let mut pid = None;
        wait_until("a process id", PATIENCE, || {
            pid = read();
            pid.is_some()
        });
        Self { guard, pid: pid.unwrap_or_default(), log: log.to_owned() }
    }

    /// Returns the program's process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the program is gone already.
    pub fn signal(&self, signal: Signal) {
        send(self.pid, signal);
    }

    /// Tells whether the program runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // pid (name) state …; a zombie has ended.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    /// Tells whether any thread of the program runs: the first one may end before the others.
    fn has_threads(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid));
        self.runs() || threads.is_ok_and(|threads| threads.count() > 1)
    }

    /// Waits until the program has ended.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_end(&self) {
        let _ = self.ends_in();
    }

    /// Waits until the program has ended, and returns how long that took.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn ends_in(&self) -> Duration {
        let began = Stopwatch::start();
        wait_until("a process to end", PATIENCE, || !self.runs());
        began.elapsed()
    }

    /// Returns what the program has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        // The guard is gone, but the program may still hold its ports while its threads end.
        let began = Instant::now();
        while self.has_threads() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Finds a port of 127.0.0.1 at which nobody listens, and keeps it from every other process that
/// asks here: until this one ends, it holds the same port of 127.0.0.2.
///
/// It is none that the system gives to outgoing connections.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 20_000..32_000;
    static HELD: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes that start together begin far from each other.
    let first = std::process::id().wrapping_mul(131);
    let ports = (0..PORTS.len()).filter_map(|step| {
        let step = u32::try_from(step).ok()?;
        u16::try_from(PORTS.start + first.wrapping_add(step) % (PORTS.end - PORTS.start)).ok()
    });
    for port in ports {
        let twin = TcpListener::bind(("127.0.0.2", port));
        if let (Ok(twin), Ok(_)) = (twin, TcpListener::bind(("127.0.0.1", port))) {
            held.push(twin);
            return port;
        }
    }
    panic!("there is no free port");
}

/// Lets this process open as many files and connections as the system gives it.
///
/// # Panics
/// When the system does not.
pub fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, all).expect("a process may use what it is given");
}

/// Sends a signal to a process.
///
/// # Panics
/// When there is none.
pub fn send(pid: u32, signal: Signal) {
    assert!(try_send(pid, signal), "process {pid} is gone");
}

/// Sends a signal to a process, which may be gone; tells whether it was there.
pub(crate) fn try_send(pid: u32, signal: Signal) -> bool {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| kill_process(process, signal).is_ok())
}

/// How long a busy machine may take for what is no promise of anybody: to start a program, say.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `holds`.
///
/// # Panics
/// When it does not in time.
pub fn wait_until(what: &str, at_most: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < at_most, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
