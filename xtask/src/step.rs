//! Steps: what is done at the moment, how long it took, and what went wrong.

use std::fmt;
use std::process::Command;
use std::time::Instant;

/// Why a verb ends: a sentence for whoever typed it.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Does one step, and says how long it took.
pub(crate) fn step<T>(name: &str, act: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    eprintln!("▸ {name}");
    let began = Instant::now();
    let done = act().map_err(|failed| Failed(format!("✗ {name}: {failed}")))?;
    eprintln!("  {:.1} s", began.elapsed().as_secs_f64());
    Ok(done)
}

/// Runs a command to its end; its output is shown as it comes.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| Failed(format!("`{program}` cannot be started: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failed(format!("`{program}` ended with {status}"))) }
}

/// Makes a `cargo` command in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = stack::cargo();
    command.args(arguments);
    command
}

/// Returns the workspace's root.
pub(crate) fn root() -> std::path::PathBuf {
    stack::root()
}
