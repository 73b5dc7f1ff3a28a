//! The receiver: one call takes all datagrams that are queued, and waits only if there are none.
//!
//! Each datagram has the time at which the kernel got it, if [`crate::sys::sockopt::set_receive_times`] enabled it,
//! otherwise the time at which the call returned. Merged datagrams have the first one's time.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use iperf_model::Batching;

use crate::Moved;
use crate::account::Report;
use crate::receive::ReceiveMover;
use crate::sys::mmsg::{self, Message, RECEIVE_AT_MOST};
use crate::udp::arrival::Clocks;
use crate::udp::{BatchingInUse, MAX_BYTES, unless_refused};

/// How much of a datagram is kept if its payload is not needed: the longest header.
const HEADER_ROOM: usize = 16;

/// Room for a packet of merged datagrams. Not a power of two, so that their headers do not share cache sets.
const MERGED_ROOM: usize = 65_536 + 320;

/// The kernel reports the length of the next datagram only (`FIONREAD`, udp(7)). So take what is queued, with a limit
/// for peers that never stop sending.
const MAX_BACKLOG: usize = 128 << 20;

/// Inspects received datagrams.
pub trait Inspect: Send {
    /// Inspects one: its first bytes, its length on the wire, and its arrival by the monotonic clock. Returns by how
    /// many the sequence number advanced: more than one if others were lost before it, 0 if it is late or a duplicate;
    /// `None` if it does not count.
    fn inspect(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        length: usize,
        arrival: Duration,
    ) -> Option<u32>;

    /// No more are queued for now. An error ends the stream.
    fn pause(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much of each datagram is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// All of it, from a socket without `UDP_GRO`.
    Whole,
    /// All of it, from a socket with `UDP_GRO`.
    Merged,
    /// Only what may be a header is copied out of the kernel; not from a socket with `UDP_GRO`.
    Header,
}

/// Receives datagrams, many at a time.
pub struct DatagramReceiver<L> {
    buffer: Vec<u8>,
    slot: usize,
    messages: Vec<Message>,
    in_use: Arc<BatchingInUse>,
    inspector: L,
    report: Report,
}

impl<L: Inspect> DatagramReceiver<L> {
    /// Reads this much of each.
    pub fn new(receive: Receive, in_use: Arc<BatchingInUse>, inspector: L) -> Self {
        let slot = match receive {
            Receive::Whole => MAX_BYTES,
            Receive::Merged => MERGED_ROOM,
            Receive::Header => HEADER_ROOM,
        };
        Self {
            // Untouched memory is not allocated.
            buffer: vec![0; slot * RECEIVE_AT_MOST],
            slot,
            messages: vec![Message::default(); RECEIVE_AT_MOST],
            in_use,
            inspector,
            report: Report::default(),
        }
    }

    /// Records the best batching seen so far.
    fn record_batching(&self, count: usize, merged: bool) {
        let batching = if merged {
            Batching::Packets
        } else if count > 1 {
            Batching::Calls
        } else {
            return;
        };
        if batching > self.in_use.get() {
            self.in_use.set(batching);
        }
    }
}

impl<L: Inspect> ReceiveMover for DatagramReceiver<L> {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        let count = mmsg::receive(
            socket,
            &mut self.buffer,
            self.slot,
            &mut self.messages,
            wait,
        )
        .map_err(unless_refused)?;
        let clocks = Clocks::now();
        let mut moved = Moved::default();
        let mut merged = false;
        let rooms = self.buffer.chunks_exact(self.slot);
        for (message, room) in self.messages.iter().zip(rooms).take(count) {
            let arrival = clocks.arrival(message.arrival);
            let mut count = |bytes: &[u8], length: usize| {
                if let Some(blocks) = self.inspector.inspect(socket, bytes, length, arrival) {
                    // What does not fit is dropped unread.
                    self.report.account.copied += bytes.len() as u64;
                    self.report.account.uncopied += (length - bytes.len()) as u64;
                    moved.bytes += length;
                    moved.blocks += blocks;
                }
            };
            let kept = &room[..message.length.min(self.slot)];
            match message.segment {
                None => count(kept, message.length),
                Some(segment) => {
                    merged |= segment < message.length;
                    for datagram in kept.chunks(segment) {
                        count(datagram, datagram.len());
                    }
                }
            }
        }
        self.record_batching(count, merged);
        self.report.account.calls += 1;
        self.inspector.pause()?;
        if moved.bytes == 0 {
            // 0 bytes would mean the end of the stream, which this is not.
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(moved)
    }

