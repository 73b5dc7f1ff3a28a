//! Movers that fill a socket.
//!
//! A stream socket may take a part of a block (a signal came, or its buffer is smaller than the block), so a mover
//! remembers how much of the current block is gone and counts the block when its last byte is.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{MsgFlags, send};

use std::os::fd::AsRawFd;

use crate::Moved;

/// Fills a socket.
pub trait SendMover: Send {
    /// Moves at least a part of a block, and not more than `budget` blocks, which is not 0. Waits until the kernel
    /// takes something; `bytes: 0` is the end of the source.
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved>;
}

/// Position inside a block of fixed length.
struct Block {
    length: usize,
    done: usize,
}

impl Block {
    fn new(length: usize) -> Self {
        Self { length, done: 0 }
    }

    fn rest(&self) -> usize {
        self.length - self.done
    }

    fn advance(&mut self, bytes: usize) -> Moved {
        self.done += bytes;
        if self.done < self.length {
            return Moved { bytes, blocks: 0 };
        }
        self.done = 0;
        Moved { bytes, blocks: 1 }
    }
}

/// Sends the same block over and over with `send(2)`: one copy into the kernel.
pub struct CopySender {
    payload: Vec<u8>,
    block: Block,
}

impl CopySender {
    /// A block of `payload.len()` bytes.
    pub fn new(payload: Vec<u8>) -> Self {
        let block = Block::new(payload.len());
        Self { payload, block }
    }
}

impl SendMover for CopySender {
    fn send(&mut self, socket: BorrowedFd<'_>, _: u32) -> io::Result<Moved> {
        let bytes = send(
            socket.as_raw_fd(),
            &self.payload[self.block.done..],
            MsgFlags::MSG_NOSIGNAL,
        )?;
        Ok(self.block.advance(bytes))
    }
}

/// Sends the same block over and over with `sendfile(2)` from a memory file: the pages go by reference.
pub struct SendfileSender {
    memory: File,
    block: Block,
}

impl SendfileSender {
    /// A block of `payload.len()` bytes.
    pub fn new(payload: &[u8]) -> io::Result<Self> {
        let mut memory = File::from(memfd_create(c"iperf-block", MFdFlags::MFD_CLOEXEC)?);
        memory.write_all(payload)?;
        Ok(Self {
            memory,
            block: Block::new(payload.len()),
        })
    }
}

impl SendMover for SendfileSender {
    fn send(&mut self, socket: BorrowedFd<'_>, _: u32) -> io::Result<Moved> {
        let mut offset = libc::off_t::try_from(self.block.done).map_err(io::Error::other)?;
        let bytes = sendfile(
            socket,
            self.memory.as_fd(),
            Some(&mut offset),
            self.block.rest(),
        )?;
        Ok(self.block.advance(bytes))
    }
}

/// Sends a file once, in blocks, by `read(2)` and `send(2)`.
pub struct FileSender {
    file: File,
    buffer: Vec<u8>,
    /// What of `buffer` is read and not yet sent.
    pending: std::ops::Range<usize>,
}

impl FileSender {
    /// Blocks of `block` bytes; the last one is as long as what is left.
    pub fn new(file: File, block: usize) -> Self {
        Self {
            file,
            buffer: vec![0; block],
            pending: 0..0,
        }
    }
}

impl SendMover for FileSender {
    fn send(&mut self, socket: BorrowedFd<'_>, _: u32) -> io::Result<Moved> {
        if self.pending.is_empty() {
            let read = self.file.read(&mut self.buffer)?;
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
        Ok(Moved {
            bytes,
            blocks: u32::from(self.pending.is_empty()),
        })
    }
}

/// Sends a file once, in blocks, by `sendfile(2)`.
pub struct FileSendfileSender {
    file: File,
    block: Block,
}

impl FileSendfileSender {
    /// Blocks of `block` bytes; the last one is as long as what is left.
    pub fn new(mut file: File, block: usize) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self {
            file,
            block: Block::new(block),
        })
    }
}

impl SendMover for FileSendfileSender {
    fn send(&mut self, socket: BorrowedFd<'_>, _: u32) -> io::Result<Moved> {
        let bytes = sendfile(socket, self.file.as_fd(), None, self.block.rest())?;
        let mut moved = self.block.advance(bytes);
        if bytes > 0
            && moved.blocks == 0
            && self.file.stream_position()? == self.file.metadata()?.len()
        {
            moved.blocks = 1;
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;
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
        assert_eq!(received(&mut CopySender::new(payload.clone()), 2), expected);
        assert_eq!(
            received(&mut SendfileSender::new(&payload).unwrap(), 2),
            expected
        );
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
        let mut mover = CopySender::new(payload.clone());
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
