//! sockperf: latency is half of the round trip unless it was run with `--full-rtt`, both `MBps` and `Mbps` are
//! 1024-based, and what throughput mode counts was sent, not received.

use crate::figures::{after, amount, whole};
use crate::readers::runs::RunReader;
use crate::record::{Direction, Record, TestKind};
use crate::tool::Tool;

/// One run while it is read.
pub(super) struct SockperfRun {
    record: Record,
    /// Whether the latencies printed are halves of round trips.
    half: bool,
    ended: bool,
}

impl RunReader for SockperfRun {
    const TOOL: Tool = Tool::Sockperf;

    fn new(record: Record) -> Self {
        Self {
            record,
            half: false,
            ended: false,
        }
    }

    fn begins(text: &str) -> bool {
        text.starts_with("sockperf: == version")
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        if text.contains("ERROR:") {
            return Err("the run failed".into());
        }
        match text.strip_prefix("sockperf: ") {
            Some(rest) => self.report(rest),
            None => self.preamble(text),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Record>, String> {
        if !self.ended {
            return Err("no summary: the run failed, or the output is cut off".into());
        }
        if self.half {
            self.record
                .note("sockperf printed half round trips; doubled");
        }
        Ok(Some(self.record))
    }
}

impl SockperfRun {
    /// The lines before the report: the options of the test, and its sockets.
    fn preamble(&mut self, text: &str) {
        let parameters = &mut self.record.parameters;
        if text.starts_with("test was performed using") {
            parameters.block = after(text, "--msg-size=").and_then(whole);
            parameters.duration = after(text, "--time=");
        } else if text.trim_end().ends_with("# TCP") {
            parameters.transport = Some("tcp".into());
        } else if text.trim_end().ends_with("# UDP") {
            parameters.transport = Some("udp".into());
        }
    }

    fn report(&mut self, rest: &str) {
        let record = &mut self.record;
        if let Some(version) = rest.strip_prefix("== version #") {
            record.version = version.split(' ').next().map(str::to_owned);
        } else if rest.starts_with("[Valid Duration]") {
            valid_duration(record, rest);
        } else if let Some(rest) = rest.strip_prefix("====> avg-") {
            self.half = !rest.starts_with("rtt");
            self.ended = true;
            self.time("mean", after(rest, "="));
            self.time("stddev", after(rest, "(std-dev="));
        } else if let Some(rest) = rest.strip_prefix("---> ") {
            self.observation(rest);
        } else if rest.starts_with("# dropped messages") {
            dropped(record, rest);
        } else {
            self.throughput(rest);
        }
    }

    fn observation(&mut self, rest: &str) {
        let value = rest.split_once('=').and_then(|(_, value)| amount(value));
        if let Some(percent) =
            after(rest, "percentile ").filter(|percent| *percent > 0.0 && *percent <= 100.0)
        {
            self.time(&format!("p{percent}"), value);
        } else if rest.contains("MAX") {
            self.time("max", value);
        } else if rest.contains("MIN") {
            self.time("min", value);
        }
    }

    fn time(&mut self, figure: &str, us: Option<f64>) {
        let scale = if self.half { 2e-6 } else { 1e-6 };
        self.record
            .set(&format!("latency.{figure}"), us.map(|us| us * scale));
    }

    /// Throughput mode. The rate is messages times bytes; the printed ones have wrong units.
    fn throughput(&mut self, rest: &str) {
        let record = &mut self.record;
        if let Some(size) = after(rest, "using msg-size=") {
            record.parameters.block = whole(size);
        } else if rest.starts_with("Total of ") && rest.contains("messages sent") {
            record.set("seconds", after(rest, "sent in "));
        } else if rest.starts_with("Summary: Message Rate is ") {
            self.ended = true;
            record.parameters.kind = Some(TestKind::Stream);
            record.parameters.direction = Some(Direction::Forward);
            record.set("messages", after(rest, "Message Rate is "));
        } else if let Some(rest) = rest.strip_prefix("Summary: BandWidth is ") {
            let printed = after(rest, "(").map(|binary_megabits| binary_megabits * 1_048_576.0);
            let counted = record
                .get("messages")
                .zip(record.parameters.block)
                .map(|(rate, size)| rate * size as f64 * 8.0);
            let rate = counted.or(printed);
            record.set("throughput.sent", rate);
            if record.parameters.transport.as_deref() == Some("tcp") {
                record.set("throughput", rate);
                record.note("the sender's figure; TCP delivers what it takes, but for its buffers");
            } else {
                record.note("sockperf counts what was sent: what arrived is not known");
            }
            record.note("the printed MBps and Mbps are 1024-based; corrected");
        }
    }
}

/// `RunTime=1.548 sec; SentMessages=26440; ReceivedMessages=26440`, without the warm-up.
fn valid_duration(record: &mut Record, rest: &str) {
    let (Some(seconds), Some(sent), Some(received)) = (
        after(rest, "RunTime="),
        after(rest, "SentMessages="),
        after(rest, "ReceivedMessages="),
    ) else {
        return;
    };
    record.set("seconds", seconds);
    // Under load only some of the messages ask for an answer.
    let under_load = received < sent * 0.9;
    record.parameters.kind = Some(if under_load {
        TestKind::UnderLoad
    } else {
        TestKind::RequestResponse
    });
    if seconds > 0.0 {
        record.set(
            if under_load {
                "operations"
            } else {
                "transactions"
            },
            received / seconds,
        );
    }
    if received < 1000.0 {
        record.note(format!(
            "{received} observations only: high percentiles are single ones"
        ));
    }
}

fn dropped(record: &mut Record, rest: &str) {
    if after(rest, "# dropped messages = ").is_some_and(|count| count > 0.0) {
        record.set("lost", after(rest, "# dropped messages = "));
    }
}
