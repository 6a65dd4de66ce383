//! A source of randomness that can fail: the kernel's stays as it is.

use std::path::Path;

use crate::preload::Preload;

/// A source of randomness, for the processes that draw from it.
#[derive(Clone, Debug)]
pub struct Randomness(Preload);

impl Randomness {
    /// Makes one that works, with its files in `folder`, which outlives the processes.
    ///
    /// # Panics
    /// When there is no C compiler, or a file cannot be written.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let library = ["randomness", include_str!("randomness.c")];
        Self(Preload::new(folder, library, "RANDOMNESS_FAILS", "randomness.fails", &[0]))
    }

    /// Says whether it fails from now on.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn fail(&self, fails: bool) {
        self.0.tell(&[fails.into()]);
    }

    /// Returns the environment of a process that draws from it.
    #[must_use]
    pub fn environment(&self) -> [(String, String); 2] {
        self.0.environment()
    }
}
