//! Many datagrams in one call: `sendmmsg` (Linux 3.0) and `recvmmsg` (Linux 2.6.33) on connected sockets.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

/// The most datagrams of one `sendmmsg`.
pub(crate) const SEND_AT_MOST: usize = 16;

/// The most messages of one `recvmmsg`.
pub(crate) const RECEIVE_AT_MOST: usize = 16;

/// One received message: a datagram, or many that were merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its bytes, which may be more than there was room for.
    pub(crate) length: usize,
    /// Bytes of each datagram but the last one, if the kernel has merged them.
    pub(crate) segment: Option<usize>,
    /// When the kernel got it, by the wall clock. Of merged ones, the first.
    pub(crate) arrival: Option<Duration>,
}

/// Room for the control messages of a datagram: with `UDP_GRO` the length of a segment, with `SO_TIMESTAMPNS` a time.
/// The kernel writes one after the other, each a `struct cmsghdr` (linux/socket.h) and its data, padded to the
/// alignment of a machine word.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Controls([u8; 64]);

/// Bytes of `struct cmsghdr`: the length of header and data, the level and the type.
const HEADER: usize = size_of::<usize>() + 2 * size_of::<libc::c_int>();

/// The bytes at `from` as a value, if there are enough.
fn field<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from + N)?.try_into().ok()
}

fn int(bytes: &[u8], from: usize) -> Option<libc::c_int> {
    field(bytes, from).map(libc::c_int::from_ne_bytes)
}

impl Message {
    /// What the kernel reports about a message of this many bytes in the first `written` bytes of its control messages.
    fn new(length: usize, controls: &Controls, written: usize) -> Self {
        let mut message = Self {
            length,
            ..Self::default()
        };
        let mut rest = &controls.0[..written.min(controls.0.len())];
        while let Some(whole) = field(rest, 0).map(usize::from_ne_bytes)
            && (HEADER..=rest.len()).contains(&whole)
        {
            let level = int(rest, size_of::<usize>());
            let kind = int(rest, size_of::<usize>() + size_of::<libc::c_int>());
            message.note(level.zip(kind), &rest[HEADER..whole]);
            rest = &rest[whole.next_multiple_of(size_of::<usize>()).min(rest.len())..];
        }
        message
    }

    fn note(&mut self, what: Option<(libc::c_int, libc::c_int)>, data: &[u8]) {
        match what {
            Some((libc::SOL_UDP, libc::UDP_GRO)) => {
                let segment = int(data, 0).and_then(|segment| usize::try_from(segment).ok());
                self.segment = segment.filter(|segment| *segment > 0);
            }
            Some((libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)) => self.arrival = time(data),
            _ => {}
        }
    }
}

/// A `struct timespec` of the option's first form: two longs, whatever the C library's `time_t` is.
fn time(data: &[u8]) -> Option<Duration> {
    let seconds = field(data, 0).map(libc::c_long::from_ne_bytes)?;
    let nanos = field(data, size_of::<libc::c_long>()).map(libc::c_long::from_ne_bytes)?;
    let nanos = u32::try_from(nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

fn no_message() -> libc::mmsghdr {
    // SAFETY: all fields are integers and raw pointers, for which zero bytes are valid.
    unsafe { zeroed() }
}

/// Sends the datagrams in `buffer`, `length` bytes each, [`SEND_AT_MOST`] of them at most; returns how many were sent.
/// It waits only if there is no room for the first.
pub(crate) fn send(socket: BorrowedFd<'_>, buffer: &[u8], length: usize) -> Result<usize, Errno> {
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
    let sent =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, flags as _) };
    match Errno::result(sent) {
        Ok(sent) => Ok(usize::try_from(sent).unwrap_or(0)),
        Err(error) => Err(error),
    }
}

/// Receives what is queued, one message into each `slot` bytes of `buffer`, and describes each in `messages`, whose
/// length, or [`RECEIVE_AT_MOST`], is the limit. Waits for the first if `wait`; returns how many there were.
pub(crate) fn receive(
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
    let mut controls = [Controls([0; 64]); RECEIVE_AT_MOST];
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
        header.msg_hdr.msg_controllen = size_of::<Controls>() as _;
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
            flags as _,
            no_limit,
        )
    };
    let taken = Errno::result(taken).map(|taken| usize::try_from(taken).unwrap_or(0))?;
    let controls_read = headers.iter().zip(&controls).take(taken);
    for (message, (header, control)) in messages.iter_mut().zip(controls_read) {
        let written = header.msg_hdr.msg_controllen as _;
        *message = Message::new(header.msg_len as usize, control, written);
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control messages as the kernel writes them, and how many bytes they are.
    fn controls(messages: &[(libc::c_int, libc::c_int, &[u8])]) -> (Controls, usize) {
        let mut bytes = Vec::new();
        for (level, kind, data) in messages {
            bytes.extend((HEADER + data.len()).to_ne_bytes());
            bytes.extend(level.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*data);
            bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        }
        let mut controls = Controls([0; 64]);
        controls.0[..bytes.len()].copy_from_slice(&bytes);
        (controls, bytes.len())
    }

    fn both() -> (Controls, usize) {
        let time: Vec<u8> = [7_i64, 250]
            .into_iter()
            .flat_map(i64::to_ne_bytes)
            .collect();
        controls(&[
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time),
            (libc::SOL_UDP, libc::UDP_GRO, &1448_i32.to_ne_bytes()),
        ])
    }

    #[test]
    fn control_messages_have_the_time_and_the_segments() {
        let (controls, written) = both();
        let message = Message {
            length: 5000,
            segment: Some(1448),
            arrival: Some(Duration::new(7, 250)),
        };
        assert_eq!(Message::new(5000, &controls, written), message);
        let nothing = Message {
            length: 5000,
            ..Message::default()
        };
        assert_eq!(Message::new(5000, &controls, 0), nothing);
    }

    #[test]
    fn truncated_or_invalid_control_messages_are_ignored() {
        let (whole, written) = both();
        for cut in 0..written {
            let message = Message::new(1, &whole, cut);
            assert!(message.segment.is_none() || cut >= written - 4, "{cut}");
        }
        for senseless in [0, 1, HEADER - 1, 65, usize::MAX] {
            let mut controls = whole;
            controls.0[..size_of::<usize>()].copy_from_slice(&senseless.to_ne_bytes());
            assert_eq!(Message::new(1, &controls, written).arrival, None);
        }
        for (seconds, nanos) in [(-1, 0), (1, -1), (1, 1_000_000_000)] {
            let data = [seconds, nanos].map(i64::to_ne_bytes).concat();
            assert_eq!(time(&data), None);
        }
    }
}
