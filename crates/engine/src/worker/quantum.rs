//! How many blocks of a paced stream are sent together.
//!
//! Sleeping before each short block costs more than sending it, so several are sent at once:
//!
//! ```text
//! bytes, blocks below 64 KiB      what is due in 250 µs
//! bytes, larger blocks            what is due in 2 ms: half of what a block costs at 1 Gbit/s is waking two processes
//! datagrams, up to 500 Mbit/s     what is due in 50 µs; timers are not more exact than that
//! datagrams, above                what is due in 125 µs: a late wake-up may double it, and queues of 250 µs take that
//! datagrams with --no-gso         one
//! ```
//!
//! Datagrams that are sent together reach the narrowest queue on the path together, and a short queue may drop some
//! that it would have accepted one by one. So fewer than [`LEAST_TOGETHER`] are sent one by one.

use std::time::Duration;

use iperf_model::BitRate;

/// What is sent together.
const SHORT: Duration = Duration::from_micros(50);
const DATAGRAMS: Duration = Duration::from_micros(125);
const QUANTUM: Duration = Duration::from_micros(250);
/// The same for blocks of at least [`LARGE`] bytes, which no datagram has.
const LARGE_QUANTUM: Duration = Duration::from_millis(2);
const LARGE: u32 = 64 * 1024;

/// The highest rate at which datagrams go as if one by one, as far as timers allow.
const GENTLE: BitRate = BitRate::new(500_000_000);

/// The least number of datagrams in a batch unless the user sets it.
pub(crate) const LEAST_TOGETHER: u32 = 4;

/// What a block is to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A part of a stream of bytes, or a message: the transport decides what becomes of it.
    Bytes,
    /// A datagram, which may go together with others.
    Datagram,
    /// A datagram that is sent alone.
    LoneDatagram,
}

