//! The member `end`: what the test came to.

use iperf_model::{Batching, CopyReport, CpuUsage, Summary, TestConfig, Transport, WokenBy};
use serde_json::{Map, Value, json};

use crate::copies;
use crate::sums::{Copies, EndGroup, EndRow, EndTotals};

/// The member as it is made of a summary.
pub(crate) fn value(config: &TestConfig, is_client: bool, summary: &Summary) -> Value {
    let totals = EndTotals::new(config, is_client, summary);
    let udp = config.transport == Transport::Udp;
    let streams: Vec<_> = totals
        .groups
        .iter()
        .flat_map(|group| &group.rows)
        .map(|row| {
            if udp {
                json!({ "udp": udp_stream(row, &totals) })
            } else {
                stream(row, &totals)
            }
        })
        .collect();
    let mut end = Map::new();
    end.insert("streams".into(), streams.into());
    for (suffix, group) in ["", "_bidir_reverse"].into_iter().zip(&totals.groups) {
        if udp {
            end.insert(format!("sum{suffix}"), udp_sum(&group.sum, &totals));
        }
        let [mut sent, mut received] = if udp {
            [udp_sent(group, &totals), udp_received(group, &totals)]
        } else {
            [stream_sent(group, &totals), stream_received(group, &totals)]
        };
        for (sum, copies) in [
            (&mut sent, &group.sum.copies.sender),
            (&mut received, &group.sum.copies.receiver),
        ] {
            if let Some(members) = sum.as_object_mut() {
                insert_copies(members, copies.as_ref());
            }
        }
        end.insert(format!("sum_sent{suffix}"), sent);
        end.insert(format!("sum_received{suffix}"), received);
    }
    end.insert("cpu_utilization_percent".into(), cpu(summary));
    let (sender, receiver) = totals.congestion;
    if let Some(name) = sender {
        end.insert("sender_tcp_congestion".into(), json!(name));
    }
    if let Some(name) = receiver {
        end.insert("receiver_tcp_congestion".into(), json!(name));
    }
    Value::Object(end)
}

fn cpu(summary: &Summary) -> Value {
    let CpuUsage {
        total,
        user,
        system,
    } = summary.cpu;
    let remote = summary.remote_cpu.unwrap_or_default();
    json!({
        "host_total": total,
        "host_user": user,
        "host_system": system,
        "remote_total": remote.total,
        "remote_user": remote.user,
        "remote_system": remote.system,
    })
}

/// The members that every object of the summary begins with.
fn span(socket: Option<i32>, end: f64, seconds: f64, bytes: u64, rate: f64) -> Map<String, Value> {
    let mut members = Map::new();
    if let Some(socket) = socket {
        members.insert("socket".into(), json!(socket));
    }
    members.insert("start".into(), json!(0));
    members.insert("end".into(), json!(end));
    members.insert("seconds".into(), json!(seconds));
    members.insert("bytes".into(), json!(bytes));
    members.insert("bits_per_second".into(), json!(rate));
    members
}

fn sent_span(row: &EndRow, totals: &EndTotals) -> Map<String, Value> {
    let end = totals.sender_seconds;
    span(
        row.socket,
        end,
        end,
        row.sent.bytes,
        row.sent.bits_per_second,
    )
}

fn stream(row: &EndRow, totals: &EndTotals) -> Value {
    let mut sender = sent_span(row, totals);
    if let Some(retransmits) = row.retransmits {
        // Only the sending end has seen the kernel's counters; the other one says 0.
        let tcp = row.tcp.unwrap_or_default();
        sender.insert("retransmits".into(), json!(retransmits));
        sender.insert("reorder".into(), json!(tcp.reorder));
        sender.insert("max_snd_cwnd".into(), json!(tcp.max_snd_cwnd));
        sender.insert("max_snd_wnd".into(), json!(tcp.max_snd_wnd));
        sender.insert("max_rtt".into(), json!(tcp.max_rtt));
        sender.insert("min_rtt".into(), json!(tcp.min_rtt));
        sender.insert("mean_rtt".into(), json!(tcp.mean_rtt));
    }
    sender.insert("sender".into(), json!(row.sending));
    insert_copies(&mut sender, row.copies.sender.as_ref());

    let mut receiver = span(
        row.socket,
        totals.receiver_seconds,
        totals.local_seconds,
        row.received.bytes,
        row.received.bits_per_second,
    );
    // Our own key, where it is known: how the receiver was woken.
    if let Some(WokenBy::LowWater(bytes)) = row.received.woken_by {
        receiver.insert("rcv_lowat".into(), json!(bytes));
    }
    receiver.insert("sender".into(), json!(row.sending));
    insert_copies(&mut receiver, row.copies.receiver.as_ref());

    let mut members = Map::new();
    members.insert("sender".into(), sender.into());
    if let Some(file) = &row.file {
        let diskfile = json!({
            "sent": file.sent,
            "received": file.received,
            "size": file.size,
            "percent_sent": file.percent(file.sent),
            "percent_received": file.percent(file.received),
            "filename": file.name,
        });
        members.insert("diskfile".into(), diskfile);
    }
    members.insert("receiver".into(), receiver.into());
    members.into()
}

