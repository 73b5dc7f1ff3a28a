//! One element of `intervals`: every stream, and the sum of each direction.

use iperf_model::{Interval, TestConfig};
use serde_json::{Map, Value, json};

use crate::sums::{Detail, IntervalGroup, IntervalRow};

/// An interval as an element of `intervals` or as the data of an `interval` line.
pub(crate) fn value(config: &TestConfig, is_client: bool, interval: &Interval) -> Value {
    let groups = IntervalGroup::all(config, is_client, interval);
    let streams: Vec<_> = groups
        .iter()
        .flat_map(|group| &group.rows)
        .map(|stream| row(stream, interval.omitted))
        .collect();
    let mut members = Map::new();
    members.insert("streams".into(), streams.into());
    for (key, group) in ["sum", "sum_bidir_reverse"].into_iter().zip(&groups) {
        members.insert(key.into(), row(&group.sum, interval.omitted));
    }
    Value::Object(members)
}

fn row(row: &IntervalRow, omitted: bool) -> Value {
    let mut members = Map::new();
    let mut insert = |key: &str, value: Value| members.insert(key.to_owned(), value);
    if let Some(socket) = row.socket {
        insert("socket", json!(socket));
    }
    insert("start", json!(row.start));
    insert("end", json!(row.end));
    insert("seconds", json!(row.seconds));
    insert("bytes", json!(row.bytes));
    insert("bits_per_second", json!(row.bits_per_second));
    match row.detail {
        Detail::Bytes => {}
        Detail::Tcp(sample) => {
            insert("retransmits", json!(sample.retransmits));
            insert("snd_cwnd", json!(sample.snd_cwnd));
            insert("snd_wnd", json!(sample.snd_wnd));
            insert("rtt", json!(sample.rtt));
            insert("rttvar", json!(sample.rttvar));
            insert("pmtu", json!(sample.pmtu));
            insert("reorder", json!(sample.reorder));
        }
        Detail::Retransmits(retransmits) => {
            insert("retransmits", json!(retransmits));
        }
        Detail::Sent { packets } => {
            insert("packets", json!(packets));
        }
        Detail::Received {
            jitter_ms,
            lost,
            packets,
            lost_percent,
        } => {
            insert("jitter_ms", json!(jitter_ms));
            insert("lost_packets", json!(lost));
            insert("packets", json!(packets));
            insert("lost_percent", json!(lost_percent));
        }
    }
    insert("omitted", json!(omitted));
    insert("sender", json!(row.sending));
    Value::Object(members)
}
