//! What a whole test came to: first as one end counted it, then with what the peer said.

use std::time::Duration;

use crate::CopyReport;

/// CPU time of a process in percent of one CPU, over a test.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuUsage {
    /// User and system time.
    pub total: f64,
    /// User time.
    pub user: f64,
    /// System time.
    pub system: f64,
}

/// What one end counted. The omitted period is left out unless a field says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTotals {
    /// From the local start (or the end of the omitted period) to the local end.
    pub duration: Duration,
    /// CPU time of this process.
    pub cpu: CpuUsage,
    /// Congestion control read back from the last TCP data socket.
    pub congestion: Option<String>,
    /// One element per stream, in order of creation.
    pub streams: Vec<StreamTotals>,
}

/// What one end counted on one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamTotals {
    /// The stream's id on the wire.
    pub id: u32,
    /// The number by which output names the stream ([`stream_number`](crate::stream_number())); no descriptor.
    pub socket: i32,
    /// Whether this end sends on the stream.
    pub sending: bool,
    /// Bytes sent or received.
    pub bytes: u64,
    /// The kernel's view of a sending TCP stream.
    pub tcp: Option<TcpTotals>,
    /// Sender: datagrams sent. Receiver: the highest sequence number. Omitted ones included.
    pub packets: u64,
    /// `packets` at the end of the omitted period.
    pub omitted_packets: u64,
    /// Receiver: datagrams lost, omitted ones included.
    pub lost: i64,
    /// `lost` at the end of the omitted period.
    pub omitted_lost: i64,
    /// Receiver: datagrams that came late or twice.
    pub out_of_order: u64,
    /// Receiver: smoothed jitter in seconds.
    pub jitter: f64,
    /// Receiver: datagrams that found no room in this end's receive buffer, omitted ones included. They are part of
    /// `lost`.
    pub socket_drops: Option<u64>,
    /// Receiver of bytes or datagrams: how it was woken.
    pub woken_by: Option<WokenBy>,
    /// How this end moved datagrams.
    pub batching: Option<Batching>,
    /// How much of the file of `-F` went through.
    pub file: Option<FileProgress>,
    /// How the bytes went through this end, once the worker has stopped counting.
    pub copies: Option<CopyReport>,
}

/// What let a batch gather before a receiver was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WokenBy {
    /// The largest low-water mark of a byte stream's socket in bytes; 0 when it had none.
    LowWater(u64),
    /// The longest time for which a receiver of datagrams slept at once; zero when it never did.
    Nap(Duration),
}

/// How datagrams went through the system of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// How much of the file of `-F` went through one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProgress {
    /// The name given to `-F`.
    pub name: String,
    /// The size of the file in bytes at the end of the test.
    pub size: u64,
    /// Bytes that this end sent from it or wrote to it.
    pub moved: u64,
}

/// A whole test as both ends saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// One element per stream, in order of creation.
    pub streams: Vec<StreamSummary>,
    /// Length of the test on this end.
    pub duration: Duration,
    /// Length of the test on the peer's end, if it said so.
    pub remote_duration: Option<Duration>,
    /// CPU time of this process.
    pub cpu: CpuUsage,
    /// CPU time of the peer, if it said so.
    pub remote_cpu: Option<CpuUsage>,
    /// Congestion control of this end's TCP sockets.
    pub congestion: Option<String>,
    /// Congestion control of the peer's TCP sockets.
    pub remote_congestion: Option<String>,
}

/// One stream as both ends saw it. What the peer did not tell is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSummary {
    /// The number by which output names the stream ([`stream_number`](crate::stream_number())); no descriptor.
    pub socket: i32,
    /// Whether this end sends on the stream.
    pub sending: bool,
    /// What the sending side counted.
    pub sent: Option<SentTotals>,
    /// What the receiving side counted.
    pub received: Option<ReceivedTotals>,
    /// Segments that the sending side retransmitted, if it counts them. This end's own or the peer's.
    pub retransmits: Option<u64>,
    /// The kernel's view, when this end sends over TCP.
    pub tcp: Option<TcpTotals>,
    /// How this end moved the datagrams of the stream.
    pub batching: Option<Batching>,
    /// How much of the file of `-F` went through this end.
    pub file: Option<FileProgress>,
    /// How the bytes went through the sending end.
    pub sender_copies: Option<CopyReport>,
    /// How the bytes went through the receiving end.
    pub receiver_copies: Option<CopyReport>,
}

/// What a sending side counted on one stream, without the omitted period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentTotals {
    /// Bytes.
    pub bytes: u64,
    /// Datagrams.
    pub packets: u64,
}

/// What a receiving side counted on one stream, without the omitted period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReceivedTotals {
    /// Bytes.
    pub bytes: u64,
    /// How far the highest sequence number advanced.
    pub packets: u64,
    /// Datagrams lost; `None` when a peer before 3.14 did not say how many of them were omitted.
    pub lost: Option<i64>,
    /// Datagrams that came late or twice; only known where they were received.
    pub out_of_order: u64,
    /// Smoothed jitter in seconds.
    pub jitter: f64,
    /// Datagrams that found no room in the receive buffer, omitted ones included; only known where they were received.
    pub socket_drops: Option<u64>,
    /// How the receiver of bytes or datagrams was woken; only known where they were received.
    pub woken_by: Option<WokenBy>,
}
