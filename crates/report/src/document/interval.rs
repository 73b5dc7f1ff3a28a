//! One element of `intervals`: every stream, and the sum of each direction.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{IntervalExchanges, IntervalLoad};

/// One report.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interval {
    /// One element per stream, in order of creation.
    pub streams: Vec<IntervalRow>,
    /// All streams; with `--bidir` those from the client to the server.
    pub sum: Option<IntervalRow>,
    /// With `--bidir`: the streams from the server to the client.
    pub sum_bidir_reverse: Option<IntervalRow>,
    /// **Own**: request/response test: the exchanges of all streams.
    pub rr: Option<IntervalExchanges>,
    /// **Own**: `--probe`: the latency of the loaded path.
    pub load: Option<IntervalLoad>,
}

/// One stream in one interval, or the sum of a direction. Times are seconds since the test began, or since the end of
/// the omitted period.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntervalRow {
    /// The file descriptor of `start.connected[].socket`; absent from a sum.
    pub socket: Option<i64>,
    /// Seconds.
    pub start: f64,
    /// Seconds.
    pub end: f64,
    /// Length of the interval in seconds, after it went through a 32-bit float.
    pub seconds: f64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Over `seconds`.
    pub bits_per_second: f64,
    /// TCP sender: segments that were sent again.
    pub retransmits: Option<u64>,
    /// TCP sender: congestion window in bytes.
    pub snd_cwnd: Option<u64>,
    /// TCP sender: the peer's window in bytes. 3.10 and later.
    pub snd_wnd: Option<u64>,
    /// TCP sender: smoothed round-trip time in microseconds.
    pub rtt: Option<u64>,
    /// TCP sender: its variation in microseconds.
    pub rttvar: Option<u64>,
    /// TCP sender: path MTU in bytes.
    pub pmtu: Option<u64>,
    /// TCP sender: reordering events of the socket since it exists. 3.20 and later.
    pub reorder: Option<u64>,
    /// UDP receiver: smoothed jitter in milliseconds; in a sum the mean of the streams.
    pub jitter_ms: Option<f64>,
    /// UDP receiver: datagrams lost; late ones make it negative.
    pub lost_packets: Option<i64>,
    /// UDP: datagrams sent, or how far the highest sequence number advanced.
    pub packets: Option<u64>,
    /// UDP receiver: lost datagrams in percent of `packets`.
    pub lost_percent: Option<f64>,
    /// Whether the interval belongs to the omitted period.
    pub omitted: bool,
    /// Whether this end sends. Absent before 3.7.
    pub sender: Option<bool>,
}
