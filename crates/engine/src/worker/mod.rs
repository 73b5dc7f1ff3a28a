//! Moves the bytes of streams over any transport: a [`Worker`] per stream and direction, and the threads that drive
//! workers.
//!
//! ```text
//! Sender   ─┐                       ┌─ alone:   one worker per thread, in blocking calls
//!           ├─ Worker::step ────────┤
//! Receiver ─┘  (one system call)    └─ shared:  many workers per thread, by epoll
//! ```
//!
//! A step is a system call and next to nothing else: no lock, no allocation, no logging. It reads the clock only to
//! pace, or once per batch.

pub(crate) mod alone;
pub(crate) mod counters;
pub(crate) mod cut;
pub(crate) mod gate;
pub(crate) mod own_descriptors;
pub(crate) mod pacer;
pub(crate) mod payload;
pub(crate) mod quantum;
pub(crate) mod quota;
pub(crate) mod receiver;
pub(crate) mod sender;
pub(crate) mod shared;
pub(crate) mod thread;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use iperf_zc::Moved;
use iperf_zc::account::Report;
use nix::sys::epoll::EpollFlags;
use socket2::Socket;

use crate::datagrams::DatagramCounters;
use crate::modes::WorkerReport;
use crate::run::cpu::{self, CpuTime};
use crate::worker::counters::Counters;
use crate::worker::cut::{Cut, Position};
use crate::worker::quota::Quota;

/// How a worker ended.
#[derive(Debug)]
pub enum Ending {
    /// On request.
    Stopped,
    /// A sender met the quota that it shares with others.
    QuotaMet,
    /// A sender's file is sent to its end.
    SourceDone,
    /// The peer closed the stream.
    EndOfStream,
    /// A system call failed.
    Failed(io::Error),
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) enum Step {
    /// Something moved, or a signal cut the call short: continue.
    Moved,
    /// The socket has no room, or no data: continue when it has.
    Blocked,
    /// The same, but continue at this time at the latest.
    BlockedUntil(Instant),
    /// Nothing may move before then.
    Wait(Instant),
    /// The worker is done.
    Ended(Ending),
}

/// Moves the bytes of one stream in one direction.
pub(crate) trait Worker: Send {
    /// What it shares with the rest of its stream.
    fn task(&self) -> &Task;

    /// The calling thread drives this worker and no other.
    fn own_thread(&mut self) {}

    /// The test began at `start`.
    fn begin(&mut self, _start: Instant) {}

    /// Makes one system call that moves bytes, or finds out why none may be made. With `may_block` the call waits in a
    /// blocking socket; a worker that asks for less sleeps by itself.
    fn step(&mut self, may_block: bool) -> Step;

    /// Accounts for what was done. To be called once, after the last step, on the thread that drove the worker.
    fn end(&mut self, _ending: &Ending) {
        self.task().stop_counting(Report::default());
    }

    /// The socket that the worker moves bytes through.
    fn socket(&self) -> &Socket {
        &self.task().socket
    }

    /// What a blocked worker waits for.
    fn readiness(&self) -> EpollFlags {
        EpollFlags::EPOLLIN
    }
}

/// Wakes the driver: something happened that it need not wait for a tick to handle.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// What every worker works with.
pub(crate) struct Task {
    pub(crate) socket: Arc<Socket>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) quota: Option<Arc<Quota>>,
    /// Where the omitted period ends, if that is to be exact. What is before it does not count for the quota.
    pub(crate) cut: Option<Arc<Cut>>,
    pub(crate) wake: Wake,
    /// Set when the worker stops counting.
    pub(crate) report: Arc<OnceLock<WorkerReport>>,
    /// The counters of a stream that receives datagrams, which stop with the others.
    pub(crate) datagrams: Option<Arc<DatagramCounters>>,
    /// Workers that share the thread, this one included.
    pub(crate) sharers: u32,
}

impl Task {
    fn count(&self, moved: Moved) {
        let (bytes, blocks) = (moved.bytes as u64, u64::from(moved.blocks));
        self.counters.add(bytes, blocks);
        self.count_for_quota(bytes, blocks);
    }

    pub(crate) fn count_for_quota(&self, bytes: u64, blocks: u64) {
        if let Some(quota) = &self.quota
            && quota.moved(bytes, blocks)
        {
            (self.wake)();
        }
    }

    /// Where this end's counters are.
    fn position(&self) -> Position {
        Position {
            bytes: self.counters.bytes(),
            blocks: self.counters.blocks(),
        }
    }

    pub(crate) fn is_counting(&self) -> bool {
        self.report.get().is_none()
    }

    /// Counts nothing from now on. Workers that share a thread share its CPU time evenly.
    pub(crate) fn stop_counting(&self, report: Report) {
        if let Some(datagrams) = &self.datagrams {
            datagrams.freeze();
        }
        self.report.get_or_init(|| WorkerReport {
            cpu: CpuTime::of_this_thread().divided(self.sharers),
            waited: cpu::waited_for_processor(),
            core: nix::sched::sched_getcpu().ok(),
            report,
        });
    }
}

/// Whether a call ended for no reason of the connection's: a signal, or a time-out of the socket.
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}
