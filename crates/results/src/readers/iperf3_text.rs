//! iperf3's text, of all versions and of its forks. `-J` has more and is exact; this is for logs.

use super::iperf2::{Row, row};
use crate::error::ReadError;
use crate::figures::{after, amount, leading, whole};
use crate::input::Lines;
use crate::readers::outcome::{Outcome, THREE_DIGITS, push};
use crate::record::{Direction, Record, Sample, TestKind};
use crate::tool::Tool;

/// Reads every test of the input.
pub(super) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    // What follows "Server output:" is the same test once more.
    let mut repeated = false;
    while let Some(first) = lines.next()? {
        let begin = first.number;
        lines.put_back(first);
        let mut run = Iperf3Run {
            begin,
            ..Iperf3Run::default()
        };
        let mut section = lines.run(|text| {
            text.contains("Connecting to host ") || text.contains("Accepted connection from ")
        });
        let mut failed = None;
        while let Some(line) = section.next()? {
            let text = line.text.as_str();
            if text.contains("iperf3: error - ") || text.contains("iperf3: interrupt - ") {
                let (_, reason) = text.split_once(" - ").unwrap_or(("", text));
                failed.get_or_insert((line.number, format!("the run failed: {reason}")));
            }
            repeated |= text.contains("Server output:");
            run.line(text);
        }
        if let Some((number, reason)) = failed {
            return Err(lines.refuse(number, reason));
        }
        if run.rows > 0 && (run.client || !std::mem::take(&mut repeated)) {
            push(out, run.finish(lines)?)?;
        }
    }
    Ok(())
}

/// The end line of a stream or of the sum.
#[derive(Debug, Clone, Default)]
struct End {
    bytes: f64,
    seconds: f64,
    rate: f64,
    retransmits: Option<f64>,
    jitter: Option<f64>,
    lost: Option<(f64, f64)>,
}

/// The ends of one direction: each side's.
#[derive(Debug, Default)]
struct Ends {
    sender: Option<End>,
    receiver: Option<End>,
    /// Whether those are of the sum already.
    summed: bool,
}

/// One test while it is read.
#[derive(Default)]
struct Iperf3Run {
    begin: u64,
    rows: u64,
    version: Option<String>,
    client: bool,
    reverse: bool,
    ended: bool,
    streams: u64,
    forward: Ends,
    backward: Ends,
    samples: Vec<Sample>,
    parameters: crate::record::Parameters,
    /// Sender's and receiver's CPU in percent.
    cpu: Option<(f64, f64)>,
}

impl Iperf3Run {
    fn line(&mut self, text: &str) {
        if let Some(row) = row(text) {
            self.rows += 1;
            self.row(&row);
        } else if text.contains("- - - - -") {
            self.ended = true;
        } else if text.contains("Connecting to host ") {
            self.client = true;
        } else if text.contains("Reverse mode, remote host ") {
            self.reverse = true;
        } else if text.contains("] local ") && text.contains(" connected to ") {
            self.streams += 1;
        } else if text.contains("Lost/Total Datagrams") || text.contains("Total Datagrams") {
            self.parameters.transport = Some("udp".into());
        } else if let Some(version) = text
            .strip_prefix("iperf 3")
            .filter(|_| self.version.is_none())
        {
            self.version = Some(format!(
                "iperf 3{}",
                version.split(' ').next().unwrap_or("")
            ));
        } else if let Some((_, rest)) = text.split_once("Starting Test: protocol: ") {
            self.starting(rest);
        } else if let Some((_, rest)) = text.split_once("CPU Utilization: ") {
            let side = |name: &str| after(&rest[rest.find(name)?..], " ");
            self.cpu = side("sender").zip(side("receiver"));
        }
    }

    /// `TCP, 1 streams, 131072 byte blocks, omitting 0 seconds, 2 second test, tos 0`
    fn starting(&mut self, rest: &str) {
        let parameters = &mut self.parameters;
        for part in rest.split(", ") {
            let figure = leading(part);
            match figure {
                None if parameters.transport.is_none() => {
                    parameters.transport = Some(part.to_lowercase());
                }
                Some((count, "streams")) => self.streams = whole(count).unwrap_or(1),
                Some((size, "byte blocks")) => parameters.block = whole(size),
                Some((seconds, "second test")) => parameters.duration = Some(seconds),
                _ => {}
            }
        }
    }

