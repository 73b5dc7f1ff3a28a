//! Application pacing (`-b`): when how many blocks may go. Time is an argument.
//!
//! The schedule is iperf3's: a stream may send while what it has sent since the start is below what the rate allows,
//! so the average is kept however late a thread wakes, and nothing drifts. Blocks go in *quanta*: one block at low
//! rates, so that the thread sleeps between any two; a quarter of a millisecond's worth at high ones, where a sleep
//! for each block would cost more than the sending. A large block is a burst already, and two milliseconds' worth of
//! them go together: half of what a block costs at 1 Gbit/s is falling asleep and waking two processes. A stream that fell behind makes up for it at twice its rate, so
//! that no burst is ever longer than a quantum.

use std::time::{Duration, Instant};

/// The time that a quantum covers at high rates.
const QUANTUM: Duration = Duration::from_micros(250);

/// The same for blocks of at least [`LARGE`] bytes, which no datagram has.
const LARGE_QUANTUM: Duration = Duration::from_millis(2);
const LARGE: u32 = 64 * 1024;

/// Longer than any test.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Send so many blocks.
    Blocks(u32),
    /// Nothing before then.
    Wait(Instant),
}

/// The schedule of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    start: Instant,
    /// Bits per second, not 0.
    rate: u64,
    /// Bits of a block.
    block: u64,
    /// Blocks that go together.
    quantum: u32,
    /// Blocks that the schedule must allow before a quantum goes: all of it, or the first with `-b rate/burst`.
    needed: u32,
    bits: u128,
    /// When the last quantum went.
    last: Option<Instant>,
}

/// How many blocks of `block` bytes go together at `rate` bits per second.
pub(crate) fn quantum(rate: u64, burst: Option<u16>, block: u32) -> u32 {
    if let Some(burst) = burst {
        return u32::from(burst.max(1));
    }
    let bits = |time: Duration| u128::from(rate) * time.as_nanos() / 1_000_000_000;
    let each = 8 * u128::from(block.max(1));
    let blocks = if block < LARGE {
        bits(QUANTUM) / each
    } else {
        // To the nearest number: 128 KiB at 1 Gbit/s are a little more than a millisecond's worth.
        (bits(LARGE_QUANTUM) + each / 2) / each
    };
    u32::try_from(blocks).unwrap_or(u32::MAX).max(1)
}

impl Pacer {
    /// A schedule that starts at `start` for blocks of `block` bytes; no rate, no schedule. `burst` blocks go back
    /// to back as soon as the first may.
    pub(crate) fn new(
        start: Instant,
        rate: Option<u64>,
        burst: Option<u16>,
        block: u32,
    ) -> Option<Self> {
        let rate = rate.filter(|rate| *rate > 0)?;
        let quantum = quantum(rate, burst, block);
        let needed = if burst.is_some() { 1 } else { quantum };
        let block = 8 * u64::from(block.max(1));
        Some(Self {
            start,
            rate,
            block,
            quantum,
            needed,
            bits: 0,
            last: None,
        })
    }

    /// What may be done at `now`.
    pub(crate) fn grant(&mut self, now: Instant) -> Grant {
        let scheduled = if self.bits == 0 {
            // Nothing is to be gained by waiting before the first block.
            self.start
        } else {
            self.at(self.bits + u128::from(self.block) * u128::from(self.needed - 1))
        };
        let spacing = self.last.map(|last| last + self.length(self.quantum) / 2);
        let due = spacing.map_or(scheduled, |spacing| scheduled.max(spacing));
        if now < due {
            return Grant::Wait(due);
        }
        self.last = Some(now);
        Grant::Blocks(if self.bits == 0 {
            self.quantum.min(self.first())
        } else {
            self.quantum
        })
    }

