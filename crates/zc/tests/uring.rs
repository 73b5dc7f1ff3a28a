//! The movers of io_uring on real sockets: every byte is counted once, in order, and nothing stays behind when they end.

#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use iperf_zc::receive::uring::UringReceiver;
use iperf_zc::receive::{CopyReceiver, ReceiveMover};
use iperf_zc::send::SendMover;
use iperf_zc::send::uring::UringSender;
use iperf_zc::source::{Source, pattern};
use iperf_zc::verify::Verifier;
use iperf_zc::{interrupt, probe, sockopt};
use socket2::SockRef;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Whether the kernel has io_uring for this process. What it refuses, movers do by system calls, and count alike.
fn is_supported() -> bool {
    probe::uring_support().is_ok()
}

fn check_mode(because: Option<&iperf_zc::account::Fallback>) {
    assert_eq!(because.is_none(), is_supported(), "{because:?}");
}

/// Receives until the end of the stream; returns bytes and blocks.
fn drain(mover: &mut dyn ReceiveMover, socket: &TcpStream) -> (usize, u32) {
    let (mut bytes, mut blocks) = (0, 0);
    loop {
        let moved = mover.receive(socket.as_fd(), true).unwrap();
        if moved.bytes == 0 {
            return (bytes, blocks);
        }
        bytes += moved.bytes;
        blocks += moved.blocks;
    }
}

