//! What the two protocol machines have in common.

use std::time::Instant;

use iperf_proto::{client, server};

/// A protocol machine as the connection sees it.
pub trait Machine {
    /// Takes bytes that the peer sent.
    fn handle_input(&mut self, bytes: &[u8], now: Instant);
    /// Learns that the peer will send nothing more.
    fn handle_eof(&mut self, now: Instant);
    /// Learns that time has passed.
    fn handle_timeout(&mut self, now: Instant);
    /// Bytes to send, in order.
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;
    /// When to call [`Self::handle_timeout`] next.
    fn poll_timeout(&self) -> Option<Instant>;
}

macro_rules! delegate {
    ($machine:ty) => {
        impl Machine for $machine {
            fn handle_input(&mut self, bytes: &[u8], now: Instant) {
                Self::handle_input(self, bytes, now);
            }

            fn handle_eof(&mut self, now: Instant) {
                Self::handle_eof(self, now);
            }

            fn handle_timeout(&mut self, now: Instant) {
                Self::handle_timeout(self, now);
            }

            fn poll_transmit(&mut self) -> Option<Vec<u8>> {
                Self::poll_transmit(self)
            }

            fn poll_timeout(&self) -> Option<Instant> {
                Self::poll_timeout(self)
            }
        }
    };
}

delegate!(client::Client);
delegate!(server::Server);