    /// Takes note of what was sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bits += 8 * bytes as u128;
    }

    /// Blocks of the first quantum: a burst is wanted at once, but a schedule begins with one block.
    fn first(&self) -> u32 {
        if self.needed == 1 { self.quantum } else { 1 }
    }

    /// When the schedule allows the bit after `bits`.
    fn at(&self, bits: u128) -> Instant {
        self.start
            .checked_add(self.time(bits))
            .unwrap_or(self.start + FAR)
    }

    /// The time that blocks take at the rate.
    fn length(&self, blocks: u32) -> Duration {
        self.time(u128::from(self.block) * u128::from(blocks))
            .min(FAR)
    }

    fn time(&self, bits: u128) -> Duration {
        let rate = u128::from(self.rate);
        let nanos = u32::try_from(bits % rate * 1_000_000_000 / rate).unwrap_or(0);
        Duration::new(u64::try_from(bits / rate).unwrap_or(u64::MAX), nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sent {
        bytes: u64,
        longest_burst: u32,
        sleeps: u32,
    }

    /// Sends whenever it may, waking `late` after each due time; a block takes `cost` to send.
    fn send(
        mut pacer: Pacer,
        block: u32,
        seconds: u64,
        late: impl Fn(u32) -> Duration,
        cost: Duration,
    ) -> Sent {
        let end = pacer.start + Duration::from_secs(seconds);
        let mut now = pacer.start;
        let mut sent = Sent {
            bytes: 0,
            longest_burst: 0,
            sleeps: 0,
        };
        while now < end {
            match pacer.grant(now) {
                Grant::Wait(due) => {
                    sent.sleeps += 1;
                    now = due + late(sent.sleeps);
                }
                Grant::Blocks(blocks) => {
                    sent.longest_burst = sent.longest_burst.max(blocks);
                    for _ in 0..blocks {
                        pacer.sent(block as usize);
                        sent.bytes += u64::from(block);
                        now += cost;
                    }
                }
            }
        }
        sent
    }

    fn pacer(rate: u64, burst: Option<u16>, block: u32) -> Pacer {
        Pacer::new(Instant::now(), Some(rate), burst, block).unwrap()
    }

    #[test]
    fn the_average_is_within_a_thousandth_from_1_mbit_to_5_gbit() {
        for rate in [1_000_000_u64, 30_000_000, 1_000_000_000, 5_000_000_000] {
            for block in [64, 1448, 131_072] {
                // Woken late each time, and very late now and then.
                let late =
                    |n: u32| Duration::from_micros(if n.is_multiple_of(97) { 3000 } else { 70 });
                let cost = Duration::from_nanos(u64::from(block) / 10);
                let bytes = send(pacer(rate, None, block), block, 5, late, cost).bytes;
                let wanted = 5 * rate / 8;
                let allowed = wanted / 1000 + u64::from(block);
                assert!(
                    wanted.abs_diff(bytes) <= allowed,
                    "{rate} bit/s of {block}: {bytes}"
                );
            }
        }
    }

    #[test]
    fn large_blocks_go_by_twos_at_a_gigabit() {
        let blocks =
            [1, 10, 100, 1_000, 10_000].map(|mbits| quantum(mbits * 1_000_000, None, 131_072));
        assert_eq!(blocks, [1, 1, 1, 2, 19]);
        assert_eq!(quantum(1_000_000_000, Some(7), 131_072), 7);
    }

    #[test]
    fn no_burst_is_longer_than_a_quantum_even_after_a_long_stop() {
        let stop = |n: u32| {
            if n == 500 {
                Duration::from_secs(1)
            } else {
                Duration::ZERO
            }
        };
        let sent = send(
            pacer(1_000_000_000, None, 1448),
            1448,
            5,
            stop,
            Duration::ZERO,
        );
        assert_eq!(
            sent.longest_burst, 21,
            "a quarter of a millisecond at 1 Gbit/s"
        );
        assert!(
            (625_000_000_u64).abs_diff(sent.bytes) < 625_000,
            "{}",
            sent.bytes
        );
        // Making up for the stop takes sleeps of half a quantum, not one long burst.
        assert!(sent.sleeps > 15_000, "{}", sent.sleeps);
    }

    #[test]
    fn at_low_rates_the_thread_sleeps_before_each_block() {
        let sent = send(
            pacer(1_000_000, None, 1448),
            1448,
            5,
            |_| Duration::ZERO,
            Duration::ZERO,
        );
        assert_eq!(sent.longest_burst, 1);
        assert_eq!(u64::from(sent.sleeps), sent.bytes / 1448);
    }

    #[test]
    fn a_burst_goes_as_soon_as_its_first_block_may() {
        let mut pacer = pacer(8000, Some(3), 1000);
        let start = pacer.start;
        assert_eq!(pacer.grant(start), Grant::Blocks(3));
        (0..3).for_each(|_| pacer.sent(1000));
        assert_eq!(
            pacer.grant(start),
            Grant::Wait(start + Duration::from_secs(3))
        );
        assert_eq!(
            pacer.grant(start + Duration::from_secs(3)),
            Grant::Blocks(3)
        );
    }

    #[test]
    fn the_first_block_goes_at_once_and_alone() {
        let mut pacer = pacer(1_000_000_000, None, 1448);
        assert_eq!(pacer.grant(pacer.start), Grant::Blocks(1));
    }

    #[test]
    fn an_absurdly_low_rate_does_not_overflow() {
        let mut pacer = pacer(1, None, u32::MAX);
        pacer.sent(usize::MAX / 16);
        let Grant::Wait(due) = pacer.grant(pacer.start) else {
            panic!("it may not go yet")
        };
        assert!(due > pacer.start);
    }

    #[test]
    fn no_rate_no_schedule() {
        let start = Instant::now();
        assert!(Pacer::new(start, None, None, 1).is_none());
        assert!(Pacer::new(start, Some(0), None, 1).is_none());
    }
}
