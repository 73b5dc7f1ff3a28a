//! Movers with `splice(2)`: pages go by reference through a pipe.
//!
//! ```text
//! sender:    Source --vmsplice--> pipe --splice--> socket
//! receiver:  socket --splice--> pipe --splice--> /dev/null
//! ```
//!
//! TCP and Unix streams pass references; on other sockets the kernel copies inside, which the account says.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::{SpliceFFlags, splice, vmsplice};
use nix::sys::socket::{MsgFlags, recv};

use crate::Moved;
use crate::account::{Account, Fallback};
use crate::carrier::{Carrier, KnownCarrier};
use crate::pipe::{self, Pipe};
use crate::receive::{BlockCount, ReceiveMover};
use crate::send::SendMover;
use crate::source::{Cursor, Source};
use crate::verify::Verifier;

/// What splice does on a carrier without references to pages.
pub(crate) fn copied_inside(carrier: Carrier) -> Fallback {
    Fallback::CopiedInside {
        call: "splice",
        carrier: carrier.name(),
    }
}

/// Sends blocks by reference: `vmsplice(2)` into a pipe, `splice(2)` from there into the socket.
pub struct SpliceSender {
    source: Source,
    /// What is in the pipe lies behind it.
    cursor: Cursor,
    pipe: Pipe,
    joins: bool,
    carrier: KnownCarrier,
    account: Account,
    fallback: Option<Fallback>,
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
            carrier: KnownCarrier::default(),
            account: Account::default(),
            fallback: None,
        })
    }

    /// Lets TCP put the end of a block and the beginning of the next one into one segment (`SPLICE_F_MORE`). The last
    /// block of a budget is not held back.
    #[must_use]
    pub fn joined(mut self) -> Self {
        self.joins = true;
        self
    }
}

impl SendMover for SpliceSender {
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved> {
        let carrier = self.carrier.of(socket)?;
        if !carrier.splices() && self.fallback.is_none() {
            self.fallback = Some(copied_inside(carrier));
        }
        if self.pipe.filled() == 0 {
            let rest = self.source.rest(&self.cursor);
            // The pipe is empty, so something fits; without waiting, only that goes in.
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            let bytes = vmsplice(self.pipe.write_end(), &[IoSlice::new(rest)], flags)?;
            self.pipe.add(bytes);
        }
        // A signal may come between the two, or cut this one short: the rest goes with the next call.
        let bytes = self.pipe.splice_to(socket, self.joins && budget > 1)?;
        self.account.pass(bytes, !carrier.splices());
        Ok(self.cursor.advance(bytes))
    }

    fn account(&self) -> Account {
        self.account
    }

    fn fallback(&self) -> Option<&Fallback> {
        self.fallback.as_ref()
    }
}

/// Bytes that a receiving pipe should have room for.
const RECEIVE_ROOM: usize = 1 << 20;

/// Takes references to received pages into a pipe, and drops them in `/dev/null`.
pub struct SpliceReceiver {
    pipe: Pipe,
    null: File,
    count: BlockCount,
    carrier: KnownCarrier,
    account: Account,
    fallback: Option<Fallback>,
    verifier: Option<(Verifier, Vec<u8>)>,
}

impl SpliceReceiver {
    /// Takes as much per call as a pipe holds, and counts blocks of `block` bytes, which must not be 0. It fails when
    /// there can be no pipe.
    pub fn new(block: usize) -> io::Result<Self> {
        Ok(Self {
            pipe: Pipe::new(RECEIVE_ROOM)?,
            null: pipe::null()?,
            count: BlockCount::new(block),
            carrier: KnownCarrier::default(),
            account: Account::default(),
            fallback: None,
            verifier: None,
        })
    }

    /// Checks what comes; the first difference is an error. To be seen the bytes must be copied out of the pipe, and
    /// they count as copied.
    pub fn verified(mut self, verifier: Verifier) -> Self {
        self.verifier = Some((verifier, vec![0; 1 << 16]));
        self
    }

    fn empty_pipe(&mut self) -> io::Result<()> {
        while self.pipe.filled() > 0 {
            if let Some((verifier, buffer)) = &mut self.verifier {
                let bytes = self.pipe.read(buffer)?;
                verifier.check(&buffer[..bytes])?;
            } else {
                self.pipe.splice_to(self.null.as_fd(), false)?;
            }
        }
        Ok(())
    }
}

/// Whether `splice` from the socket would find something, or the end: it waits if the descriptor is blocking,
/// whatever its flags say.
fn ready(socket: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(socket.as_raw_fd(), &mut [0], flags)?;
    Ok(())
}

impl ReceiveMover for SpliceReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        let carrier = self.carrier.of(socket)?;
        if !carrier.splices() && self.fallback.is_none() {
            self.fallback = Some(copied_inside(carrier));
        }
        // A signal may have left something from the call before, which counted it.
        self.empty_pipe()?;
        if !wait {
            ready(socket)?;
        }
        let flags = SpliceFFlags::SPLICE_F_MOVE;
        let room = self.pipe.capacity();
        let bytes = splice(socket, None, self.pipe.write_end(), None, room, flags)?;
        self.pipe.add(bytes);
        let copies = !carrier.splices() || self.verifier.is_some();
        self.account.pass(bytes, copies);
        match self.empty_pipe() {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(self.count.add(bytes)),
        }
    }

    fn account(&self) -> Account {
        self.account
    }

    fn fallback(&self) -> Option<&Fallback> {
        self.fallback.as_ref()
    }
}
