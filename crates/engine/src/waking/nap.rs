//! Naps of datagram receivers: datagram sockets have no low-water mark, so the receiver itself sleeps while a batch
//! collects.
//!
//! A receiver that waits in its socket is woken for every packet, over loopback by the sender's system call. One that
//! sleeps by the clock needs no wake-up:
//!
//! ```text
//! take what is there, without waiting ──► nothing is left ──► nap ──► wait for the next datagram, and take it
//!        ▲                                                                                    │
//!        └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A nap is half a millisecond, and shorter where that would fill more than a quarter of the receive buffer. Below
//! 100 Mbit/s there are none. The kernel records when a datagram arrived, so its time does not depend on when it is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_model::ByteRate;

use crate::net::udp::BOOKKEEPING;
use crate::sleep::sleep_until;
use crate::waking::rate::{LOWEST_RATE, Rate, SMALL_BATCH};
use crate::worker::counters::Counters;

/// The longest nap.
const LONGEST: Duration = Duration::from_micros(500);

/// The shortest: timers are not more exact than this (`PR_SET_TIMERSLACK`, prctl(2)).
const SHORTEST: Duration = Duration::from_micros(50);

/// The part of the receive buffer that a nap may fill.
const PART_OF_BUFFER: u128 = 4;

/// How long to sleep at a rate, for datagrams of `block` bytes and a receive buffer of `buffer` bytes as the kernel
/// reports it, its own bookkeeping included.
fn length(rate: ByteRate, block: u32, buffer: usize) -> Option<Duration> {
    if rate < LOWEST_RATE {
        return None;
    }
    let block = u128::from(block.max(1));
    let fills = u128::from(rate.bytes()) * (block + u128::from(BOOKKEEPING)) / block;
    let nanos = buffer as u128 * 1_000_000_000 / PART_OF_BUFFER / fills;
    let length = LONGEST.min(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ));
    (length >= SHORTEST).then_some(length)
}

/// The naps of one receiving stream.
pub(crate) struct Naps {
    block: u32,
    /// The receive buffer as the kernel reports it.
    buffer: usize,
    counters: Arc<Counters>,
    /// None before the first datagram.
    rate: Option<Rate>,
    length: Option<Duration>,
    /// The last nap is over, and nothing has come since.
    is_rested: bool,
}

impl Naps {
    /// For a stream of datagrams of `block` bytes, and a receive buffer as large as the kernel reports.
    pub(crate) fn new(block: u32, buffer: usize, counters: Arc<Counters>) -> Self {
        Self {
            block,
            buffer,
            counters,
            rate: None,
            length: None,
            is_rested: false,
        }
    }

    /// Whether the next read is to wait in the socket.
    #[inline]
    pub(crate) fn should_block(&self) -> bool {
        self.is_rested || self.length.is_none()
    }

    /// Counts what a read returned.
    #[inline]
    pub(crate) fn on_read(&mut self, bytes: usize) {
        if self.gathers(bytes) && self.length.is_none() {
            self.update(Instant::now());
        }
    }

    /// Counts bytes; whether they are enough to read the clock.
    fn gathers(&mut self, bytes: usize) -> bool {
        self.is_rested = false;
        let rate = self.rate.get_or_insert_with(|| Rate::new(Instant::now()));
        rate.on_read(bytes) >= SMALL_BATCH
    }

    /// A read that does not wait found nothing: sleeps, if the stream is still fast enough.
    pub(crate) fn on_empty(&mut self) {
        if self.should_block() {
            // A signal, or a time-out of the socket.
            return;
        }
        let now = Instant::now();
        self.update(now);
        if let Some(length) = self.length {
            self.counters.note_nap(length);
            sleep_until(now + length);
            self.is_rested = true;
        }
    }

    fn update(&mut self, now: Instant) {
        if let Some(rate) = self.rate.as_mut().and_then(|rate| rate.update(now)) {
            self.length = length(rate, self.block, self.buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In bytes per second.
    const GBIT: u64 = 125_000_000;
    const LARGE: usize = 64 << 20;

    #[test]
    fn slow_streams_have_no_naps() {
        assert_eq!(
            length(ByteRate::new(LOWEST_RATE.bytes() - 1), 1448, LARGE),
            None
        );
        assert_eq!(length(LOWEST_RATE, 1448, LARGE), Some(LONGEST));
    }

    #[test]
    fn a_nap_fills_a_part_of_the_buffer() {
        let fast = ByteRate::new(100 * GBIT);
        assert_eq!(length(fast, 1448, LARGE), Some(LONGEST));
        // What a process without privileges gets.
        let buffer = 425_984;
        for (rate, block) in [
            (GBIT, 1448),
            (3 * GBIT, 1448),
            (GBIT / 10, 64),
            (8 * GBIT, 65_507),
        ] {
            let nap = length(ByteRate::new(rate), block, buffer).unwrap();
            let datagrams = u128::from(rate) * nap.as_nanos() / 1_000_000_000 / u128::from(block);
            let bytes = datagrams * u128::from(block + BOOKKEEPING);
            assert!(bytes <= buffer as u128 / 4, "{rate} of {block}: {bytes}");
        }
        assert_eq!(length(ByteRate::new(40 * GBIT), 1448, buffer), None);
    }

    fn naps() -> Naps {
        Naps::new(1448, LARGE, Arc::new(Counters::default()))
    }

    /// A stream at `rate` bytes per second for 100 ms, looked at each millisecond; when that ended.
    fn run(naps: &mut Naps, rate: u64, start: Instant) -> Instant {
        let millisecond = Duration::from_millis(1);
        (0..100).fold(start, |now, _| {
            naps.gathers(usize::try_from(rate / 1000).unwrap());
            naps.update(now + millisecond);
            now + millisecond
        })
    }

    #[test]
    fn a_receiver_whose_socket_is_empty_sleeps_once_and_then_waits() {
        let mut naps = naps();
        assert!(naps.should_block());
        run(&mut naps, GBIT, Instant::now());
        assert!(!naps.should_block());
        let length = naps.length.unwrap();
        let before = Instant::now();
        naps.on_empty();
        assert!(before.elapsed() >= length);
        assert!(naps.should_block());
        assert_eq!(naps.counters.nap(), length);
        naps.gathers(1448);
        assert!(!naps.should_block());
    }

    #[test]
    fn a_stream_that_has_become_slow_is_waited_for() {
        let mut naps = naps();
        let now = run(&mut naps, GBIT, Instant::now());
        assert!(!naps.should_block());
        let now = run(&mut naps, LOWEST_RATE.bytes() / 2, now);
        assert!(naps.should_block());
        run(&mut naps, GBIT, now);
        assert!(!naps.should_block());
    }
}
