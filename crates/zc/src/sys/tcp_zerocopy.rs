//! `getsockopt(TCP_ZEROCOPY_RECEIVE)` (Linux 4.18): fills a mapping of a TCP socket with the pages that it received.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use crate::sys::mapping::Mapping;

/// `struct tcp_zerocopy_receive` of linux/tcp.h, as far as it is used here. The kernel reads and writes as many bytes as both
/// know.
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

/// Bytes of the request as recent kernels know it.
pub(crate) const FULL: usize = 40;
const _: () = assert!(size_of::<Request>() == FULL);

/// What Linux 4.18 to 5.5 know: `address`, `length`, `recv_skip_hint`, and no other size.
pub(crate) const OLDEST: usize = 16;

/// `TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT`: nothing is mapped there.
const TLB_CLEAN: u32 = 1;

/// The result of a call, besides the mapped bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// Bytes of the request that the kernel understands.
    pub(crate) size: usize,
    /// Bytes copied into the tail.
    pub(crate) copied: usize,
    /// Bytes that must be read before more can be mapped.
    pub(crate) skip: usize,
    /// Bytes left in the queue; 0 where the kernel does not report it.
    pub(crate) queued: usize,
    /// The socket's pending error, which is no longer pending.
    pub(crate) error: Option<Errno>,
}

/// A mapping of a TCP socket that is filled with what was received, call by call.
pub(crate) struct StreamMapping {
    mapping: Mapping,
    /// Bytes that the last call mapped and that were not released since.
    mapped: usize,
}

impl StreamMapping {
    /// Maps a socket, with room for `window` bytes. It holds the socket as [`Mapping::of_socket`] does.
    pub(crate) fn new(socket: BorrowedFd<'_>, window: usize) -> io::Result<Self> {
        let mapping = Mapping::of_socket(socket, window)?;
        Ok(Self { mapping, mapped: 0 })
    }

    /// Bytes of address space.
    pub(crate) fn length(&self) -> usize {
        self.mapping.length()
    }

    /// Fills the mapping with whole pages, and `tail` with an end of less than a page, by a request of `size` bytes.
    pub(crate) fn fill(
        &mut self,
        socket: BorrowedFd<'_>,
        tail: &mut [u8],
        size: usize,
    ) -> Result<Reply, Errno> {
        let mut request = Request {
            address: self.mapping.address(),
            length: u32::try_from(self.mapping.length()).unwrap_or(u32::MAX),
            copybuf_address: tail.as_mut_ptr().expose_provenance() as u64,
            copybuf_len: i32::try_from(tail.len()).unwrap_or(0),
            flags: TLB_CLEAN,
            ..Request::default()
        };
        self.mapped = 0;
        let size = call(socket, &mut request, size)?.clamp(OLDEST, FULL);
        self.mapped = (request.length as usize).min(self.mapping.length());
        // A kernel that does not know the tail does not fill it.
        let copied = if size < FULL { 0 } else { request.copybuf_len };
        Ok(Reply {
            size,
            copied: usize::try_from(copied).unwrap_or(0).min(tail.len()),
            skip: request.recv_skip_hint as usize,
            queued: request.inq as usize,
            error: (request.err != 0).then(|| Errno::from_raw(request.err.saturating_neg())),
        })
    }

    /// The bytes that the last call mapped.
    pub(crate) fn mapped(&self) -> &[u8] {
        // SAFETY: the kernel reported that it mapped these bytes; the pages are receive buffers of this socket that
        // nothing writes to any more, and they stay until `release` or `fill`, which need this borrow to have ended.
        unsafe { self.mapping.bytes(0, self.mapped) }
    }

    /// Returns the pages of the last call.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        let mapped = std::mem::take(&mut self.mapped);
        if mapped == 0 {
            return Ok(());
        }
        self.mapping.release(mapped)
    }
}

/// The call; how many bytes the kernel wrote.
fn call(socket: BorrowedFd<'_>, request: &mut Request, size: usize) -> Result<usize, Errno> {
    let mut length = libc::socklen_t::try_from(size.min(FULL)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the descriptor is open for the borrow's lifetime; `request` is readable and writable for `length` bytes
    // and any bytes are valid in it. Its addresses are those of a mapping of the caller's, in which no slice is alive
    // (the caller holds it exclusively), and of a buffer of at least `copybuf_len` bytes that the caller borrows
    // mutably; kernels without support for such a buffer do not get its address.
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
