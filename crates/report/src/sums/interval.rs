//! The rows of one report: each stream, and the sum of each group.

use std::time::Duration;

use iperf_model::{Interval, StreamInterval, TcpSample, TestConfig, Transport};

use super::{mean, percent, rate, roles, seconds, total, total_lost};

/// The streams of one direction in one interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntervalGroup {
    /// One row per stream, in order of creation.
    pub(crate) rows: Vec<IntervalRow>,
    /// All of them together.
    pub(crate) sum: IntervalRow,
}

/// One stream, or the sum of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntervalRow {
    /// The stream's socket; `None` for a sum.
    pub(crate) socket: Option<i32>,
    /// Whether this end sends.
    pub(crate) sending: bool,
    /// Seconds since the start.
    pub(crate) start: f64,
    /// Seconds since the start.
    pub(crate) end: f64,
    /// The length of the interval after it went through a 32-bit float, as in iperf3.
    pub(crate) seconds: f64,
    /// Bytes of payload.
    pub(crate) bytes: u64,
    /// Over `seconds`.
    pub(crate) bits_per_second: f64,
    /// What the transport adds.
    pub(crate) detail: Detail,
}

/// What a row shows besides bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Detail {
    /// Nothing.
    Bytes,
    /// The kernel's view of one sending stream.
    Tcp(TcpSample),
    /// Retransmitted segments of several sending streams.
    Retransmits(u64),
    /// Datagrams sent.
    Sent { packets: u64 },
    /// Datagrams received.
    Received {
        jitter_ms: f64,
        lost: i64,
        packets: u64,
        lost_percent: f64,
    },
}

impl IntervalGroup {
    /// The groups of an interval in the order of output.
    pub(crate) fn all(config: &TestConfig, is_client: bool, interval: &Interval) -> Vec<Self> {
        roles(config, is_client)
            .into_iter()
            .map(|sending| Self::new(config.transport, sending, interval))
            .collect()
    }

    fn new(transport: Transport, sending: bool, interval: &Interval) -> Self {
        let start = seconds(interval.start);
        let end = seconds(interval.end);
        let length = interval_seconds(interval);
        let row = |socket, bytes, detail| IntervalRow {
            socket,
            sending,
            start,
            end,
            seconds: length,
            bytes,
            bits_per_second: rate(bytes, length),
            detail,
        };
        let rows: Vec<_> = interval
            .streams
            .iter()
            .filter(|stream| stream.sending == sending)
            .map(|stream| row(Some(stream.socket), stream.bytes, detail(transport, stream)))
            .collect();
        let bytes = total(rows.iter().map(|row| row.bytes));
        let sum = row(None, bytes, sum_of_details(transport, sending, &rows));
        Self { rows, sum }
    }
}

/// Iperf3 keeps the length of an interval in a `float`, which limits the precision of what is derived from it.
#[expect(clippy::cast_possible_truncation, reason = "the loss is the purpose")]
fn interval_seconds(interval: &Interval) -> f64 {
    let start = interval.start.as_micros();
    let length = interval.end.as_micros().saturating_sub(start);
    let length = Duration::from_micros(u64::try_from(length).unwrap_or(u64::MAX));
    f64::from(seconds(length) as f32)
}

fn detail(transport: Transport, stream: &StreamInterval) -> Detail {
    if transport != Transport::Udp {
        return stream.tcp.map_or(Detail::Bytes, Detail::Tcp);
    }
    let datagrams = stream.datagrams.unwrap_or_default();
    if stream.sending {
        Detail::Sent {
            packets: datagrams.packets,
        }
    } else {
        Detail::Received {
            jitter_ms: datagrams.jitter * 1000.0,
            lost: datagrams.lost,
            packets: datagrams.packets,
            lost_percent: percent(datagrams.lost, datagrams.packets),
        }
    }
}

fn sum_of_details(transport: Transport, sending: bool, rows: &[IntervalRow]) -> Detail {
    if transport != Transport::Udp {
        let counts: Vec<u64> = rows
            .iter()
            .filter_map(|row| match row.detail {
                Detail::Tcp(sample) => Some(sample.retransmits),
                _ => None,
            })
            .collect();
        return if counts.is_empty() {
            Detail::Bytes
        } else {
            Detail::Retransmits(total(counts.into_iter()))
        };
    }
    let all = total(rows.iter().map(|row| match row.detail {
        Detail::Sent { packets } | Detail::Received { packets, .. } => packets,
        _ => 0,
    }));
    if sending {
        return Detail::Sent { packets: all };
    }
    let lost = total_lost(rows.iter().map(|row| match row.detail {
        Detail::Received { lost, .. } => lost,
        _ => 0,
    }));
    let jitters = rows.iter().map(|row| match row.detail {
        Detail::Received { jitter_ms, .. } => jitter_ms,
        _ => 0.0,
    });
    Detail::Received {
        jitter_ms: mean(jitters),
        lost,
        packets: all,
        lost_percent: percent(lost, all),
    }
}
