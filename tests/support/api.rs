//! The example API.

use std::path::Path;

use crate::process::{Ending, Process};

/// Its name in tokens, as `examples/demo.toml` has it.
pub const API_AUDIENCE: &str = "https://notes.example.test";

/// Starts the example API for the tokens of an issuer, listening at `port` of 127.0.0.1.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn start_api(program: &Path, issuer: &str, port: u16, log: &Path) -> Process {
    let environment = [
        ("API_ISSUER", issuer),
        ("API_AUDIENCE", API_AUDIENCE),
        ("API_LISTEN", &format!("127.0.0.1:{port}")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Process::start(program, &[], &environment, log, Ending::Kill)
}
