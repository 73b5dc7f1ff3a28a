//! What a server's driver has to do, and why a test fails.

use thiserror::Error;

use crate::counts::Counts;
use crate::{Code, Params, Results, State, alive};

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The parameters: call [`super::Server::accept`], [`super::Server::refuse`] or [`super::Server::deny`].
    Params(Box<Params>),
    /// `TEST_END`: stop counting, then call [`super::Server::exchange_results`].
    EndTest,
    /// The client's results: call [`super::Server::send_results`].
    PeerResults(Box<Results>),
    /// `IPERF_DONE`: the client leaves. Before its results, it leaves because it failed.
    Done,
    /// `CLIENT_TERMINATE`: a signal ended the client.
    ClientTerminated,
    /// What the client's senders have sent so far.
    Counts(Counts),
    /// The test failed. The message to the client is queued already.
    Fail(Failure),
}

impl Action {
    /// The requested action, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Params(_) => "take the parameters",
            Self::EndTest => "end the test",
            Self::PeerResults(_) => "take the client's results",
            Self::Done => "finish",
            Self::ClientTerminated => "end with the client",
            Self::Counts(_) => "take the counts",
            Self::Fail(_) => "fail",
        }
    }
}

/// Why a test failed. The messages are those by which users know iperf3's errors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The parameters are incomplete or can't be read.
    #[error("{code}: {detail}")]
    BadParams {
        /// The code sent to the client.
        code: Code,
        /// What is wrong.
        detail: String,
    },
    /// The client's results are incomplete or can't be read.
    #[error("{text}: {0}", text = Code::RECV_RESULTS)]
    ResultsUnreadable(String),
    /// The control connection ended without `IPERF_DONE`.
    #[error("the client has unexpectedly closed the connection")]
    ClientClosed,
    /// The client's counts can't be read.
    #[error("unable to read the counts of the client: {0}")]
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
    /// The client sends no heartbeats any more.
    #[error("the client has been silent for {} s", alive::SILENCE.as_secs())]
    Silent,
    /// The client fell silent.
    #[error("timed out {waiting_for}")]
    TimedOut {
        /// What did not arrive.
        waiting_for: &'static str,
    },
}

impl Failure {
    /// iperf3's code for this failure.
    pub fn code(&self) -> Code {
        match self {
            Self::BadParams { code, .. } => *code,
            Self::ResultsUnreadable(_) => Code::RECV_RESULTS,
            Self::ClientClosed => Code::CONTROL_CLOSED,
            Self::UnknownMessage(_) | Self::Unexpected { .. } => Code::UNKNOWN_MESSAGE,
            Self::CountsUnreadable(_) | Self::Silent | Self::TimedOut { .. } => Code::RECV_MESSAGE,
        }
    }
}
