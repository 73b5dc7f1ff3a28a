//! iperf 2's text. The last line of an ID that begins at 0.0000 is its total; the sum of several has the ID `SUM`.

use std::collections::BTreeMap;

use super::SENDERS_FIGURE;
use super::histogram::percentiles;
use super::row::{Row, four_times, row};
use crate::error::ReadError;
use crate::figures::{after, amount, leading, whole};
use crate::input::{Line, Lines};
use crate::readers::outcome::{Outcome, THREE_DIGITS, push};
use crate::record::{Direction, Record, Sample, TestKind};
use crate::tool::Tool;

/// More streams are not distinguished.
const MAX_STREAMS: usize = 10_000;

/// Reads every run of the input.
pub(crate) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    let mut run: Option<TextRun> = None;
    let mut banner = Banner::default();
    while let Some(line) = lines.next()? {
        let text = line.text.as_str();
        if is_failure(text) {
            return Err(lines.refuse(line.number, "the run failed"));
        }
        let opens = text.contains("] local ") && text.contains(" connected with ");
        if opens && run.as_ref().is_some_and(|run| !run.totals.is_empty()) {
            finish(lines, out, run.take(), &banner)?;
        }
        let run = run.get_or_insert_with(|| TextRun {
            begin: line.number,
            ..TextRun::default()
        });
        if !run.line(&line, lines, &mut banner)? {
            banner.line(text);
        }
        run.open(opens, text);
    }
    finish(lines, out, run, &banner)
}

fn is_failure(text: &str) -> bool {
    text.starts_with("connect failed")
        || text.starts_with("tcp connect failed")
        || text.contains("bind failed")
}

fn finish(
    lines: &Lines<'_>,
    out: &mut Vec<Record>,
    run: Option<TextRun>,
    banner: &Banner,
) -> Outcome {
    match run.filter(|run| run.opened || !run.totals.is_empty()) {
        Some(run) => push(out, run.finish(lines, banner)?),
        None => Ok(()),
    }
}

/// The content of the lines before the figures. A server prints them once for all its clients.
#[derive(Default)]
struct Banner {
    client: bool,
    transport: Option<String>,
    block: Option<u64>,
    bounce_back: bool,
    header: String,
}

impl Banner {
    fn line(&mut self, text: &str) {
        self.client |= text.starts_with("Client connecting to");
        if text.starts_with("Client connecting to") || text.starts_with("Server listening on") {
            let udp = text.contains("UDP port");
            self.transport = Some(if udp { "udp" } else { "tcp" }.into());
        }
        for key in ["Write buffer size:", "Sending "] {
            let size = text.strip_prefix(key).and_then(leading);
            if let Some((size, _)) =
                size.filter(|(_, unit)| unit.to_lowercase().starts_with("byte"))
            {
                self.block = whole(size);
            }
        }
        self.bounce_back |= text.starts_with("Bounce-back test");
        if text.contains("[ ID] Interval") {
            text.clone_into(&mut self.header);
        }
    }
}

/// The total of a stream.
struct Total {
    start: f64,
    end: f64,
    bytes: f64,
    rate: f64,
    rest: String,
    header: String,
    /// Whether it is the receiver's, sent back to the client.
    server_report: bool,
}

/// One run while it is read.
#[derive(Default)]
struct TextRun {
    begin: u64,
    opened: bool,
    full_duplex: bool,
    connections: u64,
    totals: BTreeMap<String, Total>,
    sent: Option<f64>,
    samples: Vec<Sample>,
    last_end: f64,
    server_report: bool,
    percentiles: Vec<(bool, &'static str, f64)>,
}

impl TextRun {
    fn open(&mut self, opens: bool, text: &str) {
        self.opened |= opens;
        self.connections += u64::from(opens);
        self.full_duplex |= opens && text.contains("(full-duplex)");
    }

    /// Takes a line of figures, or returns false.
    fn line(
        &mut self,
        line: &Line,
        lines: &Lines<'_>,
        banner: &mut Banner,
    ) -> Result<bool, ReadError> {
        let text = line.text.as_str();
        if text.ends_with("Server Report:") {
            self.server_report = true;
            return Ok(true);
        }
        if let Some(found) = percentiles(text) {
            let bounce = text.contains("BB8");
            self.percentiles = found
                .into_iter()
                .map(|(name, value)| (bounce, name, value))
                .collect();
            return Ok(true);
        }
        let Some(row) = row(text) else {
            return Ok(false);
        };
        if row.start > 0.0 {
            self.interval(&row);
            return Ok(true);
        }
        if self.totals.len() == MAX_STREAMS {
            return Err(lines.refuse(line.number, format!("more than {MAX_STREAMS} streams")));
        }
        let total = Total {
            start: row.start,
            end: row.end,
            bytes: row.bytes,
            rate: row.rate,
            rest: row.rest.to_owned(),
            header: banner.header.clone(),
            server_report: self.server_report,
        };
        let earlier = self.totals.insert(row.id.to_owned(), total);
        if let Some(earlier) = earlier {
            if self.server_report {
                self.sent = Some(earlier.rate);
            } else {
                // What began at 0 and was not the last is the first interval.
                self.interval(&Row {
                    start: earlier.start,
                    end: earlier.end,
                    rate: earlier.rate,
                    rest: &earlier.rest,
                    ..row
                });
            }
        }
        Ok(true)
    }

