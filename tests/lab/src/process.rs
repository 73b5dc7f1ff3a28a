//! Commands that run in a guest, seen from here.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::frame::{Frame, Kind};
use iperf_harness::process::Finished;

/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(30);

/// A command in a guest. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    link: Arc<Link>,
    id: u32,
    command: String,
    started: Instant,
}

/// The line to a guest, and what has come over it.
#[derive(Debug)]
pub(super) struct Link {
    line: Mutex<UnixStream>,
    received: Mutex<Received>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Received {
    /// The kernel's release, once the agent is there.
    hello: Option<String>,
    /// The guest is gone.
    closed: bool,
    last: u32,
    processes: HashMap<u32, Traces>,
}

/// What a process has left up to now.
#[derive(Debug, Default)]
struct Traces {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    status: Option<ExitStatus>,
}

impl Process {
    pub(super) fn start(link: Arc<Link>, command: &str, input: Option<&[u8]>) -> Self {
        let id = link.new_process();
        let kind = match input {
            Some(_) => Kind::RunWithInput,
            None => Kind::Run,
        };
        link.send(&Frame::new(kind, id, command));
        if let Some(input) = input {
            link.send(&Frame::new(Kind::Input, id, input));
            if !input.is_empty() {
                link.send(&Frame::new(Kind::Input, id, []));
            }
        }
        Self {
            link,
            id,
            command: command.to_owned(),
            started: Instant::now(),
        }
    }

    /// What it wrote to standard output up to now.
    pub fn stdout_so_far(&self) -> String {
        let received = self.link.received();
        let bytes = received.processes.get(&self.id).map(|it| &it.stdout);
        String::from_utf8_lossy(bytes.map_or(&[], Vec::as_slice)).into_owned()
    }

    /// What it wrote to standard error up to now.
    pub fn stderr_so_far(&self) -> String {
        let received = self.link.received();
        let bytes = received.processes.get(&self.id).map(|it| &it.stderr);
        String::from_utf8_lossy(bytes.map_or(&[], Vec::as_slice)).into_owned()
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        let received = self.link.received();
        !received.closed
            && received
                .processes
                .get(&self.id)
                .is_some_and(|it| it.status.is_none())
    }

    /// Sends a signal to it and the processes it started.
    pub fn signal(&self, signal: Signal) {
        let number = (signal as i32).to_le_bytes();
        self.link.send(&Frame::new(Kind::Signal, self.id, number));
    }

    /// Waits for the end; kills the process when `limit` has passed since now.
    pub fn finish(self, limit: Duration) -> Finished {
        self.finish_with_bytes(limit).0
    }

    /// The same, with standard output in bytes.
    pub(super) fn finish_with_bytes(self, limit: Duration) -> (Finished, Vec<u8>) {
        let timed_out = !self.link.wait_for_end(self.id, Instant::now() + limit);
        if timed_out {
            self.signal(Signal::SIGKILL);
            self.link.wait_for_end(self.id, Instant::now() + KILLED);
        }
        let traces = self.link.forget(self.id);
        let finished = Finished {
            command: format!("(guest) {}", self.command),
            status: traces.status.unwrap_or_else(|| {
                panic!(
                    "the guest does not report how this ended: {}\n{}",
                    self.command,
                    String::from_utf8_lossy(&traces.stderr)
                )
            }),
            stdout: String::from_utf8_lossy(&traces.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&traces.stderr).into_owned(),
            took: self.started.elapsed(),
            timed_out,
        };
        (finished, traces.stdout)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_alive() {
            self.signal(Signal::SIGKILL);
        }
    }
}

impl Link {
    /// Begins to listen to what comes over a connection.
    pub(super) fn new(stream: &UnixStream) -> Arc<Self> {
        let copy = || stream.try_clone().expect("a socket can be duplicated");
        let link = Arc::new(Self {
            line: Mutex::new(copy()),
            received: Mutex::default(),
            news: Condvar::new(),
        });
        let (mut source, listener) = (copy(), Arc::downgrade(&link));
        thread::spawn(move || {
            while let Ok(frame) = Frame::read_from(&mut source) {
                let Some(link) = listener.upgrade() else {
                    return;
                };
                link.receive(frame);
            }
            if let Some(link) = listener.upgrade() {
                link.received().closed = true;
                link.news.notify_all();
            }
        });
        link
    }

    /// The kernel's release, as reported by the agent.
    pub(super) fn release(&self) -> String {
        self.received().hello.clone().unwrap_or_default()
    }

    /// Whether the agent is there before the deadline.
    pub(super) fn wait_for_hello(&self, deadline: Instant) -> bool {
        self.wait(deadline, |received| received.hello.is_some())
    }

    fn wait_for_end(&self, id: u32, deadline: Instant) -> bool {
        self.wait(deadline, |received| {
            received
                .processes
                .get(&id)
                .is_none_or(|it| it.status.is_some())
        })
    }

    /// Waits until a condition holds, the guest has ended, or the deadline has passed.
    fn wait(&self, deadline: Instant, holds: impl Fn(&Received) -> bool) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let waits = |received: &mut Received| !holds(received) && !received.closed;
        let waited = self.news.wait_timeout_while(self.received(), left, waits);
        let (received, _) = waited.unwrap_or_else(PoisonError::into_inner);
        holds(&received)
    }

    fn receive(&self, frame: Frame) {
        let mut received = self.received();
        let number = frame.number();
        if frame.kind == Kind::Hello {
            received.hello = Some(String::from_utf8_lossy(&frame.bytes).into_owned());
        } else if let Some(traces) = received.processes.get_mut(&frame.process) {
            match frame.kind {
                Kind::Output => traces.stdout.extend(frame.bytes),
                Kind::Error => traces.stderr.extend(frame.bytes),
                Kind::End => traces.status = number.map(ExitStatus::from_raw),
                _ => {}
            }
        }
        drop(received);
        self.news.notify_all();
    }

    fn new_process(&self) -> u32 {
        let mut received = self.received();
        received.last += 1;
        let id = received.last;
        received.processes.insert(id, Traces::default());
        id
    }

    fn forget(&self, id: u32) -> Traces {
        self.received().processes.remove(&id).unwrap_or_default()
    }

    /// Sends a frame. If the guest has ended, the wait for its answer reports that.
    fn send(&self, frame: &Frame) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = frame.write_to(&mut *line);
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The thread that listens has a copy of the socket.
        let line = self.line.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = line.shutdown(Shutdown::Both);
    }
}
