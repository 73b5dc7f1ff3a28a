//! Movers that empty a socket.

pub mod map;
pub mod message;
pub mod packet;
pub mod splice;
pub mod uring;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{MsgFlags, recv};

use crate::FileError;
use crate::Moved;
use crate::account::Report;
use crate::socket_kind::{PassingCalls, SocketKind};
use crate::sys::{sink, sockopt};
use crate::verify::{self, Verifier};

/// More than any receive buffer holds.
const UNKNOWN_BACKLOG: usize = 64 << 20;

/// Empties a socket, about one block per call.
pub trait ReceiveMover: Send {
    /// Takes what has arrived, up to one block. If nothing has, it blocks, or fails with `WouldBlock` if `wait` is
    /// false; `bytes: 0` is the end of the stream.
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved>;

    /// Bytes that have arrived and are not yet taken, or more.
    fn backlog(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // Not every kernel reports it for vsock: then take what arrives without waiting, up to a limit.
        Ok(sockopt::readable(socket).unwrap_or(UNKNOWN_BACKLOG))
    }

    /// What was done so far, and why it is less than requested.
    fn report(&self) -> Report;

    /// Whether a call that waits obeys the socket's low-water mark and its time-out (`SO_RCVLOWAT`, `SO_RCVTIMEO`), as
    /// `recv(2)` does. If it does not, a mark could delay bytes for long.
    fn obeys_low_water(&self) -> bool {
        true
    }
}

pub(crate) fn flags(wait: bool) -> MsgFlags {
    if wait {
        MsgFlags::empty()
    } else {
        MsgFlags::MSG_DONTWAIT
    }
}

/// Counts blocks of a byte stream that is read in arbitrary pieces.
pub(crate) struct BlockCount {
    block: usize,
    partial: usize,
}

impl BlockCount {
    /// Counts blocks of `block` bytes, which must not be 0.
    pub(crate) fn new(block: usize) -> Self {
        Self { block, partial: 0 }
    }

    pub(crate) fn add(&mut self, bytes: usize) -> Moved {
        self.partial += bytes;
        let blocks = self.partial / self.block;
        self.partial %= self.block;
        Moved {
            bytes,
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
        }
    }
}

thread_local! {
    /// Where receivers put bytes that do not go into the [sink]. It is the thread's, not the stream's: many streams that
    /// share a thread need it once, and it stays in the processor's cache.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `receive` with `room` bytes of this thread's scratch buffer.
fn with_scratch<T>(room: usize, receive: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < room {
            // New memory is zero already, and only what is received into becomes the process's.
            *scratch = vec![0; room];
        }
        receive(&mut scratch[..room])
    })
}

/// The most that a receiver takes in one call of bytes that are not read.
pub const MOST_DROPPED: usize = sink::LENGTH;

/// Reads into a buffer that others share: one copy out of the kernel.
pub struct CopyReceiver {
    room: usize,
    drops: bool,
    count: BlockCount,
    report: Report,
    verifier: Option<Verifier>,
}

impl CopyReceiver {
    /// Reads up to `block` bytes per call; `block` must not be 0.
    pub fn new(block: usize) -> Self {
        Self {
            room: block,
            drops: false,
            count: BlockCount::new(block),
            report: Report::default(),
            verifier: None,
        }
    }

    /// Checks what arrives; the first difference is an error.
    pub fn verified(mut self, verifier: Verifier) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Puts bytes that are not checked into memory of 128 KiB that all receivers of a processor share.
    ///
    /// With many streams that keeps their data in the processor's cache. One stream alone is faster without: a large
    /// buffer moves what the receiver has read out of its cache, and the sender, on another processor, fills the same
    /// pages next.
    #[must_use]
    pub fn dropping(mut self) -> Self {
        self.drops = true;
        self
    }

    /// Reads up to `bytes` bytes per call, regardless of the block size.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.room = bytes.max(1);
        self
    }
}

impl CopyReceiver {
    /// Whether nothing looks at what it receives, so that it need not be kept.
    fn drops_all(&self) -> bool {
        self.drops && self.verifier.is_none()
    }

    /// Checks bytes that arrived otherwise than through this mover's calls.
    fn check(&mut self, bytes: &[u8]) -> io::Result<()> {
        verify::check(&mut self.verifier, bytes)
    }

    /// Counts them.
    fn account(&mut self, bytes: usize) -> Moved {
        self.report.account.copy(bytes);
        self.count.add(bytes)
    }
}

