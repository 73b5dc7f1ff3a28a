//! What the JSON documents of a client and its server must contain.
//!
//! Everything here holds for any two programs that speak the protocol; checks of ours alone are marked. What
//! differs between transports is in `streams` and `udp`.

mod streams;
mod udp;

use serde_json::Value;

use crate::expectation::{Expectation, Mode, Transport};
use crate::json::{at, float, int, list, text};
use crate::peer::Peer;
use crate::problems::Problems;

/// Which end wrote a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A test may run this much longer than requested: a machine can be slow, not hung.
const SLACK_SECONDS: f64 = 20.0;
/// And on a processor that is emulated, beside others.
const EMULATED_SLACK_SECONDS: f64 = 30.0;
/// How far apart the ends of a test may be there: what the one counts as its last second the other may not.
const EMULATED_CLOCK_SECONDS: f64 = 0.9;
/// Clocks of two threads are not read in the same moment.
const CLOCK_SECONDS: f64 = 0.1;
/// A server begins when it learns that the test runs: on a busy machine later than the client, which ends the test.
const LATE_SECONDS: f64 = 0.5;
/// On a busy machine the omitted time of a real end may be longer by this, and what is counted shorter.
const OMIT_SECONDS: f64 = 0.5;

/// One direction of a test: the keys of its sums, and the streams that belong to it.
struct Flow {
    client_sends: bool,
    suffix: &'static str,
}

const TO_SERVER: Flow = Flow {
    client_sends: true,
    suffix: "",
};
const TO_CLIENT: Flow = Flow {
    client_sends: false,
    suffix: "",
};
const TO_CLIENT_TOO: Flow = Flow {
    client_sends: false,
    suffix: "_bidir_reverse",
};

fn flows(expected: &Expectation) -> &'static [Flow] {
    match expected.mode {
        Mode::Forward => &[TO_SERVER],
        Mode::Reverse => &[TO_CLIENT],
        Mode::Bidir => &[TO_SERVER, TO_CLIENT_TOO],
    }
}

impl Flow {
    /// Whether the end that wrote the document sends.
    fn sends(&self, end: End) -> bool {
        self.client_sends == (end == End::Client)
    }

    /// Those elements of an array with one for each stream that belong to this direction.
    fn streams<'a>(&self, expected: &Expectation, all: &'a [Value]) -> Vec<&'a Value> {
        let mine = |index| expected.client_sends(index) == self.client_sends;
        let numbered = all.iter().enumerate();
        let mine = numbered.filter(|(index, _)| mine(*index));
        mine.map(|(_, value)| value).collect()
    }

    fn bytes(&self, document: &Value, sum: &str) -> Option<i64> {
        int(document, &format!("/end/{sum}{}/bytes", self.suffix))
    }
}

/// Both documents of one test.
pub fn both(
    f: &mut Problems,
    client: (&Value, Peer),
    server: (&Value, Peer),
    expected: &Expectation,
) {
    document(f, client.0, End::Client, client.1, expected);
    document(f, server.0, End::Server, server.1, expected);
    agreement(f, client, server, expected);
}

/// One document alone.
pub fn document(f: &mut Problems, doc: &Value, end: End, peer: Peer, expected: &Expectation) {
    let mut own = Problems::new();
    start(&mut own, doc, end, expected);
    intervals(&mut own, doc, end, peer, expected);
    summary(&mut own, doc, end, expected);
    if expected.transport == Transport::Udp {
        udp::summary(&mut own, doc, end, peer, expected);
    } else {
        streams::summary(&mut own, doc, end, expected);
    }
    if peer == Peer::Ours {
        exact_intervals(&mut own, doc, end, expected);
    }
    own.equal("error", at(doc, "/error"), &Value::Null);
    for line in own.to_string().lines() {
        let line = line.trim_start_matches("✗ ");
        f.add(format!("{end:?} ({peer}): {line}"));
    }
}

