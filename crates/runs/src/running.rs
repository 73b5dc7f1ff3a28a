//! A command that runs below its supervisor, as the process that started it sees it.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::supervisor::{GRACE, KILLED, Mode, Report};

/// At most this much of a command's output is kept, of stdout and stderr each.
pub(crate) const MAX_OUTPUT: usize = 64 << 20;
/// How often a wait checks for an interrupt.
const TICK: Duration = Duration::from_millis(50);
/// How long a supervisor may take beyond what its processes get.
const SLACK: Duration = Duration::from_secs(2);

/// How supervisors are started: a program that calls [`crate::supervise`] for these words, a [`Mode`]'s word and the
/// command.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Words before the mode and the command.
    pub words: Vec<String>,
}

impl Mode {
    /// How a launcher names the mode.
    pub fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Service => "service",
        }
    }
}

/// What a reader has got so far.
#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    too_much: bool,
}

type Capture = Arc<Mutex<Captured>>;

/// A running command. Dropping it ends the command and all of its processes.
pub(crate) struct Running {
    supervisor: Child,
    control: UnixStream,
    out: Capture,
    err: Capture,
    /// Closed when both outputs have ended.
    outputs: Receiver<()>,
    /// The report, or a closed channel if the supervisor died.
    report: Receiver<Report>,
    reported: Option<Report>,
}

/// How a wait for a command ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Waited {
    Ended(Report),
    TimedOut,
    Interrupted,
    /// The supervisor was killed.
    Lost,
}

impl Running {
    pub(crate) fn start(launcher: &Launcher, mode: Mode, command: &str) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let mut supervisor = Command::new(&launcher.program)
            .args(&launcher.words)
            .arg(mode.word())
            .arg(command)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for this process, which ends the commands in order.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let program = launcher.program.display();
                io::Error::new(error.kind(), format!("{program}: {error}"))
            })?;
        let (out, err) = (Capture::default(), Capture::default());
        let (open, outputs) = mpsc::channel();
        if let Some(pipe) = supervisor.stdout.take() {
            capture(pipe, Arc::clone(&out), open.clone());
        }
        if let Some(pipe) = supervisor.stderr.take() {
            capture(pipe, Arc::clone(&err), open);
        }
        let report = match control.try_clone() {
            Ok(socket) => await_report(socket),
            Err(error) => {
                // Without the socket it ends everything by itself.
                drop(control);
                let _ = supervisor.wait();
                return Err(error);
            }
        };
        Ok(Self {
            supervisor,
            control,
            out,
            err,
            outputs,
            report,
            reported: None,
        })
    }

    /// The process above all processes of the command.
    pub(crate) fn id(&self) -> u32 {
        self.supervisor.id()
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self, deadline: Instant, interrupt: &Interrupt) -> Waited {
        loop {
            if interrupt.requested().is_some() {
                return Waited::Interrupted;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::TimedOut;
            }
            if let Some(waited) = self.poll(left.min(TICK)) {
                return waited;
            }
        }
    }

    /// The end, if it happens within `wait`.
    pub(crate) fn poll(&mut self, wait: Duration) -> Option<Waited> {
        if let Some(report) = self.reported {
            return Some(Waited::Ended(report));
        }
        match self.report.recv_timeout(wait) {
            Ok(report) => {
                self.reported = Some(report);
                Some(Waited::Ended(report))
            }
            Err(RecvTimeoutError::Disconnected) => Some(Waited::Lost),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }

    /// Ends the command, if it has not ended, and all of its processes.
    pub(crate) fn stop(&mut self) -> Option<Report> {
        // Fails if the supervisor is gone already.
        let _ = self.control.shutdown(Shutdown::Write);
        if let Some(Waited::Ended(report)) = self.poll(GRACE + KILLED + SLACK) {
            return Some(report);
        }
        None
    }

    /// What it has printed so far to stdout and stderr.
    pub(crate) fn so_far(&self) -> (Vec<u8>, Vec<u8>) {
        let bytes = |capture: &Capture| {
            let captured = capture.lock().unwrap_or_else(PoisonError::into_inner);
            captured.bytes.clone()
        };
        (bytes(&self.out), bytes(&self.err))
    }

    /// Whether `text` was printed.
    pub(crate) fn has_printed(&self, text: &[u8]) -> bool {
        [&self.out, &self.err].into_iter().any(|capture| {
            let captured = capture.lock().unwrap_or_else(PoisonError::into_inner);
            text.is_empty() || captured.bytes.windows(text.len()).any(|part| part == text)
        })
    }

    /// Ends it and returns all that it has printed, and whether that was more than is kept.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<u8>, bool) {
        self.stop();
        // Nothing is sent: the channel closes once both pipes have, which a process that cannot be killed may prevent.
        let _ = self.outputs.recv_timeout(SLACK);
        let too_much = [&self.out, &self.err].into_iter().any(|capture| {
            capture
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .too_much
        });
        let (out, err) = self.so_far();
        (out, err, too_much)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.stop().is_none() {
            let _ = self.supervisor.kill();
        }
        let _ = self.supervisor.wait();
    }
}

fn capture(mut pipe: impl Read + Send + 'static, into: Capture, open: mpsc::Sender<()>) {
    thread::spawn(move || {
        let mut chunk = vec![0; 64 << 10];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    let mut captured = into.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = (MAX_OUTPUT - captured.bytes.len()).min(read);
                    captured.bytes.extend_from_slice(&chunk[..room]);
                    captured.too_much |= room < read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        drop(open);
    });
}

fn await_report(mut socket: UnixStream) -> Receiver<Report> {
    let (tell, report) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = (&mut socket).take(1024).read_to_end(&mut text);
        if let (Ok(_), Ok(report)) = (read, serde_json::from_slice(&text)) {
            // There is no receiver if the command was dropped.
            let _ = tell.send(report);
        }
    });
    report
}
