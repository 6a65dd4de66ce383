//! `cargo xtask sbom`: what the product is made of, in `CycloneDX`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::step::{Failed, cargo, root, run, step};
use crate::tools;

const VERSION: &str = "0.10.0";

/// Writes one document for each half, and one for the packages from npm, into `build/sbom`.
pub(crate) fn write() -> Result<(), Failed> {
    tools::check()?;
    tools::npm_packages()?;
    let program = install()?;
    let folder = root().join("build/sbom");
    fs::create_dir_all(&folder)?;
    for package in ["origin", "edge-worker"] {
        let mut command = Command::new(&program);
        command.args(["sbom", "--cargo-package", package]);
        command.args(["--output-format", "cyclone_dx_json_1_6"]);
        save(&mut command, &folder.join(format!("{package}.cdx.json")))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["sbom", "--sbom-format", "cyclonedx"]);
    save(&mut npm, &folder.join("npm.cdx.json"))
}

/// Runs a command in the workspace and keeps what it prints.
fn save(command: &mut Command, file: &PathBuf) -> Result<(), Failed> {
    let output = command.current_dir(root()).output()?;
    if !output.status.success() {
        return Err(Failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    fs::write(file, &output.stdout)?;
    println!("{} ({} bytes)", file.display(), output.stdout.len());
    Ok(())
}

fn install() -> Result<PathBuf, Failed> {
    let program = root().join("target/tools/bin/cargo-sbom");
    let is_current = || {
        let output = Command::new(&program).args(["sbom", "--version"]).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(VERSION))
    };
    if !is_current() {
        step("install cargo-sbom", || {
            run(cargo(&["install", "--quiet", "--locked", "cargo-sbom", "--version", VERSION])
                .args(["--root", "target/tools", "--target-dir", "target/tools/build"]))
        })?;
    }
    Ok(program)
}
