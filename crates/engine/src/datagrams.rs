//! Datagram headers, written and read per datagram on the worker's thread, and what a receiver counts from them.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use iperf_model::Batching;
use iperf_proto::seen::Seen;
use iperf_proto::udp::{DatagramHeader, LossCounter, REPLY, is_repeated_hello};
use iperf_zc::udp::{Inspect, Receive, Stamp};
use iperf_zc::verify::{Difference, Verifier};
use socket2::SockRef;

use crate::probe::OneWay;
use crate::worker::cut::Cut;
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
    all: SharedCounts,
    restart_jitter: AtomicBool,
    frozen: AtomicBool,
    /// Those of them that arrived unmarked, once a marked one has arrived.
    omitted: Omitted,
    /// Where their delays go, if they are measured.
    one_way: Option<OneWay>,
}

/// What lies before the cut, by the datagrams' marks.
#[derive(Debug, Default)]
struct Omitted {
    is_over: AtomicBool,
    bytes: AtomicU64,
    counts: SharedCounts,
}

/// [`DatagramCounts`] that one thread writes and others read.
#[derive(Debug, Default)]
struct SharedCounts {
    packets: AtomicU64,
    lost: AtomicI64,
    out_of_order: AtomicU64,
    duplicates: AtomicU64,
    /// The bits of an f64.
    jitter: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DatagramCounts {
    /// The highest sequence number.
    pub(crate) packets: u64,
    pub(crate) lost: i64,
    pub(crate) out_of_order: u64,
    /// Those of them that had arrived before.
    pub(crate) duplicates: u64,
    /// Seconds.
    pub(crate) jitter: f64,
}

impl DatagramCounters {
    /// Of a stream whose delays are measured, or not.
    pub(crate) fn new(one_way: Option<OneWay>) -> Self {
        Self {
            one_way,
            ..Self::default()
        }
    }

    /// The delays so far.
    pub(crate) fn one_way(&self) -> Option<&OneWay> {
        self.one_way.as_ref()
    }

    pub(crate) fn read(&self) -> DatagramCounts {
        self.all.read()
    }

    /// The counts of what was sent before the cut, and its bytes. `None` until something sent after it has arrived.
    pub(crate) fn omitted(&self) -> Option<(DatagramCounts, u64)> {
        let omitted = &self.omitted;
        omitted.is_over.load(Ordering::Acquire).then(|| {
            let bytes = omitted.bytes.load(Ordering::Relaxed);
            (omitted.counts.read(), bytes)
        })
    }

    /// Jitter starts from zero with the next datagram.
    pub(crate) fn restart_jitter(&self) {
        self.restart_jitter.store(true, Ordering::Relaxed);
        self.all.jitter.store(0, Ordering::Relaxed);
    }

    /// Counts nothing from now on. Called by the stream's own worker, between two datagrams.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    fn write_omitted(&self, before: &Before) {
        let omitted = &self.omitted;
        omitted.bytes.store(before.bytes, Ordering::Relaxed);
        omitted.counts.write(before.counts);
        omitted.is_over.store(before.is_over, Ordering::Release);
    }
}

impl SharedCounts {
    fn read(&self) -> DatagramCounts {
        DatagramCounts {
            packets: self.packets.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            out_of_order: self.out_of_order.load(Ordering::Relaxed),
            duplicates: self.duplicates.load(Ordering::Relaxed),
            jitter: f64::from_bits(self.jitter.load(Ordering::Relaxed)),
        }
    }

    fn write(&self, counts: DatagramCounts) {
        self.packets.store(counts.packets, Ordering::Relaxed);
        self.lost.store(counts.lost, Ordering::Relaxed);
        self.out_of_order
            .store(counts.out_of_order, Ordering::Relaxed);
        self.duplicates.store(counts.duplicates, Ordering::Relaxed);
        self.jitter
            .store(counts.jitter.to_bits(), Ordering::Relaxed);
    }
}

