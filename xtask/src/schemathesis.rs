//! `cargo xtask schemathesis`: asks a running server what its `OpenAPI` document promises.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use stack::{Backing, Front, Stack};

use crate::step::{Failed, cargo, root, run, step};
use crate::tools;
use crate::worker::{self, Build};

/// What is held against the document. Left out is whatever takes it for complete: that all it does
/// not describe is refused, and that all it describes is accepted.
const CHECKS: [&str; 9] = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
    "ignored_auth",
];

/// Asks through the edge and at the origin, up to `examples` requests for each operation and phase.
pub(crate) fn run_all(examples: u32) -> Result<(), Failed> {
    tools::check()?;
    tools::wasm_target()?;
    tools::npm_packages()?;
    let program = install()?;
    let folder = root().join("target/tools/schemathesis");
    stack::copy_folder(&root().join("tests/schemathesis"), &folder);
    worker::build(Build::Quick)?;
    step("build the origin", || {
        run(&mut cargo(&["build", "--quiet", "--package", "origin", "--package", "example-api"]))
    })?;
    for (name, front) in [("through the edge", Front::Edge), ("at the origin", Front::Direct)] {
        let stack = Stack::start(Backing::Embedded, front);
        step(&format!("schemathesis, {name}"), || {
            run(Command::new(&program)
                .args(["--config-file", "schemathesis.toml"])
                .args(["run", &format!("{}/openapi.json", stack.issuer)])
                .args(["--checks", &CHECKS.join(",")])
                .args(["--phases", "coverage,fuzzing", "--warnings", "off"])
                .args(["--max-examples", &examples.to_string()])
                // It looks there for its hooks, and leaves there what it keeps between runs.
                .current_dir(&folder))
        })?;
    }
    Ok(())
}

/// Installs schemathesis beside the other tools, when its version has changed since the last time.
fn install() -> Result<PathBuf, Failed> {
    let folder = root().join("target/tools/schemathesis");
    let program = folder.join("bin/schemathesis");
    let file = root().join("tests/schemathesis/requirements.txt");
    let (wanted, stamp) = (fs::read_to_string(&file)?, folder.join("requirements.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(program);
    }
    tools::debian("python3", "python3")?;
    step("install schemathesis", || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&folder);
        if !venv.status().is_ok_and(|status| status.success()) {
            return Err(Failed(
                "python3 cannot make a virtual environment; `apt-get install python3-venv` helps"
                    .to_owned(),
            ));
        }
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&file))?;
        Ok(fs::write(&stamp, &wanted)?)
    })?;
    Ok(program)
}
