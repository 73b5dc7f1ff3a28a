//! Receiving by mapping: the pages that the network filled appear in the receiver's memory.
//!
//! TCP and vsock do it with the same three calls, `mmap`, `getsockopt`, `madvise(MADV_DONTNEED)`, and differ in the
//! rest; [`receiver`] chooses. Both go on by copy, without losing a byte, when mapping is refused or brings next to
//! nothing, and say why.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use crate::account::{Account, Fallback};
use crate::carrier::Carrier;
use crate::mapping::page_size;
use crate::receive::ReceiveMover;
use crate::tcp_map::TcpMapReceiver;
use crate::verify::{self, Verifier};
use crate::vsock_map::{DEVICE, VsockMapReceiver};

/// How to receive by mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapOptions {
    /// Bytes of a block, for counting; not 0.
    pub block: usize,
    /// The most bytes that are read at a time where nothing can be mapped; not 0.
    pub room: usize,
    /// Bytes of address space for pages: the most that one call maps. It is rounded up to whole pages.
    pub window: usize,
    /// Fail instead of going on by copy.
    pub strict: bool,
    /// What comes lies in pages of a sender on this machine, which can't be mapped over vsock. Only the reason for going
    /// on by copy depends on it.
    pub senders_pages: bool,
}

/// A window that takes what arrives while a receiver works, and stays small against the caches' reach.
pub const DEFAULT_WINDOW: usize = 2 << 20;

impl MapOptions {
    /// Blocks of `block` bytes, the default window, falling back when need be.
    pub fn new(block: usize) -> Self {
        Self {
            block,
            room: block,
            window: DEFAULT_WINDOW,
            strict: false,
            senders_pages: false,
        }
    }

    /// Bytes of whole pages in the window, at least one.
    pub(crate) fn window(&self) -> usize {
        let page = page_size();
        self.window.div_ceil(page).clamp(1, MAX_WINDOW / page) * page
    }
}

/// The length fields of the kernel's interfaces have 32 bits, and part of them is signed.
const MAX_WINDOW: usize = 1 << 30;

/// A mover that receives what comes to a connected stream socket by mapping, as far as that goes.
///
/// While it lives it may hold the connection open, whatever happens to the socket's descriptor: a mapping holds the
/// socket. It fails when `options.strict` is set and the kernel refuses; the error then wraps a [`Fallback`].
pub fn receiver(
    socket: BorrowedFd<'_>,
    options: &MapOptions,
    verifier: Option<Verifier>,
) -> io::Result<Box<dyn ReceiveMover>> {
    Ok(match Carrier::of(socket)? {
        Carrier::Vsock | Carrier::VsockSeqpacket => Box::new(VsockMapReceiver::new(
            socket,
            options,
            verifier,
            DEVICE.as_ref(),
        )?),
        _ => Box::new(TcpMapReceiver::new(socket, options, verifier)?),
    })
}

/// How long a wait lasts before its caller may look around.
const LOOK_AROUND_MS: u16 = 1000;

/// Waits for something to read, or the end of the stream, or an error. `Interrupted` when a signal came, or nothing
/// for a while.
pub(crate) fn wait_readable(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut sockets = [PollFd::new(socket, PollFlags::POLLIN)];
    match poll(&mut sockets, PollTimeout::from(LOOK_AROUND_MS))? {
        0 => Err(io::ErrorKind::Interrupted.into()),
        _ => Ok(()),
    }
}

/// Reading by copy what cannot be mapped, and keeping the books of both ways.
pub(crate) struct Books {
    buffer: Vec<u8>,
    pub(crate) account: Account,
    verifier: Option<Verifier>,
    watch: Watch,
    pub(crate) fallback: Option<Fallback>,
    strict: bool,
    /// The error of a strict mover that had to deliver bytes first.
    failed: Option<io::Error>,
}

impl Books {
    pub(crate) fn new(options: &MapOptions, verifier: Option<Verifier>) -> Self {
        Self {
            buffer: vec![0; options.room],
            account: Account::default(),
            verifier,
            watch: Watch::default(),
            fallback: None,
            strict: options.strict,
            failed: None,
        }
    }

    /// Takes note that mapping is over. A strict mover fails with it: now, or, when bytes are to be delivered first,
    /// with the next call.
    pub(crate) fn give_up(&mut self, why: Fallback, now: bool) -> io::Result<()> {
        self.fallback = Some(why.clone());
        if !self.strict {
            return Ok(());
        }
        if now {
            return Err(why.into());
        }
        self.failed = Some(why.into());
        Ok(())
    }

