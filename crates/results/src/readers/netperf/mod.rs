//! netperf: the classic tables, and the omni outputs `-k` (`NAME=value`), `-o` (CSV) and `-O` (a padded table).
//!
//! All are read into [`Figures`] first: netperf's own names with their units.

mod classic;
mod omni;

use crate::figures::{after, amount, number, whole};
use crate::readers::runs::RunReader;
use crate::record::{Direction, Record, Sample, TestKind};
use crate::tool::Tool;

/// Whether a line is the first of a run.
pub(crate) fn is_banner(text: &str) -> bool {
    (text.contains(" TEST from ") && text.contains("AF_"))
        || text == "STREAM STREAM TEST"
        || text == "DG STREAM TEST"
}

/// What netperf prints when it has no result.
fn failure(text: &str) -> Option<&'static str> {
    [
        (
            "are you sure there is a netserver",
            "the run failed: no connection to netserver",
        ),
        (
            "establish_control could not",
            "the run failed: no connection to netserver",
        ),
        ("netperf: ", "the run failed"),
        ("send_omni: ", "the run failed"),
        ("recv_response: ", "the run failed"),
    ]
    .into_iter()
    .find(|(text_of_failure, _)| text.starts_with(text_of_failure))
    .map(|(_, reason)| reason)
}

/// One run while it is read.
pub(super) struct NetperfRun {
    record: Record,
    omni: omni::Omni,
    classic: classic::Classic,
    stream_clock: f64,
}

impl RunReader for NetperfRun {
    const TOOL: Tool = Tool::Netperf;

    fn new(record: Record) -> Self {
        Self {
            record,
            omni: omni::Omni::default(),
            classic: classic::Classic::default(),
            stream_clock: 0.0,
        }
    }

    fn begins(text: &str) -> bool {
        is_banner(text)
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        if let Some(reason) = failure(text) {
            return Err(reason.to_owned());
        }
        if is_banner(text) {
            banner(&mut self.record, text);
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix("Interim result:") {
            self.interim(rest);
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix("!!!") {
            if let Some(width) = after(rest, "Throughput      :") {
                self.record
                    .note(format!("the wanted confidence was not reached: ±{width} %"));
            }
            return Ok(());
        }
        if !self.omni.line(text) {
            self.classic.line(text)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Record>, String> {
        match self.omni.figures() {
            Some(figures) => omni::fill(&mut self.record, &figures)?,
            None => self.classic.fill(&mut self.record)?,
        }
        Ok(Some(self.record))
    }
}

impl NetperfRun {
    /// A line of `-D`. Its spacing is netperf's estimate.
    fn interim(&mut self, rest: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [value, unit, "over", seconds, "seconds", ..] = words.as_slice() else {
            return;
        };
        let (Some(value), Some(seconds)) = (amount(value), amount(seconds)) else {
            return;
        };
        let (start, end) = (self.stream_clock, self.stream_clock + seconds);
        self.stream_clock = end;
        let mut sample = Sample {
            start,
            end,
            ..Sample::default()
        };
        match rate_unit(unit) {
            Some(Rate::Bits(scale)) => sample.throughput = Some(value * scale),
            Some(Rate::Transactions) => sample.transactions = Some(value),
            None => return,
        }
        self.record.sample(sample);
    }
}

/// The content of the first line: the test, and the features after its colons.
fn banner(record: &mut Record, text: &str) {
    let parameters = &mut record.parameters;
    let test = text.split(" TEST").next().unwrap_or(text);
    let test = test.strip_prefix("MIGRATED ").unwrap_or(test);
    let (transport, what) = test.split_once(' ').unwrap_or(("", test));
    parameters.transport = match transport {
        "TCP" | "UDP" | "SCTP" => Some(transport.to_lowercase()),
        "STREAM" | "DG" => Some("unix".into()),
        _ => None,
    };
    let (kind, direction) = match what {
        "STREAM" | "Send" => (Some(TestKind::Stream), Some(Direction::Forward)),
        "MAERTS" | "Receive" => (Some(TestKind::Stream), Some(Direction::Reverse)),
        "REQUEST/RESPONSE" | "Send|Recv" => (Some(TestKind::RequestResponse), None),
        "Connect/Request/Response" | "Connect/Close" => {
            (Some(TestKind::ConnectRequestResponse), None)
        }
        _ => (None, None),
    };
    parameters.kind = kind;
    parameters.direction = direction;
    for feature in text.split(" : ").skip(1) {
        if let Some(burst) = after(feature, "first burst ").filter(|burst| *burst > 0.0) {
            record.set_other("burst", &burst);
        } else if feature.trim() == "nodelay" {
            record.set_other("nodelay", &1);
        } else if feature.contains("% conf.") {
            record
                .notes
                .push(format!("a mean of several runs, {}", feature.trim()));
        }
    }
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    /// Times this, bits per second.
    Bits(f64),
    Transactions,
}

/// netperf's units: bits are 1000-based, bytes 1024-based.
fn rate_unit(text: &str) -> Option<Rate> {
    let bits = |scale| Some(Rate::Bits(scale));
    let unit = text.trim().trim_end_matches("ec").trim_end_matches("/s");
    match unit {
        "10^9bits" => bits(1e9),
        "10^6bits" => bits(1e6),
        "10^3bits" => bits(1e3),
        "bits" => bits(1.0),
        "GBytes" => bits(8.0 * 1_073_741_824.0),
        "MBytes" => bits(8.0 * 1_048_576.0),
        "KBytes" => bits(8.0 * 1024.0),
        "Bytes" => bits(8.0),
        "Trans" => Some(Rate::Transactions),
        _ => None,
    }
}

/// CPU seconds per 10⁹ bytes of a service demand in µs per 1024 bytes.
fn per_gigabyte(us_per_kilobyte: f64) -> f64 {
    us_per_kilobyte * 1e-6 * 1e9 / 1024.0
}

/// Puts a demand on the side that sent: the local one unless the direction is reversed.
fn demands(record: &mut Record, local: Option<f64>, remote: Option<f64>, per_transaction: bool) {
    let measured = |value: Option<f64>| value.filter(|value| *value >= 0.0);
    let (local, remote) = (measured(local), measured(remote));
    if per_transaction {
        record.set("cpu.transaction.local", local.map(|us| us * 1e-6));
        record.set("cpu.transaction.remote", remote.map(|us| us * 1e-6));
        return;
    }
    let (sender, receiver) = match record.parameters.direction {
        Some(Direction::Reverse) => (remote, local),
        _ => (local, remote),
    };
    record.set("cpu.sender", sender.map(per_gigabyte));
    record.set("cpu.receiver", receiver.map(per_gigabyte));
}

fn count(text: &str) -> Option<u64> {
    number(text).filter(|value| *value > 0.0).and_then(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_binary_and_bits_decimal() {
        assert_eq!(rate_unit("MBytes/sec"), Some(Rate::Bits(8_388_608.0)));
        assert_eq!(rate_unit("10^6bits/s"), Some(Rate::Bits(1e6)));
        assert_eq!(rate_unit("10^6bits/sec"), Some(Rate::Bits(1e6)));
        assert_eq!(rate_unit("Trans/s"), Some(Rate::Transactions));
        assert_eq!(rate_unit("furlongs"), None);
    }
}
