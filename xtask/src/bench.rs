//! `cargo xtask bench`: builds everything as it is deployed, and measures it.

use std::fs;
use std::process::Command;

use crate::step::{Failed, cargo, root, run, step};
use crate::tools;
use crate::worker::{self, Build};

/// Builds what is measured and what it is compared with, and runs `bench-run` with `arguments`.
pub(crate) fn run_all(arguments: &[&str]) -> Result<(), Failed> {
    tools::check()?;
    tools::wasm_target()?;
    tools::npm_packages()?;
    tools::debian("redis-server", "redis-server")?;
    step("build origin, ceiling and load, optimized", || {
        run(cargo(&["build", "--quiet", "--release", "--package", "origin"]).args([
            "--package",
            "bench-ceiling",
            "--package",
            "bench-run",
        ]))
    })?;
    let modules = root().join("build/bench");
    worker::build_package("edge-worker", Build::Optimized, &modules.join("edge"))?;
    worker::build_package("bench-null-worker", Build::Optimized, &modules.join("null"))?;
    javascript("verify", &["jose"])?;
    javascript("pass", &[])?;
    run(Command::new(root().join("target/release/bench-run")).args(arguments))
}

/// Puts a worker of JavaScript beside the npm packages that it imports, unbundled.
fn javascript(name: &str, packages: &[&str]) -> Result<(), Failed> {
    let folder = root().join("build/bench").join(name);
    worker::clear(&folder)?;
    fs::create_dir_all(&folder)?;
    let source = root().join("bench/workers").join(name).with_extension("js");
    fs::copy(source, folder.join(worker::ENTRY_FILE))?;
    for package in packages {
        let modules = root().join("node_modules").join(package).join("dist/webapi");
        stack::copy_folder(&modules, &folder.join(package));
    }
    worker::write_modules(&folder)
}
