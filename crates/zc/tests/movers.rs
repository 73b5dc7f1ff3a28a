//! Every way to send meets every way to receive, with every byte looked at and every byte in the accounts.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use common::{Done, Pair, Receiving, STREAM, Sending, in_time, send, tcp, tcp_v6, transfer, unix};
use iperf_zc::account::Report;
use iperf_zc::interrupt;
use iperf_zc::receive::ReceiveMover;
use iperf_zc::sockopt;
use iperf_zc::verify::{Difference, Verifier};
use socket2::SockRef;

fn verified(
    what: &str,
    pair: Pair,
    (sending, block, blocks): (Sending, usize, u64),
    receiving: Receiving,
    room: usize,
) -> (Done, Done) {
    let receiver = move |socket: &OwnedFd| {
        let verifier = Some(Verifier::new(STREAM));
        receiving.mover(socket, room, verifier)
    };
    let (sent, mut received) = transfer(what, pair, (sending, block, blocks), move |socket| {
        let mover = receiver(socket);
        Box::new(Blocks {
            mover,
            block,
            partial: 0,
        })
    });
    received.blocks = received.bytes / block as u64;
    (sent, received)
}

/// Counts blocks of the sender's length, not the receiver's.
struct Blocks {
    mover: Box<dyn ReceiveMover>,
    block: usize,
    partial: usize,
}

impl ReceiveMover for Blocks {
    fn receive(
        &mut self,
        socket: std::os::fd::BorrowedFd<'_>,
        wait: bool,
    ) -> io::Result<iperf_zc::Moved> {
        let mut moved = self.mover.receive(socket, wait)?;
        self.partial += moved.bytes;
        moved.blocks = u32::try_from(self.partial / self.block).unwrap();
        self.partial %= self.block;
        Ok(moved)
    }

    fn report(&self) -> Report {
        self.mover.report()
    }
}

/// What each end must not have copied: all, nothing, or as much as the pages allow.
fn check_shares(
    what: &str,
    on_tcp: bool,
    sending: Sending,
    sent: &Done,
    receiving: Receiving,
    received: &Done,
) {
    let total = sent.bytes;
    let by_reference = matches!(sending, Sending::Sendfile | Sending::Splice);
    let spared = if by_reference { total } else { 0 };
    assert_eq!(sent.account.uncopied, spared, "{what}");
    if sending == Sending::Msg && on_tcp {
        // Over loopback the kernel copies, reports it for each call, and no completion is missing at the end.
        assert_eq!(sent.account.completions, sent.account.calls, "{what}");
        assert_eq!(
            sent.account.copied_completions, sent.account.calls,
            "{what}"
        );
        assert_eq!(sent.fallback, None, "{what}");
    } else {
        assert_eq!(sent.account.completions, 0, "{what}");
    }
    match receiving {
        Receiving::Map => assert_eq!(
            received.account.uncopied > 0,
            received.account.mappings > 0,
            "{what}"
        ),
        Receiving::Copy => assert_eq!(received.account.copied, total, "{what}"),
        Receiving::Trunc if !on_tcp => assert_eq!(received.account.copied, total, "{what}"),
        Receiving::Trunc | Receiving::Splice => {
            assert_eq!(received.account.uncopied, total, "{what}");
        }
    }
}

fn matrix(name: &str, pair: fn() -> Pair, on_tcp: bool) {
    // An aligned block, an odd one, one with an end in each page, and one that is longer than the period.
    for (block, blocks) in [(131_072, 20), (100_001, 25), (1460, 700), (1_100_000, 3)] {
        for sending in Sending::ALL {
            for receiving in Receiving::ALL {
                let what = format!("{name}: {sending:?} to {receiving:?}, blocks of {block}");
                let (sent, received) =
                    verified(&what, pair(), (sending, block, blocks), receiving, 131_072);
                check_shares(&what, on_tcp, sending, &sent, receiving, &received);
            }
        }
    }
}

#[test]
fn all_ways_meet_over_tcp() {
    matrix("tcp", tcp, true);
}

#[test]
fn all_ways_meet_over_ipv6() {
    for receiving in Receiving::ALL {
        for sending in Sending::ALL {
            let what = format!("{sending:?} to {receiving:?}");
            let (sent, received) =
                verified(&what, tcp_v6(), (sending, 65_536, 40), receiving, 30_000);
            check_shares(&what, true, sending, &sent, receiving, &received);
        }
    }
}

#[test]
fn all_ways_meet_over_unix_sockets() {
    matrix("unix", unix, false);
}

