//! What a worker thread reports to the rest of the program: numbers that only it changes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// How far a stream's worker is to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Move bytes and count them.
    Counting = 0,
    /// A receiver keeps its socket empty, so that the peer's writes do not block, and counts nothing.
    Discarding = 1,
    /// A receiver counts what has already arrived, then ends; a sender ends at once.
    Finishing = 2,
    /// End at once.
    Stopping = 3,
}

/// One stream's counters, on a cache line of their own so that workers do not slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    bytes: AtomicU64,
    blocks: AtomicU64,
    /// The largest low-water mark that a receiver had, in bytes; 0 when it never had one.
    low_water: AtomicU64,
    /// The longest nap of a receiver of datagrams, in nanoseconds.
    nap: AtomicU64,
    phase: AtomicU8,
}

impl Counters {
    /// Adds what was moved. Only the stream's own worker calls it, so load and store need no atomic sum.
    pub(crate) fn add(&self, bytes: u64, blocks: u64) {
        self.bytes.store(
            self.bytes.load(Ordering::Relaxed) + bytes,
            Ordering::Relaxed,
        );
        self.blocks.store(
            self.blocks.load(Ordering::Relaxed) + blocks,
            Ordering::Relaxed,
        );
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Records a receiver's low-water mark in bytes.
    pub(crate) fn note_low_water(&self, bytes: u64) {
        if bytes > 1 {
            self.low_water.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    /// The largest low-water mark so far.
    pub(crate) fn low_water(&self) -> u64 {
        self.low_water.load(Ordering::Relaxed)
    }

    /// Records a receiver's nap.
    pub(crate) fn note_nap(&self, nap: Duration) {
        let nanos = u64::try_from(nap.as_nanos()).unwrap_or(u64::MAX);
        self.nap.fetch_max(nanos, Ordering::Relaxed);
    }

    /// The longest nap so far.
    pub(crate) fn nap(&self) -> Duration {
        Duration::from_nanos(self.nap.load(Ordering::Relaxed))
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Counting,
            1 => Phase::Discarding,
            2 => Phase::Finishing,
            _ => Phase::Stopping,
        }
    }

    /// Moves on; a phase never goes back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }
}