    /// Fails if a call before should have.
    pub(crate) fn check_failed(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Lets the next call fail: this one has bytes to deliver.
    pub(crate) fn fail_next(&mut self, error: io::Error) {
        self.failed = Some(error);
    }

    pub(crate) fn verify(&mut self, bytes: &[u8]) -> io::Result<()> {
        verify::check(&mut self.verifier, bytes)
    }

    /// Reads up to `limit` bytes, and not more than there is room for. 0 is the end of the stream.
    pub(crate) fn copy(
        &mut self,
        socket: BorrowedFd<'_>,
        limit: usize,
        flags: MsgFlags,
    ) -> io::Result<usize> {
        let limit = limit.min(self.buffer.len());
        let bytes = recv(socket.as_raw_fd(), &mut self.buffer[..limit], flags)?;
        self.account.copy(bytes);
        verify::check(&mut self.verifier, &self.buffer[..bytes])?;
        Ok(bytes)
    }

    /// As [`copy`](Self::copy) of what is there, when waiting is done; nothing there is no reason to fail for a mover
    /// that may wait.
    pub(crate) fn copy_now(
        &mut self,
        socket: BorrowedFd<'_>,
        limit: usize,
        wait: bool,
    ) -> io::Result<usize> {
        let result = self.copy(socket, limit, MsgFlags::MSG_DONTWAIT);
        result.map_err(|error| {
            if wait && error.kind() == io::ErrorKind::WouldBlock {
                io::ErrorKind::Interrupted.into()
            } else {
                error
            }
        })
    }

    /// The share that was mapped, in percent, of a stretch that is now complete, if it is too small to go on.
    pub(crate) fn too_little_mapped(&mut self) -> Option<u64> {
        self.watch.look(&self.account)
    }
}

/// Sees whether mapping brings anything.
#[derive(Default)]
struct Watch {
    /// The sums of the account where the current stretch began.
    uncopied: u64,
    bytes: u64,
}

/// Bytes after which the share is judged.
const STRETCH: u64 = 8 << 20;

/// Mapping that spares fewer than one copy in this many costs more than it saves.
const LEAST_SHARE: u64 = 8;

impl Watch {
    fn look(&mut self, account: &Account) -> Option<u64> {
        let bytes = account.bytes() - self.bytes;
        if bytes < STRETCH {
            return None;
        }
        let uncopied = account.uncopied - self.uncopied;
        self.uncopied = account.uncopied;
        self.bytes = account.bytes();
        (uncopied * LEAST_SHARE < bytes).then(|| uncopied * 100 / bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_pages() {
        let page = page_size();
        for (window, expected) in [(0, page), (1, page), (page, page), (page + 1, 2 * page)] {
            let options = MapOptions {
                window,
                ..MapOptions::new(1)
            };
            assert_eq!(options.window(), expected);
        }
        let options = MapOptions {
            window: usize::MAX,
            ..MapOptions::new(1)
        };
        assert_eq!(options.window(), MAX_WINDOW);
    }

    #[test]
    fn a_stretch_with_little_mapped_is_noticed_and_one_with_much_is_not() {
        let mut watch = Watch::default();
        let mut account = Account {
            uncopied: STRETCH,
            ..Account::default()
        };
        assert_eq!(watch.look(&account), None);
        account.copied += STRETCH - 1;
        assert_eq!(watch.look(&account), None);
        account.copied += 1;
        assert_eq!(watch.look(&account), Some(0));
        // What was before does not count again.
        account.uncopied += STRETCH / 8;
        account.copied += STRETCH - STRETCH / 8;
        assert_eq!(watch.look(&account), None);
        account.uncopied += STRETCH / 10;
        account.copied += STRETCH - STRETCH / 10;
        assert_eq!(watch.look(&account), Some(9));
    }

    #[test]
    fn a_strict_mover_delivers_before_it_fails() {
        let options = MapOptions {
            strict: true,
            ..MapOptions::new(10)
        };
        let mut books = Books::new(&options, None);
        books.give_up(Fallback::PinLimit, false).unwrap();
        assert!(books.check_failed().is_err());
        assert!(books.check_failed().is_ok());
        assert!(books.give_up(Fallback::PinLimit, true).is_err());
    }
}
