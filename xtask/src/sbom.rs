//! `cargo xtask sbom`: what the product is made of, in `CycloneDX`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::step::{Failed, root};
use crate::tools;

/// Writes one document for each half, and one for the packages from npm, into `build/sbom`.
pub(crate) fn write() -> Result<(), Failed> {
    tools::check()?;
    tools::npm_packages()?;
    let program = tools::cargo_tool("cargo-sbom", "0.10.0")?.join("cargo-sbom");
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
