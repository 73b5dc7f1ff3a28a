//! When a receiver that has taken everything is woken: at once, or when a batch is there.

use socket2::Socket;

use crate::lowat::LowWater;
use crate::nap::Naps;

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
    /// Whether the next read is to wait for something to come.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        match self {
            Self::AtOnce | Self::LowWater(_) => true,
            Self::Naps(naps) => naps.waits(),
        }
    }

    /// Takes note of what a read brought.
    #[inline]
    pub(crate) fn came(&mut self, socket: &Socket, bytes: usize) {
        match self {
            Self::AtOnce => {}
            Self::LowWater(low_water) => low_water.came(socket, bytes),
            Self::Naps(naps) => naps.came(socket, bytes),
        }
    }

    /// Takes note of a read that brought nothing. May sleep for up to a millisecond.
    pub(crate) fn nothing(&mut self, socket: &Socket) {
        match self {
            Self::AtOnce => {}
            Self::LowWater(low_water) => low_water.timed_out(socket),
            Self::Naps(naps) => naps.nothing(socket),
        }
    }

    /// Leaves the socket as it was, for whoever reads the rest.
    pub(crate) fn end(self, socket: &Socket) {
        if let Self::LowWater(low_water) = self {
            low_water.end(socket);
        }
    }
}
