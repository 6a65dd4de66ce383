//! `cargo xtask worker`: the edge worker as modules that workerd and wrangler take as they are:
//! an entry, the glue, the wasm; and a list of them for workerd's configuration.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

use wasm_bindgen_cli_support::Bindgen;

use crate::step::{Failed, cargo, root, run, step};

/// The entry module. After a trap the instance is thrown away, so that one trap does not outlive
/// its request.
const ENTRY: &str = include_str!("entry.js");

/// Where it lies.
pub(crate) const ENTRY_FILE: &str = "index.js";

/// The list of the modules, which a configuration of workerd imports: the folders of snippets are
/// named after versions.
const MODULES: &str = "modules.capnp";

/// The npm package that brings `wasm-opt`: 104 MB, so it is fetched for [`Build::Optimized`] alone.
const BINARYEN: &str = "binaryen@132.0.0";

/// What rustc emits for `wasm32-unknown-unknown`, and all that `wasm-opt` may use.
const WASM_FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-exception-handling",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// How much time a build may take to make the worker small and fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// For development and tests: about a second after a change.
    Quick,
    /// For deployment and benchmarks: link-time optimization, then `wasm-opt`.
    Optimized,
}

impl Build {
    const fn profile(self) -> &'static str {
        match self {
            Self::Quick => "worker-dev",
            Self::Optimized => "worker",
        }
    }
}

/// Builds the edge worker into the folder from which wrangler and the tests take it.
pub(crate) fn build(build: Build) -> Result<(), Failed> {
    build_package("edge-worker", build, &stack::worker_dir())
}

/// Builds a package that is a worker into a folder.
///
/// A folder that holds the same build already is left alone. wrangler starts a build for each
/// file that an editor touches, and reads the modules meanwhile: so there is one build at a time,
/// and each module appears whole.
pub(crate) fn build_package(package: &str, build: Build, into: &Path) -> Result<(), Failed> {
    let name = package.replace('-', "_");
    step(&format!("build {package} for workerd ({} profile)", build.profile()), || {
        fs::create_dir_all(into)?;
        let lock = File::create(into.with_extension("lock"))?;
        lock.lock()?;
        run(cargo(&["build", "--package", package, "--lib", "--profile", build.profile()])
            .args(["--target", "wasm32-unknown-unknown"]))?;
        let wasm = root()
            .join("target/wasm32-unknown-unknown")
            .join(build.profile())
            .join(format!("{name}.wasm"));
        let inputs = inputs(&wasm, build)?;
        let stamp = into.join(".inputs");
        if fs::read_to_string(&stamp).is_ok_and(|before| before == inputs) {
            return Ok(());
        }
        let fresh = into.with_extension("new");
        clear(&fresh)?;
        fs::create_dir_all(&fresh)?;
        bind(&wasm, &name, &fresh)?;
        write_modules(&fresh)?;
        if build == Build::Optimized {
            optimize(&fresh.join(format!("{name}_bg.wasm")))?;
            minify(&fresh.join(format!("{name}.js")))?;
        }
        let _ = fs::remove_file(&stamp);
        replace(&fresh, into, &name)?;
        clear(&fresh)?;
        // Last, so that a build that was cut short is done again.
        Ok(fs::write(&stamp, inputs)?)
    })
}

/// Moves the modules from one folder to another, the entry last, and says how large they are.
fn replace(fresh: &Path, into: &Path, name: &str) -> Result<(), Failed> {
    // Snippets lie in folders named after versions: those of other versions must not stay.
    clear(&into.join("snippets"))?;
    if fresh.join("snippets").exists() {
        fs::rename(fresh.join("snippets"), into.join("snippets"))?;
    }
    fs::rename(fresh.join(MODULES), into.join(MODULES))?;
    for module in [format!("{name}_bg.wasm"), format!("{name}.js"), ENTRY_FILE.to_owned()] {
        let path = into.join(&module);
        fs::rename(fresh.join(&module), &path)?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        eprintln!("  {:>8} bytes  {shown}", fs::metadata(&path)?.len());
    }
    Ok(())
}

/// Removes a folder, if it is there.
pub(crate) fn clear(folder: &Path) -> Result<(), Failed> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Describes all that the modules are made from; equal texts mean equal modules.
fn inputs(wasm: &Path, build: Build) -> Result<String, Failed> {
    let wasm = fs::metadata(wasm)?;
    let changed = wasm.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    let this = fs::metadata(std::env::current_exe()?)?;
    let this_changed = this.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(format!("{build:?} wasm {} {changed} xtask {} {this_changed}\n", wasm.len(), this.len()))
}

/// Makes the glue and the entry.
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
    fs::write(into.join(ENTRY_FILE), ENTRY.replace("NAME", name))?;
    Ok(())
}

/// Writes the list of the modules in a folder beside them.
pub(crate) fn write_modules(folder: &Path) -> Result<(), Failed> {
    Ok(fs::write(folder.join(MODULES), modules(folder)?)?)
}

/// Lists the modules in a folder as a constant in Cap'n Proto's language.
fn modules(folder: &Path) -> Result<String, Failed> {
    let mut files = files(folder, folder)?;
    // workerd starts with the first module.
    files.sort_by_key(|file| (file != ENTRY_FILE, file.clone()));
    let mut text = "\
        # The modules of the worker, written by `cargo xtask worker`.\n\
        @0xc4de8ce1ad6e5c01;\n\
        using Workerd = import \"/workerd/workerd.capnp\";\n\
        const modules :List(Workerd.Worker.Module) = [\n"
        .to_owned();
    for file in files {
        let is_wasm = Path::new(&file).extension().is_some_and(|it| it == "wasm");
        let kind = if is_wasm { "wasm" } else { "esModule" };
        writeln!(text, "  (name = {file:?}, {kind} = embed {file:?}),")?;
    }
    text.push_str("];\n");
    Ok(text)
}

/// Lists the files below a folder, relative to `base`.
fn files(base: &Path, folder: &Path) -> Result<Vec<String>, Failed> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(base, &path)?);
        } else {
            found.push(path.strip_prefix(base)?.display().to_string());
        }
    }
    Ok(found)
}

/// Makes the wasm smaller.
fn optimize(wasm: &Path) -> Result<(), Failed> {
    let smaller: PathBuf = wasm.with_extension("smaller");
    run(Command::new("npm")
        .args(["exec", "--yes", "--loglevel=error", "--package", BINARYEN, "--", "wasm-opt", "-Oz"])
        .args(["--converge", "--gufa", "-Oz"])
        .args(WASM_FEATURES)
        .arg(wasm)
        .arg("--output")
        .arg(&smaller)
        .stdin(Stdio::null())
        .current_dir(root()))?;
    Ok(fs::rename(smaller, wasm)?)
}

/// Makes the glue smaller, with the bundler that wrangler brings.
fn minify(glue: &Path) -> Result<(), Failed> {
    run(Command::new(root().join("node_modules/.bin/esbuild"))
        .args(["--minify", "--log-level=error", "--allow-overwrite"])
        .arg(format!("--outfile={}", glue.display()))
        .arg(glue)
        .stdin(Stdio::null())
        .current_dir(root()))
}
