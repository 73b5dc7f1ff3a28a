//! What is special about UDP: datagrams are counted at both ends, and each stream has one object for both.

use serde_json::Value;

use super::{End, Flow, flows};
use crate::expectation::Expectation;
use crate::json::{at, float, int, list};
use crate::peer::Peer;
use crate::problems::Problems;

/// Real ends read the counters of a stream one after another, while it runs: the counts may differ by this many datagrams.
const APART: i64 = 4;
/// And by this many more if they do not subtract the omitted ones.
const APART_BY_OMIT: i64 = 40;

/// And by one call with offload: iperf3 numbers its datagrams before the call and counts its bytes behind it, and a test
/// that ends in between stops it there. This is the most that a call carries, in bytes.
const APART_BY_OFFLOAD: i64 = 65_535;

/// What only a receiver can count.
const RECEIVED: [&str; 3] = ["jitter_ms", "lost_packets", "lost_percent"];

/// One stream in one interval.
pub(super) fn sample(f: &mut Problems, place: &str, stream: &Value, sends: bool) {
    let packets = int(stream, "/packets");
    f.holds(format!("{place}: packets {packets:?}"), packets >= Some(0));
    for key in RECEIVED {
        let present = stream.get(key).is_some();
        f.equal(format!("{place}: has {key}"), present, !sends);
    }
    f.equal(
        format!("{place}: has retransmits"),
        stream.get("retransmits").is_some(),
        false,
    );
}

/// The sum of one direction in one interval.
pub(super) fn sum(f: &mut Problems, place: &str, streams: &[&Value], sum: &Value, sends: bool) {
    let counted: &[&str] = if sends {
        &["/packets"]
    } else {
        &["/packets", "/lost_packets"]
    };
    for key in counted {
        let total = streams.iter().map(|stream| int(stream, key)).sum();
        f.equal(format!("{place}: {key}"), int(sum, key), total);
    }
    f.equal(
        format!("{place}: has jitter_ms"),
        float(sum, "/jitter_ms").is_some(),
        !sends,
    );
}

/// The end: one object for each stream, and three sums for each direction.
pub(super) fn summary(f: &mut Problems, doc: &Value, end: End, peer: Peer, expected: &Expectation) {
    let block = int(doc, "/start/test_start/blksize").unwrap_or(0);
    let streams = list(doc, "/end/streams");
    for flow in flows(expected) {
        let sends = flow.sends(end);
        for (index, stream) in flow.streams(expected, streams).iter().enumerate() {
            let place = format!("stream {index}{}", flow.suffix);
            f.equal(
                format!("{place}: sender"),
                at(stream, "/udp/sender"),
                &Value::Bool(sends),
            );
            if sends || !expected.tolerance.abrupt_end {
                f.positive(format!("{place}: packets"), int(stream, "/udp/packets"));
            }
            f.holds(
                format!("{place}: out_of_order"),
                int(stream, "/udp/out_of_order") >= Some(0),
            );
        }
        for (name, role) in [("sum", sends), ("sum_sent", true), ("sum_received", false)] {
            let key = format!("/end/{name}{}/sender", flow.suffix);
            f.equal(key.as_str(), at(doc, &key), &Value::Bool(role));
        }
        if sends || end == End::Client {
            let key = |name: &str| format!("/end/sum_sent{}/{name}", flow.suffix);
            let (bytes, packets) = (int(doc, &key("bytes")), int(doc, &key("packets")));
            let sent = flow.streams(expected, streams).into_iter();
            let sent = sent.map(|stream| int(stream, "/udp/bytes"));
            f.equal("bytes sent by all streams", bytes, sent.sum());
            if peer == Peer::Ours {
                let apart = if sends { 0 } else { apart(expected, block) };
                same(f, "sent", bytes, packets, block, apart);
            }
        }
        if (!sends || end == End::Client) && !expected.tolerance.abrupt_end {
            let apart = match (sends, expected.omit) {
                (true, _) => apart(expected, block),
                (_, 0) => 0,
                _ => i64::try_from(expected.streams).unwrap_or(0),
            };
            received(f, doc, flow, block, apart, peer);
        }
    }
}

/// How many datagrams the counts of a real end may differ by.
fn apart(expected: &Expectation, block: i64) -> i64 {
    let each = if expected.omit > 0 {
        APART_BY_OMIT
    } else {
        APART
    };
    let call = if expected.offload {
        APART_BY_OFFLOAD / block.max(1)
    } else {
        0
    };
    (each + call) * i64::try_from(expected.streams).unwrap_or(0)
}

/// What arrived: no more than was sent, and every datagram that did not arrive is lost. Real ends are not that exact.
fn received(f: &mut Problems, doc: &Value, flow: &Flow, block: i64, apart: i64, peer: Peer) {
    let suffix = flow.suffix;
    let key = |name: &str| int(doc, &format!("/end/sum_received{suffix}/{name}"));
    let (bytes, packets, lost) = (key("bytes"), key("packets"), key("lost_packets"));
    f.positive(format!("bytes received{suffix}"), bytes);
    f.holds(
        format!("{lost:?} lost of {packets:?}{suffix}"),
        lost >= Some(0) && lost <= packets,
    );
    if peer == Peer::Ours {
        let arrived = packets.zip(lost).map(|(all, lost)| all - lost);
        same(
            f,
            &format!("received{suffix}"),
            bytes,
            arrived,
            block,
            apart,
        );
    }
}

/// The bytes and the datagrams agree, or almost.
fn same(
    f: &mut Problems,
    what: &str,
    bytes: Option<i64>,
    datagrams: Option<i64>,
    block: i64,
    apart: i64,
) {
    let difference = bytes.zip(datagrams.map(|n| n * block)).map(|(a, b)| a - b);
    f.holds(
        format!("{bytes:?} bytes {what} are {datagrams:?} datagrams of {block}"),
        difference.is_some_and(|bytes| bytes.abs() <= apart * block),
    );
}
