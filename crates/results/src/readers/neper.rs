//! neper: `key=value` lines, first the options and then the results, in no order to rely on; and its CSV files.
//!
//! Which program ran is not in the output. `request_size` is of the request/response ones, `throughput_opt` of the
//! streams, of which only TCP's have `no_cork`. The same key is bit/s of a stream and transactions/s of an RR.

use std::collections::{BTreeMap, HashMap};

use crate::error::ReadError;
use crate::figures::{amount, number, whole};
use crate::input::{Line, Lines};
use crate::readers::outcome::{Outcome, push};
use crate::readers::runs::RunReader;
use crate::record::{Direction, Record, Sample, TestKind};
use crate::tool::Tool;

/// More keys than any version has.
const MAX_KEYS: usize = 1000;
/// More flows than this are not distinguished.
const MAX_FLOWS: usize = 10_000;

/// The keys of a run.
pub(super) struct NeperRun {
    record: Record,
    keys: BTreeMap<String, String>,
}

impl RunReader for NeperRun {
    const TOOL: Tool = Tool::Neper;

    fn new(record: Record) -> Self {
        let keys = BTreeMap::new();
        Self { record, keys }
    }

    fn begins(text: &str) -> bool {
        text.starts_with("VERSION=")
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        let pair = text.split_once('=');
        if let Some((key, value)) = pair.filter(|_| self.keys.len() < MAX_KEYS) {
            let (key, value) = (key.trim(), value.trim());
            self.keys.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    fn finish(self) -> Result<Option<Record>, String> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        Ok(Some(from_keys(self.record, &self.keys)?))
    }
}

fn from_keys(mut record: Record, keys: &BTreeMap<String, String>) -> Result<Record, &'static str> {
    let value = |key: &str| keys.get(key).and_then(|text| number(text));
    let streams = keys.contains_key("throughput_opt");
    let client = match value("client") {
        Some(client) => client > 0.0,
        None => return Err("no key client: the output is cut off, or not neper's"),
    };
    if !keys.contains_key("time_start") {
        return Err("no key time_start: the run did not end");
    }
    record.version = keys.get("VERSION").cloned();
    parameters(&mut record, keys, streams);
    let elapsed = value("time_end")
        .zip(value("time_start"))
        .map(|(end, start)| end - start);
    record.set("seconds", elapsed.filter(|seconds| *seconds > 0.0));
    if streams {
        stream(&mut record, keys, client)?;
    } else {
        request_response(&mut record, keys, client)?;
    }
    if let Some(steadiness) = value("correlation_coefficient").filter(|c| *c < 0.95) {
        record.note(format!(
            "uneven: bytes or transactions over time correlate by {steadiness} only"
        ));
    }
    Ok(record)
}

fn parameters(record: &mut Record, keys: &BTreeMap<String, String>, streams: bool) {
    let value = |key: &str| keys.get(key).and_then(|text| number(text));
    let size = |key: &str| value(key).filter(|size| *size > 0.0).and_then(whole);
    let tcp = keys.contains_key("congestion_control");
    let parameters = &mut record.parameters;
    parameters.transport = Some(if tcp { "tcp" } else { "udp" }.into());
    parameters.parallel = size("num_flows");
    parameters.duration = value("test_length").filter(|seconds| *seconds > 0.0);
    parameters.block = size(if streams {
        "buffer_size"
    } else {
        "request_size"
    });
    parameters.response = size("response_size");
    parameters.rate = value("max_pacing_rate")
        .filter(|rate| *rate > 0.0)
        .map(|bytes| bytes * 8.0);
    let on = |key: &str| value(key).is_some_and(|flag| flag > 0.0);
    parameters.zerocopy = match (on("zerocopy"), on("rx_zerocopy")) {
        (true, true) => Some("tx+rx".into()),
        (true, false) => Some("tx".into()),
        (false, true) => Some("rx".into()),
        (false, false) => None,
    };
    // CRR alone lets a client connect without waiting, so it sets the default of this option.
    let crr = tcp && !keys.contains_key("noburst") && on("async_connect");
    parameters.kind = Some(match (streams, crr) {
        (true, _) => TestKind::Stream,
        (false, true) => TestKind::ConnectRequestResponse,
        (false, false) => TestKind::RequestResponse,
    });
    if let Some(threads) = size("num_threads") {
        record.set_other("threads", &threads);
    }
}

