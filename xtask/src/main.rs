//! The verbs of the project: `cargo xtask dev`, `test`, `worker`.

mod dev;
mod step;
mod test;
mod tools;
mod worker;

use std::process::ExitCode;

use stack::Backing;

const USAGE: &str = "\
usage: cargo xtask VERB

  dev [--redis]   sets everything up, builds, and runs edge and origin with demo data
  test            sets everything up and runs every check and test
  worker          builds the edge worker into build/worker
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["dev"] => dev::run_until_interrupted(Backing::Embedded),
        ["dev", "--redis"] => dev::run_until_interrupted(Backing::Redis),
        ["test"] => test::run_all(),
        ["worker"] => worker::build().map(|_| ()),
        _ => Err(step::Failed(USAGE.to_owned())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::FAILURE
        }
    }
}
