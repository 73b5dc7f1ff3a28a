//! Application pacing (`-b`): how many blocks may be sent, and when. Time is an argument.
//!
//! The schedule is iperf3's: a stream may send while what it has sent since the start is below what the rate allows,
//! so the average is kept however late a thread wakes, and nothing drifts. Blocks go in [quanta](crate::worker::quantum).
//!
//! A thread that wakes late sends what is due at once, because the next wake-up may be as late: on a busy machine, or
//! when a quota of processor time is used up, sleeping between the parts of a backlog would add a delay for each part
//! and never catch up. Two limits keep a long stall from ending in a flood:
//!
//! ```text
//! at once      what is due in 100 ms (the usual period of a CPU quota); of datagrams no more than the larger of 2 MiB
//!              and 20 ms' worth: our receivers have room for 4 MiB, and for more at rates above 3 Gbit/s. A byte
//!              stream has windows, which hold back what there is no room for
//! the rest     at four times the rate, until the average is what it should be; nothing is forgiven
//! ```
//!
//! So a stop of 2 s is made up for within 0.7 s. Four times, because a process that gets a quarter of a processor
//! by a quota has to send what is due in a period in a quarter of it.

use std::time::{Duration, Instant};

use iperf_model::BitRate;

use crate::worker::quantum::{BlockKind, quantum};

/// Longer than any test.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How much of a backlog goes at once: what is due in this time,
const AT_ONCE: Duration = Duration::from_millis(100);
/// but, of datagrams, no more bytes than this,
const AT_ONCE_BYTES: u64 = 2 * 1024 * 1024;
/// unless they are due in this time.
const AT_ONCE_LEAST: Duration = Duration::from_millis(20);

/// The rest of a backlog goes at the rate times this.
const CATCH_UP: u128 = 4;

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Send this many blocks.
    Blocks(u32),
    /// Nothing before then.
    Wait(Instant),
}

/// The schedule of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    start: Instant,
    /// Not 0.
    rate: BitRate,
    /// Bits of a block.
    block: u64,
    /// Blocks that go together.
    quantum: u32,
    /// Blocks that the schedule must allow before a quantum goes: all of it, or the first with `-b rate/burst`.
    needed: u32,
    bits: u128,
    /// What may go at once, as the time that it takes at the rate of catching up.
    allowance: Duration,
    /// When all of the allowance is there again.
    whole_at: Instant,
}

impl Pacer {
    /// A schedule that starts at `start` for blocks of `block` bytes; no rate, no schedule. `burst` blocks go back
    /// to back as soon as the first may.
    pub(crate) fn new(
        start: Instant,
        rate: Option<BitRate>,
        burst: Option<u16>,
        block: u32,
        kind: BlockKind,
    ) -> Option<Self> {
        let rate = rate.filter(|rate| rate.bits() > 0)?;
        let quantum = quantum(rate, burst, block, kind);
        let mut pacer = Self {
            start,
            rate,
            block: 8 * u64::from(block.max(1)),
            quantum,
            needed: if burst.is_some() { 1 } else { quantum },
            bits: 0,
            allowance: Duration::ZERO,
            whole_at: start,
        };
        let bits = at_once(rate, kind).max(pacer.length(quantum));
        pacer.allowance = pacer.catch_up(bits);
        Some(pacer)
    }

    /// What may be done at `now`.
    pub(crate) fn grant(&mut self, now: Instant) -> Grant {
        let scheduled = if self.bits == 0 {
            // Nothing is to be gained by waiting before the first block.
            self.start
        } else {
            self.at(self.bits + self.length(self.needed - 1))
        };
        if now < scheduled {
            return Grant::Wait(scheduled);
        }
        self.whole_at = self.whole_at.max(now);
        let after = self.whole_at + self.catch_up(self.length(self.quantum));
        let missing = after.saturating_duration_since(now + self.allowance);
        if missing > Duration::ZERO {
            return Grant::Wait(now + missing);
        }
        Grant::Blocks(if self.bits == 0 {
            self.quantum.min(self.first())
        } else {
            self.quantum
        })
    }

