//! `cargo xtask worker`: the edge worker as three modules that workerd and wrangler take as they
//! are: an entry, the glue, the wasm.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasm_bindgen_cli_support::Bindgen;

use crate::step::{Failed, cargo, root, run, step};

/// The entry module. After a trap the instance is thrown away, so that one trap does not outlive
/// its request.
const ENTRY: &str = include_str!("entry.js");

/// The modules of one worker.
const MODULES: [&str; 3] = ["index.js", "NAME.js", "NAME_bg.wasm"];

/// Builds the edge worker. Returns the folder of its modules.
pub(crate) fn build() -> Result<PathBuf, Failed> {
    build_package("edge-worker", "edge_worker", &stack::worker_dir())
}

/// Builds any package that is a worker.
pub(crate) fn build_package(package: &str, name: &str, into: &Path) -> Result<PathBuf, Failed> {
    let target = root().join("target/wasm32-unknown-unknown/worker");
    step(&format!("build {package} for workerd"), || {
        run(cargo(&["build", "--quiet", "--package", package, "--lib", "--profile", "worker"])
            .args(["--target", "wasm32-unknown-unknown"])
            .env("WASM_BINDGEN_USE_JS_SYS", "1"))?;
        let wasm = target.join(format!("{name}.wasm"));
        if !is_newer(&wasm, &into.join("index.js")) {
            return Ok(());
        }
        fs::create_dir_all(into)?;
        bind(&wasm, name, into)?;
        for module in MODULES {
            let path = into.join(module.replace("NAME", name));
            eprintln!("  {:>7} bytes  {}", fs::metadata(&path)?.len(), path.display());
        }
        Ok(())
    })?;
    Ok(into.to_owned())
}

/// Makes the glue, and the entry last: its age tells whether the build is current.
fn bind(wasm: &Path, name: &str, into: &Path) -> Result<(), Failed> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name(name)
        .typescript(false)
        .reset_state_function(true)
        .force_enable_abort_handler(true);
    bindgen.module(true).map_err(|error| Failed(error.to_string()))?;
    bindgen.generate(into).map_err(|error| Failed(format!("wasm-bindgen: {error:#}")))?;
    let glue = into.join(format!("{name}.js"));
    let text = fs::read_to_string(&glue)?;
    // A plain import of a compiled-wasm module gives the same module as a source-phase one.
    fs::write(&glue, text.replace("import source ", "import "))?;
    fs::write(into.join("index.js"), ENTRY.replace("NAME", name))?;
    Ok(())
}

fn is_newer(input: &Path, output: &Path) -> bool {
    let age = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    age(input).unwrap_or(SystemTime::UNIX_EPOCH) > age(output).unwrap_or(SystemTime::UNIX_EPOCH)
}
