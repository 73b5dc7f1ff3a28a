//! The process between this program and a command: it adopts what the command leaves behind (a subreaper), counts the
//! CPU time of all of it, and ends all of it.
//!
//! Its stdin is a socket to the process that started it. When that is shut down, or closed because that process is
//! gone for any reason, all processes below are ended; then a [`Report`] goes back over the same socket. So nothing
//! outlives a bench that was killed, and a command that forks, daemonizes or changes its process group is still found.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getuid, write};
use serde::{Deserialize, Serialize};

use crate::tree::signal_descendants;

/// How long processes have to end after SIGTERM, before SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// How long processes have to end after SIGKILL: those that the kernel keeps are left.
pub(crate) const KILLED: Duration = Duration::from_secs(3);
/// Between two rounds of SIGKILL, for processes that were forked meanwhile.
const AGAIN: Duration = Duration::from_millis(10);

/// When a command has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With its shell: what it left in the background is ended.
    Command,
    /// With the last process: a server may put itself into the background.
    Service,
}

/// The supervisor's report about the command.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The exit code of its shell.
    pub(crate) code: Option<i32>,
    /// The signal that ended its shell.
    pub(crate) signal: Option<i32>,
    /// CPU seconds, user and system, of all processes.
    pub(crate) cpu: f64,
    /// The largest resident memory of a process, in bytes.
    pub(crate) memory: u64,
    /// From the start of the shell to its end.
    pub(crate) seconds: f64,
}

impl Report {
    /// How the command ended, in words.
    pub(crate) fn ending(self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".into(),
        }
    }
}

enum Event {
    Ended(Pid, WaitStatus),
    NoneLeft,
    Stop,
}

/// Runs `command` in a shell until it has ended, or until stdin ends.
pub fn supervise(mode: Mode, command: &OsStr) -> ExitCode {
    // Fails on no kernel since 3.4.
    let adopted = set_child_subreaper(true);
    let begin = Instant::now();
    let shell = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .process_group(0)
        // The kernel counts the memory that a child shared with its parent before it became another program, which is
        // all of it when it is spawned the fast way (vfork). A user id, though it is our own, makes it a fork.
        .uid(getuid().as_raw())
        .spawn();
    let shell = shell.map_err(|error| format!("/bin/sh: {error}"));
    let adopting = |shell| match adopted {
        Ok(()) => Ok(shell),
        Err(error) => Err(format!("PR_SET_CHILD_SUBREAPER: {error}")),
    };
    let shell = match shell.and_then(adopting) {
        Ok(shell) => shell,
        Err(error) => {
            // Standard error is that of the run. If it is closed, there is no reader.
            let _ = writeln!(io::stderr(), "{error}");
            return ExitCode::FAILURE;
        }
    };
    let events = watch();
    let mut status = None;
    let mut seconds = 0.0;
    let shell = i32::try_from(shell.id()).map(Pid::from_raw).ok();
    let mut note = |event: &Event| {
        if let Event::Ended(pid, ended) = event
            && Some(*pid) == shell
        {
            status = Some(*ended);
            seconds = begin.elapsed().as_secs_f64();
            return mode == Mode::Command;
        }
        !matches!(event, Event::Ended(..))
    };
    let mut left = true;
    for event in &events {
        if note(&event) {
            left = !matches!(event, Event::NoneLeft);
            break;
        }
    }
    if left {
        end_all(&events, &mut |event| {
            note(event);
        });
    }
    report(status, seconds);
    ExitCode::SUCCESS
}

/// Threads that wait for the end of children and of stdin.
fn watch() -> Receiver<Event> {
    let (tell, events) = mpsc::channel();
    let children = tell.clone();
    thread::spawn(move || {
        loop {
            let event = match waitpid(None, None) {
                Ok(status) => match status.pid() {
                    Some(pid) => Event::Ended(pid, status),
                    None => continue,
                },
                Err(Errno::EINTR) => continue,
                Err(_) => Event::NoneLeft,
            };
            let last = matches!(event, Event::NoneLeft);
            if children.send(event).is_err() || last {
                return;
            }
        }
    });
    thread::spawn(move || {
        let mut rest = [0; 16];
        let mut stdin = std::io::stdin();
        while stdin.read(&mut rest).is_ok_and(|read| read > 0) {}
        // The other end of the channel is gone only if this process ends anyway.
        let _ = tell.send(Event::Stop);
    });
    events
}

/// Ends all processes below: SIGTERM, and SIGKILL after a while, until none is left.
fn end_all(events: &Receiver<Event>, note: &mut dyn FnMut(&Event)) {
    let this = std::process::id();
    signal_descendants(this, Signal::SIGTERM);
    let begin = Instant::now();
    let (grace, end) = (begin + GRACE, begin + GRACE + KILLED);
    loop {
        let now = Instant::now();
        if now >= end {
            return;
        }
        if now >= grace {
            signal_descendants(this, Signal::SIGKILL);
        }
        let wait = grace.saturating_duration_since(now).max(AGAIN);
        match events.recv_timeout(wait) {
            Ok(Event::NoneLeft) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(event) => note(&event),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Reports over stdin, a socket, if anyone still listens.
fn report(status: Option<WaitStatus>, seconds: f64) {
    let (cpu, kib) = getrusage(UsageWho::RUSAGE_CHILDREN).map_or((0, 0), |usage| {
        let cpu = usage.user_time() + usage.system_time();
        (cpu.num_microseconds(), usage.max_rss())
    });
    let (code, signal) = match status {
        Some(WaitStatus::Exited(_, code)) => (Some(code), None),
        Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
        _ => (None, None),
    };
    let report = Report {
        code,
        signal,
        cpu: cpu as f64 / 1e6,
        memory: u64::try_from(kib).unwrap_or_default() << 10,
        seconds,
    };
    let text = serde_json::to_vec(&report).unwrap_or_default();
    // A few bytes fit into the socket's buffer; without a reader the report is not needed.
    let _ = write(std::io::stdin().as_fd(), &text);
}
