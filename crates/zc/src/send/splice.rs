//! Sending with `splice(2)`: pages pass by reference through a pipe.
//!
//! ```text
//! Source --vmsplice--> pipe --splice--> socket
//! ```
//!
//! TCP and Unix streams take references; on other sockets the kernel copies inside the call, which the account shows.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use nix::fcntl::{SpliceFFlags, vmsplice};

use crate::Moved;
use crate::account::Report;
use crate::send::SendMover;
use crate::socket_kind::{PassingCalls, SocketKind};
use crate::source::{Cursor, Source};
use crate::sys::pipe::Pipe;

/// Sends blocks by reference: `vmsplice(2)` into a pipe, `splice(2)` from there into the socket.
pub struct SpliceSender {
    source: Source,
    /// What is in the pipe lies behind it.
    cursor: Cursor,
    pipe: Pipe,
    joins: bool,
    calls: PassingCalls,
}

impl SpliceSender {
    /// Sends the blocks of `source`. It fails when there can be no pipe.
    pub fn new(source: Source) -> io::Result<Self> {
        let cursor = source.cursor();
        // A block that does not begin with a page touches one page more.
        let pipe = Pipe::new(source.block() + 4096)?;
        Ok(Self {
            source,
            cursor,
            pipe,
            joins: false,
            calls: PassingCalls::default(),
        })
    }

    /// With `joins`, TCP may put the end of a block and the beginning of the next one into one segment (`SPLICE_F_MORE`). The last
    /// block of a budget is not held back.
    #[must_use]
    pub fn joined(self, joins: bool) -> Self {
        Self { joins, ..self }
    }
}

impl SendMover for SpliceSender {
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved> {
        let copies = self.calls.copies(socket, "splice", SocketKind::splices)?;
        if self.pipe.filled() == 0 {
            let rest = self.source.rest(&self.cursor);
            // The pipe is empty, so something fits; without waiting, only that goes in.
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            let bytes = vmsplice(self.pipe.write_end(), &[IoSlice::new(rest)], flags)?;
            self.pipe.add(bytes);
        }
        // A signal may arrive between the two, or cut this one short: the next call sends the rest.
        let bytes = self.pipe.splice_to(socket, self.joins && budget > 1)?;
        self.calls.report.account.pass(bytes, copies);
        Ok(self.cursor.advance(bytes))
    }

    fn report(&self) -> Report {
        self.calls.report.clone()
    }
}
