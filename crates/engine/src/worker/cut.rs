//! Where the omitted period of a test by amount (`-n`, `-k` with `-O`) ends in a stream: between two blocks of its
//! sender, which reports the place to the receiver. By their own clocks, the two ends would cut the stream at different
//! bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::worker::quota::Quota;

/// What a sender had sent at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) bytes: u64,
    pub(crate) blocks: u64,
}

/// The end of the omitted period in one stream. A sender's worker makes it, and a receiver learns it from its peer.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    requested: AtomicBool,
    position: OnceLock<Position>,
    /// What may be sent before it, where that is bounded.
    allowance: Option<Arc<Quota>>,
}

impl Cut {
    /// A cut before which no more than this may be sent, as with iperf3's senders over byte streams: when the omitted
    /// period ends, nothing is in flight, and both ends cut at the same byte without exchanging it.
    pub(crate) fn after(allowance: Option<Arc<Quota>>) -> Self {
        Self {
            allowance,
            ..Self::default()
        }
    }

    /// Requests to send blocks of this many bytes before the cut; returns how many may be sent, at most one.
    pub(crate) fn claim(&self, bytes: u64) -> u32 {
        match &self.allowance {
            Some(allowance) => allowance.claim(1, bytes),
            None => 1,
        }
    }

    /// Has the sender's worker make it before its next block.
    pub(crate) fn ask(&self) {
        self.requested.store(true, Ordering::Release);
    }

    /// Whether it is still to be made, and it is time to.
    pub(crate) fn is_due(&self) -> bool {
        self.position.get().is_none() && self.requested.load(Ordering::Acquire)
    }

    /// Makes it, once.
    pub(crate) fn make(&self, position: Position) {
        self.position.get_or_init(|| position);
    }

    /// Where it is, if it is known.
    pub(crate) fn position(&self) -> Option<Position> {
        self.position.get().copied()
    }
}
