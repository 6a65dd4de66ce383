//! A source of randomness that can fail: the kernel's stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::preload::library;

/// A source of randomness, for the processes that draw from it.
#[derive(Clone, Debug)]
pub struct Randomness {
    library: PathBuf,
    fails: PathBuf,
}

impl Randomness {
    /// Makes one that works, with its files in `folder`, which outlives the processes.
    ///
    /// # Panics
    /// When there is no C compiler, or a file cannot be written.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let library = library(folder, "randomness", include_str!("randomness.c"));
        let source = Self { library, fails: folder.join("randomness.fails") };
        source.fail(false);
        source
    }

    /// Says whether it fails from now on.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn fail(&self, fails: bool) {
        let mut file = fs::File::options();
        let file = file.create(true).truncate(false).write(true).open(&self.fails);
        let written =
            file.and_then(|mut file| std::io::Write::write_all(&mut file, &[fails.into()]));
        written.expect("a file can be written");
    }

    /// Returns the environment of a process that draws from it.
    #[must_use]
    pub fn environment(&self) -> [(String, String); 2] {
        [("LD_PRELOAD", &self.library), ("RANDOMNESS_FAILS", &self.fails)]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
    }
}