fn start(f: &mut Problems, doc: &Value, end: End, expected: &Expectation) {
    f.equal(
        "connected",
        list(doc, "/start/connected").len(),
        expected.connections(),
    );
    for connected in list(doc, "/start/connected") {
        let known: &[&str] = if expected.tolerance.unknown_ports && end == End::Server {
            &["/socket", "/local_port"]
        } else {
            &["/socket", "/local_port", "/remote_port"]
        };
        for key in known {
            f.positive(format!("connected{key}"), int(connected, key));
        }
    }
    let version = text(doc, "/start/version").unwrap_or("");
    f.holds(
        format!("version {version:?}"),
        version.starts_with("iperf 3."),
    );
    f.holds(
        "system_info",
        text(doc, "/start/system_info").is_some_and(|s| s.starts_with("Linux ")),
    );
    f.positive("timesecs", int(doc, "/start/timestamp/timesecs"));
    let cookie = text(doc, "/start/cookie").unwrap_or("");
    let letters = cookie
        .bytes()
        .all(|c| matches!(c, b'a'..=b'z' | b'2'..=b'7'));
    f.holds(format!("cookie {cookie:?}"), cookie.len() == 36 && letters);
    let peer_key = match end {
        End::Client => "/start/connecting_to",
        End::Server => "/start/accepted_connection",
    };
    f.holds(
        format!("{peer_key}/host"),
        text(doc, &format!("{peer_key}/host")).is_some(),
    );
    if !(expected.tolerance.unknown_ports && end == End::Server) {
        f.positive(
            format!("{peer_key}/port"),
            int(doc, &format!("{peer_key}/port")),
        );
    }

    f.equal(
        "protocol",
        text(doc, "/start/test_start/protocol"),
        Some(expected.transport.name()),
    );
    if let Some(block) = expected.given_block() {
        f.equal(
            "blksize",
            int(doc, "/start/test_start/blksize"),
            i64::try_from(block).ok(),
        );
    }
    let streams = i64::try_from(expected.streams).ok();
    let unsigned = |value: Option<u64>| value.and_then(|v| i64::try_from(v).ok()).or(Some(0));
    let is_reverse = i64::from(expected.mode == Mode::Reverse);
    for (key, want) in [
        ("num_streams", streams),
        ("omit", Some(i64::from(expected.omit))),
        ("duration", Some(i64::from(expected.time.unwrap_or(0)))),
        ("bytes", unsigned(expected.bytes)),
        ("blocks", unsigned(expected.blocks)),
        ("reverse", Some(is_reverse)),
    ] {
        f.equal(key, int(doc, &format!("/start/test_start/{key}")), want);
    }
}

fn intervals(f: &mut Problems, doc: &Value, end: End, peer: Peer, expected: &Expectation) {
    let intervals = list(doc, "/intervals");
    f.holds(
        "there are intervals",
        !intervals.is_empty() || expected.tolerance.abrupt_end,
    );
    for (number, interval) in intervals.iter().enumerate() {
        let streams = list(interval, "/streams");
        f.equal(
            format!("streams of interval {number}"),
            streams.len(),
            expected.connections(),
        );
        for (index, stream) in streams.iter().enumerate() {
            let sends = expected.client_sends(index) == (end == End::Client);
            let place = format!("interval {number}, stream {index}");
            f.equal(
                format!("{place}: sender"),
                at(stream, "/sender"),
                &Value::Bool(sends),
            );
            if expected.transport == Transport::Udp {
                udp::sample(f, &place, stream, sends);
            } else {
                streams::sample(f, &place, stream, sends, peer, expected);
            }
        }
        for flow in flows(expected) {
            let sum = at(interval, &format!("/sum{}", flow.suffix));
            let place = format!("interval {number}, sum{}", flow.suffix);
            let bytes = flow
                .streams(expected, streams)
                .into_iter()
                .map(|s| int(s, "/bytes"));
            f.equal(format!("{place}: bytes"), int(sum, "/bytes"), bytes.sum());
            f.equal(
                format!("{place}: sender"),
                at(sum, "/sender"),
                &Value::Bool(flow.sends(end)),
            );
            if expected.transport == Transport::Udp {
                udp::sum(
                    f,
                    &place,
                    &flow.streams(expected, streams),
                    sum,
                    flow.sends(end),
                );
            } else if let Some(viewed) = expected.transport.is_viewed() {
                f.equal(
                    format!("{place}: has retransmits"),
                    int(sum, "/retransmits").is_some(),
                    flow.sends(end) && viewed,
                );
            }
        }
    }
}

