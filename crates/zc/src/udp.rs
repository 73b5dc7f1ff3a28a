//! Movers for datagrams: numbered and stamped by the sender, handed one by one to whoever counts them.
//!
//! With segmentation offload one call carries many datagrams into the kernel (`UDP_SEGMENT`, Linux 4.18), with
//! receive offload one call brings many out (`UDP_GRO`, Linux 5.0). On the wire they are ordinary datagrams.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recv, recvmsg, send};
use nix::time::{ClockId, clock_gettime};

use crate::Moved;
use crate::account::Account;
use crate::receive::ReceiveMover;
use crate::send::SendMover;

/// The most bytes that one datagram, or one call with offload, may have.
pub const MAX_BYTES: usize = 65_507;

/// The most datagrams that every kernel with `UDP_SEGMENT` takes in one call (`UDP_MAX_SEGMENTS`).
pub(crate) const MAX_SEGMENTS: usize = 64;

/// How much of a datagram is kept when its payload is not wanted: the longest header.
const HEADER_ROOM: usize = 16;

/// The kernel tells the length of the next datagram only (`FIONREAD`, udp(7)): take what is there, but not for ever
/// from a peer that goes on sending.
const MAX_BACKLOG: usize = 64 << 20;

/// A pause when the queues below the socket are full: the kernel has no call that waits for them.
const FULL_QUEUE_PAUSE: Duration = Duration::from_micros(50);

/// Writes the header of a datagram: its number, from 1 on, and the time of the monotonic clock.
pub type Stamp = Box<dyn FnMut(&mut [u8], u64, Duration) + Send>;

