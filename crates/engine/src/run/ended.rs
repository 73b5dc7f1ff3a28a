//! Workers that ended by themselves, and the streams that were lost with them.

use std::io;

use iperf_model::Role;
use iperf_proto::Code;
use iperf_zc::FileError;

use crate::worker::Ending;

/// A worker that ended before it was stopped.
#[derive(Debug)]
pub struct WorkerEnd {
    /// The stream's id on the wire.
    pub id: u32,
    /// Whether this end sends on the stream.
    pub role: Role,
    /// Why it ended.
    pub ending: Ending,
}

impl WorkerEnd {
    /// The loss of the stream; `None` when the worker ended for a good reason.
    pub fn loss(self) -> Option<LostStream> {
        let source = match self.ending {
            Ending::Failed(error) => Some(error),
            Ending::EndOfStream => None,
            Ending::Stopped | Ending::QuotaMet | Ending::SourceDone => return None,
        };
        Some(LostStream {
            role: self.role,
            source,
        })
    }
}

/// A stream that ended in the middle of the test.
#[derive(Debug)]
pub struct LostStream {
    /// What this end did on it.
    pub role: Role,
    /// The system's error; `None` when the peer closed the stream.
    pub source: Option<io::Error>,
}

impl LostStream {
    /// iperf3's code for it.
    pub fn code(&self) -> Code {
        if self.role.sends() {
            Code::STREAM_WRITE
        } else {
            Code::STREAM_READ
        }
    }

    /// The message about it; `peer` names the other end.
    pub fn message(&self, peer: &str) -> String {
        match &self.source {
            Some(source) if FileError::is(source) => source.to_string(),
            Some(source) => self.code().with_error(source),
            None => format!("{}: the {peer} closed the stream", self.code().text()),
        }
    }
}