    fn backlog(&self, _: BorrowedFd<'_>) -> io::Result<usize> {
        Ok(MAX_BACKLOG)
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sockopt;
    use crate::udp::monotonic;
    use crate::udp::tests::pair;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    /// Records each datagram's first byte, how many bytes it saw, and its length.
    struct Note(Sender<(u8, usize, usize)>);

    impl Inspect for Note {
        fn inspect(
            &mut self,
            _: BorrowedFd<'_>,
            bytes: &[u8],
            length: usize,
            _: Duration,
        ) -> Option<u32> {
            if length < 3 {
                return None;
            }
            self.0.send((bytes[0], bytes.len(), length)).unwrap();
            Some(1)
        }
    }

    fn receiver(receive: Receive) -> (DatagramReceiver<Note>, Receiver<(u8, usize, usize)>) {
        let (sender, seen) = channel();
        let in_use = Arc::new(BatchingInUse::new(Batching::Nothing));
        (DatagramReceiver::new(receive, in_use, Note(sender)), seen)
    }

    fn send(socket: &UdpSocket, numbers: std::ops::Range<u8>, length: usize) {
        for number in numbers {
            socket.send(&vec![number; length]).unwrap();
        }
    }

    fn drain(mover: &mut DatagramReceiver<Note>, socket: &UdpSocket) -> Moved {
        let mut all = Moved::default();
        while let Ok(moved) = mover.receive(socket.as_fd(), false) {
            all.bytes += moved.bytes;
            all.blocks += moved.blocks;
        }
        all
    }

    #[test]
    fn one_call_takes_all_queued_datagrams_without_waiting_for_more() {
        let (a, b) = pair();
        let (mut mover, seen) = receiver(Receive::Whole);
        send(&a, 0..1, 100);
        assert_eq!(mover.receive(b.as_fd(), true).unwrap().blocks, 1);
        assert_eq!(mover.in_use.get(), Batching::Nothing);
        send(&a, 1..6, 100);
        let moved = mover.receive(b.as_fd(), true).unwrap();
        assert_eq!((moved.bytes, moved.blocks), (500, 5));
        assert_eq!(mover.in_use.get(), Batching::Calls);
        send(&a, 6..40, 100);
        assert_eq!(drain(&mut mover, &b).blocks, 34);
        assert!(seen.try_iter().eq((0..40).map(|number| (number, 100, 100))));
        let error = mover.receive(b.as_fd(), false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn joined_datagrams_are_separated() {
        let (a, b) = pair();
        sockopt::set_udp_segment(a.as_fd(), 100).unwrap();
        sockopt::set_udp_gro(b.as_fd()).unwrap();
        let (mut mover, seen) = receiver(Receive::Merged);
        let packet: Vec<u8> = (0..40).flat_map(|number| [number; 100]).collect();
        // The last one is shorter.
        a.send(&packet[..3950]).unwrap();
        let moved = drain(&mut mover, &b);
        assert_eq!((moved.bytes, moved.blocks), (3950, 40));
        let length = |number| if number == 39 { 50 } else { 100 };
        let expected = (0..40).map(|number| (number, length(number), length(number)));
        assert!(seen.try_iter().eq(expected));
        assert_eq!(mover.in_use.get(), Batching::Packets);
    }

    /// Sends the arrival times.
    struct Times(Sender<Duration>);

    impl Inspect for Times {
        fn inspect(
            &mut self,
            _: BorrowedFd<'_>,
            _: &[u8],
            _: usize,
            arrival: Duration,
        ) -> Option<u32> {
            self.0.send(arrival).unwrap();
            Some(1)
        }
    }

    #[test]
    fn the_arrival_time_is_when_the_kernel_got_the_datagram() {
        let (a, b) = pair();
        sockopt::set_receive_times(b.as_fd()).unwrap();
        sockopt::set_udp_gro(b.as_fd()).unwrap();
        let (sender, times) = channel();
        let in_use = Arc::new(BatchingInUse::new(Batching::Nothing));
        let mut mover = DatagramReceiver::new(Receive::Merged, in_use, Times(sender));
        let pause = Duration::from_millis(20);
        let deadline = Instant::now() + Duration::from_secs(30);
        // The kernel starts to stamp packets with a delay (`net_enable_timestamp` defers it to a work queue). Until
        // then a datagram gets the time at which it is read.
        loop {
            let sent = monotonic();
            send(&a, 0..1, 100);
            std::thread::sleep(pause);
            mover.receive(b.as_fd(), false).unwrap();
            if times.recv().unwrap() < sent + pause {
                break;
            }
            assert!(Instant::now() < deadline, "the kernel stamps no packets");
        }
        let before = monotonic();
        send(&a, 0..1, 100);
        let between = monotonic();
        std::thread::sleep(pause);
        send(&a, 1..2, 100);
        std::thread::sleep(pause);
        while mover.receive(b.as_fd(), false).is_ok() {}
        let times: Vec<_> = times.try_iter().collect();
        // The clocks are read one after the other, on a machine that may be busy.
        let slack = Duration::from_millis(10);
        assert!(before <= times[0] + slack && times[0] <= between + slack);
        assert!(times[0] + pause <= times[1] + slack);
        assert!(times[1] + pause <= monotonic() + slack);
    }

    #[test]
    fn the_longest_datagrams_fit() {
        for (receive, gro) in [(Receive::Whole, false), (Receive::Merged, true)] {
            let (a, b) = pair();
            if gro {
                sockopt::set_udp_gro(b.as_fd()).unwrap();
            }
            let (mut mover, seen) = receiver(receive);
            send(&a, 0..2, MAX_BYTES);
            assert_eq!(drain(&mut mover, &b).bytes, 2 * MAX_BYTES);
            assert!(
                seen.try_iter()
                    .eq((0..2).map(|n| (n, MAX_BYTES, MAX_BYTES)))
            );
        }
    }

    #[test]
    fn without_the_payload_the_length_is_still_known() {
        let (a, b) = pair();
        let (mut mover, seen) = receiver(Receive::Header);
        send(&a, 0..3, 5000);
        let moved = mover.receive(b.as_fd(), true).unwrap();
        assert_eq!((moved.bytes, moved.blocks), (15_000, 3));
        assert!(seen.try_iter().eq((0..3).map(|number| (number, 16, 5000))));
    }

    #[test]
    fn what_does_not_count_is_no_end_of_stream() {
        let (a, b) = pair();
        let (mut mover, _seen) = receiver(Receive::Whole);
        for nothing in [&b"hi"[..], b""] {
            a.send(nothing).unwrap();
            let error = mover.receive(b.as_fd(), true).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        }
    }
}