    /// Counts what was sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let bits = 8 * bytes as u128;
        self.bits += bits;
        self.whole_at += self.catch_up(bits);
    }

    /// Blocks of the first quantum: a burst is wanted at once, but a schedule begins with one block.
    fn first(&self) -> u32 {
        if self.needed == 1 { self.quantum } else { 1 }
    }

    /// When the schedule allows the bit after `bits`.
    fn at(&self, bits: u128) -> Instant {
        self.start + time(bits, self.rate.bits().into())
    }

    /// Bits of this many blocks.
    fn length(&self, blocks: u32) -> u128 {
        u128::from(self.block) * u128::from(blocks)
    }

    /// The time that bits take at the rate of catching up.
    fn catch_up(&self, bits: u128) -> Duration {
        time(bits, CATCH_UP * u128::from(self.rate.bits()))
    }
}

/// How many bits of a backlog go at once.
fn at_once(rate: BitRate, kind: BlockKind) -> u128 {
    let worth = |time| rate.bits_in(time);
    let most = match kind {
        BlockKind::Bytes => u128::MAX,
        BlockKind::Datagram | BlockKind::LoneDatagram => {
            worth(AT_ONCE_LEAST).max(8 * u128::from(AT_ONCE_BYTES))
        }
    };
    worth(AT_ONCE).min(most)
}

