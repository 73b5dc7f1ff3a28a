//! Completions of `MSG_ZEROCOPY`, from a socket's error queue.
//!
//! Every call that sent with the flag has a number, from 0 on, modulo 2^32. When the kernel has released its pages it
//! queues a message whose control data (`struct sock_extended_err`, linux/errqueue.h) has a range of such numbers and
//! whether the kernel copied instead.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// `SOL_VSOCK` and `VSOCK_RECVERR`, linux/socket.h and linux/vm_sockets.h (Linux 6.7).
const SOL_VSOCK: libc::c_int = 287;
const VSOCK_RECVERR: libc::c_int = 1;
/// `SO_EE_ORIGIN_ZEROCOPY` and `SO_EE_CODE_ZEROCOPY_COPIED`, linux/errqueue.h.
const ORIGIN_ZEROCOPY: u8 = 5;
const CODE_COPIED: u8 = 1;

/// Calls whose pages the kernel has released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Number of the first call.
    pub(crate) first: u32,
    /// Number of the last one, which is below `first` if the numbers wrapped around.
    pub(crate) last: u32,
    /// The kernel copied after all.
    pub(crate) copied: bool,
}

impl Completion {
    /// How many calls it covers.
    pub(crate) fn calls(&self) -> u64 {
        u64::from(self.last.wrapping_sub(self.first)) + 1
    }
}

/// Room for the control data of one message: a `sock_extended_err` and an address, and what else a socket may attach.
const ROOM: usize = 256;

/// Aligned as `struct cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; ROOM]);

/// Takes the next completion from the error queue and discards other messages. `None` if it is empty.
pub(crate) fn next(socket: BorrowedFd<'_>) -> io::Result<Option<Completion>> {
    let mut control = Control([0; ROOM]);
    loop {
        let Some(length) = receive(socket, &mut control)? else {
            return Ok(None);
        };
        if let Some(completion) = parse(&control.0[..length.min(ROOM)]) {
            return Ok(Some(completion));
        }
    }
}

