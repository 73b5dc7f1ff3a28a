//! The two loops: one fills a socket, one empties it, whatever the transport. Each runs on a thread of its own and
//! is a loop of system calls: no lock, no allocation, no logging, and a look at the clock to pace, or once for a batch.

pub(crate) mod counters;
pub(crate) mod gate;
pub(crate) mod pacer;
pub(crate) mod payload;
pub(crate) mod quantum;
pub(crate) mod quota;

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use iperf_zc::Moved;
use iperf_zc::account::Report;
use iperf_zc::receive::ReceiveMover;
use iperf_zc::send::SendMover;
use socket2::Socket;

use crate::datagrams::DatagramCounters;
use crate::modes::WorkerReport;
use crate::run::cpu::CpuTime;
use crate::sleep::sleep_until;
use crate::waking::Waking;
use crate::worker::counters::{Counters, Phase};
use crate::worker::pacer::{Grant, Pacer};
use crate::worker::quota::Quota;

/// How a worker came to its end.
#[derive(Debug)]
pub enum Ending {
    /// It was asked to.
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

/// Wakes the driver: something happened that it need not wait for a tick to handle.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// What both loops work with.
pub(crate) struct Task {
    pub(crate) socket: Arc<Socket>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) quota: Option<Arc<Quota>>,
    pub(crate) wake: Wake,
    /// Set when the worker stops counting.
    pub(crate) report: Arc<OnceLock<WorkerReport>>,
    /// The counters of a stream that receives datagrams, which stop with the others.
    pub(crate) datagrams: Option<Arc<DatagramCounters>>,
}

impl Task {
    fn count(&self, moved: Moved) {
        let (bytes, blocks) = (moved.bytes as u64, u64::from(moved.blocks));
        self.counters.add(bytes, blocks);
        if let Some(quota) = &self.quota
            && quota.moved(bytes, blocks)
        {
            (self.wake)();
        }
    }

    fn stop_counting(&self, report: Report) {
        if let Some(datagrams) = &self.datagrams {
            datagrams.freeze();
        }
        self.report.get_or_init(|| WorkerReport {
            cpu: CpuTime::of_this_thread(),
            report,
        });
    }
}

/// Whether a call ended for no reason of the connection's: a signal, or a time-out of the socket.
fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Sends until it is asked to stop, the quota is met, the source is done or the connection fails.
pub(crate) fn send(
    task: &Task,
    mover: &mut dyn SendMover,
    pacer: Option<Pacer>,
    block: u64,
) -> Ending {
    let ending = send_loop(task, mover, pacer, block);
    collect(task, mover, &ending);
    task.stop_counting(mover.report());
    ending
}

/// Waits until the kernel has told what became of everything that was sent, if somebody still wants to know.
fn collect(task: &Task, mover: &mut dyn SendMover, ending: &Ending) {
    let wanted = !matches!(ending, Ending::Failed(_)) && task.counters.phase() != Phase::Stopping;
    let patience = if wanted {
        COLLECT_LIMIT
    } else {
        Duration::ZERO
    };
    // What is not known by then counts as copied.
    let _ = mover.finish(task.socket.as_fd(), Instant::now() + patience);
}

/// How long the kernel may take to say what became of the last blocks: as long as a slow network may take to carry a
/// full socket buffer away, and less than anybody waits for a worker.
const COLLECT_LIMIT: Duration = Duration::from_secs(2);

fn send_loop(
    task: &Task,
    mover: &mut dyn SendMover,
    mut pacer: Option<Pacer>,
    block: u64,
) -> Ending {
    // Blocks that may go before anybody is asked again; the first of them may be under way.
    let mut granted = 0;
    let fair_share = u32::try_from(QUOTA_SHARE / block.max(1))
        .unwrap_or(1)
        .max(1);
    loop {
        if task.counters.phase() != Phase::Counting {
            return Ending::Stopped;
        }
        if granted == 0 {
            granted = match pacer.as_mut().map(|pacer| pacer.grant(Instant::now())) {
                None if task.quota.is_some() => fair_share,
                None => UNPACED,
                Some(Grant::Blocks(blocks)) => blocks,
                Some(Grant::Wait(due)) => {
                    sleep_until(due);
                    continue;
                }
            };
            if let Some(quota) = &task.quota {
                granted = quota.claim(granted, block);
                if granted == 0 {
                    return Ending::QuotaMet;
                }
            }
        }
        match mover.send(task.socket.as_fd(), granted) {
            Ok(Moved { bytes: 0, .. }) => return Ending::SourceDone,
            Ok(moved) => {
                granted -= moved.blocks.min(granted);
                task.count(moved);
                if let Some(pacer) = &mut pacer {
                    pacer.sent(moved.bytes);
                }
            }
            Err(error) if is_pause(&error) => {}
            Err(error) => return Ending::Failed(error),
        }
    }
}

/// Bytes that a stream may take of a shared quota at a time: enough for one call with offload, and not so much that one
/// stream takes all.
const QUOTA_SHARE: u64 = 64 * 1024;

/// Blocks that go before anybody is asked again when nothing paces a sender. Movers take as many of them as suit them,
/// and a small rest would make a small call.
const UNPACED: u32 = 1 << 20;

/// Receives until it is asked to stop, the peer closes or the connection fails.
pub(crate) fn receive(task: &Task, mover: &mut dyn ReceiveMover, mut waking: Waking) -> Ending {
    let ending = receive_loop(task, mover, &mut waking);
    waking.end(&task.socket);
    task.stop_counting(mover.report());
    ending
}

fn receive_loop(task: &Task, mover: &mut dyn ReceiveMover, waking: &mut Waking) -> Ending {
    loop {
        match task.counters.phase() {
            Phase::Counting => {}
            Phase::Discarding => task.stop_counting(mover.report()),
            Phase::Finishing => return drain(task, mover),
            Phase::Stopping => return Ending::Stopped,
        }
        match mover.receive(task.socket.as_fd(), waking.waits()) {
            Ok(Moved { bytes: 0, .. }) => return Ending::EndOfStream,
            Ok(moved) => {
                // What came while the test ended is not counted once the worker said that it has stopped.
                if task.report.get().is_none() {
                    task.count(moved);
                }
                if mover.obeys_low_water() {
                    waking.came(&task.socket, moved.bytes);
                }
            }
            Err(error) if is_pause(&error) => waking.nothing(&task.socket),
            Err(error) => return Ending::Failed(error),
        }
    }
}

/// Counts what had arrived when the test ended, and not more, however fast the peer goes on sending.
fn drain(task: &Task, mover: &mut dyn ReceiveMover) -> Ending {
    let mut rest = match mover.backlog(task.socket.as_fd()) {
        Ok(rest) => rest,
        Err(error) => return Ending::Failed(error),
    };
    while rest > 0 && task.counters.phase() == Phase::Finishing {
        match mover.receive(task.socket.as_fd(), false) {
            Ok(Moved { bytes: 0, .. }) => return Ending::EndOfStream,
            Ok(moved) => {
                task.count(moved);
                rest = rest.saturating_sub(moved.bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Ending::Failed(error),
        }
    }
    Ending::Stopped
}
