//! Many datagrams in one call: `sendmmsg` (Linux 3.0) and `recvmmsg` (Linux 2.6.33) on connected sockets.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;

/// The most datagrams of one `sendmmsg`.
pub(super) const SEND_AT_MOST: usize = 16;

/// The most messages of one `recvmmsg`.
pub(super) const RECEIVE_AT_MOST: usize = 16;

/// What came as one message: a datagram, or many that were joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its bytes, which may be more than there was room for.
    pub(super) length: usize,
    /// Bytes of each datagram but the last one, when the kernel has joined them.
    pub(super) segment: Option<usize>,
}

/// Room for the control message of a socket with `UDP_GRO`: the kernel's `struct cmsghdr` (linux/socket.h), and the
/// length of a segment.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct GroControl {
    length: usize,
    level: libc::c_int,
    kind: libc::c_int,
    segment: libc::c_int,
    /// The kernel pads to the alignment of `length`.
    padding: libc::c_int,
}

impl GroControl {
    fn segment(&self, written: usize) -> Option<usize> {
        let is_there = written >= size_of::<usize>() + 3 * size_of::<libc::c_int>();
        let is_gro = self.level == libc::SOL_UDP && self.kind == libc::UDP_GRO;
        usize::try_from(self.segment)
            .ok()
            .filter(|segment| is_there && is_gro && *segment > 0)
    }
}

fn no_message() -> libc::mmsghdr {
    // SAFETY: all fields are integers and raw pointers, for which zero bytes are valid.
    unsafe { zeroed() }
}

/// Sends the datagrams that `buffer` holds side by side, `length` bytes each and not more than [`SEND_AT_MOST`]; says
/// how many went. It waits for the first only when there is no room for it.
pub(super) fn send(socket: BorrowedFd<'_>, buffer: &[u8], length: usize) -> Result<usize, Errno> {
    let mut vectors = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; SEND_AT_MOST];
    let mut messages = [no_message(); SEND_AT_MOST];
    let mut count = 0;
    let datagrams = buffer.chunks_exact(length);
    for ((vector, message), datagram) in vectors.iter_mut().zip(&mut messages).zip(datagrams) {
        vector.iov_base = datagram.as_ptr().cast_mut().cast();
        vector.iov_len = datagram.len();
        message.msg_hdr.msg_iov = ptr::from_mut(vector);
        message.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the descriptor is open for the borrow's lifetime. The first `count` messages each point to one vector,
    // which points to initialised bytes of `buffer`; the kernel only reads those. It writes to `messages`, which is
    // live and writable. Names and control messages are null with length 0.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, flags) };
    match Errno::result(sent) {
        Ok(sent) => Ok(usize::try_from(sent).unwrap_or(0)),
        Err(error) => Err(error),
    }
}

/// Takes what is there, one message into each `slot` bytes of `buffer`, and tells about each in `messages`, whose
/// length, or [`RECEIVE_AT_MOST`], is how many may be taken. Waits for the first if `wait`; says how many came.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    slot: usize,
    messages: &mut [Message],
    wait: bool,
) -> Result<usize, Errno> {
    let mut vectors = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; RECEIVE_AT_MOST];
    let mut controls = [GroControl::default(); RECEIVE_AT_MOST];
    let mut headers = [no_message(); RECEIVE_AT_MOST];
    let mut count = 0;
    let rooms = buffer.chunks_exact_mut(slot).take(messages.len());
    let places = headers.iter_mut().zip(&mut vectors).zip(&mut controls);
    for (((header, vector), control), room) in places.zip(rooms) {
        vector.iov_base = room.as_mut_ptr().cast();
        vector.iov_len = room.len();
        header.msg_hdr.msg_iov = ptr::from_mut(vector);
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = ptr::from_mut(control).cast();
        header.msg_hdr.msg_controllen = size_of::<GroControl>();
        count += 1;
    }
    // MSG_TRUNC: the length is the datagram's, also when the room is shorter.
    let wait = if wait {
        libc::MSG_WAITFORONE
    } else {
        libc::MSG_DONTWAIT
    };
    let flags = wait | libc::MSG_TRUNC;
    let no_limit = ptr::null_mut();
    // SAFETY: the descriptor is open for the borrow's lifetime. The first `count` headers each point to one vector,
    // which points to writable bytes of `buffer`, and to a control buffer of the given length, all live and not used
    // otherwise during the call; names are null. Any bytes are valid for what the kernel writes to.
    let taken = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            flags,
            no_limit,
        )
    };
    let taken = Errno::result(taken).map(|taken| usize::try_from(taken).unwrap_or(0))?;
    let told = headers.iter().zip(&controls).take(taken);
    for (message, (header, control)) in messages.iter_mut().zip(told) {
        *message = Message {
            length: header.msg_len as usize,
            segment: control.segment(header.msg_hdr.msg_controllen),
        };
    }
    Ok(taken)
}
