//! vsock_perf of the Linux tree. The sender's own rate counts only the time inside `send()`, so the rate is its bytes
//! over the time of its loop.

use crate::figures::{after, leading, whole};
use crate::readers::runs::RunReader;
use crate::record::{Direction, Record, TestKind};
use crate::tool::Tool;

/// One run while it is read.
pub(super) struct VsockPerfRun {
    record: Record,
    sender: bool,
    bytes: Option<f64>,
    rate: Option<f64>,
    loop_seconds: Option<f64>,
}

impl RunReader for VsockPerfRun {
    const TOOL: Tool = Tool::VsockPerf;

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

    fn begins(text: &str) -> bool {
        text.starts_with("Run as ")
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        let parameters = &mut self.record.parameters;
        if text.starts_with("Run as sender") {
            self.sender = true;
            parameters.zerocopy = text.contains("MSG_ZEROCOPY").then(|| "msg".into());
        } else if let Some(size) = after(text, "TX buffer ").or_else(|| after(text, "RX buffer ")) {
            parameters.block = whole(size);
        } else if let Some((size, _)) = text.strip_prefix("vsock buffer ").and_then(leading) {
            self.record.set_other("vsock buffer", &size);
        } else if let Some((bytes, _)) = text.strip_prefix("SO_RCVLOWAT ").and_then(leading) {
            self.record.set_other("rcvlowat", &bytes);
        } else if text.starts_with("total bytes ") {
            self.bytes = after(text, ":");
        } else if text.starts_with("rx performance:") {
            self.rate = after(text, ":").map(|gigabits| gigabits * 1e9);
        } else if text.starts_with("total time in tx loop:") {
            self.loop_seconds = after(text, ":");
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Option<Record>, String> {
        let record = &mut self.record;
        let positive = |figure: Option<f64>| {
            figure
                .filter(|figure| *figure > 0.0)
                .ok_or("no figures: the run failed, or the output is cut off")
        };
        let bytes = positive(self.bytes)?;
        let (rate, seconds) = if self.sender {
            let seconds = positive(self.loop_seconds)?;
            record.note("bytes over the time of the sender's loop: the printed rate counts only the time inside send()");
            (bytes * 8.0 / seconds, seconds)
        } else {
            let rate = positive(self.rate)?;
            record.note("the receiver's time includes the wait for the first byte");
            (rate, bytes * 8.0 / rate)
        };
        record.set("throughput", rate);
        record.set("seconds", seconds);
        record.set("bytes", bytes);
        Ok(Some(self.record))
    }
}
