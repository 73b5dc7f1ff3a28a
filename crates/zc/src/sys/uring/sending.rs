//! Requests that send: many blocks at once (`IORING_RECVSEND_BUNDLE`, Linux 6.10), or one whose pages the kernel sends
//! themselves (`IORING_OP_SEND_ZC`, Linux 6.0).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use io_uring::opcode::{SendBundle, SendZc};
use io_uring::{cqueue, squeue, types};

use super::buffers::{Buffers, GROUP};
use super::{CANCEL_LIMIT, Completion, Ring, failure};
use crate::source::Source;
use crate::sys::errqueue;

/// The most buffers of a bundle, a power of two. The kernel takes no more at a time (`PEEK_MAX_IMPORT`,
/// io_uring/kbuf.c).
pub(crate) const MOST_BLOCKS: u16 = 256;

/// Completions that may wait. More wait in the kernel.
const COMPLETIONS: u32 = 1024;

/// `IORING_SEND_ZC_REPORT_USAGE` and `IORING_NOTIF_USAGE_ZC_COPIED`, linux/io_uring.h (Linux 6.2).
const REPORT_USAGE: u16 = 1 << 3;
const USAGE_COPIED: u32 = 1 << 31;

/// All bytes go before the request completes, unless it is cancelled or fails.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// What sends the blocks of a source.
pub(crate) struct Sending {
    ring: Ring,
    buffers: Buffers,
    /// Its memory outlives the ring, and so every request.
    source: Source,
    /// Zero-copy sends whose pages the kernel has released.
    released: VecDeque<errqueue::Completion>,
}

/// What a zero-copy send did.
pub(crate) struct Sent {
    pub(crate) bytes: usize,
    /// The kernel will report when it has released the pages.
    pub(crate) notifies: bool,
}

impl Sending {
    /// Creates the ring, on the thread that will use it.
    pub(crate) fn new(source: Source) -> io::Result<Self> {
        let ring = Ring::new(COMPLETIONS)?;
        let buffers = Buffers::new(&ring, MOST_BLOCKS)?;
        Ok(Self {
            ring,
            buffers,
            source,
            released: VecDeque::new(),
        })
    }

    /// Sends pieces of the source, each by its place and length, [`MOST_BLOCKS`] of them at most; returns how many bytes.
    /// With `more`, other data follows soon (`MSG_MORE`). A signal ends it, with fewer bytes or with `Interrupted`.
    pub(crate) fn bundle(
        &mut self,
        socket: BorrowedFd<'_>,
        pieces: impl Iterator<Item = (usize, usize)>,
        more: bool,
    ) -> io::Result<usize> {
        let mut wanted = 0;
        for (id, (place, length)) in (0..MOST_BLOCKS).zip(pieces) {
            let piece = self.source.at(place, length);
            let address = piece.as_ptr().expose_provenance() as u64;
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            self.buffers.add(address, length, id);
            wanted += length as usize;
        }
        self.buffers.publish();
        let flags = FLAGS | if more { libc::MSG_MORE } else { 0 };
        let entry = SendBundle::new(types::Fd(socket.as_raw_fd()), GROUP);
        let sent = self.finish(&entry.flags(flags).build());
        if !matches!(sent, Ok(Sent { bytes, .. }) if bytes == wanted) {
            // What was not sent must not be in the next bundle.
            self.buffers.clear(&self.ring)?;
        }
        sent.map(|sent| sent.bytes)
    }

    /// Sends a piece of the source without copying it, as number `number` of such sends. A signal ends it, with fewer bytes
    /// or with `Interrupted`.
    pub(crate) fn zerocopy(
        &mut self,
        socket: BorrowedFd<'_>,
        (place, length): (usize, usize),
        number: u32,
    ) -> io::Result<Sent> {
        let piece = self.source.at(place, length);
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        let entry = SendZc::new(types::Fd(socket.as_raw_fd()), piece.as_ptr(), length);
        let entry = entry.flags(FLAGS).zc_flags(REPORT_USAGE).build();
        self.finish(&entry.user_data(number.into()))
    }

    /// Submits a request and waits until it has sent, or has been cancelled by a signal.
    fn finish(&mut self, entry: &squeue::Entry) -> io::Result<Sent> {
        // SAFETY: the kernel only reads the memory. It belongs to the source, which is dropped after the ring, and which
        // never changes.
        unsafe { self.ring.push(entry) }?;
        let is_zerocopy = entry.get_opcode() == u32::from(SendZc::CODE);
        let (mut bytes, mut failed, mut deadline) = (0, None, None);
        loop {
            while let Some(completion) = self.next() {
                match usize::try_from(completion.result) {
                    Ok(more) => bytes += more,
                    Err(_) => failed = Some(failure(completion.result)),
                }
                // More of a bundle is sent, or of a zero-copy send a notification comes.
                let notifies = completion.more();
                if is_zerocopy || !notifies {
                    return match failed {
                        Some(error) if bytes == 0 => Err(error),
                        _ => Ok(Sent { bytes, notifies }),
                    };
                }
            }
            self.wait_for_end(&mut deadline)?;
        }
    }

    /// Waits for a completion of a request. A signal cancels it, which takes no longer than until `deadline`.
    fn wait_for_end(&mut self, deadline: &mut Option<Instant>) -> io::Result<()> {
        let Err(error) = self.ring.wait(deadline.map(|_| CANCEL_LIMIT / 10)) else {
            return Ok(());
        };
        if !matches!(
            error.kind(),
            io::ErrorKind::Interrupted | io::ErrorKind::TimedOut
        ) {
            return Err(error);
        }
        match deadline {
            None => {
                self.ring.cancel();
                *deadline = Some(Instant::now() + CANCEL_LIMIT);
                Ok(())
            }
            Some(deadline) if Instant::now() > *deadline => Err(error),
            Some(_) => Ok(()),
        }
    }

    /// The next completion that is no notification.
    fn next(&mut self) -> Option<Completion> {
        loop {
            let completion = self.ring.next()?;
            if !cqueue::notif(completion.flags) {
                return Some(completion);
            }
            self.released.push_back(released(completion));
        }
    }

    /// The next of the zero-copy sends whose pages the kernel has released.
    pub(crate) fn released(&mut self) -> Option<errqueue::Completion> {
        self.released.pop_front()
    }

    /// Waits for the kernel to release pages, for at most `limit` (`TimedOut`). A signal ends it (`Interrupted`).
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<()> {
        let waited = self.ring.wait(Some(limit));
        // No send is in flight.
        while self.next().is_some() {}
        waited
    }
}

/// What a notification reports, whose request has the send's number.
fn released(notification: Completion) -> errqueue::Completion {
    let number = u32::try_from(notification.id).unwrap_or(u32::MAX);
    errqueue::Completion {
        first: number,
        last: number,
        copied: notification.result.cast_unsigned() & USAGE_COPIED != 0,
    }
}
