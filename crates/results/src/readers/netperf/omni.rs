//! The omni outputs, as pairs of netperf's selectors and values.

use std::collections::BTreeMap;

use super::{Rate, count, demands, rate_unit};
use crate::figures::{amount, number};
use crate::record::{Direction, Record, TestKind};

/// Selector and value.
pub(super) type Figures = BTreeMap<String, String>;

/// Every selector there is, and some: a file with more is not netperf's.
const MAX_FIGURES: usize = 1000;

/// What the lines of an omni output add up to.
#[derive(Default)]
pub(super) struct Omni {
    figures: Figures,
    /// The names of a CSV's columns, until its values come.
    columns: Option<Vec<String>>,
    /// The heading lines of a padded table, until its values come.
    headings: Vec<String>,
}

impl Omni {
    /// Takes a line, or returns false if it is none of an omni output.
    pub(super) fn line(&mut self, text: &str) -> bool {
        if let Some(columns) = self.columns.take() {
            let values = fields(text);
            self.figures
                .extend(columns.into_iter().zip(values).take(MAX_FIGURES));
            return true;
        }
        if let Some((name, value)) = text.split_once('=') {
            let is_selector = !name.is_empty()
                && name
                    .bytes()
                    .all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
            if is_selector && self.figures.len() < MAX_FIGURES {
                self.figures
                    .insert(name.to_owned(), value.trim_matches('"').to_owned());
            }
            return is_selector;
        }
        if text.contains("Throughput,") || text.contains(",Throughput Units") {
            self.columns = Some(
                fields(text)
                    .iter()
                    .filter_map(|name| selector(name))
                    .collect(),
            );
            return true;
        }
        self.padded(text)
    }

    pub(super) fn figures(self) -> Option<Figures> {
        (!self.figures.is_empty()).then_some(self.figures)
    }

    /// A line of `-O`: headings over several lines, cut into columns by where the values begin.
    fn padded(&mut self, text: &str) -> bool {
        let first = self.headings.is_empty();
        if first && !(text.starts_with("Throughput ") || text.contains(" Throughput Throughput ")) {
            return false;
        }
        let is_values = !first
            && text
                .split_whitespace()
                .next()
                .is_some_and(|word| number(word).is_some());
        if !is_values {
            if self.headings.len() < 10 {
                self.headings.push(text.to_owned());
            }
            return true;
        }
        let starts: Vec<usize> = starts_of_words(text);
        for (at, &start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(usize::MAX);
            let heading: Vec<&str> = self
                .headings
                .iter()
                .map(|line| column(line, start, end))
                .collect();
            if let Some(name) = selector(heading.join(" ").trim()) {
                self.figures
                    .insert(name, column(text, start, end).to_owned());
            }
        }
        self.headings.clear();
        true
    }
}

/// The text of a line between two columns.
fn column(line: &str, start: usize, end: usize) -> &str {
    line.get(start..end.min(line.len())).unwrap_or("").trim()
}

fn starts_of_words(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len())
        .filter(|&at| bytes[at] != b' ' && (at == 0 || bytes[at - 1] == b' '))
        .collect()
}