    fn interval(&mut self, row: &Row<'_>) {
        self.last_end = self.last_end.max(row.end);
        if self.samples.len() > crate::record::MAX_SAMPLES || row.id.starts_with("FD") {
            return;
        }
        self.samples.push(Sample {
            stream: row.id.trim_start_matches('*').parse().ok(),
            reverse: row.id.starts_with('*'),
            ..Sample::rate(row.start, row.end, row.rate)
        });
    }

    fn finish(self, lines: &Lines<'_>, banner: &Banner) -> Result<Record, ReadError> {
        let unfinished = self
            .totals
            .values()
            .all(|total| total.end + 1e-9 < self.last_end);
        if self.totals.is_empty() || unfinished {
            return Err(lines.refuse(
                self.begin,
                "the run has no final line: it failed, or the output is cut off",
            ));
        }
        let mut record = Record::new(Tool::Iperf2, lines.file(), self.begin);
        record.parameters.transport.clone_from(&banner.transport);
        record.parameters.block = banner.block;
        record.parameters.parallel = Some(self.connections.max(1));
        record.note(THREE_DIGITS);
        let forward = add(&self.totals, |id| {
            !id.starts_with('*') && !id.starts_with("FD")
        });
        let reverse = add(&self.totals, |id| id.starts_with('*'));
        let plain = self
            .totals
            .iter()
            .find(|(id, _)| !id.starts_with('*') && !id.starts_with("FD"));
        let total = self.totals.get("SUM").or(plain.map(|(_, total)| total));
        let Some(total) = total else {
            return Err(lines.refuse(self.begin, "no final line"));
        };
        record.set("seconds", total.end - total.start);
        if banner.bounce_back || total.header.contains("BB cnt=") {
            bounce_back(&mut record, total);
        } else {
            record.parameters.kind = Some(TestKind::Stream);
            record.parameters.direction = Some(if self.full_duplex {
                Direction::Bidirectional
            } else {
                Direction::Forward
            });
            self.rates(&mut record, banner, total, forward, reverse);
            columns(&mut record, total);
        }
        for (bounce, name, value) in &self.percentiles {
            let prefix = if *bounce { "latency" } else { "one_way" };
            record.set(&format!("{prefix}.{name}"), *value);
        }
        for sample in self.samples {
            record.sample(sample);
        }
        Ok(record)
    }

    fn rates(
        &self,
        record: &mut Record,
        banner: &Banner,
        total: &Total,
        forward: f64,
        reverse: f64,
    ) {
        let udp = banner.transport.as_deref() == Some("udp");
        let received = !banner.client || total.server_report;
        if udp && !received {
            record.set("throughput.sent", forward);
            record.note("the server's report is missing: what arrived is not known");
            return;
        }
        record.set("throughput", forward);
        record.set("throughput.sent", self.sent);
        record.set("bytes", total.bytes);
        if !received {
            record.note(SENDERS_FIGURE);
        }
        if self.full_duplex {
            record.set("throughput.reverse", reverse);
        }
    }
}

/// The sum line, or the sum of the streams' rates.
fn add(totals: &BTreeMap<String, Total>, belongs: fn(&str) -> bool) -> f64 {
    match totals.get("SUM").filter(|_| belongs("SUM")) {
        Some(sum) => sum.rate,
        None => totals
            .iter()
            .filter(|(id, _)| belongs(id))
            .map(|(_, total)| total.rate)
            .sum(),
    }
}

/// `20=0.478/0.021/5.180/1.254 ms    0  576K/589 us    2091 rps`
fn bounce_back(record: &mut Record, total: &Total) {
    record.parameters.kind = Some(TestKind::RequestResponse);
    let Some((count, times)) = total.rest.split_once('=') else {
        return;
    };
    let times = times.split(' ').next().and_then(four_times);
    if let Some([mean, min, max, stddev]) = times {
        record.set("latency.mean", mean);
        record.set("latency.min", min);
        record.set("latency.max", max);
        record.set("latency.stddev", stddev);
        record.set(
            "operations",
            amount(count).map(|count| count / (total.end - total.start)),
        );
        record.note("rps is 1 / mean latency, not how many there were: operations counts those");
    }
}

/// The columns behind the rate, as the header names them.
fn columns(record: &mut Record, total: &Total) {
    let rest = total.rest.as_str();
    let words: Vec<&str> = rest.split_whitespace().collect();
    if total.header.contains("Lost/Total") {
        if let [jitter, "ms", lost, ..] = words.as_slice() {
            record.set("jitter", amount(jitter).map(|ms| ms * 1e-3));
            if let Some((lost, all)) = lost
                .split_once('/')
                .and_then(|(l, a)| Some((amount(l)?, amount(a)?)))
            {
                record.set_loss("", lost, all);
            }
        }
    } else if total.header.contains("Rtry") {
        record.set("retransmits", words.get(1).and_then(|word| amount(word)));
        record.set(
            "rtt",
            after(words.get(2).unwrap_or(&""), "K/").map(|us| us * 1e-6),
        );
    }
    if total.header.contains("Latency avg/min/max/stdev") {
        let latency = words
            .iter()
            .zip(words.iter().skip(1))
            .find_map(|(word, unit)| (*unit == "ms").then(|| four_times(word)).flatten());
        if let Some([mean, min, max, _]) = latency {
            record.set("one_way.mean", mean);
            record.set("one_way.min", min);
            record.set("one_way.max", max);
            record.note("one-way delays, by two clocks that must agree");
        }
    }
}