/// Our own key, where zero-copy was asked for.
fn insert_copies(members: &mut Map<String, Value>, report: Option<&CopyReport>) {
    if let Some(report) = report {
        members.insert("zerocopy".into(), copies::json(report));
    }
}

fn stream_sent(group: &EndGroup, totals: &EndTotals) -> Value {
    let mut sum = sent_span(&group.sum, totals);
    if let Some(retransmits) = group.sum.retransmits {
        sum.insert("retransmits".into(), json!(retransmits));
    }
    sum.insert("sender".into(), json!(group.sending));
    sum.into()
}

fn stream_received(group: &EndGroup, totals: &EndTotals) -> Value {
    let mut sum = received_span(&group.sum, totals);
    sum.insert("sender".into(), json!(group.sending));
    sum.into()
}

fn received_span(row: &EndRow, totals: &EndTotals) -> Map<String, Value> {
    let end = totals.receiver_seconds;
    let received = &row.received;
    span(
        row.socket,
        end,
        end,
        received.bytes,
        received.bits_per_second,
    )
}

/// Appends the counts of datagrams. A count of losses that is not known is 0, since parsers expect an integer.
fn insert_datagrams(
    members: &mut Map<String, Value>,
    jitter_ms: f64,
    lost: Option<i64>,
    packets: u64,
    lost_percent: f64,
) {
    members.insert("jitter_ms".into(), json!(jitter_ms));
    members.insert("lost_packets".into(), json!(lost.unwrap_or(0)));
    members.insert("packets".into(), json!(packets));
    members.insert("lost_percent".into(), json!(lost_percent));
}

fn udp_stream(row: &EndRow, totals: &EndTotals) -> Value {
    let received = &row.received;
    let mut members = sent_span(row, totals);
    let percent = row.lost_percent_of_sent();
    insert_datagrams(
        &mut members,
        received.jitter_ms,
        received.lost,
        row.packets,
        percent,
    );
    members.insert("out_of_order".into(), json!(received.out_of_order));
    // Our own key, where it is known: loss at the receiver's socket and not on the way to it.
    if let Some(drops) = received.socket_drops {
        members.insert("socket_drops".into(), json!(drops));
    }
    if let Some(batching) = row.batching {
        members.insert("moved_by".into(), json!(moved_by(batching, row.sending)));
    }
    if let Some(WokenBy::Nap(nap)) = row.received.woken_by {
        members.insert("rcv_nap_us".into(), json!(nap.as_micros()));
    }
    members.insert("sender".into(), json!(row.sending));
    let Copies { sender, receiver } = &row.copies;
    let both = [("sender", sender), ("receiver", receiver)].into_iter();
    let both: Map<_, _> = both
        .filter_map(|(side, report)| Some((side.into(), copies::json(report.as_ref()?))))
        .collect();
    if !both.is_empty() {
        members.insert("zerocopy".into(), both.into());
    }
    members.into()
}

/// The system's names for how datagrams move.
fn moved_by(batching: Batching, sending: bool) -> &'static str {
    match (batching, sending) {
        (Batching::Nothing, true) => "send",
        (Batching::Calls, true) => "sendmmsg",
        (Batching::Packets, true) => "gso",
        (Batching::Nothing, false) => "recv",
        (Batching::Calls, false) => "recvmmsg",
        (Batching::Packets, false) => "gro",
    }
}

/// The sender's bytes and the receiver's losses in one object.
fn udp_sum(sum: &EndRow, totals: &EndTotals) -> Value {
    let end = totals.receiver_seconds;
    let mut members = span(None, end, end, sum.sent.bytes, sum.sent.bits_per_second);
    let received = &sum.received;
    insert_datagrams(
        &mut members,
        received.jitter_ms,
        received.lost,
        sum.packets,
        sum.lost_percent(),
    );
    members.insert("sender".into(), json!(sum.sending));
    members.into()
}

fn udp_sent(group: &EndGroup, totals: &EndTotals) -> Value {
    let mut sum = sent_span(&group.sum, totals);
    insert_datagrams(&mut sum, 0.0, Some(0), group.sum.sent.packets, 0.0);
    sum.insert("sender".into(), json!(true));
    sum.into()
}

fn udp_received(group: &EndGroup, totals: &EndTotals) -> Value {
    let received = &group.sum.received;
    let mut sum = received_span(&group.sum, totals);
    insert_datagrams(
        &mut sum,
        received.jitter_ms,
        received.lost,
        received.packets,
        group.sum.lost_percent_of_received(),
    );
    sum.insert("sender".into(), json!(false));
    sum.into()
}
