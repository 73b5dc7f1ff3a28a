//! What follows `SERVER_ERROR`: a code, a system error, and from a server that granted extensions an explanation.

use std::time::Duration;

use super::Failure;
use crate::Code;
use crate::extensions::{self, MAX_GRANTED};
use crate::framing::FrameReader;

/// How long a server that announced an error may take to send its code. Old servers send none.
pub(super) const ERROR_CODE_WAIT: Duration = Duration::from_secs(2);

/// The code and the system error.
const LENGTH: usize = 8;

/// A refusal, as far as it has arrived.
#[derive(Debug)]
pub(super) struct Refusal {
    codes: Vec<u8>,
    extended: bool,
    explanation: FrameReader,
}

impl Refusal {
    pub(super) fn new(extended: bool) -> Self {
        Self {
            codes: Vec::with_capacity(LENGTH),
            extended,
            explanation: FrameReader::new(MAX_GRANTED),
        }
    }

    /// Takes bytes off the front, and returns the failure once it is complete.
    pub(super) fn read(&mut self, bytes: &mut &[u8]) -> Option<Failure> {
        if self.codes.len() < LENGTH {
            self.codes.push(bytes[0]);
            *bytes = &bytes[1..];
            let complete = self.codes.len() == LENGTH && !self.extended;
            return complete.then(|| self.failure(None));
        }
        match self.explanation.read(bytes) {
            Ok(None) => None,
            Ok(Some(json)) => Some(self.failure(extensions::explanation(&json))),
            Err(_) => Some(self.failure(None)),
        }
    }

    /// The failure by what has arrived. 3.19 and before send no system error with a failed login.
    pub(super) fn failure(&self, explanation: Option<String>) -> Failure {
        let int = |at: usize| {
            let bytes = self.codes.get(at..)?.first_chunk()?;
            Some(i32::from_be_bytes(*bytes))
        };
        Failure::ServerError {
            code: int(0).map_or(Code::CONTROL_READ, Code),
            errno: int(4).unwrap_or(0),
            explanation,
        }
    }
}
