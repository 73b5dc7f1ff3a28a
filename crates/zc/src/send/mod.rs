//! Movers that fill a socket: the trait, and those of copies, `sendfile(2)` and files.
//!
//! Block senders send from a [`Source`]. [`splice`] and [`msg`] have further ones.

pub(crate) mod ledger;
pub mod msg;
pub mod splice;
pub mod uring;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{MsgFlags, send};
use rustix::net::SendFlags;

use crate::FileError;
use crate::Moved;
use crate::account::Report;
use crate::socket_kind::{PassingCalls, SocketKind};
use crate::source::{Cursor, Source};

/// Fills a socket.
pub trait SendMover: Send {
    /// Moves at least a part of a block, and not more than `budget` blocks, which is not 0. Waits until the kernel
    /// takes something; `bytes: 0` is the end of the source.
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved>;

    /// Collects outstanding completions, until `deadline`. To be called once, after the last [`send`](Self::send) and
    /// before the socket is closed; only then is the account exact. `TimedOut` means that the deadline passed first:
    /// bytes without a completion then count as copied.
    fn finish(&mut self, _socket: BorrowedFd<'_>, _deadline: Instant) -> io::Result<()> {
        Ok(())
    }

    /// What was done so far, and why it is less than requested.
    fn report(&self) -> Report;

    /// Whether it uses no descriptor but the socket, and leaves none behind that a thread with
    /// [a table of its own](crate::descriptors) could not close.
    fn uses_only_the_socket(&self) -> bool {
        false
    }
}

/// Sends blocks with `send(2)`: one copy into the kernel. The call is rustix's, which is inlined: that of the C library is a
/// point at which a thread can be cancelled, and takes sixty instructions more.
pub struct CopySender {
    source: Source,
    cursor: Cursor,
    joins: bool,
    report: Report,
}

impl CopySender {
    /// Sends the blocks of `source`.
    pub fn new(source: Source) -> Self {
        let cursor = source.cursor();
        Self {
            source,
            cursor,
            joins: false,
            report: Report::default(),
        }
    }

    /// With `joins`, TCP may put the end of a block and the beginning of the next one into one segment (`MSG_MORE`). The last block
    /// of a budget is not held back.
    #[must_use]
    pub fn joined(self, joins: bool) -> Self {
        Self { joins, ..self }
    }
}

impl SendMover for CopySender {
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved> {
        let rest = self.source.rest(&self.cursor);
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, self.joins && budget > 1);
        let bytes = rustix::net::send(socket, rest, flags)?;
        self.report.account.copy(bytes);
        Ok(self.cursor.advance(bytes))
    }

    fn report(&self) -> Report {
        self.report.clone()
    }

    fn uses_only_the_socket(&self) -> bool {
        self.source.file().is_err()
    }
}

/// Sends blocks with `sendfile(2)` from the source's memory file: the pages go by reference.
pub struct SendfileSender {
    source: Source,
    cursor: Cursor,
    calls: PassingCalls,
}

impl SendfileSender {
    /// Sends the blocks of `source`.
    pub fn new(source: Source) -> Self {
        let cursor = source.cursor();
        Self {
            source,
            cursor,
            calls: PassingCalls::default(),
        }
    }
}

impl SendMover for SendfileSender {
    fn send(&mut self, socket: BorrowedFd<'_>, _: u32) -> io::Result<Moved> {
        let copies = self.calls.copies(socket, "sendfile", SocketKind::splices)?;
        let mut offset = libc::off_t::try_from(self.cursor.position()).map_err(io::Error::other)?;
        let rest = self.cursor.rest();
        let bytes = sendfile(socket, self.source.file()?, Some(&mut offset), rest)?;
        self.calls.report.account.pass(bytes, copies);
        Ok(self.cursor.advance(bytes))
    }

    fn report(&self) -> Report {
        self.calls.report.clone()
    }
}

/// Sends a file once, in blocks, by `read(2)` and `send(2)`.
pub struct FileSender {
    file: File,
    buffer: Vec<u8>,
    /// The part of `buffer` that is read and not yet sent.
    pending: std::ops::Range<usize>,
    /// A pipe without a writer yet reads as if it had ended.
    is_pipe: bool,
    report: Report,
}

impl FileSender {
    /// Blocks of `block` bytes; the last one may be shorter.
    pub fn new(file: File, block: usize) -> Self {
        let is_pipe = file
            .metadata()
            .is_ok_and(|metadata| metadata.file_type().is_fifo());
        Self {
            file,
            is_pipe,
            buffer: vec![0; block],
            pending: 0..0,
            report: Report::default(),
        }
    }
}

