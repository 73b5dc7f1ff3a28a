//! What happened between two ticks of the interval clock.

use std::sync::Arc;
use std::time::Duration;

use crate::{ExchangeCounts, Latencies, Role};

/// One report: every stream, sampled at the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// Since the local start of the test, or since the end of the omitted period after it.
    pub start: Duration,
    /// Same base as `start`.
    pub end: Duration,
    /// Whether the interval is in the omitted period.
    pub omitted: bool,
    /// One element per stream, in order of creation.
    pub streams: Vec<StreamInterval>,
    /// `--probe`: the round trips of the loaded path whose answers arrived in it.
    pub probes: Option<Arc<Latencies>>,
}

impl Interval {
    /// The length of the interval.
    pub fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }

    /// What all streams of a request/response test exchanged; `None` of another test.
    pub fn exchanges(&self) -> Option<ExchangeCounts> {
        let counts = self.streams.iter();
        ExchangeCounts::sum(counts.filter_map(|stream| stream.exchanges.clone()))
    }

    /// Bytes of payload of all streams; of a bidirectional test those of both directions.
    pub fn bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes).sum()
    }

    /// Their rate in bits per second; 0 for an interval without a length.
    pub fn bits_per_second(&self) -> f64 {
        let seconds = self.length().as_secs_f64();
        if seconds > 0.0 {
            8.0 * self.bytes() as f64 / seconds
        } else {
            0.0
        }
    }
}

/// What one stream moved in one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamInterval {
    /// The number by which output names the stream ([`stream_number`](crate::stream_number())); no descriptor.
    pub socket: i32,
    /// Whether this end sends on the stream.
    pub role: Role,
    /// Bytes of payload.
    pub bytes: u64,
    /// The kernel's view of a sending TCP or SCTP stream.
    pub tcp: Option<TcpSample>,
    /// Datagram counts of a UDP stream.
    pub datagrams: Option<DatagramSample>,
    /// Exchanges of a request/response test.
    pub exchanges: Option<ExchangeCounts>,
}

/// The kernel's view of a sending TCP socket at the end of an interval (`struct tcp_info`, linux/tcp.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSample {
    /// Segments retransmitted in this interval.
    pub retransmits: u64,
    /// Congestion window in bytes (`tcpi_snd_cwnd` × `tcpi_snd_mss`).
    pub snd_cwnd: u64,
    /// Window advertised by the peer, in bytes.
    pub snd_wnd: u64,
    /// Smoothed round-trip time in microseconds.
    pub rtt: u32,
    /// Its mean deviation in microseconds.
    pub rttvar: u32,
    /// Path MTU in bytes.
    pub pmtu: u32,
    /// Reordering events of the socket since it was opened.
    pub reorder: u32,
}

/// Datagrams of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DatagramSample {
    /// Sender: datagrams sent. Receiver: how far the highest sequence number advanced.
    pub packets: u64,
    /// Receiver: datagrams lost; negative when late ones made up for earlier losses.
    pub lost: i64,
    /// Receiver: smoothed jitter in seconds (RFC 3550, section 6.4.1), now.
    pub jitter: f64,
    /// Receiver: datagrams that arrived late or twice.
    pub out_of_order: u64,
}
