//! What the two machines have in common, for whoever drives one.

use std::time::Instant;

/// One end of a control connection, without its I/O and its clock.
///
/// After each call, of a `handle_*` function or of a command of the machine's own, send what
/// [`poll_transmit`](Self::poll_transmit) returns and take the actions of [`poll_action`](Self::poll_action) until there
/// are none.
pub trait Machine {
    /// What the machine asks its driver to do.
    type Action;

    /// Takes bytes from the control connection, in pieces of any size.
    fn handle_input(&mut self, bytes: &[u8], now: Instant);

    /// The peer closed the control connection, or it broke.
    fn handle_eof(&mut self, now: Instant);

    /// Time passed.
    fn handle_timeout(&mut self, now: Instant);

    /// Bytes for the control connection.
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;

    /// The next thing for the driver to do.
    fn poll_action(&mut self) -> Option<Self::Action>;

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    fn poll_timeout(&self) -> Option<Instant>;

    /// What this end is doing, for messages: `during the test`, `after the end`, ….
    fn state_name(&self) -> &'static str;
}
