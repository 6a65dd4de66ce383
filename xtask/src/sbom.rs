//! `cargo xtask sbom`: lists of what the programs are made of, in the form of `CycloneDX`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Failed, cargo, root, run, step};
use crate::tools;

/// The npm projects, by the names of their lists.
const NPM: [(&str, &str); 3] =
    [("npm", "."), ("nuxt-bff", "examples/nuxt-bff"), ("spa-vite", "examples/spa-vite")];

/// Writes a list for the origin, the worker and each npm project into `target/sbom`.
pub(crate) fn write() -> Result<(), Failed> {
    tools::check()?;
    let folder = root().join("target/sbom");
    fs::create_dir_all(&folder)?;
    let tools = tools::cargo_tool("cargo-cyclonedx", "0.5.9")?;
    for (package, target) in
        [("origin", "x86_64-unknown-linux-gnu"), ("edge-worker", "wasm32-unknown-unknown")]
    {
        let list = folder.join(format!("{package}.cdx.json"));
        step(&format!("list the crates of {package}"), || crates(package, target, &tools, &list))?;
    }
    for (name, project) in NPM {
        let list = folder.join(format!("{name}.cdx.json"));
        step(&format!("list the npm packages of {project}"), || {
            run(Command::new("npm")
                .args(["sbom", "--sbom-format", "cyclonedx", "--package-lock-only"])
                .current_dir(root().join(project))
                .stdout(File::create(&list)?))
        })?;
    }
    let mut lists = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>, std::io::Error>>()?;
    lists.sort();
    for list in lists {
        let text = fs::read_to_string(&list)?;
        if !text.contains("\"CycloneDX\"") {
            return Err(Failed(format!("{} is no list", list.display())));
        }
        println!("{}  {} packages", list.display(), text.matches("\"purl\"").count());
    }
    Ok(())
}

/// Lists what a package is made of on one target. The tool writes beside every `Cargo.toml` of the
/// workspace; what was asked for is taken from there, and the rest removed.
fn crates(package: &str, target: &str, tools: &Path, list: &Path) -> Result<(), Failed> {
    const NAME: &str = "cadence-sbom";
    run(cargo(&["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"])
        .args(["--target", target, "--override-filename", NAME])
        .env("PATH", tools::path_with(tools)?))?;
    let written = root().join(package).join(format!("{NAME}.json"));
    fs::copy(&written, list)?;
    let manifests = stack::cargo()
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()?;
    for part in String::from_utf8_lossy(&manifests.stdout).split("\"manifest_path\":\"").skip(1) {
        let manifest = Path::new(part.split('"').next().unwrap_or_default());
        let _ = fs::remove_file(manifest.with_file_name(format!("{NAME}.json")));
    }
    Ok(())
}