impl SendMover for FileSender {
    fn send(&mut self, socket: BorrowedFd<'_>, _: u32) -> io::Result<Moved> {
        if self.pending.is_empty() {
            if self.is_pipe {
                wait_for_input(&self.file)?;
            }
            let read = self
                .file
                .read(&mut self.buffer)
                .map_err(FileError::wrap("read"))?;
            if read == 0 {
                return Ok(Moved::default());
            }
            self.pending = 0..read;
        }
        let bytes = send(
            socket.as_raw_fd(),
            &self.buffer[self.pending.clone()],
            MsgFlags::MSG_NOSIGNAL,
        )?;
        self.pending.start += bytes;
        self.report.account.copy(bytes);
        Ok(Moved {
            bytes,
            blocks: u32::from(self.pending.is_empty()),
        })
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}

/// Waits until a pipe has data, or its last writer has closed it; or until a signal arrives (`Interrupted`).
fn wait_for_input(pipe: &File) -> io::Result<()> {
    let mut files = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut files, PollTimeout::NONE)?;
    Ok(())
}

/// Sends a file once, in blocks, by `sendfile(2)`.
pub struct FileSendfileSender {
    file: File,
    block: usize,
    /// Bytes of the current block that have been sent.
    done: usize,
    calls: PassingCalls,
}

impl FileSendfileSender {
    /// Blocks of `block` bytes; the last one may be shorter.
    pub fn new(mut file: File, block: usize) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self {
            file,
            block,
            done: 0,
            calls: PassingCalls::default(),
        })
    }
}

impl SendMover for FileSendfileSender {
    fn send(&mut self, socket: BorrowedFd<'_>, _: u32) -> io::Result<Moved> {
        let copies = self.calls.copies(socket, "sendfile", SocketKind::splices)?;
        let bytes = sendfile(socket, self.file.as_fd(), None, self.block - self.done)?;
        self.calls.report.account.pass(bytes, copies);
        self.done += bytes;
        let whole = self.done == self.block
            || bytes > 0 && self.file.stream_position()? == self.file.metadata()?.len();
        if whole {
            self.done = 0;
        }
        Ok(Moved {
            bytes,
            blocks: u32::from(whole),
        })
    }

    fn report(&self) -> Report {
        self.calls.report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::{Seek, Write};
    use std::os::unix::net::UnixStream;

    fn received(mover: &mut dyn SendMover, calls: usize) -> (Vec<u8>, u32) {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut blocks = 0;
        for _ in 0..calls {
            blocks += mover.send(here.as_fd(), 1).unwrap().blocks;
        }
        drop(here);
        let mut bytes = Vec::new();
        there.read_to_end(&mut bytes).unwrap();
        (bytes, blocks)
    }

    #[test]
    fn both_block_senders_send_the_block() {
        let payload: Vec<u8> = (0..100).collect();
        let expected = (payload.repeat(2), 2);
        let source = || Source::repeat(&payload).unwrap();
        let mut copy = CopySender::new(source());
        assert_eq!(received(&mut copy, 2), expected);
        assert_eq!(
            (copy.report().account.copied, copy.report().account.uncopied),
            (200, 0)
        );
        let mut sendfile = SendfileSender::new(source());
        assert_eq!(received(&mut sendfile, 2), expected);
        let account = sendfile.report().account;
        assert_eq!((account.copied, account.uncopied), (0, 200));
    }

    #[test]
    fn both_file_senders_send_the_file_once() {
        let mut file = File::from(memfd_create(c"test", MFdFlags::empty()).unwrap());
        file.write_all(b"0123456789").unwrap();
        file.rewind().unwrap();
        let mut copy = FileSender::new(file.try_clone().unwrap(), 4);
        assert_eq!(received(&mut copy, 4), (b"0123456789".to_vec(), 3));
        let mut sendfile = FileSendfileSender::new(file, 4).unwrap();
        assert_eq!(received(&mut sendfile, 4), (b"0123456789".to_vec(), 3));
    }

    #[test]
    fn a_socket_that_takes_parts_gets_whole_blocks() {
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let payload: Vec<u8> = (0..1_000_000_u32)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let mut mover = CopySender::new(Source::repeat(&payload).unwrap());
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; 2_000_000];
            (&there).read_exact(&mut bytes).unwrap();
            bytes
        });
        let mut blocks = 0;
        while blocks < 2 {
            match mover.send(here.as_fd(), 1) {
                Ok(moved) => blocks += moved.blocks,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(reader.join().unwrap(), payload.repeat(2));
    }
}
