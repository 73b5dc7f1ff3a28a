//! Sending with `MSG_ZEROCOPY` (Linux 4.14; vsock 6.7): the kernel sends the pages themselves, and reports later
//! whether it did or copied after all, as it does over loopback.
//!
//! Pages must not change before their completion arrives. Those of a [`Source`] never do, so completions serve only the
//! accounting and the limit on calls in flight; dropping the mover early is safe, since the kernel holds references of
//! its own to the pages.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use crate::Moved;
use crate::account::{Account, Fallback, Report};
use crate::send::SendMover;
use crate::send::ledger::Ledger;
use crate::socket_kind::SocketKind;
use crate::source::{Cursor, Source};
use crate::sys::errqueue::{self, Completion};
use crate::sys::sockopt;

/// `MSG_ZEROCOPY`, linux/socket.h.
pub(crate) const MSG_ZEROCOPY: MsgFlags = MsgFlags::from_bits_retain(0x0400_0000);

/// Lets a socket send with `MSG_ZEROCOPY` (`SO_ZEROCOPY`).
pub(crate) fn enable(socket: BorrowedFd<'_>) -> Result<(), Fallback> {
    let result = sockopt::set::<libc::c_int>(socket, libc::SOL_SOCKET, libc::SO_ZEROCOPY, &1);
    result.map_err(|error| match error.raw_os_error() {
        // ENOTSUPP, which the kernel should keep for itself and which has no text.
        Some(524) => Fallback::Refused {
            call: "SO_ZEROCOPY",
            error: Errno::EOPNOTSUPP,
        },
        _ => Fallback::refused("SO_ZEROCOPY", &error),
    })
}

/// Calls between two reads of the error queue. The kernel merges completions that wait there, so this is not the number
/// of messages; it bounds how many pages are held unnecessarily.
const REAP_EVERY: u32 = 32;

/// How long a call waits for completions before it returns to its caller.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// When the last completions of a vsock must have arrived, where their number can't be known.
const VSOCK_QUIET: Duration = Duration::from_millis(20);

/// How completions are matched to calls.
enum Completions {
    /// One completion per call.
    PerCall(Ledger),
    Vsock(VsockCompletions),
}

/// The completions of a vsock. The kernel makes a completion for each piece into which credit splits a call
/// (`virtio_transport_send_pkt_info`, net/vmw_vsock/virtio_transport_common.c), and does not report the length of the
/// piece; 6.12 and 7.3 copy some pieces and not others. If no call is split, or if no piece or every piece is copied,
/// the sums are exact. Otherwise a completion without a copy counts as a block, limited to the bytes sent: an upper
/// bound.
#[derive(Default)]
struct VsockCompletions {
    /// Bytes sent with the flag.
    flagged: u64,
    /// Calls that sent a whole block with the flag: each has one completion or more.
    calls: u64,
    /// Completions received.
    seen: u64,
    uncopied: u64,
    closed: bool,
}

impl VsockCompletions {
    fn complete(&mut self, completion: &Completion, block: usize) -> u64 {
        self.seen += completion.calls();
        if completion.copied {
            return 0;
        }
        let bytes = completion.calls().saturating_mul(block as u64);
        let bytes = bytes.min(self.flagged - self.uncopied);
        self.uncopied += bytes;
        bytes
    }

    /// Calls that certainly lack a completion.
    fn outstanding(&self) -> u64 {
        self.calls.saturating_sub(self.seen)
    }

    /// Completions still to come. `copied`: whether any completion so far reported a copy. As long as none did, each
    /// counts for no less than its piece, so that with the last one everything is counted: what is not counted lacks
    /// completions, even if calls that were cut short brought as many as there were calls.
    fn expects(&self, copied: bool) -> Expects {
        if self.uncopied == self.flagged && self.outstanding() == 0 {
            Expects::Nothing
        } else if !copied || self.outstanding() > 0 {
            Expects::Completion
        } else {
            Expects::Perhaps
        }
    }
}

/// Whether the kernel still owes completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Nothing,
    /// Unknown.
    Perhaps,
    Completion,
}

/// Sends blocks with `MSG_ZEROCOPY`.
pub struct MsgSender {
    source: Source,
    cursor: Cursor,
    completions: Completions,
    unreaped: u32,
    report: Report,
    /// Without it everything is sent by copy.
    enabled: bool,
}

impl MsgSender {
    /// Sends the blocks of `source` to a connected TCP or vsock socket. Where the kernel refuses, it sends by copy.
    pub fn new(source: Source, socket: BorrowedFd<'_>) -> io::Result<Self> {
        let fallback = enable(socket).err();
        let completions = match SocketKind::of(socket)? {
            SocketKind::Vsock | SocketKind::VsockSeqpacket => {
                Completions::Vsock(VsockCompletions::default())
            }
            _ => Completions::PerCall(Ledger::new()),
        };
        let cursor = source.cursor();
        Ok(Self {
            source,
            cursor,
            completions,
            unreaped: 0,
            enabled: fallback.is_none(),
            report: Report {
                calls_because: None,
                account: Account::default(),
                fallback,
            },
        })
    }

    /// Reads the completions that have arrived; returns whether there were any.
    fn reap(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.unreaped = 0;
        let mut any = false;
        while let Some(completion) = errqueue::next(socket)? {
            any = true;
            self.complete(&completion);
        }
        Ok(any)
    }

