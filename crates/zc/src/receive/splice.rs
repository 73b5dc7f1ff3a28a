//! Receiving with `splice(2)`: pages pass by reference through a pipe.
//!
//! ```text
//! socket --splice--> pipe --splice--> /dev/null
//! ```
//!
//! TCP and Unix streams pass references; on other sockets the kernel copies inside the call, which the account shows.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::socket::{MsgFlags, recv};

use crate::Moved;
use crate::account::Report;
use crate::receive::{BlockCount, ReceiveMover};
use crate::socket_kind::{PassingCalls, SocketKind};
use crate::sys::pipe::{self, Pipe};

/// Bytes that a receiving pipe should have room for.
const RECEIVE_ROOM: usize = 1 << 20;

/// Takes references to received pages into a pipe, and drops them in `/dev/null`.
pub struct SpliceReceiver {
    pipe: Pipe,
    null: File,
    count: BlockCount,
    calls: PassingCalls,
}

impl SpliceReceiver {
    /// Takes as much per call as a pipe holds, and counts blocks of `block` bytes, which must not be 0. It fails when
    /// there can be no pipe.
    pub fn new(block: usize) -> io::Result<Self> {
        Ok(Self {
            pipe: Pipe::new(RECEIVE_ROOM)?,
            null: pipe::null()?,
            count: BlockCount::new(block),
            calls: PassingCalls::default(),
        })
    }

    fn empty_pipe(&mut self) -> io::Result<()> {
        while self.pipe.filled() > 0 {
            self.pipe.splice_to(self.null.as_fd(), false)?;
        }
        Ok(())
    }
}

/// Whether `splice` from the socket would find data or the end: on a blocking descriptor it waits, whatever its
/// flags.
fn ready(socket: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(socket.as_raw_fd(), &mut [0], flags)?;
    Ok(())
}

impl ReceiveMover for SpliceReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        let copies = self.calls.copies(socket, "splice", SocketKind::splices)?;
        // A signal may have left bytes from the previous call, which counted them.
        self.empty_pipe()?;
        if !wait {
            ready(socket)?;
        }
        let flags = SpliceFFlags::SPLICE_F_MOVE;
        let room = self.pipe.capacity();
        let bytes = splice(socket, None, self.pipe.write_end(), None, room, flags)?;
        self.pipe.add(bytes);
        self.calls.report.account.pass(bytes, copies);
        match self.empty_pipe() {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(self.count.add(bytes)),
        }
    }

    fn report(&self) -> Report {
        self.calls.report.clone()
    }
}
