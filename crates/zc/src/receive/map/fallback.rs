//! Shared by mapping receivers: reading by copy what cannot be mapped, and deciding whether mapping pays.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use crate::account::{Account, Fallback, Report};
use crate::receive::map::options::MapOptions;
use crate::verify::{self, Verifier};

/// How long a wait lasts before it returns to its caller.
const WAIT_LIMIT_MS: u16 = 1000;

/// Waits for data, the end of the stream, or an error. `Interrupted` after a signal, or if nothing arrives for a while.
pub(crate) fn wait_readable(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut sockets = [PollFd::new(socket, PollFlags::POLLIN)];
    match poll(&mut sockets, PollTimeout::from(WAIT_LIMIT_MS))? {
        0 => Err(io::ErrorKind::Interrupted.into()),
        _ => Ok(()),
    }
}

/// Reading by copy what cannot be mapped, and accounting for both ways.
pub(crate) struct CopyFallback {
    buffer: Vec<u8>,
    pub(crate) report: Report,
    verifier: Option<Verifier>,
    map_yield: MapYield,
    /// An error held back because the call had bytes to deliver first.
    failed: Option<io::Error>,
}

impl CopyFallback {
    pub(crate) fn new(options: &MapOptions, verifier: Option<Verifier>) -> Self {
        Self {
            buffer: vec![0; options.room],
            report: Report::default(),
            verifier,
            map_yield: MapYield::default(),
            failed: None,
        }
    }

    /// Stops mapping: everything is copied from now on.
    pub(crate) fn stop_mapping(&mut self, why: Fallback) {
        self.report.fallback = Some(why);
    }

    /// Returns the error that an earlier call held back.
    pub(crate) fn check_failed(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Makes the next call fail: this one has bytes to deliver.
    pub(crate) fn fail_next(&mut self, error: io::Error) {
        self.failed = Some(error);
    }

    pub(crate) fn verify(&mut self, bytes: &[u8]) -> io::Result<()> {
        verify::check(&mut self.verifier, bytes)
    }

    /// Reads up to `limit` bytes, or as many as there is room for. 0 is the end of the stream.
    pub(crate) fn copy(
        &mut self,
        socket: BorrowedFd<'_>,
        limit: usize,
        flags: MsgFlags,
    ) -> io::Result<usize> {
        let limit = limit.min(self.buffer.len());
        let bytes = recv(socket.as_raw_fd(), &mut self.buffer[..limit], flags)?;
        self.report.account.copy(bytes);
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

    /// The mapped share, in percent, of a stretch that is now complete, if it is too small to continue mapping.
    pub(crate) fn too_little_mapped(&mut self) -> Option<u64> {
        self.map_yield.update(&self.report.account)
    }
}

/// Decides whether mapping pays.
#[derive(Default)]
struct MapYield {
    /// The sums of the account where the current stretch began.
    uncopied: u64,
    bytes: u64,
}

/// Bytes after which the share is judged.
const STRETCH: u64 = 8 << 20;

/// Mapping that avoids fewer than one copy in this many costs more than it saves.
const LEAST_SHARE: u64 = 8;

impl MapYield {
    fn update(&mut self, account: &Account) -> Option<u64> {
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
    fn a_stretch_with_little_mapped_is_noticed_and_one_with_much_is_not() {
        let mut map_yield = MapYield::default();
        let mut account = Account {
            uncopied: STRETCH,
            ..Account::default()
        };
        assert_eq!(map_yield.update(&account), None);
        account.copied += STRETCH - 1;
        assert_eq!(map_yield.update(&account), None);
        account.copied += 1;
        assert_eq!(map_yield.update(&account), Some(0));
        // Earlier bytes do not count again.
        account.uncopied += STRETCH / 8;
        account.copied += STRETCH - STRETCH / 8;
        assert_eq!(map_yield.update(&account), None);
        account.uncopied += STRETCH / 10;
        account.copied += STRETCH - STRETCH / 10;
        assert_eq!(map_yield.update(&account), Some(9));
    }
}
