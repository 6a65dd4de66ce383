//! `cargo xtask fuzz`: searches for inputs that break a law of a parser.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::step::{Failed, cargo, root, run, step};
use crate::tools;

/// How long each target runs, seconds.
const SECONDS: u64 = 60;

/// Runs every target, or one, as many at once as there are processors; prints what each has done.
///
/// No sanitizer: nothing that is searched has any `unsafe` of its own, and so the compiler of the
/// project is enough.
pub(crate) fn run_all(arguments: &[&str]) -> Result<(), Failed> {
    let (mut seconds, mut only) = (SECONDS, None);
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or(Failed(format!("{name} takes a value")))?;
        match *name {
            "--seconds" => {
                let number = value.parse().ok().filter(|number| *number > 0);
                seconds = number.ok_or(Failed("--seconds takes a number".to_owned()))?;
            }
            "--only" => only = Some(*value),
            name => return Err(Failed(format!("{name} is not an option of fuzz"))),
        }
    }
    let targets = targets(only)?;
    let tools = tools::cargo_tool("cargo-fuzz", "0.13.2")?;
    step("build the targets", || {
        run(cargo(&["fuzz", "build", "--sanitizer", "none", "--fuzz-dir", "fuzz"])
            .args(["--target-dir", "target/fuzz"])
            .env("PATH", tools::path_with(&tools)?))
    })?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rows = Vec::new();
    for group in targets.chunks(cores) {
        let what = format!("{seconds} s: {}", group.join(", "));
        step(&what, || {
            let running: Vec<_> =
                group.iter().map(|target| Run::begin(target, seconds)).collect::<Result<_, _>>()?;
            for run in running {
                rows.push(run.end()?);
            }
            Ok(())
        })?;
    }
    let mut table = String::from(
        "| target | runs | runs/s | new corpus entries | crashes |\n|---|---|---|---|---|\n",
    );
    for Row { target, runs, runs_per_second, new_entries, crashes } in &rows {
        let crashes = crashes.len();
        writeln!(table, "| {target} | {runs} | {runs_per_second} | {new_entries} | {crashes} |")
            .map_err(|error| Failed(error.to_string()))?;
    }
    println!("{table}");
    fs::write(root().join("target/fuzz/table.md"), &table)?;
    let crashes: Vec<String> =
        rows.iter().flat_map(|row| &row.crashes).map(|crash| crash.display().to_string()).collect();
    if crashes.is_empty() {
        return Ok(());
    }
    Err(Failed(format!(
        "a law is broken by {}; `target/fuzz/TRIPLE/release/TARGET FILE` shows how",
        crashes.join(", ")
    )))
}

fn targets(only: Option<&str>) -> Result<Vec<String>, Failed> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if only.is_none_or(|only| only == name) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    if names.is_empty() {
        return Err(Failed("there is no such target: see fuzz/fuzz_targets".to_owned()));
    }
    Ok(names)
}

/// A target that runs.
struct Run {
    target: String,
    log: PathBuf,
    crashes: PathBuf,
    child: Child,
}

/// What a target has done.
struct Row {
    target: String,
    runs: u64,
    runs_per_second: u64,
    new_entries: u64,
    crashes: Vec<PathBuf>,
}

impl Run {
    fn begin(target: &str, seconds: u64) -> Result<Self, Failed> {
        let folder = root().join("target/fuzz");
        let program = program(&folder, target)?;
        let (corpus, crashes) =
            (folder.join("corpus").join(target), folder.join("crashes").join(target));
        fs::create_dir_all(&corpus)?;
        let _ = fs::remove_dir_all(&crashes);
        fs::create_dir_all(&crashes)?;
        let log = folder.join(format!("{target}.log"));
        let child = Command::new(program)
            .arg(&corpus)
            .arg(root().join("fuzz/seeds").join(target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", crashes.display()))
            .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=1024", "-max_len=4096"])
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        Ok(Self { target: target.to_owned(), log, crashes, child })
    }

    fn end(mut self) -> Result<Row, Failed> {
        let status = self.child.wait()?;
        let log = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let number = |name: &str| {
            let line = log.lines().rev().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        let crashes = fs::read_dir(&self.crashes)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>, std::io::Error>>()?;
        let runs = number("stat::number_of_executed_units").unwrap_or(0);
        if crashes.is_empty() && (!status.success() || runs == 0) {
            return Err(Failed(format!(
                "{} ended with {status}: see {}",
                self.target,
                self.log.display()
            )));
        }
        Ok(Row {
            target: self.target,
            runs,
            runs_per_second: number("stat::average_exec_per_sec").unwrap_or(0),
            new_entries: number("stat::new_units_added").unwrap_or(0),
            crashes,
        })
    }
}

/// Finds a target's program: below the name of the machine that it was built for.
fn program(folder: &Path, target: &str) -> Result<PathBuf, Failed> {
    for entry in fs::read_dir(folder)? {
        let program = entry?.path().join("release").join(target);
        if program.is_file() {
            return Ok(program);
        }
    }
    Err(Failed(format!("{target} was not built")))
}
