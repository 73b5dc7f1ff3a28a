//! What the objects `zerocopy` of both documents must contain in every mode.
//!
//! ```text
//! client's document    streams[i].sender.zerocopy  streams[i].receiver.zerocopy  sum_*.zerocopy    both ends
//! server's document    the same, but only of the ends that are the server's
//! ```

use iperf_harness::Problems;
use iperf_harness::json::{at, float, int, list, text};
use serde_json::Value;

/// The mode requested of one kind of end, and what it may report.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedMode {
    pub(super) requested: &'static str,
    /// Modes that it may have used.
    pub(super) used: &'static [&'static str],
    /// Whether it must give a reason, must not, or may.
    pub(super) reason: Option<bool>,
}

impl ExpectedMode {
    /// Uses the requested mode.
    pub(super) const fn plain(requested: &'static str, used: &'static [&'static str]) -> Self {
        Self {
            requested,
            used,
            reason: Some(false),
        }
    }

    pub(super) const fn because(self) -> Self {
        Self {
            reason: Some(true),
            ..self
        }
    }

    pub(super) const fn perhaps_because(self) -> Self {
        Self {
            reason: None,
            ..self
        }
    }
}

/// What both documents are compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedReport {
    pub(super) send: ExpectedMode,
    pub(super) receive: ExpectedMode,
    /// Both directions at once.
    pub(super) bidir: bool,
    /// Nothing was omitted: the objects count exactly the bytes that the streams count.
    pub(super) exact: bool,
}

const SIDES: [&str; 2] = ["sender", "receiver"];

const COUNTS: [&str; 6] = [
    "bytes_not_copied",
    "bytes_copied",
    "calls",
    "mappings",
    "completions",
    "completions_copied",
];

/// Checks both documents of a test over byte streams.
pub(super) fn both(f: &mut Problems, client: &Value, server: &Value, wanted: &ExpectedReport) {
    let streams = list(client, "/end/streams");
    let theirs = list(server, "/end/streams");
    f.equal("the server's streams", theirs.len(), streams.len());
    f.holds("there are streams", !streams.is_empty());
    for (index, (ours, theirs)) in streams.iter().zip(theirs).enumerate() {
        let client_sends = at(ours, "/sender/sender") == &Value::Bool(true);
        f.equal(
            format!("stream {index}: which end sends, as the server has it"),
            at(theirs, "/sender/sender"),
            &Value::Bool(!client_sends),
        );
        for side in SIDES {
            let name = format!("stream {index}: {side}");
            let way = if side == "sender" {
                wanted.send
            } else {
                wanted.receive
            };
            let object = of_stream(ours, side);
            let bytes = int(ours, &format!("/{side}/bytes"));
            end(f, &name, object, way, bytes.filter(|_| wanted.exact));
            let is_servers = (side == "sender") != client_sends;
            let known = if is_servers { object } else { &Value::Null };
            let by_server = of_stream(theirs, side);
            f.equal(format!("{name}, by the server"), by_server, known);
            if is_servers && wanted.exact {
                let by_server = int(theirs, &format!("/{side}/bytes"));
                f.equal(format!("{name}: bytes, by the server"), by_server, bytes);
            }
        }
    }
    for (doc, is_client) in [(client, true), (server, false)] {
        sums(f, doc, is_client, wanted.bidir);
    }
}

/// The object of one end of a stream.
pub(super) fn of_stream<'a>(stream: &'a Value, side: &str) -> &'a Value {
    at(stream, &format!("/{side}/zerocopy"))
}

