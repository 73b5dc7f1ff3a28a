//! vsock_perf of the Linux tree. The sender's own rate counts only the time inside `send()`, so the rate is its bytes
//! over the time of its loop.

use crate::error::ReadError;
use crate::figures::{after, leading, whole};
use crate::input::Lines;
use crate::readers::outcome::{Outcome, push};
use crate::record::{Direction, Record, TestKind};
use crate::tool::Tool;

/// Reads every run of the input.
pub(super) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    while let Some(first) = lines.next()? {
        let begin = first.number;
        lines.put_back(first);
        let mut run = VsockPerfRun::new(Record::new(Tool::VsockPerf, lines.file(), begin));
        let mut section = lines.run(|text| text.starts_with("Run as "));
        while let Some(line) = section.next()? {
            run.line(&line.text);
        }
        push(lines, out, run.finish(lines)?)?;
    }
    Ok(())
}

struct VsockPerfRun {
    record: Record,
    sender: bool,
    bytes: Option<f64>,
    rate: Option<f64>,
    loop_seconds: Option<f64>,
}

impl VsockPerfRun {
    fn new(mut record: Record) -> Self {
        record.parameters.transport = Some("vsock".into());
        record.parameters.kind = Some(TestKind::Stream);
        record.parameters.direction = Some(Direction::Forward);
        record.parameters.parallel = Some(1);
        Self {
            record,
            sender: false,
            bytes: None,
            rate: None,
            loop_seconds: None,
        }
    }

    fn line(&mut self, text: &str) {
        let parameters = &mut self.record.parameters;
        if text.starts_with("Run as sender") {
            self.sender = true;
            parameters.zerocopy = text.contains("MSG_ZEROCOPY").then(|| "msg".into());
        } else if let Some(size) = after(text, "TX buffer ").or_else(|| after(text, "RX buffer ")) {
            parameters.block = whole(size);
        } else if let Some((size, _)) = text.strip_prefix("vsock buffer ").and_then(leading) {
            parameters
                .other
                .insert("vsock buffer".into(), size.to_string());
        } else if let Some((bytes, _)) = text.strip_prefix("SO_RCVLOWAT ").and_then(leading) {
            parameters
                .other
                .insert("rcvlowat".into(), bytes.to_string());
        } else if text.starts_with("total bytes ") {
            self.bytes = after(text, ":");
        } else if text.starts_with("rx performance:") {
            self.rate = after(text, ":").map(|gigabits| gigabits * 1e9);
        } else if text.starts_with("total time in tx loop:") {
            self.loop_seconds = after(text, ":");
        }
    }

    fn finish(mut self, lines: &Lines<'_>) -> Result<Record, ReadError> {
        let record = &mut self.record;
        let cut = "no figures: the run failed, or the output is cut off";
        let bytes = self.bytes.filter(|bytes| *bytes > 0.0);
        let bytes = bytes.ok_or_else(|| lines.refuse(record.source.line, cut))?;
        let (rate, seconds) = if self.sender {
            let seconds = self.loop_seconds.filter(|seconds| *seconds > 0.0);
            let seconds = seconds.ok_or_else(|| lines.refuse(record.source.line, cut))?;
            record.note("bytes over the time of the sender's loop: the printed rate counts only the time inside send()");
            (bytes * 8.0 / seconds, seconds)
        } else {
            let rate = self.rate.filter(|rate| *rate > 0.0);
            let rate = rate.ok_or_else(|| lines.refuse(record.source.line, cut))?;
            record.note("the receiver's time includes the wait for the first byte");
            (rate, bytes * 8.0 / rate)
        };
        record.set("throughput", rate);
        record.set("seconds", seconds);
        record.set("bytes", bytes);
        Ok(self.record)
    }
}
