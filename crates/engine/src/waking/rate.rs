//! The current rate of a stream, for receivers that wait for a batch. Time is an argument.

use std::time::{Duration, Instant};

use iperf_model::{BitRate, ByteRate};

/// The lowest rate at which receivers wait for batches: 100 Mbit/s.
pub(crate) const LOWEST_RATE: ByteRate = BitRate::new(100_000_000).bytes();

/// Bytes between two readings of the clock while batches are small or none.
pub(crate) const SMALL_BATCH: usize = 64 * 1024;

/// Rates over less than this are meaningless.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// A rate that follows the arriving data.
#[derive(Debug)]
pub(crate) struct Rate {
    smoothed: ByteRate,
    /// Since the last look.
    came: usize,
    looked: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            smoothed: ByteRate::default(),
            came: 0,
            looked: now,
        }
    }

    /// Adds bytes; returns how many have arrived since the last look.
    pub(crate) fn on_read(&mut self, bytes: usize) -> usize {
        self.came += bytes;
        self.came
    }

    /// The rate, unless the last look was just now.
    pub(crate) fn update(&mut self, now: Instant) -> Option<ByteRate> {
        let elapsed = now.saturating_duration_since(self.looked);
        if elapsed < SHORTEST_LOOK {
            return None;
        }
        let rate = ByteRate::of(self.came, elapsed);
        // A bursty stream keeps its rate; one that has become slow must not wait.
        let smoothed = self.smoothed.bytes();
        self.smoothed = if rate.bytes() < smoothed / 2 {
            rate
        } else {
            ByteRate::new(smoothed.midpoint(rate.bytes()))
        };
        self.came = 0;
        self.looked = now;
        Some(self.smoothed)
    }
}
