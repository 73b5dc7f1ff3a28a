//! Receiving from TCP by mapping (Linux 4.18): `mmap` of the socket, `getsockopt(TCP_ZEROCOPY_RECEIVE)`,
//! `madvise(MADV_DONTNEED)`.
//!
//! The kernel maps payload that fills whole pages of the network stack. It leaves the rest in the queue and reports how
//! much of it precedes the next mappable page; that much is read by copy:
//!
//! ```text
//! queue     |page|page|page|..odd bytes..|page|page|rest|
//!           <-- mapped ---> <-- skipped --> <mapped->    <- copied by the same call, when it is less than a page
//! ```

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, getpeername, getsockname};

use crate::Moved;
use crate::account::{Fallback, Report, errno};
use crate::receive::map::fallback::{CopyFallback, wait_readable};
use crate::receive::map::options::MapOptions;
use crate::receive::{BlockCount, ReceiveMover, flags};
use crate::socket_kind::SocketKind;
use crate::sys::mapping::page_size;
use crate::sys::tcp_info::TcpInfo;
use crate::sys::tcp_zerocopy::{FULL, OLDEST, StreamMapping};
use crate::verify::Verifier;

/// Bytes of a mapping with room for a few calls' worth of segments.
const LEAST_FOR_TAIL: usize = 256 << 10;

/// The result of one call.
enum Answer {
    /// Bytes, mapped, copied or both.
    Came(usize),
    /// Nothing can be mapped before this many bytes are read.
    Skip(usize),
    /// Nothing has arrived, or the stream has ended.
    Nothing,
}

/// Receives from TCP by mapping.
pub(crate) struct TcpMapReceiver {
    /// `None` once mapping has stopped.
    mapping: Option<StreamMapping>,
    /// For ends of less than a page. It must be shorter than a page: what fits into it is never mapped.
    tail: Vec<u8>,
    /// Bytes of the request that the kernel accepts; unknown before its first answer.
    size: usize,
    answered: bool,
    /// Bytes in the queue after the last call.
    queued: usize,
    count: BlockCount,
    copying: CopyFallback,
}

impl TcpMapReceiver {
    pub(crate) fn new(
        socket: BorrowedFd<'_>,
        options: &MapOptions,
        verifier: Option<Verifier>,
    ) -> Self {
        let mut copying = CopyFallback::new(options, verifier);
        let mapping = match StreamMapping::new(socket, options.window()) {
            Ok(mapping) => Some(mapping),
            Err(error) => {
                copying.stop_mapping(why_not(socket, &error));
                None
            }
        };
        Self {
            mapping,
            tail: vec![0; page_size() - 1],
            size: FULL,
            answered: false,
            queued: 0,
            count: BlockCount::new(options.block),
            copying,
        }
    }

    /// Room for an end of less than a page that the same call copies.
    ///
    /// When the mapping is full before the queue is empty, the kernel takes the next bytes for such an end although
    /// they could be mapped, and what follows them then cannot. So there is room only where that is unlikely.
    fn tail_room(&self, window: usize) -> usize {
        if self.size < FULL || window < LEAST_FOR_TAIL || self.queued * 2 > window {
            return 0;
        }
        self.tail.len()
    }

