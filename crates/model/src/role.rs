//! What one end does on a stream.

/// What one end does on a stream. The other end has the [counterpart](Self::counterpart).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends.
    Sender,
    /// It receives.
    Receiver,
    /// It sends requests and waits for the responses.
    Requester,
    /// It answers requests.
    Responder,
}

impl Role {
    /// The role of an end that sends, or of one that does not.
    pub fn of(sends: bool) -> Self {
        if sends { Self::Sender } else { Self::Receiver }
    }

    /// The role of an end of a request/response test.
    pub fn of_exchange(requests: bool) -> Self {
        if requests {
            Self::Requester
        } else {
            Self::Responder
        }
    }

    /// Whether this end sends the data of the test: blocks, or requests.
    pub fn sends(self) -> bool {
        matches!(self, Self::Sender | Self::Requester)
    }

    /// Whether this end receives data: blocks, requests or responses.
    pub fn awaits_data(self) -> bool {
        self != Self::Sender
    }

    /// What the other end does.
    #[must_use]
    pub fn counterpart(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
            Self::Requester => Self::Responder,
            Self::Responder => Self::Requester,
        }
    }
}
