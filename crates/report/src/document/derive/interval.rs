//! One element of `intervals` from what was sampled.

use std::time::Duration;

use iperf_model::{self as model, StreamInterval, TestConfig};

use super::{
    counts_datagrams, mean, milliseconds, percent, rate, roles, seconds, total, total_lost,
};
use crate::document::{Interval, IntervalExchanges, IntervalLoad, IntervalRow};

impl Interval {
    /// Every stream, direction by direction, and the sum of each direction.
    pub(crate) fn of(config: &TestConfig, is_client: bool, interval: &model::Interval) -> Self {
        let frame = IntervalRow {
            start: seconds(interval.start),
            end: seconds(interval.end),
            seconds: interval_seconds(interval),
            omitted: interval.omitted,
            ..IntervalRow::default()
        };
        let udp = counts_datagrams(config);
        let mut streams = Vec::with_capacity(interval.streams.len());
        let mut sums = roles(config, is_client).into_iter().map(|role| {
            let frame = IntervalRow {
                sender: Some(role.sends()),
                ..frame.clone()
            };
            let streams_of = |s: &&StreamInterval| s.role.sends() == role.sends();
            let rows = interval.streams.iter().filter(streams_of);
            let first = streams.len();
            streams.extend(rows.map(|stream| row_of(&frame, udp, stream)));
            sum_of(&frame, udp, &streams[first..])
        });
        let (sum, sum_bidir_reverse) = (sums.next(), sums.next());
        Self {
            streams,
            sum,
            sum_bidir_reverse,
            rr: IntervalExchanges::of_all(interval),
            load: interval.probes.as_deref().map(IntervalLoad::of),
        }
    }

    /// The sums in the order of output.
    pub(crate) fn sums(&self) -> impl Iterator<Item = &IntervalRow> {
        self.sum.iter().chain(&self.sum_bidir_reverse)
    }
}

/// Iperf3 keeps the length of an interval in a `float`, which limits the precision of what is derived from it.
#[expect(clippy::cast_possible_truncation, reason = "the loss is the purpose")]
fn interval_seconds(interval: &model::Interval) -> f64 {
    let start = interval.start.as_micros();
    let length = interval.end.as_micros().saturating_sub(start);
    let length = Duration::from_micros(u64::try_from(length).unwrap_or(u64::MAX));
    f64::from(seconds(length) as f32)
}

fn row_of(frame: &IntervalRow, udp: bool, stream: &StreamInterval) -> IntervalRow {
    let mut row = IntervalRow {
        socket: Some(stream.socket.into()),
        bytes: stream.bytes,
        bits_per_second: rate(stream.bytes, frame.seconds),
        ..frame.clone()
    };
    if udp {
        let datagrams = stream.datagrams.unwrap_or_default();
        row.packets = Some(datagrams.packets);
        if !stream.role.sends() {
            row.jitter_ms = Some(milliseconds(datagrams.jitter));
            row.lost_packets = Some(datagrams.lost);
            row.lost_percent = Some(percent(datagrams.lost, datagrams.packets));
        }
    } else if let Some(tcp) = stream.tcp {
        row.retransmits = Some(tcp.retransmits);
        row.snd_cwnd = Some(tcp.snd_cwnd);
        row.snd_wnd = Some(tcp.snd_wnd);
        row.rtt = Some(tcp.rtt.into());
        row.rttvar = Some(tcp.rttvar.into());
        row.pmtu = Some(tcp.pmtu.into());
        row.reorder = Some(tcp.reorder.into());
    }
    row
}

fn sum_of(frame: &IntervalRow, udp: bool, rows: &[IntervalRow]) -> IntervalRow {
    let bytes = total(rows.iter().map(|row| row.bytes));
    let mut sum = IntervalRow {
        bytes,
        bits_per_second: rate(bytes, frame.seconds),
        retransmits: rows
            .iter()
            .filter_map(|row| row.retransmits)
            .reduce(u64::saturating_add),
        ..frame.clone()
    };
    if udp {
        let packets = total(rows.iter().filter_map(|row| row.packets));
        sum.packets = Some(packets);
        if sum.sender == Some(false) {
            let lost = total_lost(rows.iter().filter_map(|row| row.lost_packets));
            sum.jitter_ms = Some(mean(rows.iter().map(|row| row.jitter_ms.unwrap_or(0.0))));
            sum.lost_packets = Some(lost);
            sum.lost_percent = Some(percent(lost, packets));
        }
    }
    sum
}
