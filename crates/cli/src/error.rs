//! Errors of the command line, and how they are printed.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use iperf_model::units::UnitError;
use iperf_model::{MAX_BLOCK, MAX_OWN_BLOCKS, reason};
use iperf_proto::Code;
use thiserror::Error;

use crate::args::Given;
use crate::getopt::GetoptError;
use crate::options::{Spec, Takes};
use crate::usage;

/// Why a command line is rejected. Displays as the message without the name of the program.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct UsageError {
    reason: Reason,
    /// A second line, where the message is iperf3's and names neither the option nor the value.
    hint: Option<String>,
}

/// The two kinds of mistakes.
#[derive(Debug, Error)]
pub(crate) enum Reason {
    /// A word is not an option.
    #[error(transparent)]
    Getopt(#[from] GetoptError),
    /// An option has a bad value, or does not fit the others.
    #[error("parameter error - {0}")]
    Parameter(#[from] ParameterError),
}

impl UsageError {
    /// The exit code of the program after such an error.
    pub const EXIT_CODE: u8 = 1;

    /// Prints the message, an empty line and the short usage on stderr.
    pub fn print(&self, program: &str) {
        // If stderr is gone, there is nowhere left to report it.
        let _ = io::stderr().write_all(self.report(program).as_bytes());
    }

    /// The text that `print` writes.
    pub fn report(&self, program: &str) -> String {
        let hint = match &self.hint {
            Some(hint) => format!("{program}: {hint}\n"),
            None => String::new(),
        };
        format!("{program}: {self}\n{hint}\n{}", usage::short(program))
    }

    /// Whether neither a client nor a server was asked for.
    pub fn lacks_role(&self) -> bool {
        matches!(
            self.reason,
            Reason::Parameter(ParameterError::Known(Code::NO_ROLE))
        )
    }

    /// Both lines in one, for a message that has something before it.
    pub fn in_one_line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }

    /// The same error with a second line.
    #[must_use]
    pub fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// Names the option and its value, if the message does not.
    pub(crate) fn about(error: ParameterError, given: &Given) -> Self {
        let hint = match &error {
            ParameterError::Known(_) | ParameterError::Unit(_)
                if given.spec.takes != Takes::Nothing =>
            {
                Some(given.invalid())
            }
            _ => None,
        };
        Self::from(error).with_hint(hint)
    }
}

impl From<ParameterError> for UsageError {
    fn from(error: ParameterError) -> Self {
        Self {
            reason: error.into(),
            hint: None,
        }
    }
}

impl From<GetoptError> for UsageError {
    fn from(error: GetoptError) -> Self {
        Self {
            reason: error.into(),
            hint: None,
        }
    }
}

/// What is wrong with an option.
#[derive(Debug, Error)]
pub(crate) enum ParameterError {
    /// iperf3 rejects it too, in these words.
    #[error("{0}")]
    Known(Code),
    /// A number with a bad unit, in iperf3's words.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A value that is rejected in words of our own.
    #[error("invalid value '{value}' for {option}: must be {must}")]
    Value {
        /// The names of the option.
        option: String,
        /// The whole value.
        value: String,
        /// What is allowed.
        must: String,
    },
    /// A key that can't be read.
    #[error("{code}: {}: {}", .path.display(), reason(.source))]
    Key {
        /// iperf3's message, which names neither the file nor the reason.
        code: Code,
        /// The file.
        path: PathBuf,
        /// Why it can't be read.
        source: io::Error,
    },
    /// A file of options that can't be read, or a line of it.
    #[error("{}{}: {problem}", .path.display(), at(*.line))]
    OptionsFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 is the whole file.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Neither a CID nor the path of a socket.
    #[error("invalid vsock address '{0}': must be a CID, such as 3, or the path of a VMM's socket")]
    Vsock(String),
    /// vsock carries byte streams only.
    #[error("{0} can't be used over vsock")]
    NotOverVsock(&'static str),
    /// The Unix socket of a VMM carries byte streams only.
    #[error("{0} can't be used through the Unix socket of a VMM, which carries byte streams only")]
    NotThroughVmm(&'static str),
    /// An option that the transport does not have.
    #[error("{option} can't be used over {transport}")]
    NotOver {
        /// The option.
        option: &'static str,
        /// The transport.
        transport: &'static str,
    },
    /// A request or a response that the transport does not carry.
    #[error(
        "invalid size {bytes} for {option}: must be from {least} to {most} bytes over {transport}"
    )]
    ExchangeSize {
        /// The option.
        option: &'static str,
        /// The size.
        bytes: u32,
        /// The transport.
        transport: &'static str,
        /// The least bytes.
        least: u32,
        /// The most bytes.
        most: u32,
    },
    /// A block that is larger than even this program at both ends allows.
    #[error("block size too large (maximum = {0} bytes, or {MAX_BLOCK} if the server is iperf3)")]
    Block(u32),
    /// Large blocks of many streams.
    #[error(
        "-l {0} with -P {1}: blocks above {MAX_BLOCK} bytes may have {MAX_OWN_BLOCKS} bytes in all streams together"
    )]
    Blocks(u32, u16),
    /// Two options that contradict each other.
    #[error("{0} and {1} can't be combined")]
    Clash(&'static str, &'static str),
    /// An option that needs another one.
    #[error("{0} needs {1}")]
    Needs(&'static str, &'static str),
    /// A receiver that never sees the bytes that it should check.
    #[error("--verify can't check data that a receiver in mode {0} never sees")]
    Unseen(&'static str),
    /// `--loopback` and a role.
    #[error("--loopback runs both ends and can't be combined with -c or -s")]
    LoopbackAndRole,
}

impl From<Code> for ParameterError {
    fn from(code: Code) -> Self {
        Self::Known(code)
    }
}

impl ParameterError {
    /// Rejects the value of an option.
    pub(crate) fn value(spec: &Spec, value: &OsStr, must: impl Into<String>) -> Self {
        Self::Value {
            option: spec.name(),
            value: value.to_string_lossy().into_owned(),
            must: must.into(),
        }
    }

    /// Rejects a key that can't be read.
    pub(crate) fn key(code: Code, path: &Path, source: io::Error) -> Self {
        Self::Key {
            code,
            path: path.to_owned(),
            source,
        }
    }
}

fn at(line: usize) -> String {
    match line {
        0 => String::new(),
        line => format!(", line {line}"),
    }
}
