//! The sender.
//!
//! Each datagram's time is when the kernel gets it. With GSO all datagrams of a call are one packet and leave together,
//! so they have the same time. `sendmmsg` passes them on one by one, presumably as fast as in the previous call: the
//! times of a batch are that far apart. Neither keeps stamped datagrams waiting for longer than one call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use iperf_model::Batching;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use crate::Moved;
use crate::account::Report;
use crate::send::SendMover;
use crate::sys::mmsg::{self, SEND_AT_MOST};
use crate::sys::sockopt;
use crate::udp::{BatchingInUse, MAX_BYTES, monotonic, unless_refused};

/// The most datagrams in one call with `UDP_SEGMENT` (`UDP_MAX_SEGMENTS`): of Linux 6.9, and of every kernel before.
const MAX_SEGMENTS: usize = 128;
pub(crate) const MAX_SEGMENTS_BEFORE: usize = 64;

/// A pause when the queues below the socket are full: the kernel has no call that waits for them.
const FULL_QUEUE_PAUSE: Duration = Duration::from_micros(50);

/// The longest time that `sendmmsg` may take for one datagram; anything longer was an interruption.
const SLOWEST: Duration = Duration::from_micros(20);

/// Writes the header of a datagram: its number, from 1 on, and the time of the monotonic clock.
pub trait Stamp: FnMut(&mut [u8], u64, Duration) + Send {}

impl<F: FnMut(&mut [u8], u64, Duration) + Send> Stamp for F {}

/// Sends numbered datagrams.
pub struct DatagramSender<S> {
    /// Room for all datagrams of one call; payloads are filled once.
    buffer: Vec<u8>,
    block: usize,
    per_call: usize,
    batching: Batching,
    in_use: Arc<BatchingInUse>,
    /// How long `sendmmsg` takes for one.
    pace: Duration,
    sequence: u64,
    stamp: S,
    report: Report,
}

impl<S: Stamp> DatagramSender<S> {
    /// Datagrams like `payload`, which must not be empty, at most `together` in one call. For [`Batching::Packets`] the
    /// socket has `UDP_SEGMENT` set to the length of one.
    pub fn new(payload: &[u8], together: usize, in_use: Arc<BatchingInUse>, stamp: S) -> Self {
        let block = payload.len();
        let batching = in_use.get();
        let fit = match batching {
            Batching::Packets => (MAX_BYTES / block).min(MAX_SEGMENTS),
            Batching::Calls => SEND_AT_MOST,
            Batching::Nothing => 1,
        };
        let per_call = together.min(fit).max(1);
        if per_call == 1 {
            in_use.set(Batching::Nothing);
        }
        // After a fall back from offload a batch may have more datagrams than fit into one packet.
        let room = match batching {
            Batching::Nothing => 1,
            Batching::Calls | Batching::Packets => per_call.max(together.min(SEND_AT_MOST)),
        };
        Self {
            buffer: payload.repeat(room.max(1)),
            block,
            per_call,
            batching,
            in_use,
            pace: Duration::ZERO,
            sequence: 0,
            stamp,
            report: Report::default(),
        }
    }

    /// Numbers the next datagrams and writes their times, the first one's and `apart` more for each other.
    fn stamp(&mut self, count: usize, first: Duration, apart: Duration) {
        let mut sequence = self.sequence;
        let mut time = first;
        for datagram in self.buffer.chunks_exact_mut(self.block).take(count) {
            sequence += 1;
            (self.stamp)(datagram, sequence, time);
            time += apart;
        }
    }

