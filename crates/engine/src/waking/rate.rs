//! How fast a stream comes in at the moment, for receivers that let a batch gather before they take it. Time is an
//! argument.

use std::time::{Duration, Instant};

/// The lowest rate at which batches gather, in bytes per second: 100 Mbit/s.
pub(crate) const LOWEST_RATE: u64 = 12_500_000;

/// Bytes between two looks at the clock while nothing gathers, or little.
pub(crate) const SMALL_BATCH: usize = 64 * 1024;

/// Rates over less than this say nothing.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// A rate that follows what comes.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Bytes per second.
    smoothed: u64,
    /// Since the last look.
    came: usize,
    looked: Instant,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            smoothed: 0,
            came: 0,
            looked: now,
        }
    }

    /// Takes note of bytes; says how many they are since the last look.
    pub(crate) fn on_read(&mut self, bytes: usize) -> usize {
        self.came += bytes;
        self.came
    }

    /// The rate in bytes per second, unless the last look was just now.
    pub(crate) fn update(&mut self, now: Instant) -> Option<u64> {
        let elapsed = now.saturating_duration_since(self.looked);
        if elapsed < SHORTEST_LOOK {
            return None;
        }
        let rate = per_second(self.came, elapsed);
        // What comes in bursts goes on; what has become slow must not wait.
        self.smoothed = if rate < self.smoothed / 2 {
            rate
        } else {
            u64::midpoint(self.smoothed, rate)
        };
        self.came = 0;
        self.looked = now;
        Some(self.smoothed)
    }
}

/// The rate in bytes per second.
fn per_second(bytes: usize, time: Duration) -> u64 {
    let rate = bytes as u128 * 1_000_000_000 / time.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