#[test]
fn what_is_received_is_checked_in_order() {
    const LENGTH: usize = 40_000_001;
    let (mut client, server) = pair();
    let writer = thread::spawn(move || {
        let bytes: Vec<u8> = pattern(5).into_iter().cycle().take(LENGTH).collect();
        // Pieces of many lengths, so that bundles begin and end anywhere.
        let mut rest = bytes.as_slice();
        for length in (1..).map(|number| number * 7919 % 700_000) {
            let (piece, behind) = rest.split_at(rest.len().min(length));
            client.write_all(piece).unwrap();
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
    });
    let calls = CopyReceiver::new(1000).verified(Verifier::new(5));
    let mut mover = UringReceiver::new(calls);
    assert_eq!(drain(&mut mover, &server), (LENGTH, 40_000));
    writer.join().unwrap();
    let report = mover.report();
    assert_eq!(report.account.copied, LENGTH as u64);
    check_mode(report.calls_because.as_ref());
}

#[test]
fn a_wrong_byte_is_found() {
    let (mut client, server) = pair();
    let mut bytes: Vec<u8> = pattern(5)[..300_000].to_vec();
    bytes[299_999] ^= 1;
    client.write_all(&bytes).unwrap();
    drop(client);
    let calls = CopyReceiver::new(1000).verified(Verifier::new(5));
    let mut mover = UringReceiver::new(calls);
    let error = loop {
        match mover.receive(server.as_fd(), true) {
            Ok(moved) => assert_ne!(moved.bytes, 0, "the end, and nothing was wrong"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("byte 299999"), "{error}");
}

#[test]
fn what_is_dropped_is_counted() {
    const LENGTH: usize = 20_000_000;
    let (mut client, server) = pair();
    let writer = thread::spawn(move || client.write_all(&vec![7; LENGTH]).unwrap());
    let mut mover = UringReceiver::new(CopyReceiver::new(1000).dropping());
    assert_eq!(drain(&mut mover, &server), (LENGTH, 20_000));
    writer.join().unwrap();
}

#[test]
fn a_reader_after_the_mover_gets_the_rest() {
    let (mut client, mut server) = pair();
    client.write_all(b"first").unwrap();
    let mut mover = UringReceiver::new(CopyReceiver::new(1000));
    assert_eq!(mover.receive(server.as_fd(), true).unwrap().bytes, 5);
    drop(mover);
    client.write_all(b"second").unwrap();
    let mut rest = [0; 6];
    server.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"second");
    // Nothing else holds the connection.
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn less_than_the_mark_is_received_when_the_time_is_over() {
    let (mut client, server) = pair();
    SockRef::from(&server)
        .set_read_timeout(Some(Duration::from_millis(2)))
        .unwrap();
    sockopt::set_receive_low_water(server.as_fd(), 100_000).unwrap();
    let mut mover = UringReceiver::new(CopyReceiver::new(1000));
    let empty = mover.receive(server.as_fd(), true).unwrap_err();
    assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    client.write_all(&[1; 5000]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut bytes = 0;
    while bytes < 5000 {
        assert!(Instant::now() < deadline, "{bytes}");
        match mover.receive(server.as_fd(), true) {
            Ok(moved) => bytes += moved.bytes,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn a_lost_connection_is_an_error() {
    let (client, server) = pair();
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let mut mover = UringReceiver::new(CopyReceiver::new(1000));
    let error = mover.receive(server.as_fd(), true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// Sends `blocks` of 1000 bytes and more; returns what arrived, and the mover.
fn send(mut mover: UringSender, blocks: u32) -> (Vec<u8>, UringSender) {
    let (client, mut server) = pair();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut left = blocks;
    while left > 0 {
        let moved = mover.send(client.as_fd(), left).unwrap();
        assert!(moved.blocks <= left, "{moved:?}, {left} were allowed");
        left -= moved.blocks;
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    mover.finish(client.as_fd(), deadline).unwrap();
    drop(client);
    (reader.join().unwrap(), mover)
}

#[test]
fn bundles_are_the_blocks_in_order() {
    for (block, blocks) in [(1000, 20_000), (64, 10_000), (3_000_000, 7)] {
        let source = Source::pattern(3, block).unwrap();
        let (bytes, mover) = send(UringSender::bundles(source).joined(true), blocks);
        let length = block * blocks as usize;
        assert_eq!(bytes.len(), length);
        Verifier::new(3).check(&bytes).unwrap();
        let report = mover.report();
        assert_eq!(report.account.copied, length as u64);
        assert_eq!(report.account.uncopied, 0);
        check_mode(report.calls_because.as_ref());
        if is_supported() && block == 64 {
            assert!(report.account.calls < 100, "{}", report.account.calls);
        }
    }
}

#[test]
fn blocks_without_a_copy_are_accounted_by_their_notifications() {
    let source = Source::pattern(3, 100_000).unwrap();
    let (bytes, mover) = send(UringSender::zerocopy(source), 3000);
    assert_eq!(bytes.len(), 300_000_000);
    Verifier::new(3).check(&bytes).unwrap();
    let report = mover.report();
    let account = report.account;
    assert_eq!(account.bytes(), 300_000_000);
    check_mode(report.calls_because.as_ref());
    if is_supported() {
        assert_eq!(account.completions, 3000);
        // Over loopback the kernel copies after all.
        assert_eq!(account.copied_completions, 3000);
    }
}

/// A signal ends a send that the peer has no room for; what was sent by then counts, and the stream goes on behind it.
#[test]
fn a_cancelled_send_counts_what_it_sent() {
    interrupt::install().unwrap();
    for zerocopy in [false, true] {
        let (client, mut server) = pair();
        let thread = thread::spawn(move || {
            let source = Source::pattern(9, 500_000).unwrap();
            let mut mover = if zerocopy {
                UringSender::zerocopy(source)
            } else {
                UringSender::bundles(source)
            };
            let mut bytes = 0;
            let error = loop {
                match mover.send(client.as_fd(), 8) {
                    Ok(moved) => bytes += moved.bytes,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
            (client, mover, bytes)
        });
        while !thread.is_finished() {
            interrupt::wake(&thread);
            thread::sleep(Duration::from_millis(5));
        }
        let (client, mover, bytes) = thread.join().unwrap();
        drop((client, mover));
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), bytes, "zero-copy: {zerocopy}");
        Verifier::new(9).check(&received).unwrap();
    }
}

#[test]
fn a_signal_ends_a_receive() {
    interrupt::install().unwrap();
    let (client, server) = pair();
    let thread = thread::spawn(move || {
        let mut mover = UringReceiver::new(CopyReceiver::new(1000));
        mover.receive(server.as_fd(), true).unwrap_err().kind()
    });
    while !thread.is_finished() {
        interrupt::wake(&thread);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(thread.join().unwrap(), io::ErrorKind::Interrupted);
    drop(client);
}

/// Forbids the calling thread to set up io_uring, as the filters of containers do.
fn forbid_uring() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let filter = SeccompFilter::new(
        [(libc::SYS_io_uring_setup, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    apply_filter(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
}

#[test]
fn movers_make_system_calls_where_there_is_no_ring() {
    let (mut client, server) = pair();
    let moves = move || {
        forbid_uring();
        client.write_all(&pattern(5)[..100_000]).unwrap();
        drop(client);
        let calls = CopyReceiver::new(1000).verified(Verifier::new(5));
        let mut receiver = UringReceiver::new(calls);
        assert_eq!(drain(&mut receiver, &server), (100_000, 100));
        let refused = "io_uring_setup: Operation not permitted";
        let because = |report: iperf_zc::account::Report| report.calls_because.unwrap();
        assert_eq!(because(receiver.report()).to_string(), refused);
        for zerocopy in [false, true] {
            let source = Source::pattern(3, 1000).unwrap();
            let mover = if zerocopy {
                UringSender::zerocopy(source)
            } else {
                UringSender::bundles(source)
            };
            let (bytes, mover) = send(mover, 100);
            Verifier::new(3).check(&bytes).unwrap();
            let report = mover.report();
            assert_eq!((bytes.len(), report.account.copied), (100_000, 100_000));
            assert_eq!(report.fallback.is_some(), zerocopy);
            assert_eq!(because(report).to_string(), refused);
        }
    };
    thread::spawn(moves).join().unwrap();
}

/// Not only TCP streams end so.
#[test]
fn a_unix_stream_is_received_to_its_end() {
    let (mut here, there) = UnixStream::pair().unwrap();
    here.write_all(&vec![3; 70_000]).unwrap();
    drop(here);
    let mut mover = UringReceiver::new(CopyReceiver::new(1000));
    let mut bytes = 0;
    loop {
        match mover.receive(there.as_fd(), true).unwrap().bytes {
            0 => break,
            more => bytes += more,
        }
    }
    assert_eq!(bytes, 70_000);
}
