//! Why a server can't serve, or why one test failed, in iperf3's words.

use std::io;

use iperf_control::StopReason;
use iperf_engine::{EngineError, LostStream, Trouble};
use iperf_model::{Failure, FailureKind, reason};
use iperf_proto::code::Code;
use iperf_proto::server::{self, Server};
use thiserror::Error;

/// Why a server ended, other than after the one test of `-1`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// It can't listen.
    #[error("{}", Code::LISTEN.with_error(.0))]
    Listen(#[source] io::Error),
    /// The key or the users of the logins can't be used.
    #[error(transparent)]
    Login(iperf_auth::AuthError),
    /// The CPU of `-A` can't be used.
    #[error("{}", Code::AFFINITY.with_error(.0))]
    Affinity(#[source] io::Error),
    /// The user ended it.
    #[error("{}{}", Code::SERVER_TERMINATED.text(), .0)]
    Interrupted(StopReason),
}

/// Why one test, or the handshake before it, failed. The server continues.
#[derive(Debug, Error)]
pub(crate) enum TestError {
    /// The client failed, or reported an error.
    #[error(transparent)]
    Protocol(#[from] server::Failure),
    /// The client ended the test.
    #[error("{}", Code::CLIENT_TERMINATED.text())]
    ClientTerminated,
    /// The client requested something that this server does not do.
    #[error("{}", .0.text())]
    Refused(Code),
    /// The client may not run a test here. The reason is not sent.
    #[error("{}: {}", Code::AUTHORIZATION.text(), .0)]
    Denied(iperf_auth::Denied),
    /// A data stream can't be set up or run.
    #[error("{}", stream_message(.0))]
    Streams(#[source] EngineError),
    /// The client's data connections do not come.
    #[error("only {opened} of {wanted} data connections arrived within {seconds} s")]
    StreamsMissing {
        opened: usize,
        wanted: usize,
        seconds: u64,
    },
    /// A data connection has a wrong stream number.
    #[error(
        "a data connection has the index {index}, but each index from 0 to {} must come once",
        wanted - 1
    )]
    StreamIndex { index: u64, wanted: usize },
    /// The client did not reach a test in the time of a whole handshake.
    #[error("the handshake did not complete within {0} s")]
    HandshakeTooLong(u64),
    /// A data stream ended in the middle of the test.
    #[error("{}", .0.message("client"))]
    StreamLost(LostStream),
    /// Nothing arrived for as long as `--rcv-timeout` allows.
    #[error("{}", Code::NO_DATA.text())]
    Silence,
    /// The client's windows are closed, and it takes nothing.
    #[error("the client has read no data for {0} s")]
    Stalled(u64),
    /// The client's connections are up, but it sends nothing at all.
    #[error("the client has sent no data in the first {0} s")]
    Mute(u64),
    /// The client does not end its test.
    #[error("{}", Code::SERVER_TIME_LIMIT.text())]
    Overtime,
    /// The control connection takes nothing, or broke.
    #[error("the control connection failed: {}", reason(.0))]
    Control(#[from] io::Error),
    /// The state machine requested an action that is invalid in this phase: a defect of this program.
    #[error("internal error: cannot {action} {phase}")]
    OutOfPlace {
        action: &'static str,
        phase: &'static str,
    },
    /// A defect of this program.
    #[error("internal error: the test panicked")]
    Panicked,
    /// The login can't be checked: the system gives no thread for it.
    #[error("unable to check the login: {}", reason(.0))]
    LoginUnchecked(#[source] io::Error),
    /// The user ended the server.
    #[error("{}{}", Code::SERVER_TERMINATED.text(), .0)]
    Interrupted(StopReason),
}

impl TestError {
    /// The event that reports it.
    pub(crate) fn failure(&self) -> Failure {
        let kind = match self {
            Self::Interrupted(_) => FailureKind::Interrupt,
            Self::ClientTerminated | Self::Protocol(server::Failure::ClientClosed) => {
                FailureKind::ClientLeft
            }
            _ => FailureKind::Error,
        };
        Failure {
            kind,
            message: self.to_string(),
        }
    }

    /// What is sent to the client; `None` if the machine has sent it, or there is nothing to send.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(code) => Some(*code),
            Self::Denied(_) | Self::LoginUnchecked(_) => Some(Code::AUTHORIZATION),
            Self::Streams(error) => Some(stream_code(error)),
            Self::StreamsMissing { .. } | Self::StreamIndex { .. } | Self::HandshakeTooLong(_) => {
                Some(Code::STREAM_ACCEPT)
            }
            Self::StreamLost(lost) => Some(lost.code()),
            Self::Stalled(_) => Some(Code::STREAM_WRITE),
            Self::Silence | Self::Mute(_) => Some(Code::NO_DATA),
            Self::Overtime => Some(Code::SERVER_TIME_LIMIT),
            Self::Protocol(_)
            | Self::ClientTerminated
            | Self::OutOfPlace { .. }
            | Self::Panicked
            | Self::Control(_)
            | Self::Interrupted(_) => None,
        }
    }
}

impl TestError {
    /// Has the machine report it to the client, if it has not yet.
    pub(crate) fn tell(&self, machine: &mut Server) {
        match self {
            Self::Interrupted(_) => machine.terminate(),
            other => {
                if let Some(code) = other.code() {
                    machine.refuse(code, 0, other.explanation().as_deref());
                }
            }
        }
    }

    /// What a client of this program gets in addition to the code. A client that may not run a test does not get the reason.
    pub(crate) fn explanation(&self) -> Option<String> {
        (!matches!(self, Self::Denied(_))).then(|| self.to_string())
    }
}

impl From<Trouble> for TestError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lost(lost) => Self::StreamLost(lost),
            Trouble::Silence => Self::Silence,
            Trouble::Mute(limit) => Self::Mute(limit.as_secs()),
            Trouble::Stalled(limit) => Self::Stalled(limit.as_secs()),
        }
    }
}

fn stream_code(error: &EngineError) -> Code {
    error.code().unwrap_or(Code::STREAM_ACCEPT)
}

fn stream_message(error: &EngineError) -> String {
    format!("{}: {error}", stream_code(error))
}