    /// Sends `count` datagrams as one packet, or one as it is.
    fn send_packet(&mut self, socket: BorrowedFd<'_>, count: usize) -> Result<usize, Errno> {
        self.stamp(count, monotonic(), Duration::ZERO);
        let bytes = &self.buffer[..count * self.block];
        send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).map(|_| count)
    }

    /// Sends up to `count` datagrams as separate packets.
    fn send_batch(&mut self, socket: BorrowedFd<'_>, count: usize) -> Result<usize, Errno> {
        let begin = monotonic();
        self.stamp(count, begin, self.pace);
        match mmsg::send(socket, &self.buffer[..count * self.block], self.block) {
            // There is no room: one call waits for it. The datagrams get new times.
            Err(Errno::EAGAIN) => self.send_packet(socket, 1),
            Err(error) => Err(error),
            Ok(sent) => {
                let each =
                    monotonic().saturating_sub(begin) / u32::try_from(sent.max(1)).unwrap_or(1);
                self.pace = (3 * self.pace + each.min(SLOWEST)) / 4;
                Ok(sent)
            }
        }
    }

    /// Falls back to the next simpler method, if the error may be about this one; returns whether there is one.
    fn falls_back(&mut self, socket: BorrowedFd<'_>, count: usize, error: Errno) -> bool {
        match (self.batching, error) {
            // Linux before 6.9 takes fewer.
            (Batching::Packets, Errno::EINVAL) if count > MAX_SEGMENTS_BEFORE => {
                self.per_call = MAX_SEGMENTS_BEFORE;
            }
            // Segments that do not fit the path, or a path that does not allow segmentation (a tunnel, IPsec, no
            // checksums).
            (
                Batching::Packets,
                Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE | Errno::EOPNOTSUPP,
            ) => {
                // If the socket never had the option, it need not be cleared.
                let _ = sockopt::set_udp_segment(socket, 0);
                self.per_call = (self.buffer.len() / self.block).min(SEND_AT_MOST);
                self.set_batching(if self.per_call > 1 {
                    Batching::Calls
                } else {
                    Batching::Nothing
                });
            }
            // Some sandboxes do not allow it.
            (Batching::Calls, Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP) => {
                self.per_call = 1;
                self.set_batching(Batching::Nothing);
            }
            _ => return false,
        }
        true
    }

    fn set_batching(&mut self, batching: Batching) {
        self.batching = batching;
        self.in_use.set(batching);
    }
}