impl ReceiveMover for CopyReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        if self.drops_all()
            && let Some(received) = sink::receive(socket, self.room, flags(wait))
        {
            return Ok(self.account(received?));
        }
        with_scratch(self.room, |buffer| {
            let bytes = recv(socket.as_raw_fd(), buffer, flags(wait))?;
            self.report.account.copy(bytes);
            verify::check(&mut self.verifier, &buffer[..bytes])?;
            Ok(self.count.add(bytes))
        })
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}

/// Lets the kernel drop the bytes (`MSG_TRUNC` on a TCP socket, tcp(7)): no copy at all. On other sockets it copies.
pub struct TruncReceiver {
    /// TCP writes nothing, but the call needs a buffer as long as what it may drop.
    room: usize,
    count: BlockCount,
    calls: PassingCalls,
}

impl TruncReceiver {
    /// Drops up to `block` bytes per call; `block` must not be 0.
    pub fn new(block: usize) -> Self {
        Self {
            room: block,
            count: BlockCount::new(block),
            calls: PassingCalls::default(),
        }
    }

    /// Drops up to `bytes` bytes per call, regardless of the block size.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.room = bytes.max(1);
        self
    }
}

impl ReceiveMover for TruncReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        let copies = self
            .calls
            .copies(socket, "MSG_TRUNC", SocketKind::truncates)?;
        let flags = flags(wait) | MsgFlags::MSG_TRUNC;
        let bytes = with_scratch(self.room, |buffer| recv(socket.as_raw_fd(), buffer, flags))?;
        self.calls.report.account.pass(bytes, copies);
        Ok(self.count.add(bytes))
    }

    fn report(&self) -> Report {
        self.calls.report.clone()
    }
}

/// Reads into a buffer and writes it to a file.
pub struct FileReceiver {
    file: File,
    buffer: Vec<u8>,
    count: BlockCount,
    report: Report,
    /// What was received and is not written: a pipe may be full.
    pending: Range<usize>,
}

impl FileReceiver {
    /// Reads up to `block` bytes per call; `block` must not be 0.
    pub fn new(file: File, block: usize) -> Self {
        Self {
            file,
            buffer: vec![0; block],
            count: BlockCount::new(block),
            report: Report::default(),
            pending: 0..0,
        }
    }

    /// Writes what is left to write. A signal ends it (`Interrupted`), so that no reader of a pipe can hold a test.
    fn write_pending(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let bytes = &self.buffer[self.pending.clone()];
            match self.file.write(bytes).map_err(FileError::wrap("write"))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                length => self.pending.start += length,
            }
        }
        Ok(())
    }

    /// Reads up to `bytes` bytes per call, regardless of the block size.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.buffer = vec![0; bytes.max(1)];
        self
    }
}

impl ReceiveMover for FileReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        self.write_pending()?;
        let bytes = recv(socket.as_raw_fd(), &mut self.buffer, flags(wait))?;
        self.report.account.copy(bytes);
        let moved = self.count.add(bytes);
        self.pending = 0..bytes;
        match self.write_pending() {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(moved),
        }
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn drain(mover: &mut dyn ReceiveMover) -> (usize, u32) {
        let (mut client, server) = pair();
        client.write_all(&[5; 1050]).unwrap();
        drop(client);
        let (mut bytes, mut blocks) = (0, 0);
        loop {
            let moved = mover.receive(server.as_fd(), true).unwrap();
            if moved.bytes == 0 {
                return (bytes, blocks);
            }
            bytes += moved.bytes;
            blocks += moved.blocks;
        }
    }

    #[test]
    fn every_receiver_counts_all_bytes_and_whole_blocks() {
        assert_eq!(drain(&mut CopyReceiver::new(100)), (1050, 10));
        assert_eq!(drain(&mut TruncReceiver::new(100)), (1050, 10));
        let mut roomy = CopyReceiver::new(100).with_room(4096);
        assert_eq!(drain(&mut roomy), (1050, 10));
        let mut roomy = TruncReceiver::new(100).with_room(4096);
        assert_eq!(drain(&mut roomy), (1050, 10));
        let file = tempfile_like();
        assert_eq!(
            drain(&mut FileReceiver::new(file.try_clone().unwrap(), 100)),
            (1050, 10)
        );
        assert_eq!(file.metadata().unwrap().len(), 1050);
    }

    fn tempfile_like() -> File {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        File::from(memfd_create(c"test", MFdFlags::empty()).unwrap())
    }

    #[test]
    fn without_waiting_an_empty_socket_would_block() {
        let (_client, server) = pair();
        let error = CopyReceiver::new(10)
            .receive(server.as_fd(), false)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
