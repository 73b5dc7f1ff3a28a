//! A child process: its output is kept, and it is ended in any case.

use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::json;

/// How long a test waits for what comes at once on a quiet machine: past this, it hangs.
pub const HANG: Duration = Duration::from_secs(90);

/// How often a wait looks again.
pub const POLL: Duration = Duration::from_millis(4);

/// For how long [`Running::stop_until`] stops a process at a time.
const STOPPED: Duration = Duration::from_millis(500);

/// A started process. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    started: Instant,
    stdout: Capture,
    stderr: Capture,
}

/// A process that has ended, with everything it wrote.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The command line.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
    /// The deadline passed and the process was killed.
    pub timed_out: bool,
}

#[derive(Debug)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a command with no standard input.
    pub fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let line = command_line(&command);
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {line}: {e}"));
        Self {
            stdout: Capture::of(child.stdout.take()),
            stderr: Capture::of(child.stderr.take()),
            child,
            command: line,
            started: Instant::now(),
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The command line.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// What it wrote to standard output up to now.
    pub fn stdout_so_far(&self) -> String {
        self.stdout.text()
    }

    /// What it wrote to standard error up to now.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.text()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).expect("a process id fits");
        signal::kill(Pid::from_raw(pid), signal)
            .unwrap_or_else(|e| panic!("cannot send {signal} to {}: {e}", self.command));
    }

    /// Stops the process (`SIGSTOP`) and lets it go on (`SIGCONT`), again and again, until what is waited for has happened
    /// while it was stopped: something that its peer does, or the system.
    pub fn stop_until(&self, mut happened: impl FnMut() -> bool) {
        let done = wait_for(HANG, || {
            self.signal(Signal::SIGSTOP);
            let done = wait_for(STOPPED, || happened().then_some(()));
            self.signal(Signal::SIGCONT);
            if done.is_none() {
                thread::sleep(STOPPED / 10);
            }
            done
        });
        assert!(
            done.is_some(),
            "it does not happen while {} is stopped",
            self.command
        );
    }

    /// Waits for the end; kills the process when `limit` has passed since now.
    pub fn finish(mut self, limit: Duration) -> Finished {
        let deadline = Instant::now() + limit;
        let mut timed_out = false;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if !timed_out && Instant::now() > deadline => {
                    timed_out = true;
                    self.child.kill().expect("a child can be killed");
                }
                Ok(None) => thread::sleep(POLL),
                Err(e) => panic!("cannot wait for {}: {e}", self.command),
            }
        };
        Finished {
            command: self.command.clone(),
            status,
            stdout: self.stdout.rest(),
            stderr: self.stderr.rest(),
            took: self.started.elapsed(),
            timed_out,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when the process is already gone and reaped, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// The exit code, if the process was not ended by a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The JSON document on standard output; null if there is none.
    pub fn document(&self) -> Value {
        json::parse(&self.stdout).unwrap_or_default()
    }

    /// What it failed of: the error of its document, and standard error.
    pub fn complaint(&self) -> String {
        let document = self.document();
        let error = json::text(&document, "/error").unwrap_or_default();
        format!("{error}{}", self.stderr)
    }

    /// Whether it ended by itself with exit code 0.
    pub fn succeeded(&self) -> bool {
        !self.timed_out && self.status.success()
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match (self.timed_out, self.status.code(), self.status.signal()) {
            (true, ..) => "killed at its deadline".to_owned(),
            (_, Some(code), _) => format!("exit code {code}"),
            (.., Some(signal)) => format!("ended by signal {signal}"),
            _ => format!("{}", self.status),
        };
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "  {end} after {:.3} s", self.took.as_secs_f64())?;
        show(f, "stdout", &self.stdout)?;
        show(f, "stderr", &self.stderr)
    }
}

/// One stream of output, indented, with the middle of a long one left out.
fn show(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    const KEEP: usize = 60;
    if text.is_empty() {
        return writeln!(f, "  {name}: nothing");
    }
    writeln!(f, "  {name}:")?;
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        if number < KEEP || number + KEEP >= lines.len() {
            writeln!(f, "    {line}")?;
        } else if number == KEEP {
            writeln!(f, "    … {} lines …", lines.len() - 2 * KEEP)?;
        }
    }
    Ok(())
}

impl Capture {
    fn of(source: Option<impl Read + Send + 'static>) -> Self {
        let mut source = source.expect("the output is a pipe");
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            while let Ok(n @ 1..) = source.read(&mut chunk) {
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(&chunk[..n]);
            }
        });
        Self {
            bytes,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn rest(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader of a pipe does not fail");
        }
        self.text()
    }
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quote).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "'\"$`\\*?".contains(c)) {
        format!("'{}'", word.replace('\'', "'\\''"))
    } else {
        word.into_owned()
    }
}

/// The same command with limited address space, so that an absurd allocation ends it.
pub fn limit_address_space(command: &Command, kib: u64) -> Command {
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("ulimit -v {kib}; exec \"$0\" \"$@\""))
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    limited
}

/// Looks every few milliseconds until `ready` returns something or `limit` has passed.
pub fn wait_for<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = ready();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start(command)
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        let end = shell("echo out; echo err >&2; exit 3").finish(HANG);
        assert_eq!(
            (end.stdout.as_str(), end.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert_eq!(end.code(), Some(3));
        assert!(!end.timed_out && !end.succeeded());
        assert!(
            end.to_string()
                .contains("sh -c 'echo out; echo err >&2; exit 3'")
        );
    }

    #[test]
    fn a_process_that_does_not_end_is_killed_at_its_deadline() {
        let end = shell("echo started; exec sleep 60").finish(Duration::from_millis(300));
        assert!(end.timed_out && !end.succeeded());
        assert_eq!(end.stdout, "started\n");
        assert!(end.took < Duration::from_secs(10));
    }

    #[test]
    fn address_space_is_limited() {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v"]);
        let end = Running::start(limit_address_space(&command, 1 << 20)).finish(HANG);
        assert_eq!(end.stdout, "1048576\n");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let running = shell("exec sleep 60");
        let stat = format!("/proc/{}", running.id());
        assert!(std::path::Path::new(&stat).exists());
        drop(running);
        assert!(!std::path::Path::new(&stat).exists());
    }

    #[test]
    fn a_signal_reaches_the_process() {
        let running =
            shell("trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
        wait_for(HANG, || {
            (running.stdout_so_far() == "ready\n").then_some(())
        })
        .expect("the shell gets ready");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.finish(HANG).code(), Some(7));
    }
}