#[test]
fn receivers_that_drop_copy_nothing() {
    for (pair, receiving) in [
        (tcp as fn() -> Pair, Receiving::Trunc),
        (tcp, Receiving::Splice),
        (unix, Receiving::Splice),
    ] {
        let what = format!("{receiving:?}");
        let (_, received) = transfer(
            &what,
            pair(),
            (Sending::Sendfile, 50_000, 60),
            move |socket| receiving.mover(socket, 50_000, None),
        );
        assert_eq!(received.account.copied, 0, "{what}");
        assert_eq!(received.fallback, None, "{what}");
    }
}

#[test]
fn a_unix_socket_reports_which_copies_it_makes() {
    let reason = |sending, receiving: Receiving| {
        let (sent, received) = verified("unix", unix(), (sending, 1000, 10), receiving, 1000);
        (
            sent.fallback.map(|f| f.to_string()),
            received.fallback.map(|f| f.to_string()),
        )
    };
    let (sent, received) = reason(Sending::Msg, Receiving::Map);
    assert_eq!(
        sent.as_deref(),
        Some("SO_ZEROCOPY: Operation not supported on transport endpoint")
    );
    assert_eq!(
        received.as_deref(),
        Some("the kernel does not map data received over Unix sockets")
    );
    let (sent, received) = reason(Sending::Splice, Receiving::Trunc);
    assert_eq!(sent, None);
    assert_eq!(
        received.as_deref(),
        Some("the kernel copies what MSG_TRUNC carries over Unix sockets")
    );
}

/// Buffers that hold less than a block.
fn narrow(pair: Pair) -> Pair {
    SockRef::from(&pair.0).set_send_buffer_size(20_000).unwrap();
    SockRef::from(&pair.1).set_recv_buffer_size(40_000).unwrap();
    pair
}

#[test]
fn narrow_buffers_and_a_sender_that_does_not_wait_lose_nothing() {
    for (name, pair) in [("tcp", tcp as fn() -> Pair), ("unix", unix)] {
        for sending in Sending::ALL {
            for receiving in Receiving::ALL {
                let what = format!("{name}: {sending:?} to {receiving:?}");
                let pair = narrow(pair());
                SockRef::from(&pair.0).set_nonblocking(true).unwrap();
                verified(&what, pair, (sending, 100_000, 6), receiving, 777);
            }
        }
    }
}

#[test]
fn signals_cut_calls_short_and_lose_nothing() {
    interrupt::install().unwrap();
    for sending in Sending::ALL {
        for receiving in Receiving::ALL {
            let what = format!("{sending:?} to {receiving:?}");
            in_time(&what.clone(), move || {
                let (from, to) = narrow(tcp());
                let block = 100_000;
                let sender = std::thread::spawn(move || {
                    let mover = sending.mover(&from, block);
                    send(mover, from, 6).unwrap()
                });
                let receiver = std::thread::spawn(move || {
                    let mut mover = receiving.mover(&to, block, Some(Verifier::new(STREAM)));
                    common::receive(&mut *mover, &to).unwrap()
                });
                while !sender.is_finished() || !receiver.is_finished() {
                    interrupt::wake(&sender);
                    interrupt::wake(&receiver);
                    std::thread::sleep(Duration::from_micros(100));
                }
                let (sent, received) = (sender.join().unwrap(), receiver.join().unwrap());
                assert_eq!(sent.bytes, 600_000, "{what}");
                assert_eq!(received.bytes, 600_000, "{what}");
                assert_eq!(sent.account.bytes(), 600_000, "{what}");
                assert_eq!(received.account.bytes(), 600_000, "{what}");
            });
        }
    }
}

#[test]
fn every_receiver_reports_the_first_wrong_byte() {
    let pattern = iperf_zc::source::pattern(STREAM);
    let offset = 70_001;
    for receiving in Receiving::ALL.into_iter().filter(|r| r.sees_bytes()) {
        for pair in [tcp(), unix()] {
            let mut bytes = pattern[..100_000].to_vec();
            bytes[offset] ^= 1;
            let error = in_time("a wrong byte", move || {
                let (from, to) = pair;
                let writer = std::thread::spawn(move || {
                    // The receiver may stop reading before the end.
                    let _ = std::fs::File::from(from).write_all(&bytes);
                });
                let mut mover = receiving.mover(&to, 30_000, Some(Verifier::new(STREAM)));
                let error = common::receive(&mut *mover, &to).unwrap_err();
                drop((mover, to));
                writer.join().unwrap();
                error
            });
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let difference = error.get_ref().unwrap().downcast_ref().copied();
            let expected = Difference {
                stream: STREAM,
                offset: offset as u64,
                expected: pattern[offset],
                found: pattern[offset] ^ 1,
            };
            assert_eq!(difference, Some(expected), "{receiving:?}");
        }
    }
}

