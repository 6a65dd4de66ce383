//! The edge worker in workerd, without wrangler.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Ending, PATIENCE, Process, wait_until};
use crate::{Clock, listens};

/// What workerd's Cache API asks; without it every use of the Cache API throws.
const CACHE: &str = include_str!("../../examples/self-hosting/cache.js");

/// Where it lies: beside the modules, with a name that no module has.
const CACHE_FILE: &str = "behind-the-cache-api.js";

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    workerd: PathBuf,
    modules: PathBuf,
    port: u16,
    bindings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    entry: Option<&'static str>,
    twin_port: Option<u16>,
}

impl EdgeSettings {
    /// A worker with the modules of a folder, listening at `port` of 127.0.0.1.
    #[must_use]
    pub fn new(workerd: &Path, modules: &Path, port: u16) -> Self {
        let (workerd, modules) = (workerd.to_owned(), modules.to_owned());
        Self {
            workerd,
            modules,
            port,
            bindings: Vec::new(),
            environment: Vec::new(),
            entry: None,
            twin_port: None,
        }
    }

    /// Runs another program in place of workerd.
    pub fn run_by(&mut self, program: &Path) {
        program.clone_into(&mut self.workerd);
    }

    /// Sets a text binding of the worker.
    pub fn set(&mut self, name: &str, value: &str) {
        self.bindings.retain(|(known, _)| known != name);
        self.bindings.push((name.to_owned(), value.to_owned()));
    }

    /// Goes by a clock of its own.
    pub fn by_clock(&mut self, clock: &Clock) {
        self.environment.extend(clock.environment());
    }

    /// Adds one more isolate of the same worker, with the same cache, that listens at `port`.
    pub fn twin_at(&mut self, port: u16) {
        self.twin_port = Some(port);
    }

    /// Starts with this module instead of the worker's `index.js`; it can import the others.
    pub fn enter_by(&mut self, module: &'static str) {
        self.entry = Some(module);
    }

    /// Writes workerd's configuration.
    fn config(&self) -> String {
        let mut bindings = String::new();
        for (name, value) in &self.bindings {
            let _ = writeln!(bindings, "    (name = {name:?}, text = {value:?}),");
        }
        let twin = self.twin_port.map_or_else(String::new, |port| {
            format!(
                "    (name = \"twin\", address = \"127.0.0.1:{port}\", http = (), service = \"twin\"),\n"
            )
        });
        format!(
            "using Workerd = import \"/workerd/workerd.capnp\";\n\
             using Edge = import \"modules.capnp\";\n\
             const config :Workerd.Config = (\n  \
               services = [\n    \
                 (name = \"main\", worker = .worker),\n    \
                 (name = \"twin\", worker = .worker),\n    \
                 (name = \"cache\", worker = .cache),\n    \
                 (name = \"internet\", network = (allow = [\"public\", \"private\", \"local\"])),\n  \
               ],\n  \
               sockets = [\n    \
                 (name = \"http\", address = \"127.0.0.1:{port}\", http = (), \
                  service = \"main\"),\n{twin}  \
               ],\n\
             );\n\
             const worker :Workerd.Worker = (\n  \
               compatibilityDate = \"2026-04-01\",\n  \
               modules = Edge.modules,\n  \
               bindings = [\n{bindings}  ],\n  \
               cacheApiOutbound = \"cache\",\n\
             );\n\
             const cache :Workerd.Worker = (\n  \
               compatibilityDate = \"2026-04-01\",\n  \
               modules = [(name = \"cache.js\", esModule = embed \"{CACHE_FILE}\")],\n\
             );\n",
            port = self.port,
        )
    }
}

/// Copies a folder with all that is in it.
///
/// # Panics
/// When it cannot be copied.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder is there").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, to).expect("a file can be copied");
        }
    }
}

/// A running worker. Dropping it ends it.
#[derive(Debug)]
pub struct Edge {
    process: Option<Process>,
    settings: EdgeSettings,
    folder: TempDir,
}

impl Edge {
    /// Starts a worker, and waits until it listens.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(settings: EdgeSettings) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        copy_folder(&settings.modules, folder.path());
        fs::write(folder.path().join(CACHE_FILE), CACHE).expect("a module can be written");
        if let Some(entry) = settings.entry {
            fs::write(folder.path().join("index.js"), entry).expect("a module can be written");
        }
        let mut edge = Self { process: None, settings, folder };
        edge.restart();
        edge
    }

    /// Ends it if it runs, and starts it again, with nothing remembered.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let config = self.folder.path().join("config.capnp");
        fs::write(&config, self.settings.config()).expect("the configuration can be written");
        let arguments = [OsStr::new("serve"), config.as_os_str()];
        let log = self.folder.path().join("workerd.log");
        let EdgeSettings { workerd, environment, .. } = &self.settings;
        let process = Process::start(workerd, &arguments, environment, &log, Ending::Kill);
        wait_until("workerd", PATIENCE, || {
            assert!(process.runs(), "workerd has ended:\n{}", process.log());
            listens(self.settings.port) && self.settings.twin_port.is_none_or(listens)
        });
        self.process = Some(process);
    }

    /// Sets a text binding of the worker, for its next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.set(name, value);
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Makes the command that starts it, for whoever measures how long that takes.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.settings.workerd);
        command.arg("serve").arg(self.folder.path().join("config.capnp"));
        command
    }

    /// Returns its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.settings.port)
    }

    /// Returns the URL of its other isolate ([`EdgeSettings::twin_at`]).
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn twin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.settings.twin_port.expect("there is a twin"))
    }

    /// Returns its process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("workerd runs").pid()
    }

    /// Returns what it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}
