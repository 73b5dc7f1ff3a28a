//! Which of its counts an end has reported to the peer.

/// What this end has reported.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reported {
    /// Where the omitted period of its senders ended.
    pub(super) cuts: bool,
    /// What they sent in all.
    pub(super) sent: bool,
}