    fn complete(&mut self, completion: &Completion) {
        let account = &mut self.report.account;
        let calls = match &mut self.completions {
            Completions::PerCall(ledger) => {
                let completed = ledger.complete(completion);
                if completion.copied {
                    account.copied += completed.bytes;
                } else {
                    account.uncopied += completed.bytes;
                }
                completed.calls
            }
            Completions::Vsock(completions) => {
                account.uncopied += completions.complete(completion, self.source.block());
                completion.calls()
            }
        };
        account.completions += calls;
        account.copied_completions += if completion.copied { calls } else { 0 };
    }

    /// Whether calls certainly lack a completion.
    fn outstanding(&self) -> bool {
        match &self.completions {
            Completions::PerCall(ledger) => ledger.outstanding() > 0,
            Completions::Vsock(completions) => completions.outstanding() > 0,
        }
    }

    /// Makes room by waiting for completions, then returns so that the caller can check for the end and call again.
    fn wait_for_room(&mut self, socket: BorrowedFd<'_>) -> io::Error {
        let waited = self.reap(socket).and_then(|any| {
            if any {
                return Ok(());
            }
            errqueue::wait(socket, LOOK_AROUND)?;
            if !self.reap(socket)? {
                errqueue::pause();
            }
            Ok(())
        });
        match waited {
            Ok(()) => io::ErrorKind::Interrupted.into(),
            Err(error) => error,
        }
    }

    fn copy(&mut self, socket: BorrowedFd<'_>) -> io::Result<Moved> {
        let rest = self.source.rest(&self.cursor);
        let bytes = send(socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL)?;
        self.report.account.copy(bytes);
        Ok(self.cursor.advance(bytes))
    }

    /// Accounts for bytes that no completion covers.
    fn settle(&mut self) {
        let bytes = match &mut self.completions {
            Completions::PerCall(ledger) => ledger.abandon(),
            Completions::Vsock(completions) if completions.closed => 0,
            Completions::Vsock(completions) => {
                completions.closed = true;
                completions.flagged - completions.uncopied
            }
        };
        self.report.account.copied += bytes;
    }

    fn expects(&self) -> Expects {
        match &self.completions {
            Completions::PerCall(ledger) if ledger.outstanding() > 0 => Expects::Completion,
            Completions::PerCall(_) => Expects::Nothing,
            Completions::Vsock(completions) => {
                completions.expects(self.report.account.copied_completions > 0)
            }
        }
    }

    fn collect(&mut self, socket: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
        self.reap(socket)?;
        loop {
            let expects = self.expects();
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = match expects {
                Expects::Nothing => return Ok(()),
                Expects::Completion if left.is_zero() => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Expects::Completion => left,
                Expects::Perhaps => left.min(VSOCK_QUIET),
            };
            errqueue::wait(socket, wait).or_else(unless_signal)?;
            if !self.reap(socket)? {
                if expects == Expects::Perhaps {
                    return Ok(());
                }
                errqueue::pause();
            }
        }
    }
}

/// A signal only cuts a wait short.
pub(crate) fn unless_signal(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted {
        Ok(())
    } else {
        Err(error)
    }
}

impl SendMover for MsgSender {
    fn send(&mut self, socket: BorrowedFd<'_>, _: u32) -> io::Result<Moved> {
        if !self.enabled {
            return self.copy(socket);
        }
        match &self.completions {
            Completions::PerCall(ledger) if ledger.is_full() => {
                return Err(self.wait_for_room(socket));
            }
            // The rest of a block that was split.
            Completions::Vsock(_) if self.cursor.rest() != self.source.block() => {
                return self.copy(socket);
            }
            _ => {}
        }
        if self.unreaped >= REAP_EVERY {
            self.reap(socket)?;
        }
        let rest = self.source.rest(&self.cursor);
        let flags = MsgFlags::MSG_NOSIGNAL | MSG_ZEROCOPY;
        match send(socket.as_raw_fd(), rest, flags) {
            Ok(bytes) => {
                self.report.account.calls += 1;
                self.unreaped += 1;
                match &mut self.completions {
                    Completions::PerCall(ledger) => ledger.sent(bytes),
                    Completions::Vsock(completions) => {
                        completions.flagged += bytes as u64;
                        completions.calls += u64::from(bytes == self.source.block());
                    }
                }
                Ok(self.cursor.advance(bytes))
            }
            // Too much is pinned (ENOMEM over vsock). The kernel took nothing.
            Err(Errno::ENOBUFS | Errno::ENOMEM) if self.outstanding() => {
                Err(self.wait_for_room(socket))
            }
            Err(Errno::ENOBUFS | Errno::ENOMEM) => {
                // Other sockets may be using up the limit, so the next block tries again.
                self.report.fallback.get_or_insert(Fallback::PinLimit);
                self.copy(socket)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn finish(&mut self, socket: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let collected = self.collect(socket, deadline);
        self.settle();
        if matches!(self.completions, Completions::Vsock(_))
            && self.report.account.copied_completions > 0
        {
            self.report.fallback.get_or_insert(Fallback::Cut);
        }
        collected
    }

    fn report(&self) -> Report {
        self.report.clone()
    }
}
