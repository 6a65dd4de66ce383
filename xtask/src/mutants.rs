//! `cargo xtask mutants`: puts one fault at a time into a copy of the product, and runs the test
//! that must notice.
//!
//! The faults stand in `tests/mutants.toml`. One that no test notices, or that cannot be put in any
//! more because the code has changed, fails the run.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;

use crate::step::{Failed, cargo, root, step};
use crate::{examples, tools};

/// A fault, and the tests that must notice it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    /// What is wrong with the product then, in a few words.
    fault: String,
    /// The cases of the suite that hold it.
    cases: String,
    /// A test of the suite that must fail, by its whole name.
    red: String,
    /// What is changed.
    edits: Vec<Edit>,
}

/// One change: a text that stands in a file exactly once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: PathBuf,
    find: String,
    replace: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutants: Vec<Mutant>,
}

/// What a run of one test came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
}

/// Runs every mutant whose fault, case or test has `only` in it, and prints a table.
pub(crate) fn run_all(only: Option<&str>) -> Result<(), Failed> {
    tools::check()?;
    tools::wasm_target()?;
    tools::npm_packages()?;
    tools::debian("redis-server", "redis-server")?;
    examples::build_all()?;
    let list: List = toml::from_str(&fs::read_to_string(root().join("tests/mutants.toml"))?)?;
    let is_wanted = |mutant: &&Mutant| {
        let has = |text: &str| only.is_none_or(|only| text.contains(only));
        has(&mutant.fault) || has(&mutant.cases) || has(&mutant.red)
    };
    let mutants: Vec<&Mutant> = list.mutants.iter().filter(is_wanted).collect();
    let copy = Copy::make()?;
    for mutant in &mutants {
        copy.check(mutant)?;
    }
    copy.build(true)?;
    step("every test is green without a fault", || {
        for mutant in &mutants {
            if copy.test(&mutant.red)? == Outcome::Failed {
                return Err(Failed(format!("{} fails as it is", mutant.red)));
            }
        }
        Ok(())
    })?;
    let mut table = String::from("| fault | case | test | noticed |\n|---|---|---|---|\n");
    let mut survivors = 0;
    for mutant in &mutants {
        let began = Instant::now();
        let noticed = copy.with(mutant, || copy.test(&mutant.red))? == Outcome::Failed;
        survivors += usize::from(!noticed);
        let told = if noticed { "yes" } else { "**NO**" };
        eprintln!("  {told}: {} ({:.0} s)", mutant.fault, began.elapsed().as_secs_f64());
        let Mutant { fault, cases, red, .. } = mutant;
        writeln!(table, "| {fault} | {cases} | `{red}` | {told} |")
            .map_err(|error| Failed(error.to_string()))?;
    }
    println!("{table}");
    fs::write(root().join("target/mutants.md"), &table)?;
    if survivors == 0 {
        eprintln!("{} faults, each noticed", mutants.len());
        Ok(())
    } else {
        Err(Failed(format!("{survivors} of {} faults were not noticed", mutants.len())))
    }
}

/// A copy of the workspace, in which faults do no harm. Its compiled dependencies stay for the next
/// run.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// Copies every file that git knows or would know, where it has changed.
    fn make() -> Result<Self, Failed> {
        let folder = root().join("target/mutants");
        fs::create_dir_all(&folder)?;
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()?;
        for name in String::from_utf8(listed.stdout)?.lines() {
            let (from, to) = (root().join(name), folder.join(name));
            // One that was removed and not yet committed is listed, too.
            let Ok(content) = fs::read(&from) else { continue };
            if fs::read(&to).is_ok_and(|known| known == content) {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(&folder))?;
            fs::write(to, content)?;
        }
        // No fault is put into what is linked.
        for made in ["node_modules", "build/site", "examples/nuxt-bff/.output"] {
            let link = folder.join(made);
            fs::create_dir_all(link.parent().unwrap_or(&folder))?;
            if !link.exists() {
                symlink(root().join(made), link)?;
            }
        }
        Ok(Self { folder })
    }

    /// Checks that a fault can be put in.
    fn check(&self, mutant: &Mutant) -> Result<(), Failed> {
        for Edit { file, find, .. } in &mutant.edits {
            let text = fs::read_to_string(self.folder.join(file))?;
            let places = text.matches(find.as_str()).count();
            if places != 1 {
                return Err(Failed(format!(
                    "{}: {} has `{find}` {places} times",
                    mutant.fault,
                    file.display()
                )));
            }
        }
        Ok(())
    }

    /// Does something to the product with a fault in it, and mends it again.
    fn with<T>(
        &self,
        mutant: &Mutant,
        act: impl FnOnce() -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        eprintln!("▸ {}", mutant.fault);
        let mut originals: Vec<(PathBuf, String)> = Vec::new();
        for Edit { file, find, replace } in &mutant.edits {
            let path = self.folder.join(file);
            let text = fs::read_to_string(&path)?;
            fs::write(&path, text.replacen(find.as_str(), replace, 1))?;
            if originals.iter().all(|(known, _)| *known != path) {
                originals.push((path, text));
            }
        }
        let of_the_worker =
            |edit: &Edit| ["edge-worker", "shared"].iter().any(|it| edit.file.starts_with(it));
        let needs_worker = mutant.edits.iter().any(of_the_worker);
        let done = self.build(needs_worker).and_then(|()| act());
        for (path, text) in originals {
            fs::write(path, text)?;
        }
        done.map_err(|failed| Failed(format!("{}: {failed}", mutant.fault)))
    }

    /// Builds what the tests start, and the tests.
    fn build(&self, needs_worker: bool) -> Result<(), Failed> {
        self.build_by(&["build", "--quiet", "--package", "origin", "--package", "example-api"])?;
        if needs_worker {
            self.build_by(&["run", "--quiet", "--package", "xtask", "--", "worker"])?;
        }
        self.build_by(&["test", "--quiet", "--package", "e2e", "--no-run"])
    }

    /// Runs `cargo`; what it says is shown when it fails. A fault leaves warnings behind.
    fn build_by(&self, arguments: &[&str]) -> Result<(), Failed> {
        let output = cargo(arguments).current_dir(&self.folder).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failed(format!("does not build:\n{}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Runs one test.
    fn test(&self, name: &str) -> Result<Outcome, Failed> {
        let output = cargo(&["test", "--quiet", "--package", "e2e", "--test", "e2e"])
            .args(["--", "--exact", name])
            .current_dir(&self.folder)
            .env("CADENCE_TEST_PREPARED", "1")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("1 passed; 0 failed") {
            Ok(Outcome::Passed)
        } else if text.contains("0 passed; 1 failed") {
            Ok(Outcome::Failed)
        } else {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(Failed(format!("there is no one test `{name}`:\n{text}{errors}")))
        }
    }
}
