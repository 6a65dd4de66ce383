//! `cargo xtask chaos`: builds everything as the suite does, and runs every fault, long.

use std::process::Command;

use crate::step::{Failed, cargo, root, run, step};
use crate::worker::Build;
use crate::{examples, tools, worker};

/// Builds what is put under load, and runs `chaos` with `arguments`.
pub(crate) fn run_all(arguments: &[&str]) -> Result<(), Failed> {
    tools::check()?;
    tools::wasm_target()?;
    tools::npm_packages()?;
    tools::debian("redis-server", "redis-server")?;
    worker::build(Build::Quick)?;
    examples::build_all()?;
    step("build origin, example API and chaos", || {
        let packages = ["--package", "origin", "--package", "example-api", "--package", "chaos"];
        run(cargo(&["build", "--quiet"]).args(packages))
    })?;
    run(Command::new(root().join("target/debug/chaos"))
        .args(arguments)
        .env("CADENCE_TEST_PREPARED", "1"))
}
