//! Datagrams with `MSG_ZEROCOPY` (Linux 5.0): the kernel sends the pages in which they were stamped.
//!
//! Datagrams change with each use, so their memory is a ring of slots, one per call. A slot belongs to the kernel until
//! the completion of its call arrives; then the next call may use it:
//!
//! ```text
//! ring      |call 5|call 6|call 3|call 4|     each a datagram, or with offload as many as one call carries
//!            new ^         ^ oldest in flight
//! ```

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use crate::Moved;
use crate::account::{Account, Fallback, Report};
use crate::send::SendMover;
use crate::send::ledger::{Ledger, WINDOW};
use crate::send::msg::{self, MSG_ZEROCOPY, unless_signal};
use crate::sys::errqueue;
use crate::sys::mapping::Arena;
use crate::udp::{MAX_BYTES, MAX_SEGMENTS_BEFORE, Stamp, monotonic, unless_refused};

/// Bytes of memory that a ring has, or less.
const RING_BYTES: usize = 4 << 20;

/// How long a call waits for a slot before it returns to its caller.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// Sends numbered datagrams with `MSG_ZEROCOPY`.
pub struct DatagramMsgSender<S> {
    ring: Arena,
    /// Bytes of a slot, and how many there are; it divides [`WINDOW`].
    place: usize,
    places: usize,
    block: usize,
    per_call: usize,
    sequence: u64,
    stamp: S,
    ledger: Ledger,
    report: Report,
    enabled: bool,
}

impl<S: Stamp> DatagramMsgSender<S> {
    /// Datagrams like `payload`, which must not be empty nor longer than [`MAX_BYTES`], to a connected socket. With
    /// `offload` the socket has `UDP_SEGMENT` set to the length of one. If the kernel refuses, they are sent by copy.
    pub fn new(
        payload: &[u8],
        offload: bool,
        stamp: S,
        socket: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let block = payload.len();
        if block == 0 || block > MAX_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let fallback = msg::enable(socket).err();
        let per_call = if offload {
            (MAX_BYTES / block).clamp(1, MAX_SEGMENTS_BEFORE)
        } else {
            1
        };
        let place = block * per_call;
        // A power of two, as WINDOW is.
        let places = (RING_BYTES / place).clamp(1, WINDOW as usize);
        let places = 1 << places.ilog2();
        let mut ring = Arena::new(place * places)?;
        for datagram in ring.bytes_mut(0, place * places).chunks_exact_mut(block) {
            datagram.copy_from_slice(payload);
        }
        Ok(Self {
            ring,
            place,
            places,
            block,
            per_call,
            sequence: 0,
            stamp,
            ledger: Ledger::new(),
            enabled: fallback.is_none(),
            report: Report {
                calls_because: None,
                account: Account::default(),
                fallback,
            },
        })
    }

    fn reap(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let mut any = false;
        while let Some(completion) = errqueue::next(socket)? {
            any = true;
            let completed = self.ledger.complete(&completion);
            self.report.account.completions += completed.calls;
            if completion.copied {
                self.report.account.copied += completed.bytes;
                self.report.account.copied_completions += completed.calls;
            } else {
                self.report.account.uncopied += completed.bytes;
            }
        }
        Ok(any)
    }

    fn no_place(&self) -> bool {
        self.ledger.outstanding() as usize >= self.places
    }

