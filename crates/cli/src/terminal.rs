//! The ends of the program: what it prints itself (help and the like to stdout, errors to stderr), and how long it waits
//! for its threads.

use std::io::{self, Write};
use std::time::Duration;

use iperf_model::reason;

/// How long to wait at exit for threads that resolve names or connect, which can't be interrupted.
pub(crate) const SHUTDOWN: Duration = Duration::from_millis(100);

/// Prints to stdout; true if it was written or its reader has left.
pub(crate) fn print(program: &str, text: &[u8]) -> bool {
    let mut stdout = io::stdout();
    let printed = stdout.write_all(text).and_then(|()| stdout.flush());
    let Err(error) = printed else {
        return true;
    };
    // A reader that closes a pipe early has read enough.
    let is_enough = error.kind() == io::ErrorKind::BrokenPipe;
    if !is_enough {
        let reason = reason(&error);
        complain(&format!(
            "{program}: error - unable to write to stdout: {reason}"
        ));
    }
    is_enough
}

/// Prints a line to stderr.
pub(crate) fn complain(line: &str) {
    // If stderr is gone, there is nowhere left to report it.
    let _ = writeln!(io::stderr(), "{line}");
}