impl From<&LossCounter> for DatagramCounts {
    fn from(counter: &LossCounter) -> Self {
        Self {
            packets: counter.packets(),
            lost: counter.lost(),
            out_of_order: counter.out_of_order(),
            duplicates: counter.duplicates(),
            jitter: counter.jitter(),
        }
    }
}

/// Writes the header of each datagram, and with a cut marks those behind it.
pub(crate) fn stamp(counters_64bit: bool, cut: Option<Arc<Cut>>) -> impl Stamp {
    move |datagram: &mut [u8], sequence, now| {
        DatagramHeader::new(now, sequence).encode(datagram, counters_64bit);
        if let Some(position) = cut.as_ref().and_then(|cut| cut.position())
            && sequence > position.blocks
        {
            DatagramHeader::mark(datagram);
        }
    }
}

/// What arrived from before the cut.
#[derive(Debug, Default)]
struct Before {
    /// Something sent after the cut has arrived.
    is_over: bool,
    bytes: u64,
    counts: DatagramCounts,
}

impl Before {
    /// Counts a datagram and returns how many numbers it adds behind the cut. `before` is what was counted without
    /// it, and `after` with it.
    fn note(
        &mut self,
        marked: bool,
        length: usize,
        before: &LossCounter,
        after: &LossCounter,
    ) -> u64 {
        let advance = after.packets() - before.packets();
        if marked {
            if !self.is_over {
                self.is_over = true;
                self.counts.packets = before.packets() + advance.saturating_sub(1);
                self.counts.lost = after.lost();
                self.counts.out_of_order = before.out_of_order();
                self.counts.duplicates = before.duplicates();
                return 1;
            }
            return advance;
        }
        self.bytes += length as u64;
        if self.is_over {
            // It is late, and fills a gap before the cut.
            self.counts.lost = (self.counts.lost - 1).max(0);
            self.counts.out_of_order += 1;
            self.counts.duplicates += after.duplicates() - before.duplicates();
        }
        0
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
    seen: Seen,
    /// With a cut that senders mark: what was sent before it.
    before: Option<Before>,
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
            seen: Seen::default(),
            before: None,
            verifier: None,
            difference: None,
        }
    }

    /// Checks every datagram, too.
    pub(crate) fn verified(self, verifier: Option<Verifier>) -> Self {
        Self { verifier, ..self }
    }

    /// Datagrams behind the omitted period are marked.
    pub(crate) fn marked(self, marked: bool) -> Self {
        Self {
            before: marked.then(Before::default),
            ..self
        }
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
        let mut header = DatagramHeader::decode(bytes, self.counters_64bit)?;
        if self.counters.frozen.load(Ordering::Relaxed) {
            return None;
        }
        if self.counters.restart_jitter.load(Ordering::Relaxed) {
            self.counters.restart_jitter.store(false, Ordering::Relaxed);
            self.counter.restart_jitter();
        }
        self.verify(bytes);
        let marked = self.before.is_some() && header.take_mark();
        if let Some(one_way) = &self.counters.one_way {
            one_way.record(header.sent(), arrival);
        }
        let counted = self.counter.clone();
        self.counter.receive(&header, arrival);
        if self.seen.repeats(header.sequence) {
            self.counter.repeated();
        }
        let advance = match &mut self.before {
            Some(before) => before.note(marked, length, &counted, &self.counter),
            None => self.counter.packets() - counted.packets(),
        };
        Some(u32::try_from(advance).unwrap_or(u32::MAX))
    }

    /// The rest of the program sees whole batches.
    fn pause(&mut self) -> io::Result<()> {
        if !self.counters.frozen.load(Ordering::Relaxed) {
            self.counters.all.write((&self.counter).into());
            if let Some(before) = &self.before {
                self.counters.write_omitted(before);
            }
        }
        self.difference
            .take()
            .map_or(Ok(()), |difference| Err(difference.into()))
    }
}