#[test]
fn without_waiting_there_is_nothing_something_or_the_end() {
    for receiving in Receiving::ALL {
        for pair in [tcp(), unix()] {
            in_time("a receiver that does not wait", move || {
                let (from, to) = pair;
                let mut mover = receiving.mover(&to, 10_000, Some(Verifier::new(STREAM)));
                let empty = mover.receive(to.as_fd(), false).unwrap_err();
                assert_eq!(empty.kind(), io::ErrorKind::WouldBlock, "{receiving:?}");
                let mut peer = std::fs::File::from(from);
                peer.write_all(&iperf_zc::source::pattern(STREAM)[..5000])
                    .unwrap();
                let (deadline, mut bytes) = (Instant::now() + common::HANG, 0);
                while bytes < 5000 {
                    assert!(Instant::now() < deadline, "{receiving:?}");
                    match mover.receive(to.as_fd(), false) {
                        Ok(moved) => bytes += moved.bytes,
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                        Err(e) => panic!("{receiving:?}: {e}"),
                    }
                }
                let empty = mover.receive(to.as_fd(), false).unwrap_err();
                assert_eq!(empty.kind(), io::ErrorKind::WouldBlock, "{receiving:?}");
                drop(peer);
                let end = loop {
                    match mover.receive(to.as_fd(), false) {
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                        other => break other,
                    }
                };
                assert_eq!(end.unwrap().bytes, 0, "{receiving:?}");
            });
        }
    }
}

#[test]
fn a_high_low_water_mark_does_not_hold_back_the_end() {
    for receiving in Receiving::ALL {
        for sending in Sending::ALL {
            let what = format!("{sending:?} to {receiving:?}");
            let pair = tcp();
            sockopt::set_receive_low_water(pair.1.as_fd(), 512 << 10).unwrap();
            verified(&what, pair, (sending, 131_072, 20), receiving, 131_072);
        }
    }
}

#[test]
fn a_reset_connection_is_an_error_for_every_receiver_and_sender() {
    for receiving in Receiving::ALL {
        in_time("a receiver of a reset connection", move || {
            let (from, to) = tcp();
            let mut mover = receiving.mover(&to, 10_000, None);
            SockRef::from(&from)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(from);
            let error = common::receive(&mut *mover, &to).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::ConnectionReset,
                "{receiving:?}"
            );
        });
    }
    for sending in Sending::ALL {
        in_time("a sender of a reset connection", move || {
            let (from, to) = tcp();
            let mut mover = sending.mover(&from, 10_000);
            mover.send(from.as_fd(), 1).unwrap();
            SockRef::from(&to).set_linger(Some(Duration::ZERO)).unwrap();
            drop(to);
            let error = loop {
                match mover.send(from.as_fd(), 1) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => break e.kind(),
                }
            };
            assert!(
                matches!(
                    error,
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                ),
                "{sending:?}: {error}"
            );
            // Nothing is owed for what was thrown away.
            mover
                .finish(from.as_fd(), Instant::now() + common::HANG)
                .unwrap();
        });
    }
}

#[test]
fn ten_thousand_calls_have_ten_thousand_completions() {
    let what = "small blocks";
    let (sent, _) = verified(
        what,
        tcp(),
        (Sending::Msg, 100, 20_000),
        Receiving::Copy,
        65_536,
    );
    assert!(sent.account.calls >= 20_000);
    assert_eq!(sent.account.completions, sent.account.calls);
}

#[test]
fn missing_completions_time_out_and_count_as_copied() {
    let (from, to) = tcp();
    let mut mover = Sending::Msg.mover(&from, 100_000);
    SockRef::from(&from).set_nonblocking(true).unwrap();
    // The peer reads nothing, so what does not fit into its buffer stays in flight.
    let mut sent = 0;
    loop {
        match mover.send(from.as_fd(), 1) {
            Ok(moved) => sent += moved.bytes as u64,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => panic!("{e}"),
        }
    }
    let deadline = Instant::now() + Duration::from_millis(50);
    let error = mover.finish(from.as_fd(), deadline).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let account = mover.report().account;
    assert_eq!(account.copied, sent);
    assert!(account.completions < account.calls);
    // Data in flight is still sent when its memory is unmapped.
    drop(mover);
    SockRef::from(&to).set_nonblocking(false).unwrap();
    let received = in_time("the rest", move || {
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::fs::File::from(to).read_to_end(&mut bytes).unwrap();
            bytes
        });
        drop(from);
        reader.join().unwrap()
    });
    assert_eq!(received.len() as u64, sent);
    Verifier::new(STREAM).check(&received).unwrap();
}
