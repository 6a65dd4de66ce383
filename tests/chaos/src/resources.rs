//! I7: what processes hold.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::checker::Violation;

/// What one process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Resident memory, KB.
    pub memory: u64,
    /// Open files, sockets among them.
    pub files: u64,
}

/// Returns how much more memory the origin may have than before, whatever happened, KB: caches that fill;
/// and for each connection that was there at once, what the allocator does not give back.
#[must_use]
pub const fn more_of_origin(connections: u64) -> u64 {
    48 * 1024 + 40 * connections
}

/// Returns how much more memory workerd may have than before, after so many requests, KB.
///
/// It gives nothing back, whatever it serves: a worker that answers a constant grows from 50 to 300 MB
/// within 160,000 requests, and then no more.
#[must_use]
pub const fn more_of_workerd(requests: u64) -> u64 {
    48 * 1024 + 6 * requests
}

/// Files that may be more than before: a pool of connections.
const MORE_FILES: u64 = 32;

/// How often processes are looked at before it is said what they hold, and how long between.
const LOOKS: u32 = 20;
const LOOKS_EVERY: Duration = Duration::from_millis(50);
/// How long that takes.
pub const HELD_FOR: Duration = LOOKS_EVERY.saturating_mul(LOOKS);

impl Resources {
    /// Returns what processes hold for good, after a second.
    ///
    /// It is the least that each had at any moment of that second: a password hash takes 19 MB for as
    /// long as it is under way, and gives them back.
    #[must_use]
    pub fn held_by<const N: usize>(pids: [u32; N]) -> [Self; N] {
        let mut held = pids.map(Self::of);
        for _ in 1..LOOKS {
            thread::sleep(LOOKS_EVERY);
            for (least, now) in held.iter_mut().zip(pids.map(Self::of)) {
                least.memory = least.memory.min(now.memory);
                least.files = least.files.min(now.files);
            }
        }
        held
    }

    /// Looks at what a process has at this moment.
    #[must_use]
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Self { memory: memory.unwrap_or_default(), files: u64::try_from(files).unwrap_or_default() }
    }

    /// Returns how much more memory a process holds than before, KB.
    #[must_use]
    pub fn grown(self, before: Self) -> i64 {
        self.memory.cast_signed() - before.memory.cast_signed()
    }

    /// Judges what a process holds by what it held before: a tenth more, and a little.
    #[must_use]
    pub fn judge(self, before: Self, (whose, more_memory): (&str, u64)) -> Vec<Violation> {
        let too_much = |what: &str, now: u64, before: u64, more: u64| {
            (now > before + before / 10 + more).then(|| {
                let what = format!("{whose} holds {now} {what}, {before} before");
                Violation::new("I7", Duration::ZERO, what)
            })
        };
        [
            too_much("KB", self.memory, before.memory, more_memory),
            too_much("files", self.files, before.files, MORE_FILES),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_seen_and_a_little_more_is_not() {
        let before = Resources { memory: 100_000, files: 100 };
        let leaks_files = Resources { memory: 100_000, files: 143 };
        let leaks_memory = Resources { memory: 160_000, files: 100 };
        let whose = ("it", more_of_origin(0));
        assert_eq!(leaks_files.judge(before, whose).len(), 1);
        assert_eq!(leaks_memory.judge(before, whose).len(), 1);
        assert_eq!(Resources { memory: 158_000, files: 142 }.judge(before, whose), []);
    }

    #[test]
    fn what_is_given_back_within_a_second_is_not_held() {
        const MUCH: usize = 64 << 20;
        let much = std::hint::black_box(vec![1_u8; MUCH]);
        let with_it = Resources::of(std::process::id());
        let gives_back = thread::spawn(move || {
            thread::sleep(LOOKS_EVERY * 5);
            drop(much);
        });
        let [held] = Resources::held_by([std::process::id()]);
        gives_back.join().unwrap();
        assert!(held.memory + 32 * 1024 < with_it.memory, "{held:?} of {with_it:?}");
    }

    #[test]
    fn this_process_holds_something() {
        let own = Resources::of(std::process::id());
        assert!(own.memory > 500 && own.files >= 3, "{own:?}");
    }
}
