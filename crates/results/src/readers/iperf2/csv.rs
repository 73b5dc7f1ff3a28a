//! iperf 2's CSV. Field 9 is the rate, which the times with their one decimal would not give. A total is the last row
//! of its ID that begins at 0.0. There is no sum of several streams, so the rates are added.

use std::collections::BTreeMap;

use super::SENDERS_FIGURE;
use crate::figures::{amount, number};
use crate::input::{Line, Lines};
use crate::readers::outcome::{Outcome, push};
use crate::record::{Direction, Record, Sample, TestKind};
use crate::tool::Tool;

const MAX_STREAMS: usize = 10_000;

/// Whether a line is a row of this CSV.
pub(crate) fn is_row(text: &str) -> bool {
    let fields: Vec<&str> = text.split(',').collect();
    matches!(fields.len(), 9 | 14)
        && fields[0].len() == 14
        && fields[0].bytes().all(|b| b.is_ascii_digit())
}

/// Reads every run of the input.
pub(crate) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    let mut run = CsvRun::default();
    while let Some(line) = lines.next()? {
        if is_row(&line.text) {
            let row = row(&line).map_err(|reason| lines.malformed(line.number, reason))?;
            if run.is_over_before(&row) {
                push(out, std::mem::take(&mut run).finish(lines))?;
            }
            if run.totals.len() == MAX_STREAMS {
                return Err(lines.refuse(line.number, format!("more than {MAX_STREAMS} streams")));
            }
            run.add(row);
        } else if line.text.starts_with("Client connecting to") {
            run.dual = true;
        } else if line.text.contains(',') {
            return Err(lines.malformed(line.number, "a row of iperf 2 has 9 or 14 fields"));
        }
    }
    if !run.totals.is_empty() {
        push(out, run.finish(lines))?;
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq)]
struct CsvRow {
    line: u64,
    /// Seconds in the day, unless the stamp is the epoch's, which is meaningless.
    stamp: Option<f64>,
    connection: String,
    id: String,
    start: f64,
    end: f64,
    bytes: f64,
    rate: f64,
    /// Jitter in s, lost, datagrams.
    datagrams: Option<(f64, f64, f64)>,
}

fn row(line: &Line) -> Result<CsvRow, &'static str> {
    let fields: Vec<&str> = line.text.split(',').collect();
    let (start, end) = fields[6]
        .split_once('-')
        .ok_or("field 7 is not an interval")?;
    let datagrams = match fields.len() {
        14 => {
            let figure =
                |at: usize| number(fields[at]).ok_or("fields 10 to 12 are not all numbers");
            Some((figure(9)? * 1e-3, figure(10)?, figure(11)?))
        }
        _ => None,
    };
    let stamp = fields[0];
    let two = |at: usize| stamp[at..at + 2].parse::<f64>().unwrap_or(0.0);
    Ok(CsvRow {
        line: line.number,
        stamp: (!stamp.starts_with("1970")).then(|| two(8) * 3600.0 + two(10) * 60.0 + two(12)),
        connection: fields[1..5].join(","),
        id: fields[5].to_owned(),
        start: amount(start).ok_or("field 7 is not an interval")?,
        end: amount(end).ok_or("field 7 is not an interval")?,
        bytes: amount(fields[7]).ok_or("field 8 is not a number of bytes")?,
        rate: amount(fields[8]).ok_or("field 9 is not a rate")?,
        datagrams,
    })
}

#[derive(Default)]
struct CsvRun {
    totals: BTreeMap<String, CsvRow>,
    intervals: Vec<CsvRow>,
    dual: bool,
}

impl CsvRun {
    /// Whether `row` is of a later client: it began when all that is known was over.
    fn is_over_before(&self, row: &CsvRow) -> bool {
        let Some(began) = row.stamp.map(|stamp| stamp - row.end) else {
            return false;
        };
        let mut ends = self.totals.values().map(|total| total.stamp);
        !self.totals.is_empty()
            && !self.totals.contains_key(&row.id)
            && ends.all(|end| end.is_some_and(|end| began > end))
    }

    fn add(&mut self, row: CsvRow) {
        if row.start > 0.0 {
            self.interval(row);
        } else if let Some(first) = self.totals.insert(row.id.clone(), row) {
            self.interval(first);
        }
    }

    fn interval(&mut self, row: CsvRow) {
        if self.intervals.len() <= crate::record::MAX_SAMPLES {
            self.intervals.push(row);
        }
    }

    fn finish(self, lines: &Lines<'_>) -> Record {
        let begin = self
            .totals
            .values()
            .chain(&self.intervals)
            .map(|row| row.line)
            .min()
            .unwrap_or(1);
        let mut record = Record::new(Tool::Iperf2, lines.file(), begin);
        record.parameters.kind = Some(TestKind::Stream);
        // Both ends of a connection may be in one output; then the row with more bytes is the receiver's.
        let mut connections: BTreeMap<&str, &CsvRow> = BTreeMap::new();
        for row in self.totals.values() {
            let known = connections.entry(&row.connection).or_insert(row);
            if row.bytes > known.bytes {
                *known = row;
            }
        }
        let rows: Vec<&CsvRow> = connections.into_values().collect();
        let add = |value: fn(&CsvRow) -> f64| rows.iter().map(|row| value(row)).sum::<f64>();
        record.parameters.parallel = Some(rows.len() as u64);
        record.set(
            "seconds",
            rows.iter().map(|row| row.end).fold(0.0, f64::max),
        );
        let datagrams: Vec<_> = rows.iter().filter_map(|row| row.datagrams).collect();
        let udp = !datagrams.is_empty();
        record.parameters.transport = Some(if udp { "udp" } else { "tcp" }.into());
        let rate = add(|row| row.rate);
        if self.dual {
            record.parameters.direction = Some(Direction::Bidirectional);
            record.set("throughput.both", rate);
            record.note("a dual test: the rows do not show their direction");
        } else if datagrams.iter().any(|(_, _, all)| *all < 0.0) {
            record.parameters.direction = Some(Direction::Forward);
            record.set("throughput.sent", rate);
            record.note(SENDERS_FIGURE);
        } else {
            record.parameters.direction = Some(Direction::Forward);
            record.set("throughput", rate);
            record.set("bytes", add(|row| row.bytes));
            if udp {
                loss(&mut record, &datagrams);
            } else {
                record.note(
                    "whether these are the sender's or the receiver's figures is not in the file",
                );
            }
        }
        for row in self.intervals {
            record.sample(Sample {
                stream: row.id.parse().ok(),
                ..Sample::rate(row.start, row.end, row.rate)
            });
        }
        record
    }
}

fn loss(record: &mut Record, datagrams: &[(f64, f64, f64)]) {
    let lost: f64 = datagrams.iter().map(|(_, lost, _)| lost).sum();
    let all: f64 = datagrams.iter().map(|(_, _, all)| all).sum();
    let jitter: f64 = datagrams.iter().map(|(jitter, _, _)| jitter).sum();
    record.set("jitter", jitter / datagrams.len() as f64);
    record.set_loss("", lost, all);
}
