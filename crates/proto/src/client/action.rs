//! What a client's driver has to do, and why a test fails.

use thiserror::Error;

use crate::counts::Counts;
use crate::{Code, Granted, Results, State, alive};

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The server requested the parameters, and they are queued. Nothing needs to be done.
    ParamsSent,
    /// The server is this program, and grants this.
    Granted(Box<Granted>),
    /// Open the data streams one after another, sending ones first, then call [`super::Client::streams_opened`].
    OpenStreams,
    /// `TEST_START`: the clock of the test starts now.
    StartClock,
    /// `TEST_RUNNING`: move data, then call [`super::Client::end_test`].
    Run,
    /// The server stopped counting: call [`super::Client::send_results`].
    CollectResults,
    /// The server's results; show them, then call [`super::Client::finish`].
    ShowResults(Box<Results>),
    /// What the server's senders have sent so far.
    Counts(Counts),
    /// The test failed. The message to the server is queued already.
    Fail(Failure),
}

impl Action {
    /// The requested action, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ParamsSent => "report the beginning",
            Self::Granted(_) => "take what the server grants",
            Self::OpenStreams => "open the data streams",
            Self::StartClock => "start the clock",
            Self::Run => "move data",
            Self::CollectResults => "collect the results",
            Self::ShowResults(_) => "show the results",
            Self::Counts(_) => "take the counts",
            Self::Fail(_) => "fail",
        }
    }
}

/// Why a test failed. The messages are those by which users know iperf3's errors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The server runs another test.
    #[error("{}", Code::BUSY)]
    Busy,
    /// A signal stopped the server.
    #[error("{}", Code::SERVER_TERMINATED)]
    ServerTerminated,
    /// The server refused or aborted the test.
    #[error("{}", explained(*code, *errno, explanation.as_deref()))]
    ServerError {
        /// Its reason; [`Code::CONTROL_READ`] if it gave none.
        code: Code,
        /// The system error behind it, or 0.
        errno: i32,
        /// The explanation of a server of this program.
        explanation: Option<String>,
    },
    /// The control connection ended while a state was due.
    #[error("{}", Code::CONTROL_CLOSED)]
    ControlClosed,
    /// The server's results are incomplete or can't be read.
    #[error("{text}: {0}", text = Code::RECV_RESULTS)]
    ResultsUnreadable(String),
    /// What the server grants can't be read.
    #[error("unable to read which extensions the server grants: {0}")]
    GrantedUnreadable(String),
    /// The server's counts can't be read.
    #[error("unable to read the counts of the server: {0}")]
    CountsUnreadable(String),
    /// A byte that is no state.
    #[error("{text}: {0}", text = Code::UNKNOWN_MESSAGE)]
    UnknownMessage(i8),
    /// A state at a time at which it makes no sense.
    #[error("received an unexpected control message: {state} {phase}")]
    Unexpected {
        /// What arrived.
        state: State,
        /// What this end was doing.
        phase: &'static str,
    },
    /// The server sends no heartbeats any more.
    #[error("the server has been silent for {} s", alive::SILENCE.as_secs())]
    Silent,
    /// The server fell silent.
    #[error("timed out {waiting_for}")]
    TimedOut {
        /// What did not arrive.
        waiting_for: &'static str,
        /// The code that iperf3 has for it.
        code: Code,
    },
}

/// The message of a server's error: the server's own if it has one.
fn explained(code: Code, errno: i32, explanation: Option<&str>) -> String {
    explanation.map_or_else(
        || code.with_errno(errno),
        |text| format!("the server reports: {text}"),
    )
}

impl Failure {
    /// iperf3's code for this failure.
    pub fn code(&self) -> Code {
        match self {
            Self::Busy => Code::BUSY,
            Self::ServerTerminated => Code::SERVER_TERMINATED,
            Self::ServerError { code, .. } | Self::TimedOut { code, .. } => *code,
            Self::ControlClosed => Code::CONTROL_CLOSED,
            Self::GrantedUnreadable(_) | Self::CountsUnreadable(_) | Self::Silent => {
                Code::RECV_MESSAGE
            }
            Self::ResultsUnreadable(_) => Code::RECV_RESULTS,
            Self::UnknownMessage(_) | Self::Unexpected { .. } => Code::UNKNOWN_MESSAGE,
        }
    }
}
