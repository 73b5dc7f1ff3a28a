//! Running in the background (`-D`).
//!
//! The program starts itself once more, in a session of its own, and ends when that one listens: whoever started it can
//! connect as soon as the command returns, and errors of the start are seen where it was given. Forking would do the
//! same with less, but not safely.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// Tells the second process what it is.
const MARK: &str = "IPERF_DAEMON";

/// What this process is to do.
pub(crate) enum Part {
    /// Nothing more: the daemon is running, or it is not, and has said why.
    Done {
        /// Whether it is running.
        started: bool,
    },
    /// Be the daemon.
    Serve(Ready),
}

/// Says that the daemon listens.
pub(crate) struct Ready {
    /// What takes the place of the terminal.
    null: File,
}

/// Starts the daemon, or becomes it.
pub(crate) fn start() -> io::Result<Part> {
    if env::var_os(MARK).is_some() {
        setsid()?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        return Ok(Part::Serve(Ready { null }));
    }
    let mut words = env::args_os();
    let name = words.next().unwrap_or_else(|| OsString::from("iperf"));
    let mut daemon = Command::new("/proc/self/exe")
        .arg0(name)
        .args(words)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    // One byte comes when it listens, and none when it has ended.
    let mut byte = [0];
    let started = match &mut daemon.stdout {
        Some(output) => output.read(&mut byte)? == 1,
        None => false,
    };
    if !started {
        daemon.wait()?;
    }
    Ok(Part::Done { started })
}

impl Ready {
    /// Says so, and lets go of the terminal.
    pub(crate) fn tell(self) -> io::Result<()> {
        io::stdout().write_all(b"\n")?;
        io::stdout().flush()?;
        dup2_stdin(&self.null)?;
        dup2_stdout(&self.null)?;
        dup2_stderr(&self.null)?;
        Ok(())
    }
}
