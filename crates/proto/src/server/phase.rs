//! The phases of a server, and the table of what each state byte does in each of them.

use crate::State;
use crate::framing::FrameReader;

#[derive(Debug)]
pub(super) enum Phase {
    Params(FrameReader),
    /// The driver checks the parameters.
    Deciding,
    /// The driver accepts data streams.
    Opening,
    Test,
    /// The driver stops counting.
    Ended,
    Results(FrameReader),
    /// The driver puts its results together.
    Report,
    Goodbye,
    Closed,
}

/// What a state byte does in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    EndTest,
    Done,
    ClientTerminated,
    Ignore,
    Unexpected,
    Unknown(i8),
}

impl Phase {
    /// The table of the machine. The bytes of [`Phase::Params`] are no states; nor are those of [`Phase::Results`],
    /// except that results can't begin with the two states that break off: as the first byte of a length they are over
    /// the limit.
    #[expect(
        clippy::match_same_arms,
        reason = "the order of the rows is what the table means"
    )]
    pub(super) fn answer(&self, state: State) -> Answer {
        match (self, state) {
            (Self::Closed, _) => Answer::Ignore,
            (_, State::IperfDone) => Answer::Done,
            (_, State::ClientTerminate) => Answer::ClientTerminated,
            // Real servers accept it and do nothing.
            (_, State::TestStart) => Answer::Ignore,
            (_, State::Unknown(value)) => Answer::Unknown(value),
            (Self::Test, State::TestEnd) => Answer::EndTest,
            _ => Answer::Unexpected,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Params(_) => "while waiting for the parameters",
            Self::Deciding => "while looking at the parameters",
            Self::Opening => "while accepting the data streams",
            Self::Test => "during the test",
            Self::Ended => "while ending the test",
            Self::Results(_) => "while waiting for the client's results",
            Self::Report => "while putting the results together",
            Self::Goodbye => "while waiting for the client's goodbye",
            Self::Closed => "after the end",
        }
    }
}