/// The time that bits take at a rate, or [`FAR`].
fn time(bits: u128, rate: u128) -> Duration {
    let nanos = u32::try_from(bits % rate * 1_000_000_000 / rate).unwrap_or(0);
    let time = u64::try_from(bits / rate).map_or(FAR, |seconds| Duration::new(seconds, nanos));
    time.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 6] = [
        10_000,
        1_000_000,
        20_000_000,
        90_000_000,
        500_000_000,
        1_000_000_000,
    ];
    const BLOCKS: [u32; 5] = [64, 1400, 4096, 32_768, 131_072];
    const KINDS: [BlockKind; 3] = [
        BlockKind::Bytes,
        BlockKind::Datagram,
        BlockKind::LoneDatagram,
    ];

    /// A sender in virtual time, which sends whenever it may.
    struct Sender {
        pacer: Pacer,
        now: Instant,
        /// How long a block takes to send.
        cost: Duration,
        sleeps: u32,
        /// The most blocks between two sleeps.
        longest_burst: u64,
    }

    impl Sender {
        fn new(rate: u64, burst: Option<u16>, block: u32, kind: BlockKind) -> Self {
            let now = Instant::now();
            Self {
                pacer: Pacer::new(now, Some(BitRate::new(rate)), burst, block, kind).unwrap(),
                now,
                cost: Duration::ZERO,
                sleeps: 0,
                longest_burst: 0,
            }
        }

        /// Sends until `time` after the start, waking `late` after each due time, then waits for the next.
        fn run(&mut self, time: Duration, late: impl Fn(u32) -> Duration) {
            let end = self.pacer.start + time;
            let mut burst = 0;
            loop {
                match self.pacer.grant(self.now) {
                    Grant::Wait(_) if self.now >= end => return,
                    Grant::Wait(due) => {
                        assert!(due > self.now, "a wait that is over");
                        burst = 0;
                        self.sleeps += 1;
                        self.now = due + late(self.sleeps);
                    }
                    Grant::Blocks(blocks) => {
                        let bytes = usize::try_from(self.pacer.block / 8).unwrap();
                        (0..blocks).for_each(|_| self.pacer.sent(bytes));
                        self.now += self.cost * blocks;
                        burst += u64::from(blocks);
                        self.longest_burst = self.longest_burst.max(burst);
                    }
                }
            }
        }

        /// What the rate allows until now, in bits.
        fn allowed(&self) -> u128 {
            self.pacer.rate.bits_in(self.now - self.pacer.start)
        }

        /// Bits that are missing, and bits that are too many. Times are whole nanoseconds, in which a bit comes due.
        fn off(&self) -> (u128, u128) {
            let nanosecond = u128::from(self.pacer.rate.bits()).div_ceil(1_000_000_000);
            let (sent, allowed) = (self.pacer.bits, self.allowed() + nanosecond);
            (allowed.saturating_sub(sent), sent.saturating_sub(allowed))
        }

        /// The most that goes at once, in blocks, by the rule in the header and with a quantum that is under way.
        fn most_at_once(&self, kind: BlockKind) -> u64 {
            let worth = |millis: u64| self.pacer.rate.bytes().bytes() * millis / 1000;
            let bytes = match kind {
                BlockKind::Bytes => worth(100),
                _ => worth(100).min(worth(20).max(2 << 20)),
            };
            bytes * 8 / self.pacer.block + u64::from(self.pacer.quantum) + 1
        }
    }

    #[test]
    fn the_average_is_exact_however_late_each_wake_up_is() {
        for (rate, block, kind) in every_stream() {
            for micros in [0, 50, 250, 1_000, 3_000, 10_000] {
                let mut sender = Sender::new(rate, None, block, kind);
                // As long as 20 blocks of slow streams, or half a second.
                let block_time = time(u128::from(sender.pacer.block), rate.into());
                let long = (20 * block_time).max(Duration::from_millis(500));
                let late = Duration::from_micros(micros);
                sender.run(long, |_| late);
                let what = format!("{rate} bit/s of {block}, {kind:?}, {micros} µs late");
                let quantum = sender.pacer.length(sender.pacer.quantum);
                let (missing, extra) = sender.off();
                assert!(
                    missing <= quantum && extra <= quantum,
                    "{what}: {missing}, {extra}"
                );
                // What became due while it slept, and no more.
                let due = u128::from(rate) * late.as_nanos() / 1_000_000_000;
                let burst = u128::from(sender.longest_burst) * u128::from(sender.pacer.block);
                assert!(
                    burst <= due + quantum + u128::from(sender.pacer.block),
                    "{what}: {burst}"
                );
            }
        }
    }

    /// Every stream that a thread can keep up with: less than 100,000 quanta a second.
    fn every_stream() -> impl Iterator<Item = (u64, u32, BlockKind)> {
        let streams = RATES.into_iter().flat_map(|rate| {
            BLOCKS
                .into_iter()
                .flat_map(move |block| KINDS.map(move |kind| (rate, block, kind)))
        });
        streams.filter(|&(rate, block, kind)| {
            let bytes =
                u64::from(block) * u64::from(quantum(BitRate::new(rate), None, block, kind));
            rate / 8 / bytes < 100_000
        })
    }

    #[test]
    fn a_stop_of_two_seconds_is_made_up_for_without_a_flood() {
        let stop = Duration::from_secs(2);
        for (rate, block, kind) in every_stream() {
            let mut sender = Sender::new(rate, None, block, kind);
            let before = sender.now + Duration::from_millis(100);
            sender.run(before - sender.now, |_| Duration::ZERO);
            sender.now += stop;
            sender.longest_burst = 0;
            let most = sender.most_at_once(kind);
            // At four times the rate two seconds take two thirds of a second, and a block may be slower than that.
            sender.run(Duration::from_millis(2_800), |_| Duration::ZERO);
            let what = format!("{rate} bit/s of {block}, {kind:?}");
            assert!(
                sender.longest_burst <= most,
                "{what}: {} of {most}",
                sender.longest_burst
            );
            let quantum = sender.pacer.length(sender.pacer.quantum);
            assert!(sender.off().0 < quantum, "{what}: {:?}", sender.off());
        }
    }

    #[test]
    fn the_rest_of_a_long_backlog_goes_at_four_times_the_rate() {
        let mut sender = Sender::new(1_000_000_000, None, 1400, BlockKind::Datagram);
        sender.now += Duration::from_secs(2);
        sender.run(Duration::from_secs(2), |_| Duration::ZERO);
        let at_once = sender.pacer.bits;
        assert!(at_once.abs_diff(20_000_000) < 300_000, "{at_once}");
        sender.run(Duration::from_millis(2_100), |_| Duration::ZERO);
        let next = sender.pacer.bits - at_once;
        assert!(next.abs_diff(400_000_000) < 4_000_000, "{next}");
    }

    #[test]
    fn a_byte_stream_makes_up_for_the_stops_of_a_quota_at_once() {
        let mut sender = Sender::new(1_000_000_000, None, 131_072, BlockKind::Bytes);
        sender.now += Duration::from_millis(100);
        // Without a wait: the time that it runs for is short.
        while let Grant::Blocks(blocks) = sender.pacer.grant(sender.now) {
            (0..blocks).for_each(|_| sender.pacer.sent(131_072));
        }
        let quantum = sender.pacer.length(sender.pacer.quantum);
        assert!(sender.off().0 <= quantum, "{:?}", sender.off());
    }

    #[test]
    fn a_quota_of_processor_time_does_not_cost_the_average() {
        // Runs for a quarter of each 100 ms.
        for rate in [20_000_000, 100_000_000, 500_000_000, 1_000_000_000] {
            let mut sender = Sender::new(rate, None, 1400, BlockKind::Datagram);
            for period in 0..20 {
                let begin = sender.pacer.start + Duration::from_millis(100 * period);
                sender.now = sender.now.max(begin + Duration::from_millis(75));
                sender.run(Duration::from_millis(100 * period + 99), |_| {
                    Duration::from_micros(60)
                });
            }
            let (missing, extra) = sender.off();
            let allowed = sender.allowed();
            assert!(
                missing + extra < allowed / 500,
                "{rate}: {missing}, {extra} of {allowed}"
            );
        }
    }

    #[test]
    fn sending_takes_time_and_the_average_is_kept_all_the_same() {
        for (rate, block, kind) in every_stream() {
            let mut sender = Sender::new(rate, None, block, kind);
            // As long as half of the block takes at the rate.
            sender.cost = time(u128::from(sender.pacer.block), 2 * u128::from(rate));
            sender.run(Duration::from_millis(500), |n| {
                Duration::from_micros(if n.is_multiple_of(97) { 3_000 } else { 70 })
            });
            let quantum = sender.pacer.length(sender.pacer.quantum);
            let (missing, extra) = sender.off();
            assert!(
                missing <= quantum && extra <= quantum,
                "{rate} of {block}: {missing}, {extra}"
            );
        }
    }

    #[test]
    fn a_stream_that_is_on_time_never_sends_more_than_a_quantum() {
        for (rate, block, kind) in every_stream() {
            let mut sender = Sender::new(rate, None, block, kind);
            sender.run(Duration::from_millis(200), |_| Duration::ZERO);
            assert!(sender.longest_burst <= sender.pacer.quantum.into());
        }
    }

    #[test]
    fn a_burst_goes_as_soon_as_its_first_block_may() {
        let mut pacer = Sender::new(8000, Some(3), 1000, BlockKind::Datagram).pacer;
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
    fn a_burst_that_is_longer_than_what_goes_at_once_is_not_cut() {
        let mut sender = Sender::new(1_000_000, Some(1000), 1400, BlockKind::Datagram);
        sender.run(Duration::from_secs(30), |_| Duration::ZERO);
        assert_eq!(sender.longest_burst, 1000);
        assert!(sender.off().0 == 0);
    }

    #[test]
    fn the_first_block_goes_at_once_and_alone() {
        let mut pacer = Sender::new(1_000_000_000, None, 1448, BlockKind::Bytes).pacer;
        assert_eq!(pacer.grant(pacer.start), Grant::Blocks(1));
    }

    #[test]
    fn an_absurdly_low_rate_does_not_overflow() {
        let mut pacer = Sender::new(1, None, u32::MAX, BlockKind::Bytes).pacer;
        pacer.sent(usize::MAX / 16);
        let Grant::Wait(due) = pacer.grant(pacer.start) else {
            panic!("it may not go yet")
        };
        assert!(due > pacer.start);
        pacer.sent(usize::MAX / 16);
        assert!(matches!(pacer.grant(due), Grant::Wait(_)));
    }

    #[test]
    fn an_absurdly_high_rate_does_not_overflow() {
        let mut sender = Sender::new(u64::MAX, None, 1, BlockKind::Bytes);
        assert_eq!(sender.pacer.grant(sender.now), Grant::Blocks(1));
        sender.pacer.sent(1);
        sender.now += Duration::from_secs(1);
        assert!(matches!(sender.pacer.grant(sender.now), Grant::Blocks(_)));
    }

    #[test]
    fn no_rate_no_schedule() {
        let start = Instant::now();
        assert!(Pacer::new(start, None, None, 1, BlockKind::Bytes).is_none());
        assert!(Pacer::new(start, Some(BitRate::new(0)), None, 1, BlockKind::Bytes).is_none());
    }
}
