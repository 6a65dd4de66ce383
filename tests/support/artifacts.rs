//! What is to be started: found, and built when it is not prepared.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::redis::redis_server;

/// The programs and modules of a system.
#[derive(Debug)]
pub struct Artifacts {
    /// The origin's binary.
    pub cadence: PathBuf,
    /// The example API's binary.
    pub example_api: PathBuf,
    /// The folder of the worker's modules.
    pub worker: PathBuf,
    /// workerd, from npm.
    pub workerd: PathBuf,
    /// redis-server, from the system.
    pub redis_server: PathBuf,
}

/// Returns the workspace's root.
///
/// # Panics
/// When the workspace was moved away.
#[must_use]
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the workspace is where it was compiled")
}

/// Returns the folder of the edge worker's modules.
#[must_use]
pub fn worker_dir() -> PathBuf {
    root().join("build/worker")
}

/// Returns the folder of the development site: the start page, the playground, the single-page app.
#[must_use]
pub fn site_dir() -> PathBuf {
    root().join("build/site")
}

/// Returns the module that starts the built Nuxt application.
#[must_use]
pub fn nuxt_server() -> PathBuf {
    root().join("examples/nuxt-bff/.output/server/index.mjs")
}

/// Finds everything. Builds origin and worker first, unless `CADENCE_TEST_PREPARED` says that they
/// are current.
///
/// # Panics
/// With one sentence about what is missing.
#[must_use]
pub fn artifacts() -> &'static Artifacts {
    static ARTIFACTS: OnceLock<Artifacts> = OnceLock::new();
    ARTIFACTS.get_or_init(|| {
        if std::env::var_os("CADENCE_TEST_PREPARED").is_none() {
            build();
        }
        let artifacts = Artifacts {
            cadence: root().join("target/debug/cadence"),
            example_api: root().join("target/debug/example-api"),
            worker: worker_dir(),
            workerd: root()
                .join("node_modules/@cloudflare")
                .join(format!(
                    "workerd-linux-{}",
                    if cfg!(target_arch = "aarch64") { "arm64" } else { "64" }
                ))
                .join("bin/workerd"),
            redis_server: redis_server(),
        };
        for (path, how) in [
            (&artifacts.cadence, "cargo build -p origin"),
            (&artifacts.example_api, "cargo build -p example-api"),
            (&artifacts.worker, "cargo xtask worker"),
            (&artifacts.workerd, "npm ci"),
            (&site_dir().join("spa"), "cargo xtask examples"),
            (&nuxt_server(), "cargo xtask examples"),
        ] {
            assert!(path.exists(), "{} is missing; `{how}` brings it", path.display());
        }
        artifacts
    })
}

fn build() {
    let target = root().join("target");
    fs::create_dir_all(&target).expect("the target folder can be made");
    let lock = File::create(target.join("artifacts.lock")).expect("the lock can be made");
    lock.lock().expect("the lock can be had");
    // nextest runs each test in a process of its own: the first one of a run builds for all.
    let run = std::env::var_os("NEXTEST_RUN_ID").and_then(|id| id.into_string().ok());
    let built_for = target.join("artifacts.run");
    if run.is_some() && fs::read_to_string(&built_for).ok() == run {
        return;
    }
    for arguments in [
        &["build", "--quiet", "--package", "origin", "--package", "example-api"][..],
        &["run", "--quiet", "--package", "xtask", "--", "worker"],
        &["run", "--quiet", "--package", "xtask", "--", "examples"],
    ] {
        let status = cargo().args(arguments).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "`cargo {}` failed",
            arguments.join(" ")
        );
    }
    if let Some(run) = run {
        fs::write(built_for, run).expect("the target folder can be written");
    }
}

/// Makes a `cargo` command in the workspace.
///
/// What cargo has told this process about its own package is not handed on: build scripts look at
/// some of it, and would run again. `RUSTFLAGS` would take the place of the workspace's own flags.
#[must_use]
pub fn cargo() -> Command {
    let mut command =
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let of_this_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if name == "RUSTFLAGS" || of_this_package.iter().any(|it| name.starts_with(it)) {
            command.env_remove(name);
        }
    }
    command
}

/// Finds a program.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
