//! The command line of `iperf`: iperf3's options, checks and messages.
//!
//! ```text
//! words ──► args ──► resolve ──► Invocation
//!           clap     one option after another, then all together
//!             └─────────┴──────► UsageError
//! ```
//!
//! The meaning of options, their order and the handling of mistakes are iperf3's, except for those in docs/compatibility.md.

mod args;
mod definition;
mod dscp;
mod error;
mod getopt;
mod job;
mod options;
mod resolve;
mod usage;
mod value;
mod version;
mod zerocopy_check;

use std::ffi::{OsStr, OsString};
use std::path::Path;

pub use definition::command;
pub use error::UsageError;
pub use job::{Invocation, Job, OutputOptions, ProcessOptions, ResultFiles};
pub use usage::{EXAMPLES, NOTES};
pub use version::version;
pub use zerocopy_check::zerocopy_check;

/// Reads a command line: the words after the name of the program.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let words: Vec<OsString> = words.into_iter().collect();
    resolve::resolve(args::Args::read(&words), &words)
}

/// The name of the program in messages, from the first word of its command line: `iperf`, or one of the names that
/// users and scripts of iperf3 know.
pub fn program_name(argv0: Option<&OsStr>) -> String {
    let name = argv0
        .and_then(|path| Path::new(path).file_name())
        .and_then(OsStr::to_str);
    match name {
        Some(known @ ("iperf3" | "iperf3-vsock" | "iperf-rs")) => known.to_owned(),
        _ => "iperf".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_may_be_called_iperf3() {
        for (argv0, name) in [
            (None, "iperf"),
            (Some("iperf3"), "iperf3"),
            (Some("/usr/bin/iperf3"), "iperf3"),
            (Some("./iperf3-vsock"), "iperf3-vsock"),
            (Some("/usr/bin/iperf-rs"), "iperf-rs"),
            (Some("target/debug/iperf"), "iperf"),
            (Some("/usr/bin/other"), "iperf"),
            (Some(".."), "iperf"),
        ] {
            assert_eq!(program_name(argv0.map(OsStr::new)), name);
        }
    }
}
