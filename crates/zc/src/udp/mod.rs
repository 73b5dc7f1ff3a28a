//! Movers for datagrams, which the sender numbers and stamps, and which an inspector counts one by one.
//!
//! Most of the cost is the path through the kernel, so as many datagrams as possible share it:
//!
//! ```text
//! sender    GSO        one call, one packet that is split as late as possible  UDP_SEGMENT, Linux 4.18
//!           sendmmsg   one call, one packet per datagram
//!           send       one call per datagram
//! receiver  GRO        one packet holds many datagrams                         UDP_GRO, Linux 5.0
//!           recvmmsg   one call takes all queued packets
//! ```
//!
//! On the wire they are ordinary datagrams in every case, each with its own header. A sender falls back, down the list,
//! if the kernel or the path to the peer refuses.

mod arrival;
pub mod msg;
mod receive;
mod send;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use iperf_model::Batching;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

pub use arrival::monotonic;
pub use receive::{DatagramReceiver, Inspect, Receive};
pub(crate) use send::MAX_SEGMENTS_BEFORE;
pub use send::{DatagramSender, Stamp};

/// The most bytes that one datagram, or one call with offload, may have.
pub const MAX_BYTES: usize = 65_507;

/// The batching that a mover uses, for others to read while it runs.
#[derive(Debug)]
pub struct BatchingInUse(AtomicU8);

impl BatchingInUse {
    /// A mover that starts with `batching`.
    pub fn new(batching: Batching) -> Self {
        Self(AtomicU8::new(batching as u8))
    }

    /// The current batching.
    pub fn get(&self) -> Batching {
        match self.0.load(Ordering::Relaxed) {
            0 => Batching::Nothing,
            1 => Batching::Calls,
            _ => Batching::Packets,
        }
    }

    fn set(&self, batching: Batching) {
        self.0.store(batching as u8, Ordering::Relaxed);
    }
}

/// The length of the next datagram at a socket; it stays queued.
pub fn next_length(socket: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(recv(
        socket.as_raw_fd(),
        &mut [0],
        MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC,
    )?)
}

/// An error that an earlier datagram met on its path (an ICMP message) is reported by a later call and does not concern
/// it.
pub(crate) fn unless_refused(error: Errno) -> io::Error {
    match error {
        Errno::ECONNREFUSED => io::ErrorKind::Interrupted.into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    /// Two sockets, each connected to the other.
    pub(super) fn pair() -> (UdpSocket, UdpSocket) {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let [a, b] = sockets;
        a.connect(b.local_addr().unwrap()).unwrap();
        b.connect(a.local_addr().unwrap()).unwrap();
        (a, b)
    }

    /// Writes the number of a datagram and the time in microseconds.
    pub(super) fn stamp(datagram: &mut [u8], sequence: u64, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap();
        datagram[..8].copy_from_slice(&sequence.to_be_bytes());
        datagram[8..16].copy_from_slice(&micros.to_be_bytes());
    }

    #[test]
    fn the_batching_in_use_is_reported() {
        for batching in [Batching::Nothing, Batching::Calls, Batching::Packets] {
            let in_use = BatchingInUse::new(Batching::Nothing);
            in_use.set(batching);
            assert_eq!(in_use.get(), batching);
        }
    }
}