    /// Calls the kernel to map; does nothing without a mapping.
    fn ask(&mut self, socket: BorrowedFd<'_>) -> io::Result<Answer> {
        let Some(window) = self.mapping.as_ref().map(StreamMapping::length) else {
            return Ok(Answer::Nothing);
        };
        let tail_room = self.tail_room(window);
        let Some(mapping) = &mut self.mapping else {
            return Ok(Answer::Nothing);
        };
        let tail = &mut self.tail[..tail_room];
        let reply = match mapping.fill(socket, tail, self.size) {
            Ok(reply) => {
                self.answered = true;
                self.size = reply.size;
                self.queued = reply.queued;
                reply
            }
            Err(Errno::EINVAL) if !self.answered && self.size == FULL => {
                self.size = OLDEST;
                let answer = self.ask(socket);
                if !self.answered {
                    self.size = FULL;
                }
                return answer;
            }
            // The end of the stream, as reading will show.
            Err(Errno::EIO) => return Ok(Answer::Nothing),
            Err(error @ (Errno::ENOPROTOOPT | Errno::EOPNOTSUPP)) => {
                let why = Fallback::refused("TCP_ZEROCOPY_RECEIVE", &error.into());
                self.mapping = None;
                self.copying.stop_mapping(why);
                return Ok(Answer::Nothing);
            }
            // A page that cannot be inserted, or no memory for page tables: the data can still be read, and if the
            // socket itself has failed, reading fails too.
            Err(_) => return Ok(Answer::Skip(usize::MAX)),
        };
        let (mapped, copied) = (mapping.mapped().len(), reply.copied);
        if mapped + copied == 0 {
            return match reply.error {
                Some(error) => Err(error.into()),
                None if reply.skip == 0 => Ok(Answer::Nothing),
                None => Ok(Answer::Skip(reply.skip)),
            };
        }
        if let Some(error) = reply.error {
            self.copying.fail_next(error.into());
        }
        let account = &mut self.copying.report.account;
        account.calls += 1;
        account.mappings += u64::from(mapped > 0);
        account.uncopied += mapped as u64;
        account.copied += copied as u64;
        self.copying.verify(mapping.mapped())?;
        mapping.release()?;
        self.copying.verify(&self.tail[..copied])?;
        Ok(Answer::Came(mapped + copied))
    }

    /// Stops mapping if it did not pay in the last stretch.
    fn judge(&mut self, socket: BorrowedFd<'_>) {
        let Some(percent) = self.copying.too_little_mapped() else {
            return;
        };
        self.mapping = None;
        let page = page_size();
        let segment = TcpInfo::read(socket).map_or(0, |info| info.rcv_mss);
        // The kernel does not report why a page cannot be mapped; this is the most likely reason. Loopback does not
        // split data into segments, so there it is the sender's pages.
        let why = if (segment as usize).is_multiple_of(page) || is_local(socket) {
            Fallback::Pages { percent }
        } else {
            Fallback::Segments {
                segment,
                page,
                percent,
            }
        };
        self.copying.stop_mapping(why);
    }

    fn take(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        let mut waited = !wait;
        while self.mapping.is_some() {
            match self.ask(socket)? {
                Answer::Came(bytes) => return Ok(bytes),
                Answer::Skip(bytes) => return self.copying.copy_now(socket, bytes, wait),
                // Only reading distinguishes the end of the stream from no data. Data that arrives just then is read
                // too, but at most a page of it.
                Answer::Nothing if waited => {
                    return self.copying.copy_now(socket, self.tail.len(), wait);
                }
                Answer::Nothing => {
                    wait_readable(socket)?;
                    waited = true;
                }
            }
        }
        self.copying.copy(socket, usize::MAX, flags(wait))
    }
}

/// Whether both ends have the same address.
fn is_local(socket: BorrowedFd<'_>) -> bool {
    let here = getsockname::<SockaddrStorage>(socket.as_raw_fd());
    let there = getpeername::<SockaddrStorage>(socket.as_raw_fd());
    let (Ok(here), Ok(there)) = (here, there) else {
        return false;
    };
    match (here.as_sockaddr_in(), there.as_sockaddr_in()) {
        (Some(here), Some(there)) => here.ip() == there.ip() || there.ip().is_loopback(),
        _ => match (here.as_sockaddr_in6(), there.as_sockaddr_in6()) {
            (Some(here), Some(there)) => here.ip() == there.ip(),
            _ => false,
        },
    }
}

/// Why the socket was not mapped. `ENODEV` is the error of files that do not support `mmap` (mmap(2)).
fn why_not(socket: BorrowedFd<'_>, error: &io::Error) -> Fallback {
    match SocketKind::of(socket) {
        Ok(kind) if errno(error) == Errno::ENODEV => Fallback::NotMapped { kind: kind.name() },
        _ => Fallback::refused("mmap", error),
    }
}

impl ReceiveMover for TcpMapReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        self.copying.check_failed()?;
        let bytes = self.take(socket, wait)?;
        if self.mapping.is_some() {
            self.judge(socket);
        }
        Ok(self.count.add(bytes))
    }

    fn obeys_low_water(&self) -> bool {
        self.mapping.is_none()
    }

    fn report(&self) -> Report {
        self.copying.report.clone()
    }
}