fn summary(f: &mut Problems, doc: &Value, end: End, expected: &Expectation) {
    let streams = list(doc, "/end/streams");
    f.equal("streams at the end", streams.len(), expected.connections());
    for flow in flows(expected) {
        for (sum, of_sender) in [("sum_sent", true), ("sum_received", false)] {
            let of_client = end == End::Client && flow.client_sends == of_sender;
            let clocks = match (expected.tolerance.late_reports, expected.omit) {
                // What the server counts of a short test may be any part of it.
                (true, _) if !of_client => f64::INFINITY,
                (true, _) => EMULATED_CLOCK_SECONDS,
                (false, 0) if of_client => CLOCK_SECONDS,
                (false, 0) => LATE_SECONDS,
                (false, _) => OMIT_SECONDS,
            };
            let name = format!("{sum}{}", flow.suffix);
            if let Some(time) = expected.time {
                let time = f64::from(time);
                let got = float(doc, &format!("/end/{name}/end"));
                f.between(
                    format!("{name}: end"),
                    got,
                    time - clocks,
                    time + slack(expected),
                );
            }
        }
    }
    for side in ["host", "remote"] {
        for part in ["total", "user", "system"] {
            let key = format!("/end/cpu_utilization_percent/{side}_{part}");
            f.holds(
                key.as_str(),
                float(doc, &key).is_some_and(|percent| percent >= 0.0),
            );
        }
    }
}

/// Our own intervals lose nothing: they follow each other without a gap, add up to the summary, and as many are
/// omitted as fit into the omitted time.
fn exact_intervals(f: &mut Problems, doc: &Value, end: End, expected: &Expectation) {
    let intervals = list(doc, "/intervals");
    let length = if end == End::Client {
        expected.interval
    } else {
        1.0
    };
    let omitted = is_omitted;
    for pair in intervals.windows(2) {
        if omitted(&pair[0]) == omitted(&pair[1]) {
            let before = float(&pair[0], "/streams/0/end").unwrap_or(-1.0);
            let after = float(&pair[1], "/streams/0/start").unwrap_or(-2.0);
            f.holds(
                format!("the interval after {before} begins at {after}"),
                (before - after).abs() < 1e-4,
            );
        }
    }
    let count = intervals.iter().filter(|i| omitted(i)).count();
    if length > 0.0 {
        let wanted = f64::from(expected.omit) / length;
        f.between("omitted intervals", Some(count as f64), 0.0, wanted);
        // A starved program reports late, and then one interval for several.
        let lengths = |is_omitted: bool| -> f64 {
            let of_kind = intervals.iter().filter(|i| omitted(i) == is_omitted);
            of_kind.map(|interval| periods(interval, length)).sum()
        };
        f.holds(
            format!("omitted intervals of {} lengths", lengths(true)),
            lengths(true) >= wanted,
        );
        let counted = (intervals.len() - count) as f64;
        let least = expected
            .time
            .map_or(1.0, |time| (f64::from(time) / length).floor());
        let fewest = if expected.tolerance.late_reports {
            1.0
        } else {
            least.max(1.0)
        };
        let most = least + slack(expected) / length;
        f.between("counted intervals", Some(counted), 1.0, most);
        f.holds(
            format!("counted intervals of {} lengths", lengths(false)),
            lengths(false) >= fewest,
        );
    } else if expected.omit == 0 {
        f.equal("intervals with -i 0", intervals.len(), 1);
    }
    for flow in flows(expected) {
        let sum = if flow.sends(end) {
            "sum_sent"
        } else {
            "sum_received"
        };
        let counted = intervals.iter().filter(|interval| !omitted(interval));
        let bytes = counted.map(|i| int(i, &format!("/sum{}/bytes", flow.suffix)));
        f.equal(
            format!("bytes of all intervals and {sum}{}", flow.suffix),
            bytes.sum(),
            flow.bytes(doc, sum),
        );
    }
    if expected.transport != Transport::Udp {
        streams::exact_streams(f, doc, end, expected);
    }
}

