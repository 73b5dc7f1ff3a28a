//! The worker of a stream that this end sends on.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use iperf_model::Pacing;
use iperf_zc::Moved;
use iperf_zc::send::SendMover;
use nix::sys::epoll::EpollFlags;

use crate::worker::counters::Phase;
use crate::worker::pacer::{Grant, Pacer};
use crate::worker::quantum::BlockKind;
use crate::worker::{Ending, Step, Task, Worker, own_descriptors};

/// Bytes that a stream may take of a shared quota at a time: enough for one call with offload, and not so much that one
/// stream takes all.
const QUOTA_SHARE: u64 = 64 * 1024;

/// Blocks granted at once to a sender without quota and pacer. Movers send as many of them per call as suits them, and
/// a small remainder would make a small call.
const UNPACED: u32 = 1 << 20;

/// How often a sender that may send no more in the omitted period looks whether that is over.
const OMIT_PAUSE: Duration = Duration::from_millis(2);

/// How long the kernel may take to report what became of the last blocks: as long as a slow network may take to drain a
/// full socket buffer, and less than any wait for a worker.
const COLLECT_LIMIT: Duration = Duration::from_secs(2);

/// Sends until it is stopped, the quota is met, the source is done or the connection fails.
pub(crate) struct Sender {
    task: Task,
    mover: Box<dyn SendMover>,
    /// Bytes of a block.
    block: u32,
    pacing: Pacing,
    kind: BlockKind,
    pacer: Option<Pacer>,
    /// Blocks that may be sent before the pacer and the quota are consulted again; the first may be partly sent.
    granted: u32,
    /// Its thread, if it is alone there, may do without the descriptors of the process.
    own_descriptors: bool,
}

impl Sender {
    pub(crate) fn new(
        task: Task,
        mover: Box<dyn SendMover>,
        block: u32,
        pacing: Pacing,
        kind: BlockKind,
    ) -> Self {
        Self {
            task,
            mover,
            block,
            pacing,
            kind,
            pacer: None,
            granted: 0,
            own_descriptors: false,
        }
    }

    /// Lets the thread have [a table of its own](own_descriptors), if the mover needs no descriptor but the socket.
    #[must_use]
    pub(crate) fn with_own_descriptors(mut self) -> Self {
        self.own_descriptors = self.mover.uses_only_the_socket();
        self
    }

    /// Ends the omitted period between two blocks, if it is time to. True while it still runs.
    fn is_omitting(&mut self) -> bool {
        let Some(cut) = &self.task.cut else {
            return false;
        };
        if cut.is_due() {
            cut.make(self.task.position());
            (self.task.wake)();
        }
        cut.position().is_none()
    }

    /// Counts what was sent. The quota counts from the cut on.
    fn count(&mut self, moved: Moved) {
        match &self.task.cut {
            Some(cut) if cut.position().is_none() => {
                let (bytes, blocks) = (moved.bytes as u64, u64::from(moved.blocks));
                self.task.counters.add(bytes, blocks);
            }
            _ => self.task.count(moved),
        }
    }

    /// Requests more blocks of the pacer and the quota.
    fn ask(&mut self) -> Result<u32, Step> {
        let omitting = self.is_omitting();
        let block = u64::from(self.block);
        let share = u32::try_from(QUOTA_SHARE / block.max(1)).unwrap_or(1);
        let pacer = self.pacer.as_mut();
        let granted = match pacer.map(|pacer| pacer.grant(Instant::now())) {
            None if self.task.quota.is_some() => share.max(1),
            None => UNPACED,
            Some(Grant::Blocks(blocks)) => blocks,
            Some(Grant::Wait(due)) => return Err(Step::Wait(due)),
        };
        if omitting {
            // One at a time: what is granted before the count begins must not run on into it.
            let claimed = self.task.cut.as_ref().map_or(1, |cut| cut.claim(block));
            return match granted.min(claimed) {
                0 => Err(Step::Wait(Instant::now() + OMIT_PAUSE)),
                claimed => Ok(claimed),
            };
        }
        match self
            .task
            .quota
            .as_ref()
            .map(|quota| quota.claim(granted, block))
        {
            None => Ok(granted),
            Some(0) => Err(Step::Ended(Ending::QuotaMet)),
            Some(claimed) => Ok(claimed),
        }
    }
}

impl Worker for Sender {
    fn task(&self) -> &Task {
        &self.task
    }

    fn own_thread(&mut self) {
        if self.own_descriptors {
            own_descriptors::keep_only_the_socket(&self.task);
        }
    }

    fn begin(&mut self, start: Instant) {
        let Pacing { rate, burst, .. } = self.pacing;
        self.pacer = Pacer::new(start, rate, burst, self.block, self.kind);
    }

    /// A sender blocks when its socket does.
    fn step(&mut self, _may_block: bool) -> Step {
        if self.task.counters.phase() != Phase::Counting {
            return Step::Ended(Ending::Stopped);
        }
        if self.granted == 0 {
            match self.ask() {
                Ok(granted) => self.granted = granted,
                Err(step) => return step,
            }
        }
        match self.mover.send(self.task.socket.as_fd(), self.granted) {
            Ok(Moved { bytes: 0, .. }) => Step::Ended(Ending::SourceDone),
            Ok(moved) => {
                self.granted -= moved.blocks.min(self.granted);
                self.count(moved);
                if let Some(pacer) = &mut self.pacer {
                    pacer.sent(moved.bytes);
                }
                Step::Moved
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => Step::Moved,
                io::ErrorKind::WouldBlock => Step::Blocked,
                _ => Step::Ended(Ending::Failed(error)),
            },
        }
    }

    /// Waits until the kernel has reported what became of everything that was sent, if that is still of use.
    fn end(&mut self, ending: &Ending) {
        // The source may end before its next block is requested.
        self.is_omitting();
        let stopping = self.task.counters.phase() == Phase::Stopping;
        let patience = if stopping || matches!(ending, Ending::Failed(_)) {
            Duration::ZERO
        } else {
            COLLECT_LIMIT
        };
        let deadline = Instant::now() + patience;
        // What is not known by then counts as copied.
        let _ = self.mover.finish(self.task.socket.as_fd(), deadline);
        self.task.stop_counting(self.mover.report());
    }

    fn readiness(&self) -> EpollFlags {
        EpollFlags::EPOLLOUT
    }
}
