//! The verbs of the project: `cargo xtask dev`, `test`, `worker`, `examples`, `bench`, `chaos`, `fuzz`,
//! `schemathesis`, `mutants`, `sbom`.

mod bench;
mod chaos;
mod dev;
mod examples;
mod fuzz;
mod mutants;
mod sbom;
mod schemathesis;
mod step;
mod test;
mod tools;
mod worker;

use std::process::ExitCode;

use stack::Backing;

use crate::worker::Build;

const USAGE: &str = "\
usage: cargo xtask VERB

  dev [--redis]        sets everything up, builds, and runs edge and origin with demo data;
                       --redis: on a private redis-server instead of the embedded store
  test [--audit]       sets everything up and runs every check and test;
                       --audit: installs cargo-deny when it is missing, as CI=true does
  worker [--optimize]  builds the edge worker into build/worker;
                       --optimize: small and fast, for deployment
  examples             builds the single-page app and the Nuxt application, and puts the site of
                       development together in build/site
  bench [--seconds N] [--only GROUP] [--rotations N]
                       measures origin and edge beside their ceilings
  schemathesis [--examples N]
                       holds edge and origin to the OpenAPI document with made-up requests
  mutants [TEXT]       puts one fault at a time into a copy of the product, and runs the test that
                       must notice; TEXT: only faults, cases or tests with this in their names
  chaos [--only F4,F8] [--seconds N]
                       puts every fault of docs/reliability.md under load, and judges what clients saw
  fuzz [--seconds N] [--only TARGET]
                       searches for inputs that break a law of a parser, a minute for each of them
  sbom                 writes what the product is made of into build/sbom (CycloneDX)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["dev"] => dev::run_until_interrupted(Backing::Embedded),
        ["dev", "--redis"] => dev::run_until_interrupted(Backing::Redis),
        ["test"] => test::run_all(test::Audit::WherePossible),
        ["test", "--audit"] => test::run_all(test::Audit::Always),
        ["worker"] => worker::build(Build::Quick),
        ["worker", "--optimize"] => worker::build(Build::Optimized),
        ["examples"] => tools::npm_packages().and_then(|()| examples::build_all()),
        ["schemathesis"] => schemathesis::run_all(100),
        ["schemathesis", "--examples", examples] => match examples.parse() {
            Ok(examples) => schemathesis::run_all(examples),
            Err(_) => Err(step::Failed(USAGE.to_owned())),
        },
        ["fuzz", arguments @ ..] => fuzz::run_all(arguments),
        ["sbom"] => sbom::write(),
        ["mutants"] => mutants::run_all(None),
        ["mutants", only] => mutants::run_all(Some(only)),
        ["bench", arguments @ ..] => bench::run_all(arguments),
        ["chaos", arguments @ ..] => chaos::run_all(arguments),
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