impl<S: Stamp> SendMover for DatagramSender<S> {
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved> {
        let count = self.per_call.min(budget as usize);
        let sent = if self.batching == Batching::Calls && count > 1 {
            self.send_batch(socket, count)
        } else {
            self.send_packet(socket, count)
        };
        match sent {
            Ok(sent) => {
                self.sequence += sent as u64;
                self.report.account.copy(sent * self.block);
                Ok(Moved {
                    bytes: sent * self.block,
                    blocks: u32::try_from(sent).unwrap_or(u32::MAX),
                })
            }
            // Not sent, so not numbered either: the next call uses the same numbers.
            Err(Errno::ENOBUFS) => {
                std::thread::sleep(FULL_QUEUE_PAUSE);
                Err(io::ErrorKind::Interrupted.into())
            }
            Err(error) if self.falls_back(socket, count, error) => {
                Err(io::ErrorKind::Interrupted.into())
            }
            Err(error) => Err(unless_refused(error)),
        }
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::tests::{pair, stamp};
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn sender(length: usize, together: usize, batching: Batching) -> DatagramSender<impl Stamp> {
        DatagramSender::new(
            &vec![7; length],
            together,
            Arc::new(BatchingInUse::new(batching)),
            stamp,
        )
    }

    /// Sends this many and reads them one by one: each number and its time in microseconds.
    fn through<S: Stamp>(
        mover: &mut DatagramSender<S>,
        a: &UdpSocket,
        b: &UdpSocket,
        count: u32,
    ) -> Vec<(u64, u64)> {
        let mut sent = 0;
        while sent < count {
            match mover.send(a.as_fd(), count - sent) {
                Ok(moved) => {
                    assert_eq!(moved.bytes, mover.block * moved.blocks as usize);
                    sent += moved.blocks;
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
            }
        }
        assert_eq!(sent, count);
        let mut datagram = vec![0; mover.block + 1];
        let word = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        let read = (0..count).map(|_| {
            assert_eq!(b.recv(&mut datagram).unwrap(), mover.block);
            (word(&datagram[..8]), word(&datagram[8..16]))
        });
        read.collect()
    }

    fn numbers(datagrams: &[(u64, u64)]) -> Vec<u64> {
        datagrams.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn datagrams_are_numbered_from_one_with_any_batching() {
        for (batching, together) in [
            (Batching::Nothing, usize::MAX),
            (Batching::Calls, usize::MAX),
            (Batching::Calls, 3),
            (Batching::Packets, usize::MAX),
            (Batching::Packets, 7),
        ] {
            let (a, b) = pair();
            if batching == Batching::Packets {
                sockopt::set_udp_segment(a.as_fd(), 100).unwrap();
            }
            let mut mover = sender(100, together, batching);
            let read = through(&mut mover, &a, &b, 90);
            assert_eq!(numbers(&read), (1..=90).collect::<Vec<_>>(), "{batching:?}");
            assert_eq!(mover.in_use.get(), batching);
        }
    }

    #[test]
    fn no_call_exceeds_the_budget_or_the_batch() {
        for (batching, together, budget, sent) in [
            (Batching::Nothing, 9, 9, 1),
            (Batching::Calls, 9, 5, 5),
            (Batching::Calls, 3, 5, 3),
            (Batching::Calls, usize::MAX, 100, SEND_AT_MOST),
            (Batching::Packets, 9, 5, 5),
            (Batching::Packets, 3, 5, 3),
        ] {
            let (a, _b) = pair();
            if batching == Batching::Packets {
                sockopt::set_udp_segment(a.as_fd(), 100).unwrap();
            }
            let moved = sender(100, together, batching)
                .send(a.as_fd(), budget)
                .unwrap();
            assert_eq!(
                moved.blocks as usize, sent,
                "{batching:?} {together} {budget}"
            );
        }
    }

    #[test]
    fn a_packet_has_one_time_and_the_datagrams_of_a_batch_their_own() {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        for batching in [Batching::Calls, Batching::Packets] {
            let (a, b) = pair();
            if batching == Batching::Packets {
                sockopt::set_udp_segment(a.as_fd(), 1000).unwrap();
            }
            let mut mover = sender(1000, 16, batching);
            // The first batch learns how long one takes.
            through(&mut mover, &a, &b, 16);
            mover.pace = if batching == Batching::Calls {
                SLOWEST
            } else {
                mover.pace
            };
            let begin = micros(monotonic());
            let read = through(&mut mover, &a, &b, 16);
            let first = read[0].1;
            assert!(begin <= first && first <= micros(monotonic()));
            for (n, (_, time)) in read.iter().enumerate() {
                let apart = if batching == Batching::Calls {
                    20 * n as u64
                } else {
                    0
                };
                assert!(time.abs_diff(first + apart) <= 1, "{batching:?}: {read:?}");
            }
        }
    }

    #[test]
    fn packets_that_the_kernel_refuses_to_segment_are_sent_in_batches_without_loss() {
        let (a, b) = pair();
        sockopt::set_udp_segment(a.as_fd(), 100).unwrap();
        // A packet without a checksum can't be segmented.
        sockopt::set::<libc::c_int>(a.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, &1).unwrap();
        let mut mover = sender(100, usize::MAX, Batching::Packets);
        let read = through(&mut mover, &a, &b, 150);
        assert_eq!(numbers(&read), (1..=150).collect::<Vec<_>>());
        assert_eq!(mover.in_use.get(), Batching::Calls);
    }

    #[test]
    fn an_error_that_no_fallback_avoids_is_returned() {
        for batching in [Batching::Nothing, Batching::Calls, Batching::Packets] {
            let (a, _b) = pair();
            // Over IPv4 nothing is longer than 65507.
            let mut mover = sender(65_600, 2, batching);
            let mut last = None;
            for _ in 0..5 {
                last = mover.send(a.as_fd(), 2).err();
                if last
                    .as_ref()
                    .is_some_and(|e| e.kind() != io::ErrorKind::Interrupted)
                {
                    break;
                }
            }
            let code = last.and_then(|error| error.raw_os_error());
            assert_eq!(code, Some(libc::EMSGSIZE), "{batching:?}");
        }
    }

    #[test]
    fn a_refused_datagram_keeps_its_number() {
        for batching in [Batching::Nothing, Batching::Calls, Batching::Packets] {
            let (a, b) = pair();
            drop(b);
            let mut mover = sender(100, 1, batching);
            let mut refused = 0;
            for _ in 0..10 {
                let before = mover.sequence;
                match mover.send(a.as_fd(), 1) {
                    Ok(_) => assert_eq!(mover.sequence, before + 1),
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
                        assert_eq!(mover.sequence, before);
                        refused += 1;
                    }
                }
            }
            assert!(refused > 0, "loopback reports closed ports");
        }
    }
}
