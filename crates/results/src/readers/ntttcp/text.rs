//! ntttcp's text: `22:01:28 INFO: total bytes\t:4882890752`.

use super::Totals;
use crate::figures::{decimal, leading};
use crate::input::Lines;
use crate::readers::outcome::{Outcome, THREE_DIGITS, push};
use crate::record::{Record, Sample};
use crate::tool::Tool;

pub(super) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    while let Some(first) = lines.next()? {
        let begin = first.number;
        lines.put_back(first);
        let mut totals = Totals {
            receiver: true,
            ..Totals::default()
        };
        let mut record = Record::new(Tool::Ntttcp, lines.file(), begin);
        let mut failed = None;
        let mut section = lines.run(|text| text.starts_with("NTTTCP for Linux"));
        while let Some(line) = section.next()? {
            if line.text.contains(" ERR : ") || line.text.contains(" ERR: ") {
                failed.get_or_insert(line.number);
            }
            take(&mut record, &mut totals, &line.text);
        }
        if let Some(number) = failed {
            return Err(lines.refuse(number, "the run failed"));
        }
        record.note("the text has rates of two decimals; -x or -j give exact ones");
        record.note(THREE_DIGITS);
        let record = totals
            .record(record)
            .map_err(|reason| lines.refuse(begin, reason))?;
        push(lines, out, record)?;
    }
    Ok(())
}

fn take(record: &mut Record, totals: &mut Totals, text: &str) {
    if let Some(version) = text.strip_prefix("NTTTCP for Linux ") {
        record.version = Some(version.to_owned());
    } else if let Some(rate) = text.strip_prefix("Real-time throughput:").and_then(rate) {
        let start = record.samples.last().map_or(0.0, |sample| sample.end);
        record.sample(Sample {
            start,
            end: start + 1.0,
            throughput: Some(rate),
            ..Sample::default()
        });
    } else if text.contains("connections created") || text.contains("connections tested") {
        // Only a sender makes connections.
        totals.receiver = false;
        totals.connections = text.split(' ').find_map(crate::figures::amount);
    }
    let text = text.split_once("INFO: ").map_or(text, |(_, text)| text);
    let Some((name, value)) = text.split_once(':') else {
        return;
    };
    let value = value.trim().trim_start_matches(':');
    let figure = leading(value).map(|(figure, _)| figure);
    match name.trim() {
        "protocol" => totals.transport = Some(value.to_lowercase()),
        "test duration" => totals.seconds = figure,
        "total bytes" => totals.bytes = figure,
        "throughput" => totals.rate = rate(value),
        "retrans segs" => {
            totals.transport.get_or_insert_with(|| "tcp".into());
            totals.retransmits = figure;
        }
        "cpu busy (all)" => totals.cpu_busy = figure,
        "tcpi rtt" => totals.rtt = crate::figures::seconds(value),
        _ if text.starts_with("the UDP send size") => totals.transport = Some("udp".into()),
        _ => {}
    }
}

/// Bits per second of `19.52Gbps`.
fn rate(text: &str) -> Option<f64> {
    let (value, unit) = leading(text)?;
    Some(value * decimal(unit.strip_suffix("bps")?)?)
}