/// What each side received. The side that only sends prints no `throughput`, but the other side's.
fn stream(
    record: &mut Record,
    keys: &BTreeMap<String, String>,
    client: bool,
) -> Result<(), &'static str> {
    let received = |key: &str| {
        keys.get(key)
            .and_then(|text| amount(text))
            .filter(|rate| *rate > 0.0)
    };
    let (local, remote) = (received("local_throughput"), received("remote_throughput"));
    let (to_client, to_server) = if client {
        (local, remote)
    } else {
        (remote, local)
    };
    match (to_server, to_client) {
        (Some(forward), Some(reverse)) => {
            record.parameters.direction = Some(Direction::Bidirectional);
            record.set("throughput", forward);
            record.set("throughput.reverse", reverse);
        }
        (Some(rate), None) => {
            record.parameters.direction = Some(Direction::Forward);
            record.set("throughput", rate);
        }
        (None, Some(rate)) => {
            record.parameters.direction = Some(Direction::Reverse);
            record.set("throughput", rate);
        }
        (None, None) => return Err("neither side received anything"),
    }
    let mapped = keys.get("percent_mmaped").and_then(|text| amount(text));
    record.set("zerocopy.rx.mapped", mapped.map(|percent| percent / 100.0));
    cpu(record, keys, local, remote);
    Ok(())
}

/// CPU seconds per 10⁹ bytes of this side. `-S` makes them the whole system's.
fn cpu(
    record: &mut Record,
    keys: &BTreeMap<String, String>,
    local: Option<f64>,
    remote: Option<f64>,
) {
    let value = |key: &str| keys.get(key).and_then(|text| number(text));
    let span = |end: &str, start: &str| Some(value(end)? - value(start)?);
    let seconds = span("utime_end", "utime_start").zip(span("stime_end", "stime_start"));
    let (Some((user, system)), Some(elapsed)) = (
        seconds,
        record.get("seconds").or(record.parameters.duration),
    ) else {
        return;
    };
    let per_gigabyte = |rate: f64| (user + system) / (rate / 8.0 * elapsed / 1e9);
    match (local, remote) {
        (Some(rate), None) => record.set("cpu.receiver", per_gigabyte(rate)),
        (None, Some(rate)) => record.set("cpu.sender", per_gigabyte(rate)),
        _ => {}
    }
}

fn request_response(
    record: &mut Record,
    keys: &BTreeMap<String, String>,
    client: bool,
) -> Result<(), &'static str> {
    let Some(rate) = keys.get("throughput").and_then(|text| amount(text)) else {
        return Err("this side prints no figures; the client's output has them");
    };
    record.set("transactions", rate);
    // A server prints zeros.
    if client {
        for (key, text) in keys {
            let Some(figure) = key.strip_prefix("latency_") else {
                continue;
            };
            let name = format!("latency.{figure}");
            if crate::metric::definition(&name).is_some() {
                record.set(&name, amount(text));
            }
        }
    }
    Ok(())
}

/// Reads the CSV of `-A`: cumulative counts per flow. Its rate column runs over all flows and is not read.
pub(super) fn read_samples(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    let Some(header) = lines.next()? else {
        return Ok(());
    };
    let columns: Vec<String> = header
        .text
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    let at = |name: &str| columns.iter().position(|column| column == name);
    let transactions = at("transactions");
    let layout = Layout {
        thread: at("tid"),
        flow: at("flow_id"),
        time: at("time").ok_or_else(|| lines.malformed(1, "no column time"))?,
        count: transactions
            .or_else(|| at("bytes_read"))
            .ok_or_else(|| lines.malformed(1, "neither a column transactions nor bytes_read"))?,
        bytes: transactions.is_none(),
        latencies: columns
            .iter()
            .enumerate()
            .filter_map(|(at, name)| Some((at, name.strip_prefix("latency_")?.to_owned())))
            .collect(),
    };
    let mut record = Record::new(Tool::Neper, lines.file(), 1);
    let mut flows: HashMap<(u64, u64), (f64, f64)> = HashMap::new();
    let (mut first, mut last, mut total) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    while let Some(line) = lines.next()? {
        if line.text.is_empty() {
            continue;
        }
        let (key, time, count, latency) = layout.row(&line, lines)?;
        first = first.min(time);
        last = last.max(time);
        if flows.len() >= MAX_FLOWS && !flows.contains_key(&key) {
            return Err(lines.refuse(line.number, format!("more than {MAX_FLOWS} flows")));
        }
        let before = flows.insert(key, (time, count));
        let (start, counted) = before.unwrap_or((time, 0.0));
        total += (count - counted).max(0.0);
        if time > start {
            let rate = (count - counted).max(0.0) / (time - start);
            let mut sample = Sample {
                stream: Some(key.0 << 32 | key.1),
                start,
                end: time,
                latency,
                ..Sample::default()
            };
            if layout.bytes {
                sample.throughput = Some(rate * 8.0);
            } else {
                sample.transactions = Some(rate);
            }
            record.sample(sample);
        }
    }
    if last <= first {
        return Err(lines.refuse(1, "fewer than two moments: no rate can be computed"));
    }
    record.parameters.parallel = Some(flows.len() as u64);
    whole_run(&mut record, layout.bytes, total, first, last);
    push(out, record)
}

