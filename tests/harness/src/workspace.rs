//! Programs of this workspace, in the profile that the running program was built in.

use std::path::PathBuf;
use std::process::Command;

use crate::paths;

/// A program of a package. Cargo builds it if it is not there.
pub fn program(package: &str, name: &str) -> PathBuf {
    let path = paths::profile().join(name);
    if path.is_file() {
        path
    } else {
        build(package, name)
    }
}

/// A program of a package as its sources are now.
pub fn build(package: &str, name: &str) -> PathBuf {
    let dir = paths::profile();
    let folder = dir.file_name().expect("a profile's folder has a name");
    let profile = match folder.to_str() {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("{} is not the folder of a profile", dir.display()),
    };
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", package, "--bin", name])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(paths::target())
        .current_dir(paths::workspace())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{name} does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    dir.join(name)
}
