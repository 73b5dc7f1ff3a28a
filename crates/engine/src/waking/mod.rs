//! When a receiver that has emptied its socket is woken: at once, or when a batch has arrived.

pub(crate) mod low_water;
mod nap;
mod rate;

use std::sync::Arc;

use iperf_model::SocketSize;
use socket2::Socket;

use crate::waking::low_water::LowWater;
use crate::waking::nap::Naps;
use crate::worker::counters::Counters;

/// How the receiver of a stream is woken.
pub(crate) enum Waking {
    /// By whatever comes.
    AtOnce,
    /// A byte stream: by the kernel, when enough is there.
    LowWater(LowWater),
    /// Datagrams: by the clock.
    Naps(Naps),
}

impl Waking {
    /// How the receiver of datagrams of `block` bytes is to be woken. A request for a low-water mark has no effect:
    /// datagram sockets have none.
    pub(crate) fn of_datagrams(
        ask: SocketSize,
        block: u32,
        socket: &Socket,
        counters: Arc<Counters>,
    ) -> Self {
        match ask {
            SocketSize::Off => Self::AtOnce,
            SocketSize::Auto | SocketSize::Bytes(_) => {
                let buffer = socket.recv_buffer_size().unwrap_or(0);
                Self::Naps(Naps::new(block, buffer, counters))
            }
        }
    }

    /// Whether the next read is to wait for something to come.
    #[inline]
    pub(crate) fn should_block(&self) -> bool {
        match self {
            Self::AtOnce | Self::LowWater(_) => true,
            Self::Naps(naps) => naps.should_block(),
        }
    }

    /// Counts what a read returned.
    #[inline]
    pub(crate) fn on_read(&mut self, socket: &Socket, bytes: usize) {
        match self {
            Self::AtOnce => {}
            Self::LowWater(low_water) => low_water.on_read(socket, bytes),
            Self::Naps(naps) => naps.on_read(bytes),
        }
    }

    /// Counts a read that returned nothing. May sleep for up to a millisecond.
    pub(crate) fn on_empty(&mut self, socket: &Socket) {
        match self {
            Self::AtOnce => {}
            Self::LowWater(low_water) => low_water.timed_out(socket),
            Self::Naps(naps) => naps.on_empty(),
        }
    }

    /// Leaves the socket as it was, for the reader of the rest.
    pub(crate) fn end(&self, socket: &Socket) {
        if let Self::LowWater(low_water) = self {
            low_water.end(socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};
    use std::time::Duration;

    #[test]
    fn receivers_wake_at_once_when_it_is_off() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let counters = Arc::new(Counters::default());
        let waking = |ask| Waking::of_datagrams(ask, 1448, &socket, counters.clone());
        for ask in [SocketSize::Auto, SocketSize::Bytes(1000)] {
            assert!(matches!(waking(ask), Waking::Naps(_)), "{ask:?}");
        }
        let mut off = waking(SocketSize::Off);
        assert!(matches!(off, Waking::AtOnce));
        off.on_read(&socket, 1 << 20);
        assert!(off.should_block());
        off.on_empty(&socket);
        assert_eq!(counters.nap(), Duration::ZERO);
    }
}
