//! The socket of a worker: calls that block, spin before they block, or do not block.
//!
//! rustix makes them: the C library's `send` and `recv` are cancellation points, which costs 60 instructions each in a
//! threaded program.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

/// How often a spinning worker reads the clock.
const CALLS_PER_LOOK: u32 = 16;

/// The longest wait of one call: a stop may come just before it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A socket, and how long to spin on it.
pub(crate) struct Peer {
    pub(crate) socket: Arc<Socket>,
    spin: Duration,
}

impl Peer {
    pub(crate) fn new(socket: Arc<Socket>, spin: Duration) -> Self {
        Self { socket, spin }
    }

    /// Sends; what does not fit waits for room.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&*self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    /// Sends what there is room for.
    pub(crate) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(send(&*self.socket, bytes, flags)?)
    }

    /// Waits until a connection that was begun is made, or has failed; a signal cuts that short.
    pub(crate) fn is_writable(&self) -> bool {
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        let limit = Some(TimeSpec::from_duration(LONGEST_WAIT));
        ppoll(&mut sockets, limit, None).is_ok_and(|ready| ready > 0)
    }

    /// Receives what has come.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&*self.socket, buffer, RecvFlags::DONTWAIT)?.0)
    }

    /// Receives; it waits, and spins first if configured. The time-out of the socket is [`Peer::limit`]'s.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.spin.is_zero() {
            let received = self.spin(buffer);
            if !matches!(received, Err(Errno::AGAIN)) {
                return Ok(received?);
            }
        }
        Ok(recv(&*self.socket, buffer, RecvFlags::empty())?.0)
    }

    fn spin(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        let until = Instant::now() + self.spin;
        loop {
            for _ in 0..CALLS_PER_LOOK {
                match recv(&*self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                    Err(Errno::AGAIN) => std::hint::spin_loop(),
                    other => return other.map(|(received, _)| received),
                }
            }
            if Instant::now() >= until {
                return Err(Errno::AGAIN);
            }
        }
    }

    /// Whether something arrived while it spun.
    fn spin_for_data(&self, until: Option<Instant>) -> bool {
        let end = Instant::now() + self.spin;
        let end = until.map_or(end, |until| until.min(end));
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        while Instant::now() < end {
            if recv(&*self.socket, &mut [0], flags) != Err(Errno::AGAIN) {
                return true;
            }
        }
        false
    }

    /// Bounds the time that [`Self::receive`] waits.
    pub(crate) fn limit(&self, time: Duration) -> io::Result<()> {
        // Zero would be no limit at all.
        let time = time.clamp(Duration::from_millis(1), LONGEST_WAIT);
        self.socket.set_read_timeout(Some(time))
    }

    /// Waits until there is something to receive, or room to send, or it is `until`. It does not spin for longer than that.
    pub(crate) fn wait(&self, sends: bool, until: Option<Instant>) {
        let events = if sends {
            PollFlags::POLLIN | PollFlags::POLLOUT
        } else {
            PollFlags::POLLIN
        };
        if !self.spin.is_zero() && self.spin_for_data(until) {
            return;
        }
        let left = until.map_or(LONGEST_WAIT, |until| {
            until.saturating_duration_since(Instant::now())
        });
        let mut sockets = [PollFd::new(self.socket.as_fd(), events)];
        // The outcome does not matter: the next call reads the socket.
        let _ = ppoll(
            &mut sockets,
            Some(TimeSpec::from_duration(left.min(LONGEST_WAIT))),
            None,
        );
    }
}
