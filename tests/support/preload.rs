//! Small libraries that are preloaded into processes, and take the place of what the system gives them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles one from its C source, unless it is there already; returns where it is.
///
/// # Panics
/// When there is no C compiler, or a file cannot be written.
pub(crate) fn library(folder: &Path, name: &str, source: &str) -> PathBuf {
    let library = folder.join(format!("{name}.so"));
    if !library.exists() {
        let file = folder.join(format!("{name}.c"));
        fs::write(&file, source).expect("a file can be written");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&file);
        let status = compiler.status().expect("`cc` is there: Rust links with it");
        assert!(status.success(), "{name}.c cannot be compiled");
    }
    library
}