    /// Waits for a completion, then returns so that the caller can check for the end and call again.
    fn wait_for_place(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        errqueue::wait(socket, LOOK_AROUND)?;
        if !self.reap(socket)? {
            errqueue::pause();
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl<S: Stamp> SendMover for DatagramMsgSender<S> {
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved> {
        // With half of the slots in use there is time to check without waiting.
        if self.ledger.outstanding() as usize >= self.places.div_ceil(2) {
            self.reap(socket)?;
            if self.no_place() {
                self.wait_for_place(socket)?;
            }
        }
        let count = self.per_call.min(budget as usize);
        let bytes = count * self.block;
        let offset = self.ledger.next_slot() % self.places * self.place;
        let datagrams = self.ring.bytes_mut(offset, bytes);
        let now = monotonic();
        let mut sequence = self.sequence;
        for datagram in datagrams.chunks_exact_mut(self.block) {
            sequence += 1;
            (self.stamp)(datagram, sequence, now);
        }
        let mut flags = MsgFlags::MSG_NOSIGNAL;
        let flagged = self.enabled;
        if flagged {
            flags |= MSG_ZEROCOPY;
        }
        let mut sent = send(socket.as_raw_fd(), datagrams, flags);
        if sent == Err(Errno::ENOBUFS) && flagged {
            if self.ledger.outstanding() > 0 {
                self.wait_for_place(socket)?;
            }
            self.report.fallback.get_or_insert(Fallback::PinLimit);
            let datagrams = self.ring.bytes_mut(offset, bytes);
            sent = send(socket.as_raw_fd(), datagrams, MsgFlags::MSG_NOSIGNAL);
            self.enabled = false;
        }
        match sent {
            Ok(bytes) => {
                self.sequence = sequence;
                if self.enabled {
                    self.report.account.calls += 1;
                    self.ledger.sent(bytes);
                } else {
                    self.report.account.copy(bytes);
                }
                Ok(Moved {
                    bytes,
                    blocks: u32::try_from(count).unwrap_or(u32::MAX),
                })
            }
            // Not sent, so not numbered either: the next call uses the same numbers. The queues below are full.
            Err(Errno::ENOBUFS) => {
                errqueue::pause();
                Err(io::ErrorKind::Interrupted.into())
            }
            Err(error) => Err(unless_refused(error)),
        }
    }

    fn finish(&mut self, socket: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
        self.reap(socket)?;
        while self.ledger.outstanding() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.report.account.copied += self.ledger.abandon();
                return Err(io::ErrorKind::TimedOut.into());
            }
            errqueue::wait(socket, left).or_else(unless_signal)?;
            if !self.reap(socket)? {
                errqueue::pause();
            }
        }
        Ok(())
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sockopt;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn pair() -> (UdpSocket, UdpSocket) {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let [a, b] = sockets;
        a.connect(b.local_addr().unwrap()).unwrap();
        b.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (a, b)
    }

    fn stamp() -> impl Stamp {
        |datagram: &mut [u8], sequence: u64, _| {
            datagram[..8].copy_from_slice(&sequence.to_be_bytes());
        }
    }

    /// Sends more calls than there are slots, and checks every datagram.
    fn round_trip(block: usize, offload: bool, datagrams: u64) -> (Account, usize) {
        let (a, b) = pair();
        if offload {
            sockopt::set_udp_segment(a.as_fd(), u16::try_from(block).unwrap()).unwrap();
        }
        let payload = vec![7; block];
        let mut sender = DatagramMsgSender::new(&payload, offload, stamp(), a.as_fd()).unwrap();
        let mut buffer = vec![0; MAX_BYTES];
        let mut sent = 0;
        while sent < datagrams {
            let moved = match sender.send(a.as_fd(), 8) {
                Ok(moved) => moved,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("{error}"),
            };
            for _ in 0..moved.blocks {
                sent += 1;
                let length = b.recv(&mut buffer).unwrap();
                assert_eq!(length, block);
                assert_eq!(buffer[..8], sent.to_be_bytes());
                assert_eq!(buffer[8..length], payload[8..]);
            }
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        sender.finish(a.as_fd(), deadline).unwrap();
        let account = sender.report().account;
        assert_eq!(account.bytes(), sent * block as u64);
        (account, sender.places)
    }

    #[test]
    fn datagrams_keep_their_contents_and_every_call_completes() {
        for (block, offload, datagrams) in [
            (1000, false, 3000),
            (1000, true, 3000),
            (60_000, false, 300),
        ] {
            let (account, places) = round_trip(block, offload, datagrams);
            assert!(account.calls > places as u64, "the ring went around");
            assert_eq!(account.completions, account.calls);
            // Over loopback the kernel copies, and reports it.
            assert_eq!(account.copied_completions, account.completions);
            assert_eq!(account.uncopied, 0);
        }
    }

    #[test]
    fn a_slot_without_a_completion_is_not_reused() {
        let (a, b) = pair();
        let mut sender =
            DatagramMsgSender::new(&vec![7; 60_000], false, stamp(), a.as_fd()).unwrap();
        // As if the kernel still held them all.
        for _ in 0..sender.places {
            sender.ledger.sent(1);
        }
        let error = sender.send(a.as_fd(), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        b.set_nonblocking(true).unwrap();
        assert!(b.recv(&mut [0]).is_err(), "nothing was sent");
        let deadline = Instant::now() + Duration::from_millis(10);
        let error = sender.finish(a.as_fd(), deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(sender.report().account.copied, sender.places as u64);
    }
}
