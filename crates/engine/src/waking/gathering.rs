//! How much of a byte stream may gather before its receiver wakes. Time is an argument.
//!
//! ```text
//! any path         what comes in 1 ms, for at most 2 ms
//! this machine     what comes in 4 ms, up to 512 KiB, for at most 8 ms: what a paced sender there sends at once
//!                  (`worker::quantum`) wakes the receiver once
//! ```

use std::time::Duration;

use iperf_model::ByteRate;

/// What may gather on any path.
const WORTH: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_millis(2);

/// The same of a stream that stays on this machine.
const NEARBY_WORTH: Duration = Duration::from_millis(4);
const NEARBY_BYTES: u128 = 512 * 1024;
const NEARBY_PATIENCE: Duration = Duration::from_millis(8);

/// The path decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gathering {
    Anywhere,
    Nearby,
}

impl Gathering {
    /// The bytes that may gather at a rate.
    pub(crate) fn worth(self, rate: ByteRate) -> usize {
        let short = rate.bytes_in(WORTH);
        let bytes = match self {
            Self::Anywhere => short,
            Self::Nearby => short.max(rate.bytes_in(NEARBY_WORTH).min(NEARBY_BYTES)),
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// How long a read waits for them.
    pub(crate) fn patience(self) -> Duration {
        match self {
            Self::Anywhere => PATIENCE,
            Self::Nearby => NEARBY_PATIENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_stream_on_this_machine_gathers_for_longer_and_a_fast_one_does_not() {
        // In bytes per second.
        const GBIT: u64 = 125_000_000;
        let of = |gathering: Gathering, rate| gathering.worth(ByteRate::new(rate));
        let both = |rate| [Gathering::Anywhere, Gathering::Nearby].map(|one| of(one, rate));
        assert_eq!(both(GBIT / 10), [12_500, 50_000]);
        assert_eq!(both(GBIT), [125_000, 500_000]);
        assert_eq!(both(2 * GBIT), [250_000, 524_288]);
        assert_eq!(both(40 * GBIT), [5_000_000, 5_000_000]);
    }
}
