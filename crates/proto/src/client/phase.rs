//! The phases of a client, and the table of what each state byte does in each of them.

use super::refusal::Refusal;
use crate::framing::FrameReader;
use crate::{Results, State};

#[derive(Debug)]
pub(super) enum Phase {
    ParamExchange,
    /// Before `CREATE_STREAMS`, the server's grants may arrive, once.
    CreateStreams {
        may_grant: bool,
    },
    /// The server's grants are arriving.
    Extensions(FrameReader),
    /// The driver opens streams.
    Opening(EarlyStart),
    Start,
    Running,
    /// The driver moves data.
    Test,
    Exchange,
    /// The driver puts its results together.
    Report,
    Results(FrameReader),
    Display(Box<Results>),
    /// The driver shows the results.
    Shown,
    /// `SERVER_ERROR` arrived; the reason may follow.
    Refused(Refusal),
    Closed,
}

/// A server starts the test when it has accepted the last stream; the driver may need a moment longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EarlyStart {
    No,
    Started,
    Running,
}

/// What a state byte does in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    SendParams,
    ReadGranted,
    OpenStreams,
    StartClock,
    Run,
    RememberStart(EarlyStart),
    AskForResults,
    ShowResults,
    Busy,
    Terminated,
    ReadErrorCode,
    Ignore,
    Unexpected,
    Unknown(i8),
}

impl Phase {
    /// The table of the machine. The bytes of messages and codes are no states, except that
    /// results can't begin with the three states that break off: as the first byte of a length they are over any limit.
    #[expect(
        clippy::match_same_arms,
        reason = "the order of the rows is what the table means"
    )]
    pub(super) fn answer(&self, state: State) -> Answer {
        match (self, state) {
            (Self::Shown | Self::Closed, _) => Answer::Ignore,
            (_, State::AccessDenied) => Answer::Busy,
            (_, State::ServerTerminate) => Answer::Terminated,
            (_, State::ServerError) => Answer::ReadErrorCode,
            (_, State::Unknown(value)) => Answer::Unknown(value),

            (Self::ParamExchange, State::ParamExchange) => Answer::SendParams,
            (Self::CreateStreams { may_grant: true }, State::Extensions) => Answer::ReadGranted,
            (Self::CreateStreams { .. }, State::CreateStreams) => Answer::OpenStreams,
            (Self::Opening(EarlyStart::No), State::TestStart) => {
                Answer::RememberStart(EarlyStart::Started)
            }
            (Self::Opening(EarlyStart::Started), State::TestRunning) => {
                Answer::RememberStart(EarlyStart::Running)
            }
            (Self::Start, State::TestStart) => Answer::StartClock,
            (Self::Running, State::TestRunning) => Answer::Run,
            // The driver ended the test between the two bytes that start it.
            (Self::Exchange, State::TestRunning) => Answer::Ignore,
            (Self::Exchange, State::ExchangeResults) => Answer::AskForResults,
            (Self::Display(_), State::DisplayResults) => Answer::ShowResults,
            _ => Answer::Unexpected,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::ParamExchange => "while waiting to send the parameters",
            Self::CreateStreams { .. } | Self::Extensions(_) => {
                "while waiting for the server to take the parameters"
            }
            Self::Opening(_) => "while opening the data streams",
            Self::Start => "while waiting for the start of the test",
            Self::Running => "between the start of the test and its first data",
            Self::Test => "during the test",
            Self::Exchange => "while waiting to send the results",
            Self::Report => "while putting the results together",
            Self::Results(_) => "while waiting for the server's results",
            Self::Display(_) => "after the server's results",
            Self::Shown => "after the test",
            Self::Refused(_) => "while waiting for the server's error code",
            Self::Closed => "after the end",
        }
    }

    /// Whether the exchange of results has begun, which decides how iperf3 calls a loss of the connection.
    pub(super) fn is_exchange(&self) -> bool {
        matches!(self, Self::Report | Self::Results(_))
    }
}
