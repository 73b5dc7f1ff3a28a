//! Memory for received bytes that are never read: one small buffer per processor, for all threads of the process, which
//! a call fills several times.
//!
//! ```text
//! one call   |<- buffer ->|<- buffer ->| ...      PIECES times the same memory
//! ```
//!
//! Large reads save time, but large buffers cost time: a read of 1 MiB into separate memory evicts everything else from
//! the processor's cache, and with a buffer per thread, many streams do so in turn.

use std::ffi::c_void;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sched::sched_getcpu;
use nix::sys::socket::MsgFlags;
use nix::unistd::{SysconfVar, sysconf};

use crate::sys::mapping::Arena;

/// The most that one call takes.
pub(crate) const LENGTH: usize = PIECES * BUFFER;

/// Bytes of a processor's buffer.
const BUFFER: usize = 128 * 1024;

/// How often a call fills it: as many pieces as the kernel has room for on its stack (`UIO_FASTIOV`).
const PIECES: usize = 8;

/// More processors than this share buffers.
const MOST_BUFFERS: usize = 256;

/// The buffers, which only become memory where bytes are put.
struct Sink {
    memory: Arena,
    buffers: usize,
}

// SAFETY: the memory is never read or borrowed, only written by the kernel, so that threads may use it at once.
unsafe impl Sync for Sink {}

impl Sink {
    /// The sink of this process; none if there is no address space for it.
    fn get() -> Option<&'static Self> {
        static SINK: OnceLock<Option<Sink>> = OnceLock::new();
        SINK.get_or_init(Self::new).as_ref()
    }

    fn new() -> Option<Self> {
        let processors = sysconf(SysconfVar::_NPROCESSORS_CONF).ok().flatten();
        let processors = processors.and_then(|count| usize::try_from(count).ok());
        let buffers = processors.unwrap_or(1).clamp(1, MOST_BUFFERS);
        let memory = Arena::new(buffers * BUFFER).ok()?;
        Some(Self { memory, buffers })
    }

    /// Where this processor's buffer of [`BUFFER`] bytes is.
    fn buffer(&self) -> *mut c_void {
        let processor = sched_getcpu().unwrap_or(0) % self.buffers;
        self.memory.pointer(processor * BUFFER)
    }
}

/// Where the processor that runs this thread has room for `length` bytes that are never read, for as long as the
/// process lives. `None` if there is not enough memory for it.
pub(crate) fn buffer(length: usize) -> Option<*mut c_void> {
    Some(Sink::get()?.buffer()).filter(|_| length <= BUFFER)
}

/// Receives up to `length` bytes, and not more than [`LENGTH`], which are dropped. None if there is no memory for it.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    length: usize,
    flags: MsgFlags,
) -> Option<io::Result<usize>> {
    let buffer = Sink::get()?.buffer();
    let length = length.min(LENGTH);
    let mut pieces: [libc::iovec; PIECES] = std::array::from_fn(|piece| libc::iovec {
        iov_base: buffer,
        iov_len: length.saturating_sub(piece * BUFFER).min(BUFFER),
    });
    // SAFETY: all bits zero is a valid `msghdr`: null pointers and lengths of 0.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    // Its type differs between C libraries.
    message.msg_iovlen = PIECES as _;
    // SAFETY: the header and the pieces that it names live during the call. Each piece is `BUFFER` writable bytes at most,
    // of memory that lives as long as the process and that no reference exists to; that the pieces are the same memory,
    // and that other calls may write it meanwhile, changes nothing, since it is never read.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags.bits()) };
    Some(match usize::try_from(received) {
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(Errno::last().into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn it_takes_what_is_there_and_no_more_than_requested() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let take = |length| receive(here.as_fd(), length, MsgFlags::MSG_DONTWAIT).unwrap();
        there.write_all(&[7; 100]).unwrap();
        assert_eq!(take(60).unwrap(), 60);
        assert_eq!(take(usize::MAX).unwrap(), 40);
        assert_eq!(take(1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(there);
        assert_eq!(take(1).unwrap(), 0);
    }

    #[test]
    fn a_call_takes_more_than_a_buffer() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || there.write_all(&vec![1; 5 * BUFFER + 1]));
        let mut bytes = 0;
        while bytes < 5 * BUFFER + 1 {
            let flags = MsgFlags::MSG_WAITALL;
            bytes += receive(here.as_fd(), 3 * BUFFER + 7, flags)
                .unwrap()
                .unwrap();
            assert!(
                bytes == 3 * BUFFER + 7 || bytes == 5 * BUFFER + 1,
                "{bytes}"
            );
        }
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn threads_may_receive_at_once() {
        const EACH: usize = 3 * LENGTH;
        let threads = [1, 2, 3].map(|_| {
            std::thread::spawn(|| {
                let (here, mut there) = UnixStream::pair().unwrap();
                let writer = std::thread::spawn(move || there.write_all(&vec![1; EACH]));
                let mut bytes = 0;
                while bytes < EACH {
                    let more = receive(here.as_fd(), LENGTH, MsgFlags::empty()).unwrap();
                    bytes += more.unwrap();
                }
                writer.join().unwrap().unwrap();
                bytes
            })
        });
        assert_eq!(threads.map(|thread| thread.join().unwrap()), [EACH; 3]);
    }
}
