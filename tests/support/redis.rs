//! A private redis-server on a unix socket.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::Artifacts;
use crate::process::{Ending, Process, wait_until};

/// A running redis-server that writes an append-only file.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    program: PathBuf,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl Redis {
    /// Starts one with a folder of its own.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(artifacts: &Artifacts) -> Self {
        let temporary = TempDir::new().expect("a folder can be made");
        let folder = temporary.path().to_owned();
        Self::begin(&artifacts.redis_server, folder, Some(temporary))
    }

    /// Starts one that keeps its data in `folder`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_in(program: &Path, folder: &Path) -> Self {
        Self::begin(program, folder.to_owned(), None)
    }

    fn begin(program: &Path, folder: PathBuf, temporary: Option<TempDir>) -> Self {
        let mut redis =
            Self { process: None, program: program.to_owned(), folder, _temporary: temporary };
        redis.restart();
        redis
    }

    /// Kills it if it runs, and starts it again on the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        drop(self.process.take());
        let socket = self.socket();
        let arguments = [
            OsStr::new("--port"),
            OsStr::new("0"),
            OsStr::new("--unixsocket"),
            socket.as_os_str(),
            OsStr::new("--dir"),
            self.folder.as_os_str(),
            OsStr::new("--appendonly"),
            OsStr::new("yes"),
            OsStr::new("--save"),
            OsStr::new(""),
        ];
        let log = self.folder.join("redis.log");
        self.process = Some(Process::start(&self.program, &arguments, &[], &log, Ending::Kill));
        wait_until("redis-server", Duration::from_secs(10), || {
            self.try_command(&["PING"]).is_some()
        });
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

    /// Returns the socket's path.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    /// Returns the URL under which the origin finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Sends a signal by name.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("redis-server runs").signal(name);
    }

    /// Sends one command, and returns the answer in Redis's own protocol (RESP 2), as text.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).expect("redis-server answers")
    }

    fn try_command(&self, words: &[&str]) -> Option<String> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
        // QUIT makes the server close, so that the end of the answer is the end of the stream.
        request.push_str("*1\r\n$4\r\nQUIT\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer);
        let answer = answer.strip_suffix("+OK\r\n")?;
        (!answer.is_empty() && !answer.starts_with("-LOADING")).then(|| answer.to_owned())
    }

    /// Returns what it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}
