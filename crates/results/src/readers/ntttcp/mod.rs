//! ntttcp-for-linux: text, XML (`-x`) and JSON (`-j`, in which every number is a string and some carry a stray unit).

mod text;
mod tree;

use crate::input::{Input, Lines};
use crate::readers::outcome::Outcome;
use crate::readers::runs;
use crate::record::{Direction, Record, TestKind};
use crate::tool::Tool;

/// The three forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Xml,
    Json,
}

pub(super) fn read(form: Form, input: Input<'_>, out: &mut Vec<Record>) -> Outcome {
    match form {
        Form::Text => runs::read::<text::NtttcpRun>(&mut Lines::new(input), out),
        Form::Xml => tree::read_xml(input, out),
        Form::Json => tree::read_json(input, out),
    }
}

/// What all forms give.
#[derive(Debug, Default, Clone)]
struct Totals {
    receiver: bool,
    transport: Option<String>,
    connections: Option<f64>,
    bytes: Option<f64>,
    seconds: Option<f64>,
    /// Bits per second.
    rate: Option<f64>,
    retransmits: Option<f64>,
    rtt: Option<f64>,
    cpu_busy: Option<f64>,
    system: Option<String>,
}

impl Totals {
    /// The record, or why there is none.
    fn record(self, mut record: Record) -> Result<Record, &'static str> {
        let (Some(rate), Some(seconds)) = (self.rate, self.seconds) else {
            return Err("no totals: the run failed, or the output is cut off");
        };
        let udp = self.transport.as_deref() == Some("udp");
        record.tool = Tool::Ntttcp;
        record.parameters.kind = Some(TestKind::Stream);
        record.parameters.direction = Some(Direction::Forward);
        record.parameters.parallel = self.connections.and_then(crate::figures::whole);
        record.parameters.transport = self.transport;
        if self.receiver || !udp {
            record.set("throughput", rate);
        }
        if !self.receiver {
            record.set("throughput.sent", rate);
            record.note("the sender's figure; the receiver's output has what arrived");
        }
        record.set("seconds", seconds);
        record.set("bytes", self.bytes);
        record.set("retransmits", self.retransmits);
        record.set("rtt", self.rtt);
        let end = if self.receiver {
            "cpu.receiver"
        } else {
            "cpu.sender"
        };
        record.set_cpu(end, self.cpu_busy);
        if let Some(system) = self.system {
            record.environment.insert("system".into(), system);
        }
        Ok(record)
    }
}