    fn row(&mut self, row: &Row<'_>) {
        let backward = row.role.starts_with("RX") == self.client && !row.role.is_empty();
        let words: Vec<&str> = row.rest.split_whitespace().collect();
        let side = words
            .last()
            .copied()
            .filter(|word| matches!(*word, "sender" | "receiver"));
        if let (Some(side), true) = (side, self.ended || row.start == 0.0) {
            let ends = if backward {
                &mut self.backward
            } else {
                &mut self.forward
            };
            ends.add(row, side, &words);
        } else if !words.contains(&"(omitted)")
            && !self.ended
            && self.samples.len() <= crate::record::MAX_SAMPLES
        {
            self.samples.push(Sample {
                stream: row.id.parse().ok(),
                reverse: backward,
                ..Sample::rate(row.start, row.end, row.rate)
            });
        }
    }

    fn finish(self, lines: &Lines<'_>) -> Result<Record, ReadError> {
        let mut record = Record::new(Tool::Iperf3, lines.file(), self.begin);
        record.version = self.version;
        record.parameters = self.parameters;
        let parameters = &mut record.parameters;
        parameters.kind = Some(TestKind::Stream);
        parameters.parallel = Some(self.streams.max(1));
        let both = self.backward.any();
        if both {
            // Each stream of a bidirectional test is there once per direction.
            parameters.parallel = Some((self.streams / 2).max(1));
        }
        // A server does not print that a test is reversed, but then it sends.
        let reverse = self.reverse || !self.client && self.forward.receiver.is_none();
        parameters.direction = Some(match (both, reverse) {
            (true, _) => Direction::Bidirectional,
            (false, true) => Direction::Reverse,
            (false, false) => Direction::Forward,
        });
        if !self.forward.any() {
            return Err(lines.refuse(
                self.begin,
                "no final lines: the run failed, or the output is cut off",
            ));
        }
        record.note(THREE_DIGITS);
        let udp = record.parameters.transport.as_deref() == Some("udp");
        self.forward.fill(&mut record, "", udp);
        if both {
            self.backward.fill(&mut record, ".reverse", udp);
        }
        if let Some((sender, receiver)) = self.cpu {
            record.set_cpu("cpu.sender", sender);
            record.set_cpu("cpu.receiver", receiver);
        }
        for sample in self.samples {
            record.sample(sample);
        }
        Ok(record)
    }
}

impl Ends {
    fn any(&self) -> bool {
        self.sender.is_some() || self.receiver.is_some()
    }

    /// Takes an end line: a sum replaces what streams added up to.
    fn add(&mut self, row: &Row<'_>, side: &str, words: &[&str]) {
        let sum = row.id == "SUM";
        if sum && !self.summed {
            *self = Self {
                summed: true,
                ..Self::default()
            };
        } else if !sum && self.summed {
            return;
        }
        let slot = if side == "sender" {
            &mut self.sender
        } else {
            &mut self.receiver
        };
        let end = slot.get_or_insert_with(End::default);
        end.bytes += row.bytes;
        // A unit that is too large, as of -f t, prints 0.00.
        let unprinted = row.rate == 0.0 && row.end > row.start;
        end.rate += if unprinted {
            row.bytes * 8.0 / (row.end - row.start)
        } else {
            row.rate
        };
        end.seconds = end.seconds.max(row.end - row.start);
        match words {
            [retransmits, _] => {
                end.retransmits =
                    amount(retransmits).map(|count| count + end.retransmits.unwrap_or(0.0));
            }
            [jitter, "ms", lost, ..] => {
                end.jitter = amount(jitter).map(|ms| ms * 1e-3);
                let pair = lost
                    .split_once('/')
                    .and_then(|(lost, all)| Some((amount(lost)?, amount(all)?)));
                let before = end.lost.unwrap_or((0.0, 0.0));
                end.lost = pair.map(|(lost, all)| (lost + before.0, all + before.1));
            }
            _ => {}
        }
    }

    fn fill(&self, record: &mut Record, suffix: &str, udp: bool) {
        let name = |base: &str| format!("{base}{suffix}");
        if let Some(sender) = &self.sender {
            record.set(&name("throughput.sent"), sender.rate);
            record.set(&name("retransmits"), sender.retransmits);
        }
        let best = match (&self.receiver, &self.sender) {
            (Some(receiver), _) => receiver,
            (None, Some(sender)) if !udp => {
                record.note("the sender's figure: the receiver's is not in the output");
                sender
            }
            _ => return,
        };
        record.set(&name("throughput"), best.rate);
        record.set(&name("jitter"), best.jitter);
        if let Some((lost, all)) = best.lost {
            record.set_loss(suffix, lost, all);
        }
        if suffix.is_empty() {
            record.set("seconds", best.seconds);
            record.set("bytes", best.bytes);
        }
    }
}
