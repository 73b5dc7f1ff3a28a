//! Receiving from TCP by mapping (Linux 4.18): `mmap` of the socket, `getsockopt(TCP_ZEROCOPY_RECEIVE)`,
//! `madvise(MADV_DONTNEED)`.
//!
//! The kernel maps payload that fills whole pages of the network's own. What does not it leaves in the queue, and says
//! how much of it comes before something that can be mapped; that much is read by copy:
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
use crate::account::{Account, Fallback, errno};
use crate::carrier::Carrier;
use crate::map::{Books, MapOptions, wait_readable};
use crate::mapping::{Mapping, page_size};
use crate::receive::{BlockCount, ReceiveMover, flags};
use crate::tcp_info::TcpInfo;
use crate::verify::Verifier;

/// `struct tcp_zerocopy_receive` of linux/tcp.h, as far as this asks: the kernel reads and writes as many bytes as both
/// know of.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Request {
    /// In: where to map.
    address: u64,
    /// In: bytes to map at most. Out: bytes mapped.
    length: u32,
    /// Out: bytes that must be read before more can be mapped.
    recv_skip_hint: u32,
    /// Out: bytes in the queue (Linux 5.6).
    inq: u32,
    /// Out: the socket's pending error, negative, which is now no longer pending (Linux 5.7).
    err: i32,
    /// In: where to copy what is less than a page (Linux 5.11).
    copybuf_address: u64,
    /// In: room there. Out: bytes copied, or an error.
    copybuf_len: i32,
    /// In: [`TLB_CLEAN`].
    flags: u32,
}

const FULL: usize = 40;
const _: () = assert!(size_of::<Request>() == FULL);

/// What Linux 4.18 to 5.5 know: `address`, `length`, `recv_skip_hint`, and no other size.
const OLDEST: usize = 16;

/// `TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT`: nothing is mapped there.
const TLB_CLEAN: u32 = 1;

/// Bytes of a mapping that has room for what a few calls' worth of segments bring.
const LEAST_FOR_TAIL: usize = 256 << 10;

/// What one call brought.
enum Answer {
    /// Bytes, mapped, copied or both.
    Came(usize),
    /// Nothing could be mapped before so many bytes are read.
    Skip(usize),
    /// Nothing is there, or the stream has ended.
    Nothing,
}

/// Receives from TCP by mapping.
pub(crate) struct TcpMapReceiver {
    /// Until mapping is given up.
    mapping: Option<Mapping>,
    /// For ends of less than a page. It must be shorter than a page: what fits into it is never mapped.
    tail: Vec<u8>,
    /// Bytes of [`Request`] that the kernel takes; before its first answer it is not known whether it takes them.
    size: usize,
    answered: bool,
    /// Bytes in the queue after the last call.
    queued: usize,
    count: BlockCount,
    books: Books,
}

impl TcpMapReceiver {
    pub(crate) fn new(
        socket: BorrowedFd<'_>,
        options: &MapOptions,
        verifier: Option<Verifier>,
    ) -> io::Result<Self> {
        let mut books = Books::new(options, verifier);
        let mapping = match Mapping::of_socket(socket, options.window()) {
            Ok(mapping) => Some(mapping),
            Err(error) => {
                books.give_up(why_not(socket, &error), true)?;
                None
            }
        };
        Ok(Self {
            mapping,
            tail: vec![0; page_size() - 1],
            size: FULL,
            answered: false,
            queued: 0,
            count: BlockCount::new(options.block),
            books,
        })
    }

    /// Room for an end of less than a page that the same call copies.
    ///
    /// When the mapping is full before the queue is empty, the kernel takes the next bytes for such an end although
    /// they could be mapped, and what follows them then cannot. So there is room only where that is unlikely.
    fn tail_room(&self, window: usize) -> i32 {
        if self.size < FULL || window < LEAST_FOR_TAIL || self.queued * 2 > window {
            return 0;
        }
        i32::try_from(self.tail.len()).unwrap_or(0)
    }

