//! Request/response tests: the member `end.rr` and the members `intervals[].rr`. Times are microseconds.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// **Own**: all exchanges of a test.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndExchanges {
    /// `rr`: requests and responses on connections that stay open; `crr`: each on a connection of its own.
    pub mode: String,
    /// `closed`: a response is followed by the next request; `open`: requests have a schedule.
    #[serde(rename = "loop")]
    pub kind: String,
    /// Bytes of a request.
    pub request_bytes: u64,
    /// Bytes of a response.
    pub response_bytes: u64,
    /// Requests that may wait for their responses on a connection.
    pub in_flight: u64,
    /// Connections, or how many transactions run at a time.
    pub connections: u64,
    /// Exchanges that were completed, without the omitted period.
    pub transactions: u64,
    /// Over the length of the test at the requesting end.
    pub transactions_per_second: f64,
    /// UDP: requests that were not answered in time.
    pub timeouts: u64,
    /// From the sending of a request to its whole response; with a connection for each, from before it is opened until it
    /// is closed. Absent where nothing is known of the requester.
    pub latency_us: Option<Latency>,
    /// Open loop: from the time at which a request was due.
    pub response_latency_us: Option<Latency>,
    /// `crr`: how long a connection took to open.
    pub connect_us: Option<Latency>,
    /// `crr`: from a whole response until the connection was closed.
    pub close_us: Option<Latency>,
    /// Open loop: how well the requester kept its schedule.
    pub schedule: Option<Schedule>,
    /// The distribution of `latency_us`.
    pub histogram: Option<Histogram>,
    /// The distribution of `response_latency_us`.
    pub response_histogram: Option<Histogram>,
}

/// A distribution in figures. A percentile is `null` if fewer than ten values are above it, and everything is if there
/// are no values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// The shortest.
    pub min: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The standard deviation.
    pub stddev: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// 90 %.
    pub p90: Option<f64>,
    /// 95 %.
    pub p95: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p99_9: Option<f64>,
    /// 99.99 %.
    pub p99_99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

impl Latency {
    /// The figures by name, in the order of output.
    pub fn figures(&self) -> [(&'static str, Option<f64>); 10] {
        [
            ("min", self.min),
            ("mean", self.mean),
            ("stddev", self.stddev),
            ("p50", self.p50),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
            ("p99.9", self.p99_9),
            ("p99.99", self.p99_99),
            ("max", self.max),
        ]
    }
}

/// **Own**: how a requester kept its schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schedule {
    /// Requests per second over all connections.
    pub target_per_second: f64,
    /// How late 99 % of the requests were sent, at most.
    pub late_p99_us: Option<f64>,
    /// How late the latest one was sent.
    pub late_max_us: Option<f64>,
}

/// **Own**: a distribution that HdrHistogram's libraries read and merge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// `ns`.
    pub unit: String,
    /// The lowest value that differs from 0.
    pub lowest: u64,
    /// The highest value; what was longer counts as this.
    pub highest: u64,
    /// Decimal digits that are kept.
    pub significant_digits: u64,
    /// `hdrhistogram-v2-deflate-base64`.
    pub encoding: String,
    /// The histogram itself.
    pub data: String,
}

/// **Own**: the exchanges of an interval.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntervalExchanges {
    /// Exchanges that were completed.
    pub transactions: u64,
    /// Over the length of the interval.
    pub transactions_per_second: f64,
    /// UDP: requests that were not answered in time.
    pub timeouts: u64,
    /// As at the end. Absent where this end does not request.
    pub latency_us: Option<ShortLatency>,
    /// As at the end.
    pub response_latency_us: Option<ShortLatency>,
}

/// A distribution in three figures, `null` as in [`Latency`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShortLatency {
    /// The median.
    pub p50: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}
