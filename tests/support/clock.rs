//! Wall clocks that can be set: the kernel's stays as it is.

use std::path::Path;

use crate::preload::Preload;

/// A wall clock, and the processes that go by it.
#[derive(Clone, Debug)]
pub struct Clock(Preload);

impl Clock {
    /// Makes one that is right, with its files in `folder`, which outlives the processes.
    ///
    /// # Panics
    /// When there is no C compiler, or a file cannot be written.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let (library, wrong_by) = (["clock", include_str!("clock.c")], format!("{name}.clock"));
        Self(Preload::new(folder, library, "CLOCK_WRONG_BY", &wrong_by, &0_i64.to_ne_bytes()))
    }

    /// Sets it to so many seconds from the right time, for all that go by it, at once.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, seconds: i64) {
        self.0.tell(&seconds.to_ne_bytes());
    }

    /// Returns the environment of a process that goes by it.
    #[must_use]
    pub fn environment(&self) -> [(String, String); 2] {
        self.0.environment()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::UNIX_EPOCH;

    use super::*;

    /// Asks a process that goes by a clock for the time.
    fn told(clock: &Clock) -> u64 {
        let output = Command::new("date").arg("+%s").envs(clock.environment()).output().unwrap();
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
