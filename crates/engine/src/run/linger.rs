//! The graceful end of streams: no socket is closed while the peer may still write to it.
//!
//! ```text
//! sender    stops ── shutdown(SHUT_WR) ────────────────── reads the end of the stream ── closes
//! receiver                │  reads and forgets what comes ── reads the end of the stream ── closes
//! ```
//!
//! A socket that is closed with unread bytes resets its connection. TCP hides that from a peer that has already ended,
//! but a VMM that carries a vsock connection sees it in its Unix socket and reports an error. Some peers never
//! half-close, and some VMMs do not forward a half-close, so every wait here has a limit.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use socket2::Socket;
use tracing::debug;

/// A peer that has sent nothing for this long has nothing left to send, or will never close its side.
const SILENCE: Duration = Duration::from_millis(250);

/// What a peer may continue to send. More than this is never in flight.
const TIME_LIMIT: Duration = Duration::from_secs(1);
const BYTE_LIMIT: usize = 64 << 20;

/// Ends this direction of a stream. The peer reads what is in flight, and then the end of the stream.
pub(crate) fn half_close(socket: &Socket) {
    // A peer that is gone needs no goodbye.
    let _ = socket.shutdown(Shutdown::Write);
}

/// Streams that have stopped and whose peers have not closed them yet.
#[derive(Debug, Default)]
pub struct Lingering {
    sockets: Vec<Arc<Socket>>,
}

impl Lingering {
    pub(crate) fn new(sockets: Vec<Arc<Socket>>) -> Self {
        Self { sockets }
    }

    /// Whether there is nothing to wait for.
    pub fn is_over(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Reads and forgets until each peer has ended its stream, then closes. It blocks for at most a second.
    pub fn wait(mut self) {
        let end = Instant::now() + TIME_LIMIT;
        let mut patience = Instant::now() + SILENCE;
        let mut left = BYTE_LIMIT;
        let mut buffer = vec![0; 256 * 1024];
        while !self.sockets.is_empty() && left > 0 {
            let now = Instant::now();
            let limit = patience.min(end).saturating_duration_since(now);
            if limit.is_zero() || !self.wait_for_input(limit) {
                break;
            }
            let before = left;
            self.sockets.retain(|socket| {
                let open = forget(socket, &mut buffer);
                left = left.saturating_sub(open.unwrap_or(0));
                open.is_some()
            });
            if left < before {
                patience = Instant::now() + SILENCE;
            }
        }
        if !self.sockets.is_empty() {
            debug!(
                streams = self.sockets.len(),
                "closed before their peers did"
            );
        }
    }

    /// Waits until a socket can be read; false when none can within `limit`.
    fn wait_for_input(&self, limit: Duration) -> bool {
        let mut sockets: Vec<_> = self
            .sockets
            .iter()
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        // Rounded up, so that a rest of a millisecond is no busy loop.
        let limit = limit + Duration::from_millis(1);
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        match poll(&mut sockets, limit) {
            Ok(ready) => ready > 0,
            Err(error) => error == nix::errno::Errno::EINTR,
        }
    }
}

/// Takes what is there, up to the length of the buffer: how much it was, or `None` at the end of the stream.
fn forget(socket: &Socket, buffer: &mut [u8]) -> Option<usize> {
    match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from) {
        Ok(0) => None,
        Ok(length) => Some(length),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Some(0)
        }
        Err(error) => {
            debug!(%error, "a stream broke at its end");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;

    fn pair() -> (Lingering, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        let socket = Arc::new(Socket::from(OwnedFd::from(here)));
        (Lingering::new(vec![socket]), there)
    }

    /// Waits on a separate thread, for no longer than a hang would take.
    fn wait_within_bounds(lingering: Lingering) -> Duration {
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let start = Instant::now();
            lingering.wait();
            let _ = done.send(start.elapsed());
        });
        ended
            .recv_timeout(60 * TIME_LIMIT)
            .expect("the wait is over long before this")
    }

    #[test]
    fn what_is_under_way_is_read_and_the_peer_sees_no_reset() {
        let (lingering, mut there) = pair();
        half_close(&lingering.sockets[0]);
        let waiter = std::thread::spawn(move || wait_within_bounds(lingering));
        assert_eq!(there.read(&mut [0]).unwrap(), 0);
        there.write_all(&[0; 10_000]).unwrap();
        there.shutdown(Shutdown::Write).unwrap();
        waiter.join().unwrap();
        assert_eq!(there.read(&mut [0]).unwrap(), 0, "no ECONNRESET");
    }

    #[test]
    fn a_peer_that_never_closes_is_left_after_a_silence() {
        let (lingering, mut there) = pair();
        assert!(wait_within_bounds(lingering) >= SILENCE);
        let error = there.write_all(&[0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_peer_that_never_stops_sending_is_left() {
        let (lingering, mut there) = pair();
        let sender = std::thread::spawn(move || {
            loop {
                if let Err(error) = there.write_all(&[0; 1000]) {
                    return error.kind();
                }
            }
        });
        wait_within_bounds(lingering);
        let error = sender.join().unwrap();
        let closed = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(closed.contains(&error), "{error}");
    }
}
