//! Programs that see other files than everybody else: a mount namespace of their own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Makes a program in `folder` that is `program`, but what it does as `serve` it does behind a `mount`
/// that nobody else sees: a command of sh without single quotes. Its other commands join it there.
pub(crate) fn program(folder: &Path, program: &Path, mount: &str) -> PathBuf {
    let name = program.file_name().unwrap();
    let script = folder.join(name);
    let text = format!(
        "#!/bin/sh\n\
         map=; join=\n\
         [ \"$(id -u)\" = 0 ] || {{ map=--map-root-user; join='--user --preserve-credentials'; }}\n\
         if [ \"$1\" = serve ]; then\n\
           echo $$ >'{pid}'\n\
           exec unshare $map --mount sh -c '{mount} && exec \"$0\" \"$@\"' '{program}' \"$@\"\n\
         fi\n\
         exec nsenter $join --mount --target \"$(cat '{pid}')\" '{program}' \"$@\"\n",
        pid = script.with_extension("pid").display(),
        program = program.display(),
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o700)).unwrap();
    script
}