    /// Asks the kernel to map; without a mapping there is nothing to ask.
    fn ask(&mut self, socket: BorrowedFd<'_>) -> io::Result<Answer> {
        let Some(window) = self.mapping.as_ref().map(Mapping::length) else {
            return Ok(Answer::Nothing);
        };
        let tail_room = self.tail_room(window);
        let Some(mapping) = &mut self.mapping else {
            return Ok(Answer::Nothing);
        };
        let room = u32::try_from(window).unwrap_or(u32::MAX);
        let mut request = Request {
            address: mapping.address(),
            length: room,
            copybuf_address: self.tail.as_mut_ptr().addr() as u64,
            copybuf_len: tail_room,
            flags: TLB_CLEAN,
            ..Request::default()
        };
        match call(socket, &mut request, self.size) {
            Ok(written) => {
                self.answered = true;
                self.size = written.clamp(OLDEST, FULL);
                // What a kernel does not know it does not fill.
                if self.size < FULL {
                    request.copybuf_len = 0;
                }
                self.queued = request.inq as usize;
            }
            Err(Errno::EINVAL) if !self.answered && self.size == FULL => {
                self.size = OLDEST;
                let answer = self.ask(socket);
                if !self.answered {
                    self.size = FULL;
                }
                return answer;
            }
            // The end of the stream: reading will tell.
            Err(Errno::EIO) => return Ok(Answer::Nothing),
            Err(error @ (Errno::ENOPROTOOPT | Errno::EOPNOTSUPP)) => {
                let why = Fallback::refused("TCP_ZEROCOPY_RECEIVE", &error.into());
                self.mapping = None;
                self.books.give_up(why, true)?;
                return Ok(Answer::Nothing);
            }
            // A page that cannot be inserted, or no memory for page tables: what is there can still be read, and if
            // the socket itself has failed, reading fails too.
            Err(_) => return Ok(Answer::Skip(usize::MAX)),
        }
        let mapped = (request.length as usize).min(mapping.length());
        let copied = usize::try_from(request.copybuf_len)
            .unwrap_or(0)
            .min(self.tail.len());
        if mapped + copied == 0 {
            if request.err != 0 {
                return Err(io::Error::from_raw_os_error(request.err.saturating_neg()));
            }
            return Ok(match request.recv_skip_hint {
                0 => Answer::Nothing,
                bytes => Answer::Skip(bytes as usize),
            });
        }
        if request.err != 0 {
            let error = io::Error::from_raw_os_error(request.err.saturating_neg());
            self.books.fail_next(error);
        }
        let account = &mut self.books.account;
        account.calls += 1;
        account.mappings += u64::from(mapped > 0);
        account.uncopied += mapped as u64;
        account.copied += copied as u64;
        // SAFETY: the kernel says that it mapped these bytes; the pages are receive buffers of this socket that
        // nobody writes to any more, and they stay until the release below, after the last use of the slice.
        let bytes = unsafe { mapping.bytes(0, mapped) };
        self.books.verify(bytes)?;
        if mapped > 0 {
            mapping.release(mapped)?;
        }
        self.books.verify(&self.tail[..copied])?;
        Ok(Answer::Came(mapped + copied))
    }

    /// Gives up when the last stretch brought next to nothing.
    fn judge(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let Some(percent) = self.books.too_little_mapped() else {
            return Ok(());
        };
        self.mapping = None;
        let page = page_size();
        let segment = TcpInfo::read(socket).map_or(0, |info| info.rcv_mss);
        // Nobody says why a page cannot be mapped; this is what it most probably is. Loopback does not cut what it
        // carries into segments, so there it is the sender's pages.
        let why = if (segment as usize).is_multiple_of(page) || is_local(socket) {
            Fallback::Pages { percent }
        } else {
            Fallback::Segments {
                segment,
                page,
                percent,
            }
        };
        self.books.give_up(why, false)
    }

    fn take(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        let mut waited = !wait;
        while self.mapping.is_some() {
            match self.ask(socket)? {
                Answer::Came(bytes) => return Ok(bytes),
                Answer::Skip(bytes) => return self.books.copy_now(socket, bytes, wait),
                // Only reading tells the end of the stream from nothing. What comes just now is read too, but no more
                // than a page of it.
                Answer::Nothing if waited => {
                    return self.books.copy_now(socket, self.tail.len(), wait);
                }
                Answer::Nothing => {
                    wait_readable(socket)?;
                    waited = true;
                }
            }
        }
        self.books.copy(socket, usize::MAX, flags(wait))
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

/// The call; how many bytes the kernel wrote.
fn call(socket: BorrowedFd<'_>, request: &mut Request, size: usize) -> Result<usize, Errno> {
    let mut length = libc::socklen_t::try_from(size.min(FULL)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the descriptor is open for the borrow's lifetime; `request` is readable and writable for `length` bytes
    // and any bytes are valid in it. Its addresses are those of a mapping of the caller's, in which no slice is alive
    // (the caller holds it exclusively), and of a buffer of at least `copybuf_len` bytes that the caller borrows
    // mutably; kernels that know no such buffer are not told of it.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_ZEROCOPY_RECEIVE,
            std::ptr::from_mut(request).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(usize::try_from(length).unwrap_or(0))
}

/// Why the socket was not mapped. `ENODEV` is what a file without an `mmap` of its own answers (mmap(2)).
fn why_not(socket: BorrowedFd<'_>, error: &io::Error) -> Fallback {
    match Carrier::of(socket) {
        Ok(carrier) if errno(error) == Errno::ENODEV => Fallback::NotMapped {
            carrier: carrier.name(),
        },
        _ => Fallback::refused("mmap", error),
    }
}

impl ReceiveMover for TcpMapReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        self.books.check_failed()?;
        let bytes = self.take(socket, wait)?;
        if self.mapping.is_some() {
            self.judge(socket)?;
        }
        Ok(self.count.add(bytes))
    }

    fn obeys_low_water(&self) -> bool {
        self.mapping.is_none()
    }

    fn account(&self) -> Account {
        self.books.account
    }

    fn fallback(&self) -> Option<&Fallback> {
        self.books.fallback.as_ref()
    }
}
