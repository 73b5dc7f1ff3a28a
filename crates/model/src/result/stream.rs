//! What one end counted on one stream. A new figure is a field here, a key in the results exchange, and a key of the
//! document.

use std::time::Duration;

use crate::{CopyReport, ExchangeCounts, Io, Role};

/// What one end counted on one stream. The omitted period is left out unless stated otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamOutcome {
    /// The stream's id on the wire.
    pub id: u32,
    /// The number by which output names the stream ([`stream_number`](crate::stream_number())); no descriptor.
    pub socket: i32,
    /// Whether this end sends on the stream.
    pub role: Role,
    /// Bytes sent or received.
    pub bytes: u64,
    /// What else was counted.
    pub detail: Detail,
    /// How much of the file of `-F` was sent or written.
    pub file: Option<FileProgress>,
    /// How this end moved the bytes, once the worker has stopped counting.
    pub copies: Option<CopyReport>,
    /// What this end used in place of system calls, or why it did not, if it was asked to.
    pub io: Option<IoReport>,
}

/// What became of a request for [`Io::Uring`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoReport {
    /// What was in use at the end.
    pub used: Io,
    /// Why that is not what was requested.
    pub reason: Option<String>,
}

impl StreamOutcome {
    /// What was counted, if the stream is one of bytes.
    pub fn byte_totals(&self) -> Option<&ByteTotals> {
        match &self.detail {
            Detail::Bytes(totals) | Detail::Exchanges(_, totals) => Some(totals),
            Detail::Datagrams(_) => None,
        }
    }

    /// What was counted, if the stream carries requests and responses.
    pub fn exchange_counts(&self) -> Option<&ExchangeCounts> {
        match &self.detail {
            Detail::Exchanges(counts, _) => Some(counts),
            Detail::Bytes(_) | Detail::Datagrams(_) => None,
        }
    }

    /// What was counted, if the stream is one of datagrams.
    pub fn datagram_totals(&self) -> Option<&DatagramTotals> {
        match &self.detail {
            Detail::Bytes(_) | Detail::Exchanges(..) => None,
            Detail::Datagrams(totals) => Some(totals),
        }
    }
}

/// Counts other than bytes, by the kind of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// A stream of bytes: TCP, SCTP, vsock.
    Bytes(ByteTotals),
    /// A stream of datagrams: UDP.
    Datagrams(DatagramTotals),
    /// Requests and responses, and what the kernel knows of the connection.
    Exchanges(ExchangeCounts, ByteTotals),
}

/// What is counted on a stream of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteTotals {
    /// Sender: the kernel's view, if it has one. Of a peer, only the retransmits are known.
    pub tcp: Option<TcpTotals>,
    /// Receiver: the largest low-water mark of the socket in bytes; 0 when it had none.
    pub low_water: Option<u64>,
}

/// What is counted on a stream of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DatagramTotals {
    /// Sender: datagrams sent. Receiver: the highest sequence number. Omitted ones included.
    pub packets: u64,
    /// `packets` at the end of the omitted period.
    pub omitted_packets: u64,
    /// Receiver: datagrams lost, omitted ones included.
    pub lost: i64,
    /// `lost` at the end of the omitted period; `None` for peers before 3.14, which do not report it.
    pub omitted_lost: Option<i64>,
    /// Receiver: datagrams that arrived late or twice; 0 if the peer does not report it.
    pub out_of_order: u64,
    /// Receiver: those of them that are known to have arrived before.
    pub duplicates: Option<u64>,
    /// Receiver: smoothed jitter in seconds.
    pub jitter: f64,
    /// Receiver: datagrams dropped because its receive buffer was full, omitted ones included. They are part of `lost`.
    pub socket_drops: Option<u64>,
    /// Receiver: the longest time for which it slept to let datagrams collect; zero if it never did.
    pub nap: Option<Duration>,
    /// How this end moved datagrams.
    pub batching: Option<Batching>,
}

impl DatagramTotals {
    /// Datagrams without the omitted ones.
    pub fn counted_packets(&self) -> u64 {
        self.packets.saturating_sub(self.omitted_packets)
    }

    /// Losses without the omitted ones, if their number is known.
    pub fn counted_lost(&self) -> Option<i64> {
        Some(self.lost.saturating_sub(self.omitted_lost?))
    }
}

/// How one end moved datagrams through its system, in order of how much goes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Batching {
    /// One by one.
    Nothing,
    /// Many in one system call (`sendmmsg`, `recvmmsg`).
    Calls,
    /// Many in one packet (GSO, GRO).
    Packets,
}

/// The kernel's view of a sending TCP stream over the whole test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpTotals {
    /// Segments retransmitted since the end of the omitted period.
    pub retransmits: u64,
    /// Reordering events of the socket.
    pub reorder: u32,
    /// Largest congestion window of the interval samples, in bytes.
    pub max_snd_cwnd: u64,
    /// Largest peer window of the interval samples, in bytes.
    pub max_snd_wnd: u64,
    /// Microseconds, over the interval samples.
    pub max_rtt: u32,
    /// Microseconds, over the interval samples.
    pub min_rtt: u32,
    /// Microseconds, mean of the interval samples, rounded down.
    pub mean_rtt: u32,
}

/// How much of the file of `-F` one end sent or wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProgress {
    /// The name given to `-F`.
    pub name: String,
    /// The size of the file in bytes at the end of the test.
    pub size: u64,
    /// Bytes that this end sent from it or wrote to it.
    pub moved: u64,
}
