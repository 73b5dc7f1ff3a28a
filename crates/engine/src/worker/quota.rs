//! The quota of `-n` and `-k`: a number of bytes or blocks that all streams of one direction share.
//!
//! Senders *claim* a block before they send it, so that together they send no block too many. The worker that moves the
//! last one learns it at once and wakes the driver, so that a test ends when its quota is met and not at the next
//! tick.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use iperf_model::Limit;

/// A shared quota.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: Limit,
    target: u64,
    claimed: AtomicU64,
    moved: AtomicU64,
    met: OnceLock<Instant>,
}

impl Quota {
    /// The quota of a test, if it has one.
    pub(crate) fn new(limit: Limit) -> Option<Self> {
        let target = match limit {
            Limit::Bytes(n) | Limit::Blocks(n) => n,
            Limit::Seconds(_) | Limit::Endless => return None,
        };
        Some(Self {
            limit,
            target,
            claimed: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            met: OnceLock::new(),
        })
    }

    /// The quota of streams that receive datagrams of `block` bytes. Some may be lost or come twice, so it is their
    /// numbers that count.
    pub(crate) fn of_numbers(limit: Limit, block: u32) -> Option<Self> {
        Self::new(match limit {
            Limit::Bytes(bytes) => Limit::Blocks(bytes.div_ceil(u64::from(block.max(1)))),
            other => other,
        })
    }

    /// The quota of streams that receive bytes from a sender that counts what this end counts: it sends blocks of `block`
    /// bytes, and the last one whole.
    pub(crate) fn of_whole_blocks(limit: Limit, block: u32) -> Option<Self> {
        let block = u64::from(block.max(1));
        Self::new(match limit {
            Limit::Bytes(bytes) => Limit::Bytes(bytes.div_ceil(block).saturating_mul(block)),
            Limit::Blocks(blocks) => Limit::Bytes(blocks.saturating_mul(block)),
            other => other,
        })
    }

    fn amount(&self, bytes: u64, blocks: u64) -> u64 {
        if matches!(self.limit, Limit::Bytes(_)) {
            bytes
        } else {
            blocks
        }
    }

    /// Claims up to `blocks` blocks of `bytes` bytes each; returns how many may go. Blocks that the quota ends
    /// in are sent whole.
    pub(crate) fn claim(&self, blocks: u32, bytes: u64) -> u32 {
        let each = self.amount(bytes, 1).max(1);
        let before = self
            .claimed
            .fetch_add(each * u64::from(blocks), Ordering::Relaxed);
        let left = self.target.saturating_sub(before).div_ceil(each);
        blocks.min(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// Counts what was moved; true for the one call that met the quota.
    pub(crate) fn moved(&self, bytes: u64, blocks: u64) -> bool {
        let amount = self.amount(bytes, blocks);
        let before = self.moved.fetch_add(amount, Ordering::AcqRel);
        let meets = before < self.target && before + amount >= self.target;
        if meets {
            self.met.get_or_init(Instant::now);
        }
        meets
    }

    /// When the quota was met, if it was.
    pub(crate) fn met_at(&self) -> Option<Instant> {
        self.met.get().copied()
    }

    /// Whether more than the quota and what was left of its last block was moved. A peer may continue to send.
    pub(crate) fn is_exceeded(&self, block: u64) -> bool {
        self.moved.load(Ordering::Acquire) >= self.target + self.amount(block, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_cover_the_quota_with_whole_blocks() {
        let quota = Quota::new(Limit::Bytes(250)).unwrap();
        assert_eq!(
            [1, 1, 5, 1].map(|blocks| quota.claim(blocks, 100)),
            [1, 1, 1, 0]
        );
        assert_eq!(
            [
                quota.moved(100, 1),
                quota.moved(100, 1),
                quota.moved(100, 1)
            ],
            [false, false, true]
        );
        assert!(!quota.moved(100, 1), "only one call meets the quota");
        assert!(quota.met_at().is_some());
    }

    #[test]
    fn blocks_are_counted_when_they_are_whole() {
        let quota = Quota::new(Limit::Blocks(2)).unwrap();
        assert!(!quota.moved(50, 0));
        assert!(!quota.moved(50, 1));
        assert!(quota.moved(100, 1));
    }

    #[test]
    fn a_timed_test_has_no_quota() {
        assert!(Quota::new(Limit::Seconds(1)).is_none());
        assert!(Quota::new(Limit::Endless).is_none());
    }
}
