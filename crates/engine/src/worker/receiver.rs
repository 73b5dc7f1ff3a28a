//! The worker of a stream that this end receives on.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use iperf_zc::Moved;
use iperf_zc::receive::ReceiveMover;
use nix::sys::epoll::EpollFlags;
use socket2::Socket;

use crate::waking::Waking;
use crate::worker::counters::Phase;
use crate::worker::{Ending, Step, Task, Worker, is_pause};

/// Receives until it is asked to stop, the peer closes or the connection fails.
pub(crate) struct Receiver {
    task: Task,
    mover: Box<dyn ReceiveMover>,
    waking: Waking,
}

impl Receiver {
    pub(crate) fn new(task: Task, mover: Box<dyn ReceiveMover>, waking: Waking) -> Self {
        Self {
            task,
            mover,
            waking,
        }
    }

    /// Counts what had arrived when the test ended, and not more, however fast the peer goes on sending.
    fn drain(&mut self) -> Ending {
        let mut rest = match self.mover.backlog(self.task.socket.as_fd()) {
            Ok(rest) => rest,
            Err(error) => return Ending::Failed(error),
        };
        while rest > 0 && self.task.counters.phase() == Phase::Finishing {
            match self.mover.receive(self.task.socket.as_fd(), false) {
                Ok(Moved { bytes: 0, .. }) => return Ending::EndOfStream,
                Ok(moved) => {
                    self.task.count(moved);
                    rest = rest.saturating_sub(moved.bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Ending::Failed(error),
            }
        }
        Ending::Stopped
    }
}

impl Worker for Receiver {
    fn begin(&mut self, _start: Instant) {}

    fn step(&mut self, may_block: bool) -> Step {
        match self.task.counters.phase() {
            Phase::Counting => {}
            Phase::Discarding => {
                if self.task.is_counting() {
                    self.task.stop_counting(self.mover.report());
                }
            }
            Phase::Finishing => return Step::Ended(self.drain()),
            Phase::Stopping => return Step::Ended(Ending::Stopped),
        }
        let wait = may_block && self.waking.should_block();
        match self.mover.receive(self.task.socket.as_fd(), wait) {
            Ok(Moved { bytes: 0, .. }) => Step::Ended(Ending::EndOfStream),
            Ok(moved) => {
                // What came while the test ended is not counted once the worker said that it has stopped.
                if self.task.is_counting() {
                    self.task.count(moved);
                }
                if self.mover.obeys_low_water() {
                    self.waking.on_read(&self.task.socket, moved.bytes);
                }
                Step::Moved
            }
            Err(error) if is_pause(&error) => {
                self.waking.on_empty(&self.task.socket);
                if error.kind() == io::ErrorKind::WouldBlock {
                    Step::Blocked
                } else {
                    Step::Moved
                }
            }
            Err(error) => Step::Ended(Ending::Failed(error)),
        }
    }

    fn end(&mut self, _ending: &Ending) {
        self.waking.end(&self.task.socket);
        self.task.stop_counting(self.mover.report());
    }

    fn socket(&self) -> &Socket {
        &self.task.socket
    }

    fn readiness(&self) -> EpollFlags {
        EpollFlags::EPOLLIN
    }
}
