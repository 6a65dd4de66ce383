//! Tools: what must be there, and what is installed when it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::{Failed, cargo, root, run, step};

/// The oldest Node.js that everything runs on: major and minor version.
const NODE: (u32, u32) = (20, 19);

/// Checks what must be there already, one sentence for each that is not.
pub(crate) fn check() -> Result<(), Failed> {
    output("cargo", &["--version"])
        .ok_or(Failed("cargo is missing: install Rust 1.95 with rustup".to_owned()))?;
    let node = output("node", &["--version"])
        .ok_or(Failed("Node.js is missing: install version 20.19 or newer, with npm".to_owned()))?;
    let mut numbers = node.trim_start_matches('v').split('.').map_while(|it| it.parse().ok());
    if numbers.next().zip(numbers.next()).is_none_or(|version: (u32, u32)| version < NODE) {
        return Err(Failed(format!("Node.js {node} is too old: version 20.19 or newer is needed")));
    }
    output("npm", &["--version"])
        .ok_or(Failed("npm is missing: it comes with Node.js".to_owned()))?;
    Ok(())
}

/// Adds the compiler's wasm target, if it is not there.
pub(crate) fn wasm_target() -> Result<(), Failed> {
    let sysroot = output("rustc", &["--print", "sysroot"])
        .ok_or(Failed("rustc is missing: install Rust 1.95 with rustup".to_owned()))?;
    if PathBuf::from(sysroot).join("lib/rustlib/wasm32-unknown-unknown").exists() {
        return Ok(());
    }
    if !is_there("rustup") {
        return Err(Failed(
            "the compiler's target wasm32-unknown-unknown is missing, and so is rustup, which \
             would add it"
                .to_owned(),
        ));
    }
    step("add the target wasm32-unknown-unknown", || {
        run(Command::new("rustup")
            .args(["target", "add", "wasm32-unknown-unknown"])
            .current_dir(root()))
    })
}

/// Installs the npm packages of the workspace, when the lock file has changed since the last time.
pub(crate) fn npm_packages() -> Result<(), Failed> {
    npm_packages_in(&root())
}

/// Installs the npm packages of a folder, when its lock file has changed since the last time.
pub(crate) fn npm_packages_in(folder: &Path) -> Result<(), Failed> {
    let lock = fs::read_to_string(folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.cadence-lock");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let name = folder.strip_prefix(root()).unwrap_or(folder).display().to_string();
    let what = if name.is_empty() { "npm ci".to_owned() } else { format!("npm ci in {name}") };
    step(&what, || {
        run(Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder))?;
        Ok(fs::write(&stamp, &lock)?)
    })
}

/// Finds a program, or installs the Debian package that brings it, where that is possible.
pub(crate) fn debian(program: &str, package: &str) -> Result<(), Failed> {
    debian_package(program, package, || is_there(program))
}

/// Finds PostgreSQL, whose programs Debian keeps off the path, or installs it, where that is possible.
pub(crate) fn postgres() -> Result<(), Failed> {
    debian_package("initdb", "postgresql", || stack::postgres_programs().is_some())
}

fn debian_package(
    program: &str,
    package: &str,
    is_there_now: impl Fn() -> bool,
) -> Result<(), Failed> {
    if is_there_now() {
        return Ok(());
    }
    let missing = || {
        Failed(format!(
            "`{program}` is missing and cannot be installed from here; \
             `apt-get install {package}` brings it"
        ))
    };
    let root_user = output("id", &["-u"]).is_some_and(|id| id == "0");
    let sudo = output("sudo", &["-n", "true"]).is_some();
    if !is_there("apt-get") || !(root_user || sudo) {
        return Err(missing());
    }
    let apt = |arguments: &[&str]| {
        let mut command = if root_user {
            Command::new("apt-get")
        } else {
            let mut command = Command::new("sudo");
            command.args(["-n", "apt-get"]);
            command
        };
        run(command
            .args(["-qq", "-o", "Dpkg::Use-Pty=0"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null()))
    };
    step(&format!("apt-get install {package}"), || {
        apt(&["update"])?;
        apt(&["install", "--yes", "--no-install-recommends", package])
    })?;
    if is_there_now() { Ok(()) } else { Err(missing()) }
}

/// Installs a tool of cargo's in `target/tools`, unless it is there in this version; returns the folder
/// of its program.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Result<PathBuf, Failed> {
    let folder = root().join("target/tools/bin");
    let stamp = folder.join(format!(".{name}-{version}"));
    if !folder.join(name).exists() || !stamp.exists() {
        step(&format!("install {name} {version}"), || {
            run(cargo(&["install", "--quiet", "--locked", "--force", name, "--version", version])
                .args(["--root", "target/tools", "--target-dir", "target/tools/build"]))?;
            Ok(fs::write(&stamp, "")?)
        })?;
    }
    Ok(folder)
}

/// Puts a folder before all others of the path.
pub(crate) fn path_with(folder: &Path) -> Result<std::ffi::OsString, Failed> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}

/// Tells whether a program is on the path.
pub(crate) fn is_there(program: &str) -> bool {
    find(program).is_some()
}

/// Finds a program on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
