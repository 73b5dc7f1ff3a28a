//! The worker of a stream that this end receives on.

use std::io;
use std::os::fd::AsFd;

use iperf_zc::Moved;
use iperf_zc::receive::ReceiveMover;

use crate::waking::Waking;
use crate::worker::counters::Phase;
use crate::worker::{Ending, Step, Task, Worker, is_pause};

/// Receives until it is stopped, the peer closes or the connection fails.
pub(crate) struct Receiver {
    task: Task,
    mover: Box<dyn ReceiveMover>,
    waking: Waking,
    /// Bytes behind the cut that were counted for the quota.
    credited: u64,
}

impl Receiver {
    pub(crate) fn new(task: Task, mover: Box<dyn ReceiveMover>, waking: Waking) -> Self {
        Self {
            task,
            mover,
            waking,
            credited: 0,
        }
    }

    /// Records what arrived, including what arrived before this end learned where the omitted period ends.
    fn count(&mut self, moved: Moved) {
        if self.task.cut.is_some() && !self.datagrams() {
            let (bytes, blocks) = (moved.bytes as u64, u64::from(moved.blocks));
            self.task.counters.add(bytes, blocks);
            self.credit();
        } else {
            self.task.count(moved);
        }
    }

    /// Whether each datagram is marked with its side of the cut.
    fn datagrams(&self) -> bool {
        self.task.datagrams.is_some()
    }

    /// Counts for the quota what is behind the cut and was not counted yet.
    fn credit(&mut self) {
        let Some(position) = self.task.cut.as_ref().and_then(|cut| cut.position()) else {
            return;
        };
        let behind = self.task.counters.bytes().saturating_sub(position.bytes);
        let more = behind - self.credited;
        if more > 0 {
            self.credited = behind;
            self.task.count_for_quota(more, 0);
        }
    }

    /// Counts what had arrived when the test ended, and no more, however fast the peer keeps sending.
    fn drain(&mut self) -> Ending {
        let mut rest = match self.mover.backlog(self.task.socket.as_fd()) {
            Ok(rest) => rest,
            Err(error) => return Ending::Failed(error),
        };
        while rest > 0 && self.task.counters.phase() == Phase::Finishing {
            match self.mover.receive(self.task.socket.as_fd(), false) {
                Ok(Moved { bytes: 0, .. }) => return Ending::EndOfStream,
                Ok(moved) => {
                    self.count(moved);
                    rest = rest.saturating_sub(moved.bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Ending::Failed(error),
            }
        }
        // A reset is behind the last byte. What a datagram's socket reports is about one that was sent.
        match self.task.socket.take_error() {
            Ok(Some(error)) if !self.datagrams() => Ending::Failed(error),
            _ => Ending::Stopped,
        }
    }
}

impl Worker for Receiver {
    fn task(&self) -> &Task {
        &self.task
    }

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
                // What arrives while the test ends is not counted once the worker has reported that it stopped.
                if self.task.is_counting() {
                    self.count(moved);
                }
                if self.mover.obeys_low_water() {
                    self.waking.on_read(&self.task.socket, moved.bytes);
                }
                Step::Moved
            }
            Err(error) if is_pause(&error) => {
                if self.task.cut.is_some() && self.task.is_counting() && !self.datagrams() {
                    // Everything may have arrived before this end learned of the cut, which is what woke it.
                    self.credit();
                }
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
}
