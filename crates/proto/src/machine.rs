//! What the two machines have in common: how they are driven, and the part of it that is the same for both ends.

use std::time::Instant;

use crate::counts::Counts;
use crate::session::{Extra, Session};

/// One end of a control connection, without its I/O and its clock.
///
/// After each call, of a `handle_*` function or of a command of the machine's own, send what
/// [`poll_transmit`](Self::poll_transmit) returns and take the actions of [`poll_action`](Self::poll_action) until there
/// are none.
pub trait Machine {
    /// What the driver has to do.
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

/// Where a client and a server differ. Nothing outside this crate can name it.
pub trait End {
    type Action;

    fn session(&self) -> &Session<Self::Action>;

    fn session_mut(&mut self) -> &mut Session<Self::Action>;

    /// Whether heartbeats and counts may arrive now.
    fn takes_extras(&self) -> bool;

    /// Takes at least one byte off the front.
    fn on_input(&mut self, bytes: &mut &[u8], now: Instant);

    /// The peer's counts arrived.
    fn on_counts(&mut self, counts: Result<Counts, String>);

    fn on_eof(&mut self);

    /// The peer sends no heartbeats any more.
    fn on_silence(&mut self);

    /// What was due did not arrive in time.
    fn on_late(&mut self);

    fn phase_name(&self) -> &'static str;
}

impl<E: End> Machine for E {
    type Action = E::Action;

    fn handle_input(&mut self, mut bytes: &[u8], now: Instant) {
        self.session_mut().hear(now);
        while !bytes.is_empty() {
            let takes_extras = self.takes_extras();
            match self.session_mut().take_extra(&mut bytes, takes_extras) {
                Extra::None => self.on_input(&mut bytes, now),
                Extra::Taken => {}
                Extra::Counts(counts) => self.on_counts(counts),
            }
        }
    }

    fn handle_eof(&mut self, _now: Instant) {
        self.on_eof();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.session_mut().is_silent(now) {
            return self.on_silence();
        }
        if self.session().link.is_late(now) {
            self.on_late();
        }
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.session_mut().link.take_output()
    }

    fn poll_action(&mut self) -> Option<Self::Action> {
        self.session_mut().link.take_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session().deadline()
    }

    fn state_name(&self) -> &'static str {
        self.phase_name()
    }
}
