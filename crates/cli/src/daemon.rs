//! Running in the background (`-D`).
//!
//! The program starts itself again in a new session and exits when that process listens: clients can connect as soon
//! as the command returns, and errors of the start appear on the terminal. Forking would be shorter, but unsafe.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// Set in the environment of the second process.
const MARK: &str = "IPERF_DAEMON";
/// What the second process runs.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// What replaces the terminal.
const NULL: &str = "/dev/null";

/// The part of this process.
pub(crate) enum Part {
    /// Exit: the daemon is running, or has printed why not.
    Done {
        /// Whether it is running.
        started: bool,
    },
    /// Run as the daemon.
    Serve(Ready),
}

/// Reports that the daemon listens.
pub(crate) struct Ready {
    /// Replaces the terminal.
    null: File,
}

/// Starts the daemon, or becomes it.
pub(crate) fn start() -> io::Result<Part> {
    if env::var_os(MARK).is_some() {
        setsid()?;
        return Ok(Part::Serve(Ready { null: null()? }));
    }
    let mut words = env::args_os();
    let name = words.next().unwrap_or_else(|| OsString::from("iperf"));
    let mut daemon = Command::new(OWN_PROGRAM)
        .arg0(name)
        .args(words)
        .env(MARK, "1")
        .stdin(null()?)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| named(OWN_PROGRAM, &error))?;
    // The daemon writes one byte when it listens, and none if it exits.
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

fn null() -> io::Result<File> {
    let opened = File::options().read(true).write(true).open(NULL);
    opened.map_err(|error| named(NULL, &error))
}

/// The error with the file that it is about.
fn named(file: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{file}: {error}"))
}

impl Ready {
    /// Reports it and detaches from the terminal.
    pub(crate) fn tell(self) -> io::Result<()> {
        io::stdout().write_all(b"\n")?;
        io::stdout().flush()?;
        dup2_stdin(&self.null)?;
        dup2_stdout(&self.null)?;
        dup2_stderr(&self.null)?;
        Ok(())
    }
}
