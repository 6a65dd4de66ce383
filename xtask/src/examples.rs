//! The example applications: installed and built when something of theirs has changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use crate::step::{Failed, root, run, step};
use crate::tools;

/// What a build makes, and what is never a source.
const NO_SOURCES: [&str; 5] = ["node_modules", "dist", ".output", ".nuxt", ".data"];

/// The documents that the site shows, beside those of `docs`.
const README: &str = "README.md";

/// Builds all of them.
pub(crate) fn build_all() -> Result<(), Failed> {
    site()?;
    nuxt()
}

/// Builds the single-page app and puts the site together: the start page, the playground, the app
/// and the documents. `wrangler dev --assets` serves it in front of the worker.
fn site() -> Result<(), Failed> {
    let app = root().join("examples/spa-vite");
    tools::npm_packages_in(&app)?;
    build(&app, "spa", "build the single-page app")?;
    let site = stack::site_dir();
    stack::copy_folder(&root().join("examples/site"), &site);
    let (made, spa) = (app.join("dist"), site.join("spa"));
    stack::copy_folder(&made, &spa);
    remove_others(&spa, &made)?;
    let docs = site.join("docs");
    stack::copy_folder(&root().join("docs"), &docs);
    fs::copy(root().join(README), docs.join(README))?;
    Ok(())
}

/// Removes the files of a folder that its model does not have, after the model's are there: a page
/// that is being served finds either. (A running wrangler serves changed files, but no new names.)
fn remove_others(folder: &Path, model: &Path) -> Result<(), Failed> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, original) = (entry.path(), model.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            remove_others(&path, &original)?;
        } else if !original.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Builds the Nuxt application.
fn nuxt() -> Result<(), Failed> {
    let app = root().join("examples/nuxt-bff");
    tools::npm_packages_in(&app)?;
    build(&app, "nuxt", "build the Nuxt application")
}

/// Runs `npm run build` in a folder, unless its sources are those of the last time.
fn build(folder: &Path, name: &str, what: &str) -> Result<(), Failed> {
    let mut found = BTreeMap::new();
    sources(folder, &mut found)?;
    let mut inputs = String::new();
    for (path, state) in found {
        writeln!(inputs, "{} {state}", path.display())
            .map_err(|error| Failed(error.to_string()))?;
    }
    let stamp = root().join("build").join(format!("{name}.inputs"));
    if fs::read_to_string(&stamp).is_ok_and(|before| before == inputs) {
        return Ok(());
    }
    step(what, || {
        run(Command::new("npm")
            .args(["run", "--silent", "build"])
            .env("NUXT_TELEMETRY_DISABLED", "1")
            .env("NO_COLOR", "1")
            .current_dir(folder))?;
        fs::create_dir_all(root().join("build"))?;
        Ok(fs::write(&stamp, &inputs)?)
    })
}

/// Lists the files of a folder, each with its length and the time of its last change.
fn sources(folder: &Path, found: &mut BTreeMap<PathBuf, String>) -> Result<(), Failed> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if NO_SOURCES.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let (path, data) = (entry.path(), entry.metadata()?);
        if data.is_dir() {
            sources(&path, found)?;
        } else {
            let changed = data.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
            found.insert(path, format!("{} {changed}", data.len()));
        }
    }
    Ok(())
}