/// Looks at a datagram: its first bytes, its length on the wire, and when it came by the monotonic clock. It says how
/// many numbers have passed with it, which is more than one when others were lost before it and none when it came late
/// or twice; `None` when it does not count.
pub type Look = Box<dyn FnMut(BorrowedFd<'_>, &[u8], usize, Duration) -> Option<u32> + Send>;

/// How many bytes of a datagram that waits, or comes, at a socket; it stays there.
pub fn next_length(socket: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(recv(
        socket.as_raw_fd(),
        &mut [0],
        MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC,
    )?)
}

/// The monotonic clock, as both ends write and read it.
pub fn monotonic() -> Duration {
    // The clock exists on every Linux, and is never negative.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Sends numbered datagrams.
pub struct DatagramSender {
    /// Room for all datagrams of one call; payloads are filled once.
    buffer: Vec<u8>,
    block: usize,
    per_call: usize,
    sequence: u64,
    stamp: Stamp,
    account: Account,
}

impl DatagramSender {
    /// Datagrams like `payload`, which must not be empty. With `offload` the socket has `UDP_SEGMENT` set to the
    /// length of one.
    pub fn new(payload: &[u8], offload: bool, stamp: Stamp) -> Self {
        let block = payload.len();
        let per_call = if offload {
            (MAX_BYTES / block).clamp(1, MAX_SEGMENTS)
        } else {
            1
        };
        Self {
            buffer: payload.repeat(per_call),
            block,
            per_call,
            sequence: 0,
            stamp,
            account: Account::default(),
        }
    }
}

impl SendMover for DatagramSender {
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved> {
        let count = self.per_call.min(budget as usize);
        let bytes = count * self.block;
        let now = monotonic();
        let mut sequence = self.sequence;
        for datagram in self.buffer[..bytes].chunks_exact_mut(self.block) {
            sequence += 1;
            (self.stamp)(datagram, sequence, now);
        }
        match send(
            socket.as_raw_fd(),
            &self.buffer[..bytes],
            MsgFlags::MSG_NOSIGNAL,
        ) {
            Ok(bytes) => {
                self.sequence = sequence;
                self.account.copy(bytes);
                Ok(Moved {
                    bytes,
                    blocks: u32::try_from(count).unwrap_or(u32::MAX),
                })
            }
            // Not sent, so not numbered either: the next call uses the same numbers.
            Err(Errno::ENOBUFS) => {
                std::thread::sleep(FULL_QUEUE_PAUSE);
                Err(io::ErrorKind::Interrupted.into())
            }
            Err(error) => Err(unless_refused(error)),
        }
    }

    fn account(&self) -> Account {
        self.account
    }
}

/// What an earlier datagram met on its way (an ICMP message) is reported by a later call and is not about it.
pub(crate) fn unless_refused(error: Errno) -> io::Error {
    match error {
        Errno::ECONNREFUSED => io::ErrorKind::Interrupted.into(),
        other => other.into(),
    }
}

fn flags(wait: bool) -> MsgFlags {
    // MSG_TRUNC: the length is the datagram's, also when the buffer is shorter.
    let dont_wait = if wait {
        MsgFlags::empty()
    } else {
        MsgFlags::MSG_DONTWAIT
    };
    dont_wait | MsgFlags::MSG_TRUNC
}

/// Receives datagrams one by one.
pub struct DatagramReceiver {
    buffer: Vec<u8>,
    look: Look,
    account: Account,
}

impl DatagramReceiver {
    /// Takes whole datagrams, or, with `skip_payload`, copies no more of each out of the kernel than a header.
    pub fn new(skip_payload: bool, look: Look) -> Self {
        let room = if skip_payload { HEADER_ROOM } else { MAX_BYTES };
        Self {
            buffer: vec![0; room],
            look,
            account: Account::default(),
        }
    }
}

impl ReceiveMover for DatagramReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        let length =
            recv(socket.as_raw_fd(), &mut self.buffer, flags(wait)).map_err(unless_refused)?;
        let seen = &self.buffer[..length.min(self.buffer.len())];
        match (self.look)(socket, seen, length, monotonic()) {
            Some(blocks) => {
                // What the buffer has no room for is dropped unread.
                let kept = length.min(self.buffer.len());
                self.account.copy(kept);
                self.account.uncopied += (length - kept) as u64;
                Ok(Moved {
                    bytes: length,
                    blocks,
                })
            }
            // No bytes would mean the end of the stream, and this is none.
            None => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    fn backlog(&self, _: BorrowedFd<'_>) -> io::Result<usize> {
        Ok(MAX_BACKLOG)
    }

    fn account(&self) -> Account {
        self.account
    }
}

/// Receives datagrams many at a time, on a socket with `UDP_GRO`.
pub struct OffloadReceiver {
    buffer: Vec<u8>,
    control: Vec<u8>,
    look: Look,
    account: Account,
}

impl OffloadReceiver {
    /// Takes whole datagrams.
    pub fn new(look: Look) -> Self {
        Self {
            buffer: vec![0; 1 << 16],
            control: nix::cmsg_space!(i32),
            look,
            account: Account::default(),
        }
    }
}

impl ReceiveMover for OffloadReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        let mut vectors = [IoSliceMut::new(&mut self.buffer)];
        let control = Some(self.control.as_mut_slice());
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut vectors, control, flags(wait))
            .map_err(unless_refused)?;
        let length = message.bytes;
        let mut segment = length;
        if let Ok(messages) = message.cmsgs() {
            for message in messages {
                if let ControlMessageOwned::UdpGroSegments(size) = message {
                    segment = usize::try_from(size).unwrap_or(length);
                }
            }
        }
        let now = monotonic();
        let mut moved = Moved::default();
        let kept = &self.buffer[..length.min(self.buffer.len())];
        for datagram in kept.chunks(segment.max(1)) {
            if let Some(blocks) = (self.look)(socket, datagram, datagram.len(), now) {
                moved.bytes += datagram.len();
                moved.blocks += blocks;
            }
        }
        if moved.bytes == 0 {
            Err(io::ErrorKind::Interrupted.into())
        } else {
            self.account.copy(moved.bytes);
            Ok(moved)
        }
    }

    fn backlog(&self, _: BorrowedFd<'_>) -> io::Result<usize> {
        Ok(MAX_BACKLOG)
    }

    fn account(&self) -> Account {
        self.account
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockopt;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::sync::mpsc::{Receiver, channel};

    fn pair() -> (UdpSocket, UdpSocket) {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let [a, b] = sockets;
        a.connect(b.local_addr().unwrap()).unwrap();
        b.connect(a.local_addr().unwrap()).unwrap();
        (a, b)
    }

    fn stamp() -> Stamp {
        Box::new(|datagram, sequence, _| datagram[..8].copy_from_slice(&sequence.to_be_bytes()))
    }

    /// Takes note of each datagram's number and length.
    fn look() -> (Look, Receiver<(u64, usize)>) {
        let (sender, seen) = channel();
        let look: Look = Box::new(move |_, bytes, length, _| {
            let number = bytes.get(..8)?;
            sender
                .send((u64::from_be_bytes(number.try_into().unwrap()), length))
                .unwrap();
            Some(1)
        });
        (look, seen)
    }

    #[test]
    fn datagrams_are_numbered_from_one_with_and_without_offload() {
        for offload in [false, true] {
            let (a, b) = pair();
            if offload {
                sockopt::set_udp_segment(a.as_fd(), 100).unwrap();
            }
            let mut sender = DatagramSender::new(&[7; 100], offload, stamp());
            let (look, seen) = look();
            let mut receiver = DatagramReceiver::new(false, look);
            let mut sent = 0;
            while sent < 9 {
                sent += sender.send(a.as_fd(), 9 - sent).unwrap().blocks;
            }
            for number in 1..=9 {
                let moved = receiver.receive(b.as_fd(), true).unwrap();
                assert_eq!(
                    moved,
                    Moved {
                        bytes: 100,
                        blocks: 1
                    }
                );
                assert_eq!(seen.recv().unwrap(), (number, 100));
            }
        }
    }

    #[test]
    fn receive_offload_hands_out_every_datagram() {
        let (a, b) = pair();
        sockopt::set_udp_segment(a.as_fd(), 100).unwrap();
        sockopt::set_udp_gro(b.as_fd()).unwrap();
        let mut sender = DatagramSender::new(&[7; 100], true, stamp());
        let (look, seen) = look();
        let mut receiver = OffloadReceiver::new(look);
        assert_eq!(
            sender.send(a.as_fd(), 40).unwrap(),
            Moved {
                bytes: 4000,
                blocks: 40
            }
        );
        let mut blocks = 0;
        while blocks < 40 {
            blocks += receiver.receive(b.as_fd(), true).unwrap().blocks;
        }
        assert_eq!(
            seen.iter().take(40).map(|s| s.0).collect::<Vec<_>>(),
            (1..=40).collect::<Vec<_>>()
        );
    }

    #[test]
    fn without_the_payload_the_length_is_still_known() {
        let (a, b) = pair();
        let mut sender = DatagramSender::new(&[7; 5000], false, stamp());
        let (look, seen) = look();
        let mut receiver = DatagramReceiver::new(true, look);
        sender.send(a.as_fd(), 1).unwrap();
        assert_eq!(receiver.receive(b.as_fd(), true).unwrap().bytes, 5000);
        assert_eq!(seen.recv().unwrap(), (1, 5000));
    }

    #[test]
    fn what_does_not_count_is_no_end_of_stream() {
        let (a, b) = pair();
        let (look, _seen) = look();
        let mut receiver = DatagramReceiver::new(false, look);
        a.send(b"hi").unwrap();
        let error = receiver.receive(b.as_fd(), true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn a_refused_datagram_keeps_its_number() {
        let (a, b) = pair();
        drop(b);
        let mut sender = DatagramSender::new(&[7; 100], false, stamp());
        let mut refused = 0;
        for _ in 0..10 {
            let before = sender.sequence;
            match sender.send(a.as_fd(), 1) {
                Ok(_) => assert_eq!(sender.sequence, before + 1),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
                    assert_eq!(sender.sequence, before);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "loopback reports closed ports");
    }
}
