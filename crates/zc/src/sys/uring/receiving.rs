//! One request that receives again and again (`IORING_RECV_MULTISHOT`, Linux 6.0), into buffers that the kernel takes from
//! a ring, as many as there is data for (`IORING_RECVSEND_BUNDLE`, Linux 6.10).
//!
//! The kernel takes the buffers in order, and they are given back in order, so those of a completion follow each other.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use io_uring::opcode::RecvMultiBundle;
use io_uring::{cqueue, types};
use nix::errno::Errno;

use super::buffers::{Buffers, GROUP};
use super::{CANCEL_LIMIT, Ring, failure};
use crate::sys::mapping::Arena;
use crate::sys::sink;

/// Bytes of a buffer.
const BUFFER: usize = 128 * 1024;

/// Buffers with separate memory: 1 MiB.
const OWN: u16 = 8;

/// Buffers that are all the same memory, for data that is never read.
const SHARED: u16 = 32;

/// Completions that may wait. More wait in the kernel.
const COMPLETIONS: u32 = 64;

/// Where a socket's data is received.
pub(crate) struct Receiving {
    ring: Ring,
    buffers: Buffers,
    /// The memory of the buffers. None: the process's sink, which is never read.
    own: Option<Arena>,
    /// Where the first of them is.
    address: u64,
    count: u16,
    /// The request is armed.
    armed: bool,
    /// How the stream ended: 0, or a negative error.
    end: Option<i32>,
}

impl Receiving {
    /// Creates the ring, on the thread that will use it. With `drops`, received data is never read.
    pub(crate) fn new(drops: bool) -> io::Result<Self> {
        let ring = Ring::new(COMPLETIONS)?;
        let shared = if drops { sink::buffer(BUFFER) } else { None };
        let (own, pointer, count) = if let Some(pointer) = shared {
            (None, pointer, SHARED)
        } else {
            let own = Arena::new(usize::from(OWN) * BUFFER)?;
            let pointer = own.pointer(0);
            (Some(own), pointer, OWN)
        };
        let buffers = Buffers::new(&ring, count)?;
        let mut receiving = Self {
            ring,
            buffers,
            own,
            address: pointer.expose_provenance() as u64,
            count,
            armed: false,
            end: None,
        };
        for id in 0..count {
            receiving.give(id);
        }
        receiving.buffers.publish();
        Ok(receiving)
    }

    /// Where a buffer is in the memory.
    fn offset(&self, id: u16) -> usize {
        if self.own.is_some() {
            usize::from(id) * BUFFER
        } else {
            0
        }
    }

    /// Gives a buffer to the kernel.
    fn give(&mut self, id: u16) {
        let address = self.address + self.offset(id) as u64;
        let length = u32::try_from(BUFFER).unwrap_or(u32::MAX);
        self.buffers.add(address, length, id);
    }

    /// Receives what has arrived at the socket of the first call, and passes it to `look`, unless it is dropped. 0 is
    /// the end of the stream. If nothing has arrived, waits for at most `limit` (`TimedOut`). A signal ends it
    /// (`Interrupted`).
    pub(crate) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        limit: Option<Duration>,
        mut look: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<usize> {
        if !self.armed && self.end.is_none() {
            self.arm(socket)?;
        }
        let waited = match self.end {
            Some(_) => Ok(()),
            None => self.ring.wait(limit),
        };
        // Also when a signal ended the wait: nothing that was received stays behind.
        match (self.collect(&mut look)?, self.end) {
            (0, Some(result @ ..0)) => Err(failure(result)),
            (0, Some(_)) => Ok(0),
            (0, None) => Err(match (waited, limit) {
                (Err(error), _) => error,
                // A call that submits does not report that its time is over.
                (Ok(()), Some(_)) => io::ErrorKind::TimedOut.into(),
                // Woken for nothing, as when the kernel had no buffer left.
                (Ok(()), None) => io::ErrorKind::Interrupted.into(),
            }),
            (bytes, _) => Ok(bytes),
        }
    }

    fn arm(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let entry = RecvMultiBundle::new(types::Fd(socket.as_raw_fd()), GROUP).build();
        // SAFETY: the buffers are writable, and stay until the last completion: see `drop`. They are borrowed only in
        // `collect`, which makes no system call.
        unsafe { self.ring.push(&entry) }?;
        self.armed = true;
        Ok(())
    }

    /// Takes what has completed; returns how many bytes.
    fn collect(&mut self, look: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<usize> {
        let mut bytes = 0;
        let mut seen = Ok(());
        while let Some(completion) = self.ring.next() {
            self.armed &= completion.more();
            match usize::try_from(completion.result) {
                Ok(0) => self.end = Some(0),
                Ok(length) => {
                    bytes += length;
                    let first = cqueue::buffer_select(completion.flags).unwrap_or(0);
                    seen = seen.and(self.take(first, length, look));
                }
                // Taking them is what makes room.
                Err(_) if completion.result == -(Errno::ENOBUFS as i32) => {}
                Err(_) => self.end = Some(completion.result),
            }
        }
        if bytes > 0 {
            self.buffers.publish();
        }
        seen.map(|()| bytes)
    }

    /// Looks at `length` bytes in the buffers from `first` on, and gives the buffers back.
    fn take(
        &mut self,
        first: u16,
        length: usize,
        look: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut rest = length;
        let mut id = first % self.count;
        let mut seen = Ok(());
        while rest > 0 {
            let part = rest.min(BUFFER);
            let offset = self.offset(id);
            if let Some(own) = &mut self.own {
                seen = seen.and_then(|()| look(own.bytes_mut(offset, part)));
            }
            self.give(id);
            rest -= part;
            id = (id + 1) % self.count;
        }
        seen
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if self.armed {
            // The request holds the socket, and may write to the buffers.
            self.ring.cancel();
            let deadline = Instant::now() + CANCEL_LIMIT;
            while self.armed && Instant::now() < deadline {
                let _ = self.collect(&mut |_| Ok(()));
                if self.armed {
                    let _ = self.ring.wait(Some(CANCEL_LIMIT / 10));
                }
            }
        }
        if self.armed {
            mem::forget(self.own.take());
        }
    }
}
