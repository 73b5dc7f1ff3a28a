//! ntttcp's XML and JSON: the same tree, in which the totals are the root's own children.

use std::io::Read;

use quick_xml::events::Event;
use serde_json::Value;

use super::Totals;
use crate::error::{ReadError, ReadErrorKind};
use crate::figures::{amount, leading, seconds};
use crate::input::Input;
use crate::readers::outcome::{Outcome, push};
use crate::record::Record;
use crate::tool::Tool;

/// A result of a thousand threads has some 500 KiB.
const MAX_JSON: u64 = 64 << 20;
/// A value in the XML has a few bytes.
const MAX_TEXT: usize = 4096;

/// Reads an XML result: a stream of elements, of which those right below the root matter.
pub(super) fn read_xml(input: Input<'_>, out: &mut Vec<Record>) -> Outcome {
    let file = input.file;
    let fault = |reason| ReadError::new(&file, None, ReadErrorKind::Malformed(reason));
    let mut reader = quick_xml::Reader::from_reader(input.bytes);
    let mut record = Record::new(Tool::Ntttcp, &file, 1);
    let mut totals = Totals::default();
    let mut path: Vec<(String, String)> = Vec::new();
    let (mut text, mut buffer) = (String::new(), Vec::new());
    loop {
        buffer.clear();
        let event = reader
            .read_event_into(&mut buffer)
            .map_err(|error| fault(format!("not the XML of ntttcp: {error}")))?;
        match event {
            Event::Start(element) => {
                if path.len() > 16 {
                    return Err(fault("elements are nested too deep for ntttcp".into()));
                }
                let attribute = |key: &str| {
                    let value = element.try_get_attribute(key).ok().flatten();
                    value.map(|value| String::from_utf8_lossy(&value.value).into_owned())
                };
                let name = String::from_utf8_lossy(element.name().as_ref()).into_owned();
                if path.is_empty() {
                    totals.receiver = name == "ntttcpr";
                    record.version = attribute("version");
                }
                let metric = attribute("metric").unwrap_or_default();
                path.push((name, metric));
                text.clear();
            }
            Event::Text(piece) if text.len() < MAX_TEXT => {
                text.push_str(&String::from_utf8_lossy(&piece));
            }
            Event::End(_) => {
                if let Some((name, metric)) = path.pop() {
                    match path.as_slice() {
                        [_root] => total(&mut totals, &name, &metric, text.trim()),
                        [_root, (parent, _)] if parent == "parameters" => {
                            parameter(&mut totals, &name, text.trim());
                        }
                        _ => {}
                    }
                }
                text.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !path.is_empty() {
        return Err(fault("the XML is cut off".into()));
    }
    finish(totals, record, out)
}

/// Reads a JSON result.
pub(super) fn read_json(input: Input<'_>, out: &mut Vec<Record>) -> Outcome {
    let file = input.file;
    let fault =
        |line, reason: String| ReadError::new(&file, line, ReadErrorKind::Malformed(reason));
    let value: Value = serde_json::from_reader(input.bytes.take(MAX_JSON)).map_err(|error| {
        let reason = format!("not the JSON of ntttcp: {error}");
        fault(error.line() as u64, reason)
    })?;
    let mut record = Record::new(Tool::Ntttcp, &file, 1);
    let mut totals = Totals {
        receiver: value.get("ntttcpr").is_some(),
        ..Totals::default()
    };
    let root = value.get("ntttcpr").or_else(|| value.get("ntttcps"));
    let root = root
        .and_then(Value::as_object)
        .ok_or_else(|| fault(1, "neither ntttcps nor ntttcpr in it".into()))?;
    record.version = root
        .get("version")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    for (name, member) in root {
        match member {
            Value::String(value) => total(&mut totals, name, "", value),
            Value::Array(list) if name == "throughputs" => {
                for rate in list {
                    total(
                        &mut totals,
                        "throughput",
                        &text(rate, "metric"),
                        &text(rate, "value"),
                    );
                }
            }
            Value::Object(_) if name == "parameters" => {
                for key in ["udp", "port"] {
                    parameter(&mut totals, key, &text(member, key));
                }
            }
            Value::Object(_) => total(
                &mut totals,
                name,
                &text(member, "metric"),
                &text(member, "value"),
            ),
            _ => {}
        }
    }
    totals.connections = root
        .get("threads")
        .and_then(Value::as_array)
        .map(|threads| threads.len() as f64);
    finish(totals, record, out)
}

fn finish(totals: Totals, record: Record, out: &mut Vec<Record>) -> Outcome {
    let file = record.source.file.clone();
    let refused = |reason: &str| ReadError::new(&file, None, ReadErrorKind::refused(reason));
    push(out, totals.record(record).map_err(refused)?)
}

/// A total by its name in XML or JSON. Sizes are in 10⁶ bytes, in spite of the metric `MB`.
fn total(totals: &mut Totals, name: &str, metric: &str, text: &str) {
    match name {
        "total_bytes" | "totalBytes" => {
            totals.bytes = amount(text).map(|megabytes| (megabytes * 1e6).round());
        }
        "realtime" | "realTime" => totals.seconds = amount(text),
        "throughput" if metric == "Bps" => totals.rate = amount(text).map(|bytes| bytes * 8.0),
        "packets_retransmitted" => totals.retransmits = amount(text),
        "conns_tested" => totals.connections = amount(text),
        "cpu_busy_all" | "cpu" => totals.cpu_busy = amount(text),
        "tcp_average_rtt" => totals.rtt = amount(text).map(|us| us * 1e-6),
        "tcpAverageRtt metric" => totals.rtt = seconds(text),
        "os" => totals.system = system(text),
        _ => {}
    }
}

fn parameter(totals: &mut Totals, name: &str, text: &str) {
    if name == "udp" {
        totals.transport = Some(if text == "True" { "udp" } else { "tcp" }.into());
    }
}

/// Name and release of `uname`, without the host's name between them.
fn system(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let release = words.get(2).filter(|release| leading(release).is_some())?;
    Some(format!("{} {release}", words[0]))
}
