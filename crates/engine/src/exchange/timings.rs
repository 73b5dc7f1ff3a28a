//! Latencies that one worker records while another thread reads them: counters in the layout of an HdrHistogram that
//! only the worker writes, so that recording needs neither a lock nor an atomic addition.
//!
//! ```text
//! nanoseconds  0 … 2047          each its own counter
//!              2048 … 4095       two to a counter, 1024 counters
//!              4096 … 8191       four to a counter, 1024 counters, and so on: three significant digits
//! ```

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iperf_model::Latencies;

/// Counters of a power of two: half of those of the first.
const HALF: u64 = 1024;
const HALF_BITS: u32 = HALF.ilog2();

/// Counters that are made together, when the first of them is needed: latencies of one stream are in a few such groups, and a
/// thousand streams with all of them would take a gigabyte.
const GROUP: usize = 1024;
type Group = Box<[AtomicU64]>;

/// The counter of a value.
fn index(nanos: u64) -> usize {
    // Bits by which the value is longer than those of the first 2048.
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(HALF_BITS + 1);
    // At most 26 × 1024 + 2047.
    usize::try_from(u64::from(shift) * HALF + (nanos >> shift)).unwrap_or(usize::MAX)
}

/// The smallest value of a counter.
fn value(index: u64) -> u64 {
    let shift = (index / HALF).saturating_sub(1);
    (index - shift * HALF) << shift
}

/// Latencies of one worker.
#[derive(Debug)]
pub(crate) struct Timings(Box<[OnceLock<Group>]>);

impl Timings {
    pub(crate) fn new() -> Self {
        let groups = index(Latencies::HIGHEST) / GROUP + 1;
        Self((0..groups).map(|_| OnceLock::new()).collect())
    }

    /// Adds a value. Only the worker calls it.
    pub(crate) fn record(&self, time: Duration) {
        let nanos = u64::from(time.subsec_nanos());
        let nanos = time
            .as_secs()
            .saturating_mul(1_000_000_000)
            .saturating_add(nanos);
        let index = index(nanos.min(Latencies::HIGHEST));
        let group =
            self.0[index / GROUP].get_or_init(|| (0..GROUP).map(|_| AtomicU64::new(0)).collect());
        let counter = &group[index % GROUP];
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// What was recorded in all.
    pub(crate) fn all(&self) -> Latencies {
        self.read().since(&Snapshot::default())
    }

    /// All counters as they are now.
    pub(crate) fn read(&self) -> Snapshot {
        let groups = self.0.iter().enumerate();
        let groups = groups.filter_map(|(number, group)| Some((number, group.get()?)));
        let counters = groups.flat_map(|(number, group)| (number * GROUP..).zip(group.iter()));
        let counts = counters.map(|(index, c)| (index as u64, c.load(Ordering::Relaxed)));
        Snapshot(counts.filter(|(_, count)| *count > 0).collect())
    }
}

/// The counters at one time: those that are not 0, with their indices, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot(Vec<(u64, u64)>);

impl Snapshot {
    /// What was recorded since `before`, which may be empty.
    pub(crate) fn since(&self, before: &Self) -> Latencies {
        let mut latencies = Latencies::new();
        let mut before = before.0.iter().peekable();
        for (counter, now) in &self.0 {
            // A counter that was not 0 is none later.
            let same = before.next_if(|(other, _)| other == counter);
            let before = same.map_or(0, |(_, count)| *count);
            if *now > before {
                latencies.record(value(*counter), now - before);
            }
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_has_values_that_differ_in_the_fourth_digit() {
        for nanos in [0, 1, 2047, 2048, 2049, 4095, 4096, 999_999, 59_999_999_999] {
            let least = value(index(nanos) as u64);
            assert!(
                least <= nanos && nanos - least <= nanos / 1024,
                "{nanos}: {least}"
            );
        }
        for counter in 0..index(Latencies::HIGHEST) as u64 {
            assert!(value(counter) < value(counter + 1), "{counter}");
            assert_eq!(index(value(counter)) as u64, counter);
        }
    }

    #[test]
    fn an_interval_has_what_was_recorded_in_it() {
        let timings = Timings::new();
        timings.record(Duration::from_micros(50));
        let first = timings.read();
        assert_eq!(first.since(&Snapshot::default()).count(), 1);
        timings.record(Duration::from_micros(90));
        timings.record(Duration::from_secs(100));
        let second = timings.read().since(&first);
        assert_eq!(second.count(), 2);
        let least = second.min().unwrap();
        assert!((89_900..=90_000).contains(&least.as_nanos()), "{least:?}");
    }
}
