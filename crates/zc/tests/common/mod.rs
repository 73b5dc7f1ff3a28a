//! Moves a verified stream from a sender to a receiver on two threads, and accounts for both.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "each test uses a part, and one that can't go on fails"
)]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use iperf_zc::account::{Account, Fallback};
use iperf_zc::receive::map::{self, MapOptions};
use iperf_zc::receive::splice::SpliceReceiver;
use iperf_zc::receive::{CopyReceiver, ReceiveMover, TruncReceiver};
use iperf_zc::send::msg::MsgSender;
use iperf_zc::send::splice::SpliceSender;
use iperf_zc::send::{CopySender, SendMover, SendfileSender};
use iperf_zc::source::Source;
use iperf_zc::verify::Verifier;

/// How long a stream of a test may take before it counts as hung.
pub const HANG: Duration = Duration::from_secs(60);

/// The stream whose pattern is sent.
pub const STREAM: u32 = 5;

/// A connected pair: the sender and the receiver.
pub type Pair = (OwnedFd, OwnedFd);

pub fn tcp() -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client.into(), listener.accept().unwrap().0.into())
}

pub fn tcp_v6() -> Pair {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client.into(), listener.accept().unwrap().0.into())
}

pub fn unix() -> Pair {
    let (a, b) = UnixStream::pair().unwrap();
    (a.into(), b.into())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    Copy,
    Sendfile,
    Splice,
    Msg,
}

impl Sending {
    pub const ALL: [Self; 4] = [Self::Copy, Self::Sendfile, Self::Splice, Self::Msg];

    pub fn mover(self, socket: &OwnedFd, block: usize) -> Box<dyn SendMover> {
        let source = Source::pattern(STREAM, block).unwrap();
        match self {
            Self::Copy => Box::new(CopySender::new(source)),
            Self::Sendfile => Box::new(SendfileSender::new(source)),
            Self::Splice => Box::new(SpliceSender::new(source).unwrap()),
            Self::Msg => Box::new(MsgSender::new(source, socket.as_fd()).unwrap()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    Copy,
    Trunc,
    Splice,
    Map,
}

impl Receiving {
    pub const ALL: [Self; 4] = [Self::Copy, Self::Trunc, Self::Splice, Self::Map];

    /// Whether it sees the bytes, and so can check them.
    pub fn sees_bytes(self) -> bool {
        matches!(self, Self::Copy | Self::Map)
    }

    pub fn mover(
        self,
        socket: &OwnedFd,
        block: usize,
        verifier: Option<Verifier>,
    ) -> Box<dyn ReceiveMover> {
        match (self, verifier) {
            (Self::Copy, Some(verifier)) => Box::new(CopyReceiver::new(block).verified(verifier)),
            (Self::Copy, None) => Box::new(CopyReceiver::new(block)),
            // These never see the bytes.
            (Self::Trunc, _) => Box::new(TruncReceiver::new(block)),
            (Self::Splice, _) => Box::new(SpliceReceiver::new(block).unwrap()),
            (Self::Map, verifier) => {
                map::receiver(socket.as_fd(), &MapOptions::new(block), verifier).unwrap()
            }
        }
    }
}

/// What one end did.
#[derive(Clone, Debug)]
pub struct Done {
    pub bytes: u64,
    pub blocks: u64,
    pub account: Account,
    pub fallback: Option<Fallback>,
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Sends whole blocks, collects what is outstanding and closes the socket.
pub fn send(mut mover: Box<dyn SendMover>, socket: OwnedFd, blocks: u64) -> io::Result<Done> {
    let (mut bytes, mut sent) = (0, 0);
    while sent < blocks {
        match mover.send(socket.as_fd(), 1) {
            Ok(moved) => {
                assert!(moved.bytes > 0, "a source has no end");
                bytes += moved.bytes as u64;
                sent += u64::from(moved.blocks);
            }
            Err(error) if is_pause(&error) => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    // The peer may read on while this waits, or not at all; the stream ends for it in any case.
    let socket = socket2::Socket::from(socket);
    socket.shutdown(std::net::Shutdown::Write)?;
    mover.finish(socket.as_fd(), Instant::now() + HANG)?;
    let report = mover.report();
    Ok(Done {
        bytes,
        blocks: sent,
        account: report.account,
        fallback: report.fallback,
    })
}

/// Receives to the end of the stream.
pub fn receive(mover: &mut dyn ReceiveMover, socket: &OwnedFd) -> io::Result<Done> {
    let (mut bytes, mut blocks) = (0, 0);
    loop {
        match mover.receive(socket.as_fd(), true) {
            Ok(moved) if moved.bytes == 0 => break,
            Ok(moved) => {
                bytes += moved.bytes as u64;
                blocks += u64::from(moved.blocks);
            }
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let report = mover.report();
    Ok(Done {
        bytes,
        blocks,
        account: report.account,
        fallback: report.fallback,
    })
}

/// Ends the process when `work` hangs: a thread in a system call cannot be ended otherwise.
pub fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = channel();
    let thread = std::thread::spawn(move || sender.send(work()).unwrap());
    match result.recv_timeout(HANG) {
        Ok(result) => {
            thread.join().unwrap();
            result
        }
        Err(RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
        Err(RecvTimeoutError::Timeout) => {
            eprintln!("{what} hangs");
            std::process::exit(101);
        }
    }
}

/// Sends `blocks` blocks of `block` bytes and receives them; both ends must have the same count, and all of it in
/// their accounts.
pub fn transfer(
    what: &str,
    pair: Pair,
    (sending, block, blocks): (Sending, usize, u64),
    receiving: impl FnOnce(&OwnedFd) -> Box<dyn ReceiveMover> + Send + 'static,
) -> (Done, Done) {
    let text = what.to_owned();
    let (sent, received) = in_time(what, move || {
        let (from, to) = pair;
        let sender = std::thread::spawn(move || {
            let mover = sending.mover(&from, block);
            send(mover, from, blocks)
        });
        let mut mover = receiving(&to);
        let received = receive(&mut *mover, &to);
        drop((mover, to));
        let sent = sender.join().unwrap();
        (
            sent.unwrap_or_else(|error| panic!("{text}: sender: {error}")),
            received.unwrap_or_else(|error| panic!("{text}: receiver: {error}")),
        )
    });
    let total = blocks * block as u64;
    assert_eq!((sent.bytes, sent.blocks), (total, blocks), "{what}: sent");
    assert_eq!(
        (received.bytes, received.blocks),
        (total, blocks),
        "{what}: received"
    );
    assert_eq!(sent.account.bytes(), total, "{what}: {:?}", sent.account);
    assert_eq!(
        received.account.bytes(),
        total,
        "{what}: {:?}",
        received.account
    );
    (sent, received)
}
