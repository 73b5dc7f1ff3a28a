//! qperf: `test:` and lines `name = value unit`, each test a run. Rates are 1000-based, a latency is half of a round
//! trip. A loop over sizes (`-oo msg_size:…`) repeats a test without printing the size.

use std::collections::BTreeMap;

use crate::figures::{decimal, leading, whole};
use crate::input::Lines;
use crate::readers::outcome::{Outcome, THREE_DIGITS, push};
use crate::record::{Direction, Record, TestKind};
use crate::tool::Tool;

/// Whether a line is the heading of a test.
pub(crate) fn is_heading(text: &str) -> bool {
    text.strip_suffix(':').is_some_and(|name| {
        let known = [
            "tcp_", "udp_", "sctp_", "sdp_", "rds_", "rc_", "uc_", "ud_", "xrc_", "ver_rc", "conf",
            "quit",
        ];
        known.iter().any(|prefix| name.starts_with(prefix))
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    })
}

/// Reads every test of the input.
pub(super) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    let first = out.len();
    while let Some(line) = lines.next()? {
        let text = line.text.as_str();
        if is_heading(text) {
            let record = Record::new(Tool::Qperf, lines.file(), line.number);
            push(out, test(record, &text[..text.len() - 1]))?;
        } else if let Some((name, value)) = text.split_once('=').filter(|_| text.starts_with(' ')) {
            if let Some(record) = out.last_mut() {
                figure(record, name.trim(), value.trim());
            }
        } else if text.starts_with("failed")
            || text.contains("error:")
            || text.starts_with("timeout")
        {
            return Err(lines.refuse(line.number, "the run failed"));
        }
    }
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    for record in &mut out[first..] {
        if record.metrics.iter().all(|metric| metric.name == "seconds") {
            return Err(lines.refuse(
                record.source.line,
                "a test without figures: it failed, or the output is cut off",
            ));
        }
        let turn = turns.entry(name_of(record)).or_default();
        *turn += 1;
        record.set_other("turn", turn);
        record.sort();
    }
    for record in &mut out[first..] {
        if turns[&name_of(record)] > 1 {
            record.note("the test is repeated, and the size of each turn is not in the output");
        } else {
            record.parameters.other.remove("turn");
        }
    }
    Ok(())
}

fn name_of(record: &Record) -> String {
    record
        .parameters
        .other
        .get("test")
        .cloned()
        .unwrap_or_default()
}

fn test(mut record: Record, name: &str) -> Record {
    let (transport, what) = name.split_once('_').unwrap_or(("", name));
    let parameters = &mut record.parameters;
    parameters.transport = Some(transport.to_owned());
    parameters.kind = match what {
        "bw" => Some(TestKind::Stream),
        "lat" => Some(TestKind::RequestResponse),
        _ => None,
    };
    parameters.direction = (what == "bw").then_some(Direction::Forward);
    record.set_other("test", &name);
    record
}

fn figure(record: &mut Record, name: &str, text: &str) {
    let Some((value, unit)) = leading(text) else {
        return;
    };
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return;
    }
    let plain = unit.starts_with("bytes");
    let bits = |value: f64| {
        let prefix = unit.strip_suffix("B/sec").or(plain.then_some(""));
        prefix.and_then(decimal).map(|scale| value * scale * 8.0)
    };
    let per_second = unit
        .strip_suffix("/sec")
        .and_then(decimal)
        .map(|scale| value * scale);
    match name {
        "bw" | "recv_bw" => record.set("throughput", bits(value)),
        "send_bw" => record.set("throughput.sent", bits(value)),
        "latency" => {
            let latency = crate::figures::seconds(text).map(|half| half * 2.0);
            record.set("latency.mean", latency);
            record.note("qperf printed half a round trip; doubled");
        }
        "msg_rate" => record.set("messages", per_second),
        "time" => record.set("seconds", crate::figures::seconds(text)),
        "send_cost" => record.set("cpu.sender", (unit == "sec/GB").then_some(value)),
        "recv_cost" => record.set("cpu.receiver", (unit == "sec/GB").then_some(value)),
        "msg_size" => record.parameters.block = whole(value),
        "recv_bytes" if plain => record.set("bytes", value),
        _ => return,
    }
    if !plain && matches!(name, "bw" | "recv_bw" | "latency") {
        record.note(THREE_DIGITS);
    }
}
