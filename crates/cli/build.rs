//! Records the commit that is built, for `--version`: without git, or outside a checkout, there is none. And has the
//! functions that tests call put side by side in release builds, so that a process has less of the file in its memory
//! (`tests/used-functions`).

use std::env;
use std::path::Path;
use std::process::Command;

/// Linker script with the names of functions that tests call.
const USED_FUNCTIONS: &str = "used-functions.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={USED_FUNCTIONS}");
    if is_ordered() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(USED_FUNCTIONS);
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
    let commit = checkout().and_then(|()| git(&["rev-parse", "--short=9", "HEAD"]));
    if commit.is_some() {
        // Every commit and checkout adds a line here.
        if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo::rerun-if-changed={log}");
        }
    }
    println!(
        "cargo::rustc-env=IPERF_COMMIT={}",
        commit.unwrap_or_default()
    );
}

/// Whether the linker is told about the order of functions: in release builds, by a linker that is known to understand
/// such a script. Rust's own and the one that GCC uses do; others that a user may name do not all.
fn is_ordered() -> bool {
    let is = |name, value| env::var(name).is_ok_and(|is| is == value);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let names_linker = flags.contains("linker") || flags.contains("-fuse-ld");
    is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && env::var_os("RUSTC_LINKER").is_none()
        && !names_linker
}

/// Whether these sources are a checkout, and not a copy inside of another one.
fn checkout() -> Option<()> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    (own.canonicalize().ok()? == Path::new(&top).canonicalize().ok()?).then_some(())
}

/// The output of git, if it succeeds.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
