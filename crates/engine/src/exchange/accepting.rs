//! Answers requests, each on its own connection. All workers of a test accept from one listening socket, so that a
//! connection never waits for a worker while another is idle.
//!
//! A connection that fails, or that its peer leaves open, affects no other: the worker drops it and accepts the next.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_model::Exchange;
use iperf_zc::account::Report;
use nix::errno::Errno;
use nix::libc::MSG_MORE;
use nix::sys::socket::{MsgFlags, send};
use socket2::Socket;

use crate::net::transactions::Listener;
use crate::worker::counters::Phase;
use crate::worker::{Ending, Step, Task, Worker, is_pause};

/// How long to accept nothing after an error, which is most often a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(10);

/// The worker of a stream on which this end responds.
pub(crate) struct Accepting {
    task: Task,
    exchange: Exchange,
    listener: Arc<Listener>,
    request: Box<[u8]>,
    response: Box<[u8]>,
}

impl Accepting {
    /// `response` is a response.
    pub(crate) fn new(
        task: Task,
        exchange: Exchange,
        response: &[u8],
        listener: Arc<Listener>,
    ) -> Self {
        Self {
            task,
            listener,
            request: vec![0; exchange.request as usize].into(),
            response: response.into(),
            exchange,
        }
    }

    fn may_go_on(&self) -> bool {
        matches!(
            self.task.counters.phase(),
            Phase::Counting | Phase::Discarding
        )
    }

    /// Repeats a call that a signal cut short, unless the worker has to end.
    fn patiently<T>(&self, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && self.may_go_on() => {}
                other => return other,
            }
        }
    }

    /// Serves a connection to its end.
    fn serve(&mut self, mut connection: &Socket) -> io::Result<()> {
        let mut request = std::mem::take(&mut self.request);
        let read = self.read(connection, &mut request);
        self.request = request;
        read?;
        let mut sent = 0;
        while sent < self.response.len() {
            // The end of the connection goes with the last segment.
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::from_bits_retain(MSG_MORE);
            let rest = &self.response[sent..];
            sent += self.patiently(|| Ok(send(connection.as_raw_fd(), rest, flags)?))?;
        }
        if self.task.is_counting() {
            self.task.counters.add(self.exchange.request.into(), 1);
        }
        if self.listener.lingers {
            connection.shutdown(Shutdown::Write)?;
            self.patiently(|| connection.read(&mut [0]))?;
        }
        Ok(())
    }

    fn read(&self, mut connection: &Socket, request: &mut [u8]) -> io::Result<()> {
        let mut received = 0;
        while received < request.len() {
            match self.patiently(|| connection.read(&mut request[received..]))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => received += more,
            }
        }
        Ok(())
    }
}

impl Worker for Accepting {
    fn task(&self) -> &Task {
        &self.task
    }

    fn step(&mut self, _: bool) -> Step {
        match self.task.counters.phase() {
            Phase::Counting => {}
            Phase::Discarding => self.task.stop_counting(Report::default()),
            Phase::Finishing | Phase::Stopping => return Step::Ended(Ending::Stopped),
        }
        let accepted = self.listener.accept();
        match accepted {
            Ok(None) => Step::Moved,
            Ok(Some(connection)) => {
                // A fault of one connection is reported by its other end.
                let _ = self.serve(&connection);
                Step::Moved
            }
            Err(error) if is_pause(&error) => Step::Moved,
            Err(error) if is_of_the_connection(&error) => Step::Moved,
            Err(_) => Step::Wait(Instant::now() + PAUSE),
        }
    }
}

/// Whether accept(2) reports what happened to a connection that waited.
fn is_of_the_connection(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::ECONNABORTED | Errno::EPROTO | Errno::ECONNRESET)
    )
}