/// Checks one end. `bytes` went through it, if that is known.
pub(super) fn end(
    f: &mut Problems,
    name: &str,
    object: &Value,
    way: ExpectedMode,
    bytes: Option<i64>,
) {
    f.equal(
        format!("{name}: requested"),
        text(object, "/requested"),
        Some(way.requested),
    );
    let used = text(object, "/used").unwrap_or("nothing");
    // Of several streams one may get nothing of a small quota.
    let idle = int(object, "/calls") == Some(0);
    f.holds(
        format!("{name}: used {used}, not one of {:?}", way.used),
        idle || way.used.contains(&used),
    );
    let reason = text(object, "/reason");
    let gives = reason.is_some_and(|reason| !reason.is_empty());
    f.holds(
        format!("{name}: reason {reason:?}"),
        idle || way.reason.is_none_or(|must| must == gives),
    );
    // A mode other than the requested one always has a reason.
    if used != way.requested && way.requested != "auto" {
        f.holds(format!("{name}: {used} without a reason"), gives);
    }
    let count = |key: &str| int(object, &format!("/{key}")).unwrap_or(-1);
    for key in COUNTS {
        f.holds(format!("{name}: {key} {}", count(key)), count(key) >= 0);
    }
    let all = count("bytes_not_copied") + count("bytes_copied");
    if let Some(bytes) = bytes {
        f.equal(format!("{name}: bytes copied and not"), all, bytes);
    }
    f.holds(
        format!("{name}: {all} bytes in {} calls", count("calls")),
        all == 0 || count("calls") > 0,
    );

    let (mappings, mapped) = (count("mappings"), count("bytes_not_copied"));
    let maps = way.requested == "mmap" && mapped > 0;
    f.holds(
        format!("{name}: {mappings} mappings of {mapped} bytes"),
        (mappings > 0) == maps,
    );
    f.equal(
        format!("{name}: bytes_per_mapping"),
        count("bytes_per_mapping"),
        if mappings > 0 { mapped / mappings } else { 0 },
    );
    // Over loopback the kernel copies after all what was sent with MSG_ZEROCOPY, and reports that for each call.
    let sends = if used == "msg" { count("calls") } else { 0 };
    f.equal(format!("{name}: completions"), count("completions"), sends);
    f.equal(
        format!("{name}: completions_copied"),
        count("completions_copied"),
        sends,
    );
    if used == "copy" && way.requested != "mmap" || used == "msg" {
        f.equal(format!("{name}: bytes_not_copied"), mapped, 0);
    }
    if way.reason == Some(false) && matches!(used, "sendfile" | "splice" | "trunc") {
        f.equal(format!("{name}: bytes_copied"), count("bytes_copied"), 0);
    }
    f.between(
        format!("{name}: cpu_seconds_per_gigabyte"),
        float(object, "/cpu_seconds_per_gigabyte"),
        0.0,
        1e6,
    );
}

/// Sums are sums of the streams that go the same way.
fn sums(f: &mut Problems, doc: &Value, is_client: bool, bidir: bool) {
    let label = if is_client { "client" } else { "server" };
    for (suffix, is_forward) in [("", true), ("_bidir_reverse", false)] {
        if !is_forward && !bidir {
            continue;
        }
        let streams: Vec<&Value> = list(doc, "/end/streams")
            .iter()
            .filter(|stream| {
                let sends = at(stream, "/sender/sender") == &Value::Bool(true);
                !bidir || (sends == is_client) == is_forward
            })
            .collect();
        for (side, key) in [("sender", "sum_sent"), ("receiver", "sum_received")] {
            let name = format!("{label}: {key}{suffix}");
            let sum = at(doc, &format!("/end/{key}{suffix}/zerocopy"));
            let parts: Vec<&Value> = streams.iter().map(|s| of_stream(s, side)).collect();
            if parts.iter().any(|part| part.is_null()) {
                f.equal(name, sum, &Value::Null);
                continue;
            }
            let first = parts.first().copied().unwrap_or(&Value::Null);
            f.equal(
                format!("{name}: requested"),
                at(sum, "/requested"),
                at(first, "/requested"),
            );
            for count in COUNTS {
                let pointer = format!("/{count}");
                let total: Option<i64> = parts.iter().map(|part| int(part, &pointer)).sum();
                f.equal(format!("{name}: {count}"), int(sum, &pointer), total);
            }
            // One stream that fell back shows in the sum.
            let uses = |mode: &str| parts.iter().any(|part| text(part, "/used") == Some(mode));
            let used = text(sum, "/used").unwrap_or("nothing");
            f.holds(format!("{name}: used {used}"), uses(used));
            f.holds(
                format!("{name}: used {used}, where a stream fell back"),
                used == "copy" || !uses("copy"),
            );
        }
    }
}

/// Neither document has the key anywhere: nothing was requested.
pub(super) fn nowhere(f: &mut Problems, client: &Value, server: &Value) {
    for (label, doc) in [("client", client), ("server", server)] {
        let streams = list(doc, "/end/streams");
        let silent = streams
            .iter()
            .all(|stream| SIDES.iter().all(|side| of_stream(stream, side).is_null()));
        f.holds(format!("{label}: nothing is reported about copies"), silent);
        for key in ["sum_sent", "sum_received"] {
            let object = at(doc, &format!("/end/{key}/zerocopy"));
            f.equal(format!("{label}: {key}"), object, &Value::Null);
        }
    }
}
