//! `cadence`: the process.

use std::process::ExitCode;

use clap::Parser as _;
use origin::cli::{self, Cli};

/// It gives what a password's hash has taken (19 MiB) back to the system; the system's own allocator
/// keeps that once for every thread that has hashed one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cadence: {error}");
            ExitCode::FAILURE
        }
    }
}