/// How much longer than requested a test may last.
fn slack(expected: &Expectation) -> f64 {
    if expected.tolerance.late_reports {
        EMULATED_SLACK_SECONDS
    } else {
        SLACK_SECONDS
    }
}

/// For how many reports an interval stands, at least one.
fn periods(interval: &Value, length: f64) -> f64 {
    let time = |key: &str| float(interval, &format!("/streams/0/{key}")).unwrap_or(0.0);
    ((time("end") - time("start")) / length).round().max(1.0)
}

fn is_omitted(interval: &Value) -> bool {
    at(interval, "/streams/0/omitted") == &Value::Bool(true)
}

/// What one end counted, the other end learned; and both saw the same connections.
fn agreement(
    f: &mut Problems,
    client: (&Value, Peer),
    server: (&Value, Peer),
    expected: &Expectation,
) {
    let ((client, client_peer), (server, server_peer)) = (client, server);
    let cookie = |doc| text(doc, "/start/cookie").map(str::to_owned);
    f.equal("the server's cookie", cookie(server), cookie(client));
    let ports = |doc: &Value, key: &str| -> Vec<Option<i64>> {
        let connected = list(doc, "/start/connected");
        connected.iter().map(|c| int(c, key)).collect()
    };
    if !expected.tolerance.unknown_ports {
        f.equal(
            "ports that the server saw",
            ports(server, "/remote_port"),
            ports(client, "/local_port"),
        );
    }
    for flow in flows(expected) {
        let (sum, sender) = if flow.client_sends {
            ("sum_received", client_peer)
        } else {
            ("sum_sent", server_peer)
        };
        let (learned, counted) = (flow.bytes(client, sum), flow.bytes(server, sum));
        // The threads of a real server may still count a block while it writes its results.
        let late = if server_peer == Peer::Ours {
            0
        } else {
            expected.block * expected.streams as u64
        };
        f.holds(
            format!(
                "{sum}{}: the server counted {counted:?}, the client learned {learned:?}",
                flow.suffix
            ),
            learned
                .zip(counted)
                .is_some_and(|(a, b)| a.abs_diff(b) <= late),
        );
        if let Some(quota) = expected.quota() {
            quota_met(f, client, flow, expected, quota, sender);
        }
    }
}

/// A sender stops at its quota: exactly there with one stream, with several at most a block a stream later. A
/// real one looks at the total only every ten blocks, and with a plain rate it goes on until the client ends the
/// test. With two directions the one that is done first ends both.
fn quota_met(
    f: &mut Problems,
    client: &Value,
    flow: &Flow,
    expected: &Expectation,
    quota: u64,
    sender: Peer,
) {
    const TURN: u64 = 10;
    if expected.mode == Mode::Bidir {
        return;
    }
    let sent = flow.bytes(client, "sum_sent").map(|bytes| bytes as f64);
    let others = (expected.streams as u64 - 1) * expected.block;
    let more = match sender {
        Peer::Ours if expected.tolerance.more_than_quota => f64::INFINITY,
        Peer::Ours => others as f64,
        _ if expected.paced => f64::INFINITY,
        _ => (others * TURN) as f64,
    };
    // A client that ends the test abruptly may do so before a real server has counted its last block.
    // So may one that receives, if a slow machine delivers the last block in pieces: it then has the amount it wanted.
    let last = match sender {
        Peer::Ours if expected.tolerance.late_reports && !flow.client_sends => expected.block,
        Peer::Ours => 0,
        _ if expected.tolerance.abrupt_end => expected.block,
        _ => 0,
    };
    let least = match expected.blocks {
        Some(reads) if expected.tolerance.reads_for_blocks && !flow.client_sends => reads,
        _ => quota - last,
    };
    f.between(
        "bytes sent for the quota",
        sent,
        least as f64,
        quota as f64 + more,
    );
}
