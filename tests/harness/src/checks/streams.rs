//! What is special about byte streams: two halves of each, and where it has one the kernel's view of a sender.

use serde_json::Value;

use super::{End, flows, is_omitted};
use crate::expectation::{Expectation, Transport};
use crate::json::{at, int, list, text};
use crate::peer::Peer;
use crate::problems::Problems;

/// The kernel's view of a stream: on senders, and on no receiver.
pub(super) fn sample(
    f: &mut Problems,
    place: &str,
    stream: &Value,
    sends: bool,
    peer: Peer,
    expected: &Expectation,
) {
    let Some(viewed) = expected.transport.is_viewed() else {
        return;
    };
    let reorder: &[&str] = if peer == Peer::Old { &[] } else { &["reorder"] };
    for key in [
        "retransmits",
        "snd_cwnd",
        "snd_wnd",
        "rtt",
        "rttvar",
        "pmtu",
    ]
    .iter()
    .chain(reorder)
    {
        f.equal(
            format!("{place}: has {key}"),
            stream.get(key).is_some(),
            sends && viewed,
        );
    }
}

/// Our documents have Jain's index of several streams' bytes, (Σx)² / (n·Σx²); iperf3's don't.
fn fairness(f: &mut Problems, doc: &Value, sum: &str, streams: &[&Value], key: &str) {
    let is_ours = text(doc, "/start/version").is_some_and(|version| version.contains("iperf-rs"));
    let bytes: Vec<f64> = (streams.iter())
        .filter_map(|stream| at(stream, key).as_f64())
        .collect();
    let total: f64 = bytes.iter().sum();
    let squares: f64 = bytes.iter().map(|bytes| bytes * bytes).sum();
    let expected = (is_ours && bytes.len() > 1 && total > 0.0)
        .then(|| total * total / (bytes.len() as f64 * squares));
    let index = at(doc, &format!("/end/{sum}/jain_index")).as_f64();
    let agree = match (index, expected) {
        (Some(index), Some(expected)) => (index - expected).abs() < 1e-6,
        (index, expected) => index == expected,
    };
    let message = format!("{sum}: Jain's index is {index:?}, that of the streams {expected:?}");
    f.holds(message, agree);
}

/// The bytes that a stream moved in the omitted period.
fn omitted(doc: &Value, stream: usize) -> i64 {
    let intervals = list(doc, "/intervals").iter();
    let omitted = intervals.filter(|interval| is_omitted(interval));
    let bytes = omitted.filter_map(|interval| int(interval, &format!("/streams/{stream}/bytes")));
    bytes.sum()
}

/// What a stream's receiver counted was sent.
fn no_more_than_was_sent(f: &mut Problems, doc: &Value, index: usize, expected: &Expectation) {
    let count = |half: &str| int(doc, &format!("/end/streams/{index}/{half}/bytes"));
    let (sent, received) = (count("sender"), count("receiver"));
    // A sender counts a block when it is written, and a receiver may have begun to count it by then. And the two ends
    // stop to omit at different moments; a starved end of iperf3 may count all that it omitted.
    let in_flight = i64::try_from(expected.block).unwrap_or(0);
    let omitted = omitted(doc, index);
    let before = |sent| {
        if expected.omit > 0 {
            omitted.max(sent / 2)
        } else {
            0
        }
    };
    f.holds(
        format!("stream {index}: {received:?} received of {sent:?} sent, {omitted} omitted"),
        received <= sent.map(|sent| sent + in_flight + before(sent)),
    );
}

/// The two halves of each stream, and what they add up to.
pub(super) fn summary(f: &mut Problems, doc: &Value, end: End, expected: &Expectation) {
    let viewed = expected.transport.is_viewed();
    let streams = list(doc, "/end/streams");
    for (index, stream) in streams.iter().enumerate() {
        let sends = expected.client_sends(index) == (end == End::Client);
        for half in ["sender", "receiver"] {
            let flag = at(stream, &format!("/{half}/sender"));
            f.equal(
                format!("stream {index}, {half}: sender"),
                flag,
                &Value::Bool(sends),
            );
        }
        let own = if sends {
            "/sender/bytes"
        } else {
            "/receiver/bytes"
        };
        let tolerance = expected.tolerance;
        if !tolerance.one_direction && (sends || !tolerance.abrupt_end) {
            f.positive(format!("stream {index}: {own}"), int(stream, own));
        }
        let (sent, received) = (int(stream, "/sender/bytes"), int(stream, "/receiver/bytes"));
        if end == End::Client {
            let peers = if sends { received } else { sent };
            if !(tolerance.one_direction || sends && tolerance.abrupt_end) {
                f.positive(format!("stream {index}: the peer's bytes"), peers);
            }
            no_more_than_was_sent(f, doc, index, expected);
        }
        let Some(viewed) = viewed else { continue };
        let statistics = viewed && (sends || end == End::Client);
        for key in [
            "retransmits",
            "max_snd_cwnd",
            "max_rtt",
            "min_rtt",
            "mean_rtt",
        ] {
            let present = int(stream, &format!("/sender/{key}")).is_some();
            f.equal(
                format!("stream {index}, sender: has {key}"),
                present,
                statistics,
            );
        }
    }
    for flow in flows(expected) {
        for (sum, half) in [("sum_sent", "sender"), ("sum_received", "receiver")] {
            let key = format!("/{half}/bytes");
            let bytes = flow
                .streams(expected, streams)
                .into_iter()
                .map(|s| int(s, &key));
            let name = format!("{sum}{}", flow.suffix);
            f.equal(format!("{name}: bytes"), flow.bytes(doc, sum), bytes.sum());
            let of_flow = flow.streams(expected, streams);
            fairness(f, doc, &name, &of_flow, &key);
        }
    }
    let names = ["sender_tcp_congestion", "receiver_tcp_congestion"];
    let known = names
        .iter()
        .filter(|key| text(doc, &format!("/end/{key}")).is_some_and(|s| !s.is_empty()));
    let (least, most) = match (expected.transport == Transport::Tcp, end) {
        (true, End::Client) => (2, 2),
        (true, End::Server) => (1, 2),
        (false, _) => (0, 0),
    };
    let known = known.count();
    f.holds(
        format!("{known} names of congestion controls"),
        (least..=most).contains(&known),
    );
}

/// Our own intervals add up to the summary, stream by stream.
pub(super) fn exact_streams(f: &mut Problems, doc: &Value, end: End, expected: &Expectation) {
    for (index, stream) in list(doc, "/end/streams").iter().enumerate() {
        let sends = expected.client_sends(index) == (end == End::Client);
        let own = if sends {
            "/sender/bytes"
        } else {
            "/receiver/bytes"
        };
        let counted = list(doc, "/intervals").iter().filter(|i| !is_omitted(i));
        let bytes = counted.map(|i| int(i, &format!("/streams/{index}/bytes")));
        f.equal(
            format!("stream {index}: bytes of all intervals"),
            bytes.sum(),
            int(stream, own),
        );
    }
}