/// Takes a message from the error queue; how much control data it has. `None` when there is none, or no such queue:
/// some sockets then take the call for one that reads nothing.
fn receive(socket: BorrowedFd<'_>, control: &mut Control) -> io::Result<Option<usize>> {
    // SAFETY: msghdr is plain old data for which zeros are valid: no name, no buffers, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.0.as_mut_ptr().cast();
    // Types of fields and arguments differ between C libraries, here and in the modules beside this one.
    message.msg_controllen = ROOM as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the descriptor is open for the borrow's lifetime; `message` is a live msghdr whose only pointer is to
    // `control`, which is borrowed mutably and has the room that is said.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    match Errno::result(result) {
        Ok(_) if message.msg_flags & libc::MSG_ERRQUEUE != 0 => {
            Ok(Some(message.msg_controllen as _))
        }
        Ok(_) | Err(Errno::EAGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Finds a completion in control data: `cmsghdr`s (a length, a level, a type, then data up to that length), each
/// beginning at a multiple of the size of a pointer.
fn parse(control: &[u8]) -> Option<Completion> {
    const WORD: usize = size_of::<usize>();
    const HEADER: usize = WORD + 8;
    let int = |bytes: &[u8]| Some(i32::from_ne_bytes(bytes.try_into().ok()?));
    let mut rest = control;
    while rest.len() >= HEADER {
        let length = usize::from_ne_bytes(rest[..WORD].try_into().ok()?);
        let message = rest.get(..length).filter(|m| m.len() >= HEADER)?;
        let (level, kind) = (
            int(&message[WORD..WORD + 4])?,
            int(&message[WORD + 4..HEADER])?,
        );
        let is_error = matches!(
            (level, kind),
            (libc::SOL_IP, libc::IP_RECVERR)
                | (libc::SOL_IPV6, libc::IPV6_RECVERR)
                | (SOL_VSOCK, VSOCK_RECVERR)
        );
        if is_error && let Some(completion) = extended_error(&message[HEADER..]) {
            return Some(completion);
        }
        rest = rest.get(length.next_multiple_of(WORD)..)?;
    }
    None
}

/// Reads `struct sock_extended_err`: ee_errno (u32), ee_origin, ee_type, ee_code, ee_pad (u8 each), ee_info, ee_data
/// (u32 each).
fn extended_error(bytes: &[u8]) -> Option<Completion> {
    let bytes: &[u8; 16] = bytes.get(..16)?.try_into().ok()?;
    let (errno, origin, code) = (&bytes[..4], bytes[4], bytes[6]);
    if errno != [0; 4] || origin != ORIGIN_ZEROCOPY {
        return None;
    }
    Some(Completion {
        first: u32::from_ne_bytes(bytes[8..12].try_into().ok()?),
        last: u32::from_ne_bytes(bytes[12..].try_into().ok()?),
        copied: code & CODE_COPIED != 0,
    })
}

/// Waits until the error queue has a message, for about `limit` at most, or until a signal arrives (`Interrupted`).
/// It also returns at once if the socket has failed: a caller that finds no message then should [`pause`].
pub(crate) fn wait(socket: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    // A non-empty error queue is POLLERR, which is always reported.
    let mut sockets = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut sockets, limit)?;
    Ok(())
}

/// Sleeps for a moment.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn error(origin: u8, code: u8, first: u32, last: u32) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, origin, 0, code, 0];
        bytes.extend(first.to_ne_bytes());
        bytes.extend(last.to_ne_bytes());
        // The address of an offender follows.
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn completions_of_three_families_are_read() {
        let families = [
            (libc::SOL_IP, libc::IP_RECVERR),
            (libc::SOL_IPV6, libc::IPV6_RECVERR),
            (287, 1),
        ];
        for (level, kind) in families {
            let copied = parse(&message(level, kind, &error(5, 1, 7, 9))).unwrap();
            let expected = Completion {
                first: 7,
                last: 9,
                copied: true,
            };
            assert_eq!(copied, expected);
            assert_eq!(copied.calls(), 3);
            assert!(
                !parse(&message(level, kind, &error(5, 0, 7, 9)))
                    .unwrap()
                    .copied
            );
        }
    }

    #[test]
    fn a_range_may_wrap() {
        let bytes = message(
            libc::SOL_IP,
            libc::IP_RECVERR,
            &error(5, 0, u32::MAX - 1, 1),
        );
        assert_eq!(parse(&bytes).unwrap().calls(), 4);
    }

    #[test]
    fn other_messages_are_ignored() {
        let mut bytes = message(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[0; 16]);
        assert_eq!(parse(&bytes), None);
        bytes.extend(message(libc::SOL_IP, libc::IP_RECVERR, &error(2, 0, 1, 1)));
        assert_eq!(parse(&bytes), None);
        bytes.extend(message(libc::SOL_IP, libc::IP_TTL, &[64, 0, 0, 0]));
        bytes.extend(message(libc::SOL_IP, libc::IP_RECVERR, &error(5, 0, 3, 3)));
        assert_eq!(parse(&bytes).map(|c| c.first), Some(3));
    }

    #[test]
    fn a_socket_without_an_error_queue_has_no_completions() {
        use std::io::Write;
        use std::os::fd::AsFd;
        let (socket, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(next(socket.as_fd()).unwrap(), None);
        other.write_all(b"data").unwrap();
        assert_eq!(next(socket.as_fd()).unwrap(), None);
        drop(other);
        assert_eq!(next(socket.as_fd()).unwrap(), None);
    }

    #[test]
    fn nonsense_is_no_completion() {
        let good = message(libc::SOL_IP, libc::IP_RECVERR, &error(5, 0, 3, 3));
        for length in 0..32 {
            assert_eq!(parse(&good[..length]), None);
        }
        for length in [0_usize, 1, 15, 31, 1000, usize::MAX] {
            let mut bytes = good.clone();
            bytes[..8].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(parse(&bytes), None, "{length}");
        }
    }
}
