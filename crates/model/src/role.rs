//! What one end does on a stream.

/// What one end does on a stream. The other end has the [counterpart](Self::counterpart).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends.
    Sender,
    /// It receives.
    Receiver,
}

impl Role {
    /// The role of an end that sends, or of one that does not.
    pub fn of(sends: bool) -> Self {
        if sends { Self::Sender } else { Self::Receiver }
    }

    /// Whether this end sends the data of the test.
    pub fn sends(self) -> bool {
        self == Self::Sender
    }

    /// What the other end does.
    #[must_use]
    pub fn counterpart(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}
