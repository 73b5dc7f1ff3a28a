//! What the receiver of datagrams counts, and how the movers of datagrams are told apart from the rest: the header
//! is written and read here, per datagram, on the worker's thread.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use iperf_model::Batching;
use iperf_proto::udp::{DatagramHeader, LossCounter, REPLY, is_repeated_hello};
use iperf_zc::udp::{Inspect, Receive, Stamp};
use iperf_zc::verify::{Difference, Verifier};
use socket2::SockRef;

use crate::worker::quantum::BlockKind;

/// How the datagrams of a stream are to go through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// What a sender begins with.
    pub(crate) batching: Batching,
    /// How many of them a sender may hand over at once.
    pub(crate) together: usize,
    /// What its pacing takes them for.
    pub(crate) kind: BlockKind,
    /// What a receiver takes of each.
    pub(crate) receive: Receive,
}

impl Default for Passage {
    fn default() -> Self {
        Self {
            batching: Batching::Nothing,
            together: 1,
            kind: BlockKind::LoneDatagram,
            receive: Receive::Whole,
        }
    }
}

/// The counters of one receiving stream. Only its worker writes them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct DatagramCounters {
    packets: AtomicU64,
    lost: AtomicI64,
    out_of_order: AtomicU64,
    /// The bits of an f64: seconds.
    jitter: AtomicU64,
    restart_jitter: AtomicBool,
    frozen: AtomicBool,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DatagramCounts {
    /// The highest sequence number.
    pub(crate) packets: u64,
    pub(crate) lost: i64,
    pub(crate) out_of_order: u64,
    /// Seconds.
    pub(crate) jitter: f64,
}

impl DatagramCounters {
    pub(crate) fn read(&self) -> DatagramCounts {
        DatagramCounts {
            packets: self.packets.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            out_of_order: self.out_of_order.load(Ordering::Relaxed),
            jitter: f64::from_bits(self.jitter.load(Ordering::Relaxed)),
        }
    }

    /// Jitter starts from zero with the next datagram.
    pub(crate) fn restart_jitter(&self) {
        self.restart_jitter.store(true, Ordering::Relaxed);
        self.jitter.store(0, Ordering::Relaxed);
    }

    /// Counts nothing from now on. The stream's own worker says so, between two datagrams.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    fn write(&self, counter: &LossCounter) {
        self.packets.store(counter.packets(), Ordering::Relaxed);
        self.lost.store(counter.lost(), Ordering::Relaxed);
        self.out_of_order
            .store(counter.out_of_order(), Ordering::Relaxed);
        self.jitter
            .store(counter.jitter().to_bits(), Ordering::Relaxed);
    }
}

/// Writes the header of each datagram.
pub(crate) fn stamp(counters_64bit: bool) -> impl Stamp {
    move |datagram: &mut [u8], sequence, now| {
        DatagramHeader::new(now, sequence).encode(datagram, counters_64bit);
    }
}

/// Reads the header of each datagram and counts.
///
/// A datagram too short for a header counts for nothing, nor does a hello: its reply was lost, and the client still waits
/// for one.
pub(crate) struct HeaderReader {
    counters: Arc<DatagramCounters>,
    counters_64bit: bool,
    counter: LossCounter,
    /// Checks what is behind the headers.
    verifier: Option<Verifier>,
    difference: Option<Difference>,
}

impl HeaderReader {
    pub(crate) fn new(counters: Arc<DatagramCounters>, counters_64bit: bool) -> Self {
        Self {
            counters,
            counters_64bit,
            counter: LossCounter::default(),
            verifier: None,
            difference: None,
        }
    }

    /// Checks every datagram, too.
    pub(crate) fn verified(self, verifier: Option<Verifier>) -> Self {
        Self { verifier, ..self }
    }

    fn verify(&mut self, datagram: &[u8]) {
        let header = DatagramHeader::len(self.counters_64bit);
        if let Some(verifier) = &self.verifier
            && let Some(payload) = datagram.get(header..)
            && let Err(difference) = verifier.check_at(header as u64, payload)
        {
            self.difference.get_or_insert(difference);
        }
    }
}

impl Inspect for HeaderReader {
    fn inspect(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        length: usize,
        arrival: Duration,
    ) -> Option<u32> {
        if is_repeated_hello(bytes, length) {
            // If this one is lost as well, there will be another hello.
            let _ = SockRef::from(&socket).send(&REPLY);
            return None;
        }
        let header = DatagramHeader::decode(bytes, self.counters_64bit)?;
        if self.counters.frozen.load(Ordering::Relaxed) {
            return None;
        }
        if self.counters.restart_jitter.load(Ordering::Relaxed) {
            self.counters.restart_jitter.store(false, Ordering::Relaxed);
            self.counter.restart_jitter();
        }
        self.verify(bytes);
        let before = self.counter.packets();
        self.counter.receive(&header, arrival);
        Some(u32::try_from(self.counter.packets() - before).unwrap_or(u32::MAX))
    }

    /// The rest of the program sees whole batches.
    fn pause(&mut self) -> io::Result<()> {
        if !self.counters.frozen.load(Ordering::Relaxed) {
            self.counters.write(&self.counter);
        }
        self.difference
            .take()
            .map_or(Ok(()), |difference| Err(difference.into()))
    }
}
