//! ntttcp's text: `22:01:28 INFO: total bytes\t:4882890752`.

use super::Totals;
use crate::figures::{decimal, leading};
use crate::readers::outcome::THREE_DIGITS;
use crate::readers::runs::RunReader;
use crate::record::{Record, Sample};
use crate::tool::Tool;

/// One run while it is read.
pub(super) struct NtttcpRun {
    record: Record,
    totals: Totals,
}

impl RunReader for NtttcpRun {
    const TOOL: Tool = Tool::Ntttcp;

    fn new(record: Record) -> Self {
        let totals = Totals {
            receiver: true,
            ..Totals::default()
        };
        Self { record, totals }
    }

    fn begins(text: &str) -> bool {
        text.starts_with("NTTTCP for Linux")
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        if text.contains(" ERR : ") || text.contains(" ERR: ") {
            return Err("the run failed".into());
        }
        take(&mut self.record, &mut self.totals, text);
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Record>, String> {
        self.record
            .note("the text has rates of two decimals; -x or -j give exact ones");
        self.record.note(THREE_DIGITS);
        Ok(Some(self.totals.record(self.record)?))
    }
}

fn take(record: &mut Record, totals: &mut Totals, text: &str) {
    if let Some(version) = text.strip_prefix("NTTTCP for Linux ") {
        record.version = Some(version.to_owned());
    } else if let Some(rate) = text.strip_prefix("Real-time throughput:").and_then(rate) {
        let start = record.samples.last().map_or(0.0, |sample| sample.end);
        record.sample(Sample::rate(start, start + 1.0, rate));
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
