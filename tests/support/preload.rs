//! Small libraries that are preloaded into processes, and take the place of what the system gives them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What all of them begin with.
const COMMON: &str = include_str!("preload.c");

/// A library, and the file that tells it what to do, by a variable of the environment.
#[derive(Clone, Debug)]
pub(crate) struct Preload {
    library: PathBuf,
    variable: &'static str,
    told: PathBuf,
}

impl Preload {
    /// Compiles one from its C source in `folder`, unless it is there already, and writes the file
    /// `told`, beside it, for the first time.
    ///
    /// # Panics
    /// When there is no C compiler, or a file cannot be written.
    pub(crate) fn new(
        folder: &Path,
        [name, source]: [&str; 2],
        variable: &'static str,
        told: &str,
        first: &[u8],
    ) -> Self {
        let library = folder.join(format!("{name}.so"));
        if !library.exists() {
            let file = folder.join(format!("{name}.c"));
            fs::write(&file, [COMMON, source].concat()).expect("a file can be written");
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&file);
            let status = compiler.status().expect("`cc` is there: Rust links with it");
            assert!(status.success(), "{name}.c cannot be compiled");
        }
        let told = folder.join(told);
        fs::write(&told, first).expect("a file can be written");
        Self { library, variable, told }
    }

    /// Tells all processes with it something else, at once.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub(crate) fn tell(&self, bytes: &[u8]) {
        let file = File::options().write(true).open(&self.told);
        file.and_then(|file| file.write_all_at(bytes, 0)).expect("a file can be written");
    }

    /// Returns the environment of a process into which it is preloaded.
    pub(crate) fn environment(&self) -> [(String, String); 2] {
        [("LD_PRELOAD", &self.library), (self.variable, &self.told)]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
    }
}
