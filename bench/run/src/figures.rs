//! How large, how soon, how much memory: figures of the programs themselves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::load::Failure;
use crate::system::first_answer;
use crate::table;

/// How often each program is started.
const STARTS: usize = 5;

/// Returns the medians of the time to the first answer, ms, and of the memory then, MiB.
pub(crate) fn many(mut command: Command, port: u16, path: &str) -> Result<(f64, f64), Failure> {
    let (mut times, mut memories) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (took, resident) = first_answer(&mut command, port, path)?;
        times.push(took.as_secs_f64() * 1e3);
        memories.push(mib(resident));
    }
    Ok((table::median(times), table::median(memories)))
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 KiB")]
pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Returns the size of all modules below a folder, each gzipped, KB.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub(crate) fn gzipped(folder: &Path) -> Result<f64, Failure> {
    let mut size = 0.0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            size += gzipped(&path)?;
        } else if path.extension().is_some_and(|it| it == "js" || it == "wasm") {
            let output = Command::new("gzip")
                .args(["-9", "-c"])
                .arg(&path)
                .stderr(Stdio::null())
                .output()?;
            size += output.stdout.len() as f64 / 1000.0;
        }
    }
    Ok(size)
}
