//! The benchmark: starts everything that is measured, loads it in interleaved rounds, prints one
//! table of medians. `cargo xtask bench` builds what this needs and runs it.

mod callers;
mod figures;
mod load;
mod rows;
mod system;
mod table;

use std::process::ExitCode;

use load::Failure;

const USAGE: &str = "usage: cargo xtask bench [--seconds N] [--only GROUP] [--rotations N]
groups: refresh introspect userinfo code login edge hello trips growth flood start";

/// What was asked for.
pub(crate) struct Options {
    /// How long each row is loaded in each round.
    pub(crate) seconds: f64,
    /// The one group to be measured.
    pub(crate) only: Option<String>,
    /// Rotations before and after which memory is compared.
    pub(crate) rotations: usize,
}

fn options() -> Result<Options, Failure> {
    let mut options = Options { seconds: 2.0, only: None, rotations: 200_000 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match argument.as_str() {
            "--seconds" => options.seconds = value.parse()?,
            "--only" => options.only = Some(value),
            "--rotations" => options.rotations = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().and_then(|options| rows::measure_all(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
