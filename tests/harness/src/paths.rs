//! Paths: the workspace, cargo's target directory, and the profile that this program was built in.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this package lies in tests/harness")
}

/// `target/<profile>`: this program lies in it, a test in its `deps`.
pub fn profile() -> PathBuf {
    let program = env::current_exe().expect("the path of the running program");
    let mut folder = program.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps lies in a profile's folder");
    }
    folder.to_owned()
}

/// The target directory.
pub fn target() -> PathBuf {
    let profile = profile();
    profile
        .parent()
        .expect("a profile's folder lies in the target directory")
        .to_owned()
}