/// How many blocks of `block` bytes go together at a rate.
pub(crate) fn quantum(rate: BitRate, burst: Option<u16>, block: u32, kind: BlockKind) -> u32 {
    if let Some(burst) = burst {
        return u32::from(burst.max(1));
    }
    let bits = |time| rate.bits_in(time);
    let each = 8 * u128::from(block.max(1));
    let blocks = match kind {
        BlockKind::LoneDatagram => 1,
        BlockKind::Datagram if rate <= GENTLE => bits(SHORT) / each,
        BlockKind::Bytes if block >= LARGE => {
            // To the nearest number: 128 KiB at 1 Gbit/s are a little more than a millisecond's worth.
            (bits(LARGE_QUANTUM) + each / 2) / each
        }
        BlockKind::Datagram => bits(DATAGRAMS) / each,
        BlockKind::Bytes => bits(QUANTUM) / each,
    };
    let blocks = u32::try_from(blocks).unwrap_or(u32::MAX).max(1);
    if kind != BlockKind::Bytes && blocks < LEAST_TOGETHER {
        1
    } else {
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::pacer::{Grant, Pacer};
    use std::time::Instant;

    const MBIT: u64 = 1_000_000;

    #[test]
    fn large_blocks_go_by_twos_at_a_gigabit() {
        let of = |rate| quantum(BitRate::new(rate * MBIT), None, 131_072, BlockKind::Bytes);
        assert_eq!([1, 10, 100, 1_000, 10_000].map(of), [1, 1, 1, 2, 19]);
    }

    #[test]
    fn short_blocks_of_a_byte_stream_go_for_a_quarter_of_a_millisecond() {
        let of = |rate| quantum(BitRate::new(rate * MBIT), None, 1448, BlockKind::Bytes);
        assert_eq!([10, 100, 200, 1_000].map(of), [1, 2, 4, 21]);
    }

    #[test]
    fn datagrams_go_one_by_one_up_to_500_mbit() {
        let of = |rate| quantum(BitRate::new(rate * MBIT), None, 1448, BlockKind::Datagram);
        assert_eq!([10, 94, 200, 500, 501, 1_000].map(of), [1, 1, 1, 1, 5, 10]);
    }

    #[test]
    fn datagrams_go_together_from_four_on() {
        let of = |rate, block| quantum(BitRate::new(rate * MBIT), None, block, BlockKind::Datagram);
        // 3.9 and 4.9 datagrams of 64 bytes in 50 µs.
        assert_eq!([of(40, 64), of(50, 64), of(400, 64)], [1, 4, 39]);
        // 3.9 datagrams of 4000 bytes in 125 µs.
        assert_eq!([of(1_000, 4_000), of(2_000, 4_000)], [1, 7]);
    }

    /// How late the wake-ups of a machine that is not idle are, in microseconds.
    const LATE: [u64; 7] = [60, 20, 75, 60, 5, 60, 140];

    /// Datagrams that a drop-tail queue loses in one second before a link of `link` bits per second.
    fn lost(link: u64, queue: u32, kind: BlockKind) -> u32 {
        const BLOCK: u32 = 1448;
        let rate = BitRate::new(link / 100 * 94);
        let start = Instant::now();
        let mut pacer = Pacer::new(start, Some(rate), None, BLOCK, kind).unwrap();
        // With the headers of UDP, IPv4 and Ethernet.
        let wire_time = Duration::from_nanos(8 * (u64::from(BLOCK) + 42) * 1_000_000_000 / link);
        let (mut now, mut wakes, mut lost) = (start, 0, 0);
        // When the link has sent what it has.
        let mut idle = start;
        while now < start + Duration::from_secs(1) {
            match pacer.grant(now) {
                Grant::Wait(due) => {
                    now = due + Duration::from_micros(LATE[wakes % LATE.len()]);
                    wakes += 1;
                }
                Grant::Blocks(blocks) => {
                    for _ in 0..blocks {
                        pacer.sent(BLOCK as usize);
                        // One is on the link, the others wait.
                        if idle.saturating_duration_since(now) > wire_time * queue {
                            lost += 1;
                        } else {
                            idle = idle.max(now) + wire_time;
                        }
                    }
                }
            }
        }
        lost
    }

    #[test]
    fn short_queues_lose_no_more_than_of_datagrams_that_go_one_by_one() {
        println!("| link (Mbit/s) | queue (packets) | lost | lost one by one |");
        for link in [100, 300, 500, 600, 1_000] {
            for queue in [2, 3, 5, 10, 20, 50, 100] {
                let of = |kind| lost(link * MBIT, queue, kind);
                let (ours, one_by_one) = (of(BlockKind::Datagram), of(BlockKind::LoneDatagram));
                println!("| {link} | {queue} | {ours} | {one_by_one} |");
                let waits = u64::from(queue) * 8 * (1448 + 42) / link;
                if link > 500 && waits < 250 {
                    continue;
                }
                assert!(
                    ours <= one_by_one,
                    "{link} Mbit/s, {queue}: {ours}, {one_by_one}"
                );
            }
        }
    }

    #[test]
    fn queues_of_a_quarter_of_a_millisecond_lose_nothing() {
        for (link, queue) in [(600, 13), (1_000, 21), (2_500, 53), (10_000, 210)] {
            assert_eq!(
                lost(link * MBIT, queue, BlockKind::Datagram),
                0,
                "{link} Mbit/s"
            );
        }
        // The counter-check: this case does lose datagrams.
        assert!(lost(1_000 * MBIT, 2, BlockKind::Datagram) > 1_000);
    }

    #[test]
    fn lone_datagrams_go_alone_at_every_rate() {
        for rate in [1, 100, 1_000, 100_000] {
            let of = quantum(BitRate::new(rate * MBIT), None, 64, BlockKind::LoneDatagram);
            assert_eq!(of, 1, "{rate}");
        }
    }

    #[test]
    fn a_burst_has_the_size_that_the_user_gave() {
        for kind in [
            BlockKind::Bytes,
            BlockKind::Datagram,
            BlockKind::LoneDatagram,
        ] {
            assert_eq!(quantum(BitRate::new(1_000 * MBIT), Some(3), 1448, kind), 3);
            assert_eq!(quantum(BitRate::new(1), Some(0), 1448, kind), 1);
        }
    }
}
