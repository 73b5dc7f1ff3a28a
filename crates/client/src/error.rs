//! Why a client's test failed, in iperf3's words.

use std::io;

use iperf_control::StopReason;
use iperf_engine::{EngineError, LostStream, Trouble};
use iperf_model::{CopyMode, CopyReport, Failure, FailureKind, reason};
use iperf_proto::client;
use iperf_proto::code::Code;
use thiserror::Error;

use crate::connect_error::ConnectError;

/// Why a test failed. The display text is what output shows, without a prefix.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The control connection was not made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// An option of the control connection was refused (`--cntl-ka`, `--snd-timeout`).
    #[error("unable to set up the control connection: {}", reason(.0))]
    Control(#[source] io::Error),
    /// The system has no random bytes for the cookie.
    #[error("unable to get random bytes from the system: {}", reason(.0))]
    Random(#[source] io::Error),
    /// The server failed, or reported an error.
    #[error(transparent)]
    Protocol(#[from] client::Failure),
    /// A data stream was not opened or not run.
    #[error("{}", stream_message(.0))]
    Streams(#[source] EngineError),
    /// A data stream ended in the middle of the test.
    #[error("{}", .0.message("server"))]
    StreamLost(LostStream),
    /// Nothing arrived for as long as `--rcv-timeout` allows.
    #[error("{}", Code::NO_DATA.text())]
    Silence,
    /// The server's windows are closed, and it takes nothing.
    #[error("the server has read no data for {0} s")]
    Stalled(u64),
    /// The server does not know an option that needs this program at both ends.
    #[error("{0} needs iperf at both ends, and the server is another program (or too old)")]
    NotGranted(&'static str),
    /// The server knows the option, and does not do it in this test.
    #[error("the server does not grant {0} for this test")]
    Declined(&'static str),
    /// With `--zerocopy-strict`, an end copied what it should not have.
    #[error("{}", copied_message(side, *.requested, .report.as_deref()))]
    Copied {
        /// The end that copied.
        side: &'static str,
        /// The requested mode.
        requested: CopyMode,
        /// What it did; `None` if a server did not report it.
        report: Option<Box<CopyReport>>,
    },
    /// The state machine requested an action that is invalid in this phase: a defect of this program.
    #[error("internal error: cannot {action} {phase}")]
    OutOfPlace {
        /// The requested action.
        action: &'static str,
        /// What this end was doing.
        phase: &'static str,
    },
    /// The CPU of `-A` can't be used.
    #[error("{}", Code::AFFINITY.with_error(.0))]
    Affinity(#[source] io::Error),
    /// The login can't be made.
    #[error(transparent)]
    Login(iperf_auth::AuthError),
    /// The user ended the test.
    #[error("{}{}", Code::CLIENT_TERMINATED.text(), .0)]
    Interrupted(StopReason),
}

impl ClientError {
    /// The event that reports it.
    pub(crate) fn failure(&self) -> Failure {
        let kind = match self {
            Self::Interrupted(_) => FailureKind::Interrupt,
            _ => FailureKind::Error,
        };
        Failure {
            kind,
            message: self.to_string(),
        }
    }
}

impl From<Trouble> for ClientError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lost(lost) => Self::StreamLost(lost),
            // A client sets no limit for the first byte alone.
            Trouble::Silence | Trouble::Mute(_) => Self::Silence,
            Trouble::Stalled(limit) => Self::Stalled(limit.as_secs()),
        }
    }
}

fn stream_message(error: &EngineError) -> String {
    match error {
        EngineError::Connect { source, .. } => Code::STREAM_CONNECT.with_error(source),
        other => format!("{}: {other}", other.code().unwrap_or(Code::CREATE_STREAM)),
    }
}

fn copied_message(side: &str, requested: CopyMode, report: Option<&CopyReport>) -> String {
    let requested = requested.name();
    let Some(report) = report else {
        return format!(
            "zero-copy ({requested}) was requested, but the {side} does not report what it did (--zerocopy-strict)"
        );
    };
    let copied = 100.0 * (1.0 - report.uncopied_share().unwrap_or(0.0));
    let reason = report.reason.as_deref();
    format!(
        "zero-copy ({requested}) was requested, but the {side} copied {copied:.1} % by {}{}{} (--zerocopy-strict)",
        report.used.name(),
        if reason.is_some() { ": " } else { "" },
        reason.unwrap_or_default(),
    )
}