/// The figures of all flows together, and samples that begin at 0.
fn whole_run(record: &mut Record, bytes: bool, total: f64, first: f64, last: f64) {
    for sample in &mut record.samples {
        sample.start -= first;
        sample.end -= first;
    }
    record.parameters.kind = Some(if bytes {
        TestKind::Stream
    } else {
        TestKind::RequestResponse
    });
    record.set("seconds", last - first);
    let (name, scale) = if bytes {
        ("throughput", 8.0)
    } else {
        ("transactions", 1.0)
    };
    record.set(name, total * scale / (last - first));
    record.note(
        "computed from cumulative counts; the CSV's own rate column is wrong with several flows",
    );
}

/// Which column holds what.
struct Layout {
    thread: Option<usize>,
    flow: Option<usize>,
    time: usize,
    count: usize,
    bytes: bool,
    latencies: Vec<(usize, String)>,
}

type Row = ((u64, u64), f64, f64, Vec<(String, f64)>);

impl Layout {
    fn row(&self, line: &Line, lines: &Lines<'_>) -> Result<Row, ReadError> {
        let fields: Vec<&str> = line.text.split(',').collect();
        let figure = |at: usize| fields.get(at).and_then(|text| amount(text));
        let id = |at: Option<usize>| at.and_then(figure).and_then(whole).unwrap_or(0) & 0xffff_ffff;
        let (Some(time), Some(count)) = (figure(self.time), figure(self.count)) else {
            return Err(lines.malformed(line.number, "time or count is missing"));
        };
        let latency = self.latencies.iter().filter_map(|(at, name)| {
            // The last row of a flow has zeros.
            Some((name.clone(), figure(*at).filter(|seconds| *seconds > 0.0)?))
        });
        Ok((
            (id(self.thread), id(self.flow)),
            time,
            count,
            latency.collect(),
        ))
    }
}

/// Reads the CSV of `--log-rtt`: the first round trips of each flow.
pub(super) fn read_rtt(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    const MAX_ROUND_TRIPS: usize = 4 << 20;
    let Some(header) = lines.next()? else {
        return Ok(());
    };
    let column = header.text.split(',').position(|name| name.trim() == "rtt");
    let column = column.ok_or_else(|| lines.malformed(1, "no column rtt"))?;
    let mut round_trips = Vec::new();
    while let Some(line) = lines.next()? {
        if line.text.is_empty() {
            continue;
        }
        let value = line.text.split(',').nth(column).and_then(amount);
        let value =
            value.ok_or_else(|| lines.malformed(line.number, "no round trip in the column rtt"))?;
        if round_trips.len() == MAX_ROUND_TRIPS {
            return Err(lines.refuse(
                line.number,
                format!("more than {MAX_ROUND_TRIPS} round trips"),
            ));
        }
        round_trips.push(value);
    }
    if round_trips.is_empty() {
        return Err(lines.refuse(1, "no round trip in it"));
    }
    let mut record = Record::new(Tool::Neper, lines.file(), 1);
    record.parameters.kind = Some(TestKind::RequestResponse);
    record.set_distribution("latency", round_trips);
    record.note("the first round trips of each flow, not the whole run");
    push(out, record)
}
