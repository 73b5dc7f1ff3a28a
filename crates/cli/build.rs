//! Records the commit that is built, for `--version`. Without git, or outside a checkout, there is none.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
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
