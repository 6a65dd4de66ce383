//! `cargo xtask chaos`: every fault, long.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use chaos::faults::{self, Fault};
use chaos::run::{Outcome, Profile, run};
use chaos::table::{report, table};

/// What a fault takes besides its load: the start of the system, the logins, the last look.
const BESIDES: Duration = Duration::from_secs(11);

const USAGE: &str = "\
usage: cargo xtask chaos [--only F4,F8] [--seconds N]

  --only     these faults alone
  --seconds  how long each is under load (60)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--help"] {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Some((faults, seconds)) = read(&arguments) else {
        eprint!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let each = Duration::from_secs(u64::from(seconds)) + BESIDES;
    let count = u32::try_from(faults.len()).unwrap_or(u32::MAX);
    eprintln!("{count} faults: about {} min", (each * count).as_secs().div_ceil(60));
    let mut outcomes: Vec<Outcome> = Vec::new();
    for fault in &faults {
        let began = Instant::now();
        let outcome = run(fault, Profile::long(seconds));
        eprintln!(
            "{} {}: {} violations, {:.0} s",
            fault.id,
            fault.name,
            outcome.violations.len(),
            began.elapsed().as_secs_f64()
        );
        if !outcome.violations.is_empty() {
            eprintln!("{}", report(&outcome));
        }
        outcomes.push(outcome);
    }
    let text = table(&outcomes);
    println!("{text}");
    let file = stack::root().join("target/chaos/table.md");
    if let Err(error) = std::fs::write(&file, &text) {
        eprintln!("{} cannot be written: {error}", file.display());
        return ExitCode::FAILURE;
    }
    eprintln!("The table is in {}, and each history beside it.", file.display());
    if outcomes.iter().all(|outcome| outcome.violations.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Reads the arguments: which faults, and how many seconds each.
fn read(arguments: &[String]) -> Option<(Vec<Fault>, u32)> {
    let (mut faults, mut seconds) = (faults::all(), 60);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--only" => {
                let ids: Vec<&str> = value.split(',').collect();
                faults.retain(|fault| {
                    let id = fault.id.split('-').next().unwrap_or_default();
                    ids.contains(&fault.id) || ids.contains(&id)
                });
                if faults.is_empty() {
                    return None;
                }
            }
            [name, value] if name == "--seconds" => {
                seconds = value.parse().ok().filter(|seconds| *seconds >= 5)?;
            }
            _ => return None,
        }
    }
    Some((faults, seconds))
}
