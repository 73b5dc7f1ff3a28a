//! Rates whose unit is in their type: bits per second where users and iperf3's protocol give a rate, bytes per second where
//! sockets and buffers do.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// Bits per second of payload: `-b`, `--fq-rate`, the limits of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(u64);

/// Bytes per second: what a socket receives, and what the kernel's pacing takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(u64);

impl BitRate {
    /// This many bits per second.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The rate; `None` for 0, which means no limit.
    pub fn limit(self) -> Option<Self> {
        (self.0 > 0).then_some(self)
    }

    /// Bits per second.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The same rate in bytes per second, rounded down.
    pub const fn bytes(self) -> ByteRate {
        ByteRate(self.0 / 8)
    }

    /// Bits in this time, rounded down.
    pub fn bits_in(self, time: Duration) -> u128 {
        u128::from(self.0).saturating_mul(time.as_nanos()) / NANOS
    }
}

impl ByteRate {
    /// This many bytes per second.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The rate at which this many bytes take this time.
    pub fn of(bytes: usize, time: Duration) -> Self {
        let rate = bytes as u128 * NANOS / time.as_nanos().max(1);
        Self(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// Bytes per second.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Bytes in this time, rounded down.
    pub fn bytes_in(self, time: Duration) -> u128 {
        u128::from(self.0).saturating_mul(time.as_nanos()) / NANOS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_become_bytes_and_rates_become_amounts() {
        let rate = BitRate::new(100_000_007);
        assert_eq!(rate.bytes(), ByteRate::new(12_500_000));
        assert_eq!(rate.bits_in(Duration::from_millis(2)), 200_000);
        assert_eq!(rate.bytes().bytes_in(Duration::from_micros(10)), 125);
        assert_eq!(ByteRate::of(125, Duration::from_micros(10)), rate.bytes());
        assert_eq!(ByteRate::of(usize::MAX, Duration::ZERO).bytes(), u64::MAX);
        assert_eq!(rate.limit(), Some(rate));
        assert_eq!(BitRate::new(0).limit(), None);
    }
}
