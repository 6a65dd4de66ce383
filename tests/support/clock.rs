//! Wall clocks that can be set: the kernel's stays as it is.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::preload::library;

/// A wall clock, and the processes that go by it.
#[derive(Clone, Debug)]
pub struct Clock {
    library: PathBuf,
    wrong_by: PathBuf,
}

impl Clock {
    /// Makes one that is right, with its files in `folder`, which outlives the processes.
    ///
    /// # Panics
    /// When there is no C compiler, or a file cannot be written.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let library = library(folder, "clock", include_str!("clock.c"));
        let wrong_by = folder.join(format!("{name}.clock"));
        fs::write(&wrong_by, 0_i64.to_ne_bytes()).expect("a file can be written");
        Self { library, wrong_by }
    }

    /// Sets it to so many seconds from the right time, for all that go by it, at once.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, seconds: i64) {
        let file = File::options().write(true).open(&self.wrong_by);
        let written = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
        written.expect("a clock can be set");
    }

    /// Returns the environment of a process that goes by it.
    #[must_use]
    pub fn environment(&self) -> [(String, String); 2] {
        [("LD_PRELOAD", &self.library), ("CLOCK_WRONG_BY", &self.wrong_by)]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// Asks a process that goes by a clock for the time.
    fn told(clock: &Clock) -> u64 {
        let output = std::process::Command::new("date")
            .arg("+%s")
            .envs(clock.environment())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    #[test]
    fn a_process_goes_by_its_clock() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, other) = (Clock::new(folder.path(), "one"), Clock::new(folder.path(), "other"));
        other.set(86_400);
        for seconds in [0, 120, -120] {
            clock.set(seconds);
            let right = UNIX_EPOCH.elapsed().unwrap().as_secs();
            let expected = right.checked_add_signed(seconds).unwrap();
            assert!(told(&clock).abs_diff(expected) <= 5, "{seconds}");
        }
    }
}
