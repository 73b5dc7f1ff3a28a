//! A thread with its own table of file descriptors.
//!
//! The threads of a process share one table, so each system call takes and drops a reference to its file: some 60 ns,
//! which is 2 % of a request and its response over loopback. Calls of a thread with its own table do not.
//!
//! ```text
//! process   0 1 2 3 4 5 6 7 …        this thread   0 1 2 . . 5 . . …
//!                     └── the socket ────────────────────┘
//! ```

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::sys::interrupt::WAKE;

/// Standard input, output and error.
const STANDARD: u32 = 3;

/// Signals about what the thread itself did.
const FAULTS: [Signal; 5] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
];

/// Gives the calling thread a table of its own with nothing but `kept` and the standard streams in it. What other threads
/// close is closed, however long this one runs.
///
/// From then on no other descriptor may be used on this thread, and what the thread closes is closed there alone. Handlers
/// of signals that use descriptors run on other threads: here all signals are blocked but the one that wakes and those about
/// faults.
///
/// # Errors
///
/// Kernels before 5.9 cannot do it; the thread then keeps the shared table.
pub fn keep_only(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = kept.as_raw_fd().unsigned_abs();
    let mut blocked = SigSet::all();
    for signal in FAULTS.into_iter().chain([WAKE]) {
        blocked.remove(signal);
    }
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let above = kept.max(STANDARD - 1) + 1;
    if let Err(error) = close_range(above, u32::MAX, libc::CLOSE_RANGE_UNSHARE) {
        before.thread_set_mask()?;
        return Err(error);
    }
    if kept > STANDARD {
        close_range(STANDARD, kept - 1, 0)?;
    }
    Ok(())
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: the call takes numbers alone. It closes descriptors of this thread's own table: the first call makes that
    // table, and those that close in it follow. Their owners are on other threads, whose table keeps them.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    #[test]
    fn what_others_close_is_closed_and_what_is_kept_works() {
        let (mut kept, mut peer) = UnixStream::pair().unwrap();
        let (other, mut others_peer) = UnixStream::pair().unwrap();
        let other_number = other.as_raw_fd();
        let (ready, is_ready) = channel();
        let thread = std::thread::spawn(move || {
            keep_only(kept.as_fd()).unwrap();
            let mut byte = [0];
            kept.read_exact(&mut byte).unwrap();
            ready
                .send(std::fs::read_link(format!(
                    "/proc/thread-self/fd/{other_number}"
                )))
                .unwrap();
            kept.read_exact(&mut byte).unwrap();
            kept.write_all(&byte).unwrap();
            kept
        });
        peer.write_all(&[1]).unwrap();
        let found = is_ready.recv().unwrap();
        assert_eq!(found.unwrap_err().kind(), io::ErrorKind::NotFound);
        // The thread still runs.
        drop(other);
        assert_eq!(others_peer.read(&mut [0]).unwrap(), 0);
        peer.write_all(&[7]).unwrap();
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
        let kept = thread.join().unwrap();
        assert!(
            kept.local_addr().is_ok(),
            "this thread's table has it still"
        );
    }
}