fn fields(line: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(line.as_bytes());
    reader
        .records()
        .next()
        .and_then(Result::ok)
        .map(|row| row.iter().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The selector of a column's words; the words themselves for columns that are not used.
fn selector(words: &str) -> Option<String> {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = match words.as_str() {
        "" => return None,
        "Throughput" => "THROUGHPUT",
        "Throughput Units" => "THROUGHPUT_UNITS",
        "Elapsed Time (sec)" => "ELAPSED_TIME",
        "Minimum Latency Microseconds" => "MIN_LATENCY",
        "Mean Latency Microseconds" => "MEAN_LATENCY",
        "50th Percentile Latency Microseconds" => "P50_LATENCY",
        "90th Percentile Latency Microseconds" => "P90_LATENCY",
        "99th Percentile Latency Microseconds" => "P99_LATENCY",
        "Maximum Latency Microseconds" => "MAX_LATENCY",
        "Stddev Latency Microseconds" => "STDDEV_LATENCY",
        "Request Size Bytes" => "REQUEST_SIZE",
        "Response Size Bytes" => "RESPONSE_SIZE",
        "Initial Burst Requests" => "BURST_SIZE",
        "Local Service Demand" => "LOCAL_SD",
        "Remote Service Demand" => "REMOTE_SD",
        "Service Demand Units" => "SD_UNITS",
        "Local Transport Retransmissions" => "LOCAL_TRANSPORT_RETRANS",
        "Remote Transport Retransmissions" => "REMOTE_TRANSPORT_RETRANS",
        "Local Send Throughput" => "LOCAL_SEND_THROUGHPUT",
        "Local Recv Throughput" => "LOCAL_RECV_THROUGHPUT",
        "Remote Send Throughput" => "REMOTE_SEND_THROUGHPUT",
        "Remote Recv Throughput" => "REMOTE_RECV_THROUGHPUT",
        "Local Send Size" => "LOCAL_SEND_SIZE",
        "Remote Send Size" => "REMOTE_SEND_SIZE",
        "Protocol" => "PROTOCOL",
        "Direction" => "DIRECTION",
        other => other,
    };
    Some(name.to_owned())
}

/// Puts the figures where they belong.
pub(super) fn fill(record: &mut Record, figures: &Figures) -> Result<(), String> {
    let get = |name: &str| figures.get(name).map(String::as_str);
    let value = |name: &str| get(name).and_then(amount);
    parameters(record, figures);
    let Some(throughput) = value("THROUGHPUT") else {
        return Err("no THROUGHPUT among the figures".into());
    };
    let Some(units) = get("THROUGHPUT_UNITS") else {
        return Err("no THROUGHPUT_UNITS: add it to the list of -k".into());
    };
    match rate_unit(units) {
        Some(Rate::Transactions) => {
            record
                .parameters
                .kind
                .get_or_insert(TestKind::RequestResponse);
            record.set("transactions", throughput);
            latencies(record, figures, "latency");
        }
        Some(Rate::Bits(scale)) => {
            record.parameters.kind.get_or_insert(TestKind::Stream);
            record.set("throughput", throughput * scale);
            let sent = match record.parameters.direction {
                Some(Direction::Reverse) => value("REMOTE_SEND_THROUGHPUT"),
                _ => value("LOCAL_SEND_THROUGHPUT"),
            };
            record.set("throughput.sent", sent.map(|rate| rate * scale));
            latencies(record, figures, "latency.call");
            retransmits(record, figures);
        }
        None => {
            return Err(format!(
                "THROUGHPUT_UNITS is {units}, which is no known unit"
            ));
        }
    }
    record.set("seconds", value("ELAPSED_TIME"));
    match get("SD_UNITS").map(str::trim) {
        Some("usec/KB") => demands(record, value("LOCAL_SD"), value("REMOTE_SD"), false),
        Some("usec/Tran") => demands(record, value("LOCAL_SD"), value("REMOTE_SD"), true),
        _ => {}
    }
    if let Some(width) = value("THROUGHPUT_CONFID") {
        record.note(format!(
            "a mean of several runs; the width of its confidence interval is {width} %"
        ));
    }
    Ok(())
}

fn parameters(record: &mut Record, figures: &Figures) {
    let get = |name: &str| figures.get(name).map(String::as_str);
    let parameters = &mut record.parameters;
    if let Some(protocol @ ("TCP" | "UDP" | "SCTP")) = get("PROTOCOL") {
        parameters.transport = Some(protocol.to_lowercase());
    }
    match get("DIRECTION") {
        Some("Send") => parameters.direction = Some(Direction::Forward),
        Some("Receive") => parameters.direction = Some(Direction::Reverse),
        _ => {}
    }
    let sending = match parameters.direction {
        Some(Direction::Reverse) => get("REMOTE_SEND_SIZE"),
        _ => get("LOCAL_SEND_SIZE"),
    };
    parameters.block = get("REQUEST_SIZE")
        .and_then(count)
        .or(sending.and_then(count));
    parameters.response = get("RESPONSE_SIZE").and_then(count);
    if let Some(burst) = get("BURST_SIZE").and_then(count) {
        record.set_other("burst", &burst);
    }
}

/// Microseconds. Of a stream test they are times of one send or receive call.
fn latencies(record: &mut Record, figures: &Figures, prefix: &str) {
    for (selector, figure) in [
        ("MIN_LATENCY", "min"),
        ("MEAN_LATENCY", "mean"),
        ("STDDEV_LATENCY", "stddev"),
        ("P50_LATENCY", "p50"),
        ("P90_LATENCY", "p90"),
        ("P99_LATENCY", "p99"),
        ("MAX_LATENCY", "max"),
    ] {
        let us = figures.get(selector).and_then(|text| amount(text));
        record.set(&format!("{prefix}.{figure}"), us.map(|us| us * 1e-6));
    }
    if record.get(&format!("{prefix}.p50")).is_some() {
        record.note("percentiles are whole microseconds of a histogram with 1 % resolution");
    }
}

fn retransmits(record: &mut Record, figures: &Figures) {
    let sender = match record.parameters.direction {
        Some(Direction::Reverse) => "REMOTE_TRANSPORT_RETRANS",
        _ => "LOCAL_TRANSPORT_RETRANS",
    };
    record.set(
        "retransmits",
        figures.get(sender).and_then(|text| amount(text)),
    );
}
