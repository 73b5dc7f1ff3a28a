//! The program under test, its peers, and where they are found.
//!
//! | peer | where it comes from |
//! |---|---|
//! | [`Peer::Ours`] | `IPERF_BIN` if that is set; else `cargo build -p iperf-cli` in the profile and target directory of the running test |
//! | [`Peer::Old`], [`Peer::New`] | `peers/` in the target directory, filled by `tests/peers/fetch` |
//!
//! `Old` is the iperf3 of Debian bookworm, 3.12: single-threaded, without timeouts on the control connection,
//! numbers below zero written as unsigned. `New` is the newest that Debian has. All relevant changes of the
//! protocol were made between the two.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{paths, workspace};

/// A program that can be client or server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The program of this workspace.
    Ours,
    /// iperf3 3.12.
    Old,
    /// The newest iperf3.
    New,
}

/// The two iperf3 versions.
pub const REAL: [Peer; 2] = [Peer::Old, Peer::New];

impl Peer {
    /// The program's path; the first use may build or fetch it.
    pub fn path(self) -> &'static Path {
        static OURS: OnceLock<PathBuf> = OnceLock::new();
        static OLD: OnceLock<PathBuf> = OnceLock::new();
        static NEW: OnceLock<PathBuf> = OnceLock::new();
        match self {
            Self::Ours => OURS.get_or_init(build_ours),
            Self::Old => OLD.get_or_init(|| fetch("bookworm", "old")),
            Self::New => NEW.get_or_init(|| fetch("sid", "new")),
        }
    }

    /// The name by which the program calls itself in its messages.
    pub fn program_name(self) -> String {
        let name = self.path().file_name().expect("a program has a name");
        name.to_string_lossy().into_owned()
    }

    /// A command that runs the program, with the messages of the system in English.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.path());
        command.env("LC_ALL", "C");
        command
    }

    /// The version that the program reports, for example `3.22`.
    pub fn version(self) -> String {
        let output = self
            .command()
            .arg("--version")
            .output()
            .unwrap_or_else(|e| panic!("{self} does not start: {e}"));
        let text = String::from_utf8_lossy(&output.stdout);
        let word = text.split_whitespace().nth(1);
        word.unwrap_or_else(|| panic!("{self} does not say its version: {text}"))
            .to_owned()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

fn build_ours() -> PathBuf {
    if let Some(path) = env::var_os("IPERF_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "IPERF_BIN={} is no file", path.display());
        return path;
    }
    workspace::build("iperf-cli", "iperf")
}

fn fetch(suite: &str, name: &str) -> PathBuf {
    let target = paths::target().join("peers").join(name);
    let output = Command::new(paths::workspace().join("tests/peers/fetch"))
        .arg(suite)
        .arg(&target)
        .output()
        .expect("tests/peers/fetch starts");
    assert!(
        output.status.success(),
        "the iperf3 of {suite} is not to be had:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("iperf3")
}
