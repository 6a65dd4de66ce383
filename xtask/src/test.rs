//! `cargo xtask test`: every check and every test.

use std::process::Command;

use crate::step::{Failed, cargo, root, run, step};
use crate::worker::Build;
use crate::{examples, tools, worker};

/// Whether licenses and advisories are checked where the tool for it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audit {
    /// The tool is installed first.
    Always,
    /// Only when the tool is there, or `CI` is set; else a line says that they were not.
    WherePossible,
}

/// Sets everything up and runs all checks; the test runner's totals come last.
pub(crate) fn run_all(audit: Audit) -> Result<(), Failed> {
    tools::check()?;
    tools::wasm_target()?;
    tools::npm_packages()?;
    tools::debian("redis-server", "redis-server")?;
    tools::postgres()?;
    tools::debian("chromium", "chromium")?;
    step("format", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("clippy, native", || {
        run(&mut cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    step("clippy, wasm32", || {
        run(cargo(&["clippy", "--quiet", "--package", "edge-worker", "--package", "shared"])
            .args(["--target", "wasm32-unknown-unknown", "--", "-D", "warnings"]))
    })?;
    step("documentation", || {
        run(cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    deny(audit)?;
    worker::build(Build::Quick)?;
    examples::build_all()?;
    step("build origin and example API", || {
        run(&mut cargo(&["build", "--quiet", "--package", "origin", "--package", "example-api"]))
    })?;
    step("documentation tests", || {
        run(&mut cargo(&["test", "--quiet", "--doc", "--package", "shared", "--package", "origin"]))
    })?;
    step("tests", || run(tests().env("CADENCE_TEST_PREPARED", "1")))
}

/// Every test of the workspace but the documentation's.
fn tests() -> Command {
    let scope = ["--workspace", "--lib", "--bins", "--tests"];
    if tools::is_there("cargo-nextest") {
        let mut command = cargo(&["nextest", "run", "--no-fail-fast"]);
        command.args(scope);
        // Most tests wait for other processes, and some for a minute of the clock.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        command.args(["--test-threads", &(2 * cores).to_string()]);
        command
    } else {
        let mut command = cargo(&["test"]);
        command.args(scope);
        command
    }
}

/// Licenses, sources and bans; advisories where their database can be reached.
fn deny(audit: Audit) -> Result<(), Failed> {
    let installed = root().join("target/tools/bin/cargo-deny");
    let program = if tools::is_there("cargo-deny") {
        "cargo-deny".into()
    } else if installed.exists() {
        installed
    } else if audit == Audit::Always || std::env::var_os("CI").is_some() {
        tools::cargo_tool("cargo-deny", "0.20.2")?.join("cargo-deny")
    } else {
        eprintln!("▸ cargo deny: NOT RUN, because it is not installed (`--audit` installs it)");
        return Ok(());
    };
    step("cargo deny", || {
        run(Command::new(&program)
            .args(["--log-level", "error", "check", "bans", "licenses", "sources"])
            .current_dir(root()))
    })?;
    let advisories = Command::new(&program)
        .args(["--log-level", "error", "fetch", "db"])
        .current_dir(root())
        .output();
    if advisories.is_ok_and(|output| output.status.success()) {
        step("cargo deny, advisories", || {
            run(Command::new(&program).args(["check", "advisories"]).current_dir(root()))
        })
    } else {
        eprintln!("▸ cargo deny, advisories: NOT RUN, because their database cannot be reached");
        Ok(())
    }
}
