//! io_uring: requests to the kernel in one ring of shared memory, their results in another.
//!
//! ```text
//! push ──► submission queue ──► enter (one system call: submits, and waits) ──► completion queue ──► next
//! ```
//!
//! A ring belongs to one thread. The kernel then works on its requests only while that thread is inside of a system call
//! (`IORING_SETUP_SINGLE_ISSUER`, `IORING_SETUP_DEFER_TASKRUN`, Linux 6.1): memory that requests name changes at no other
//! time, and the thread's CPU time has all that they cost.

mod buffers;
pub(crate) mod receiving;
pub(crate) mod sending;

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};
use nix::errno::Errno;

use crate::account::Fallback;

/// Requests that are submitted at a time.
const ENTRIES: u32 = 4;

/// How long a request may take to end once it is cancelled.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// What became of a request, or of a part of it.
#[derive(Clone, Copy, Debug)]
struct Completion {
    /// The number that the request has.
    id: u64,
    /// Bytes, or a negative error.
    result: i32,
    flags: u32,
}

impl Completion {
    /// Whether the request stays armed.
    fn more(self) -> bool {
        cqueue::more(self.flags)
    }
}

/// A pair of queues, created by the thread that uses them.
struct Ring {
    io: IoUring,
}

impl Ring {
    /// With room for `completions` that have not been read.
    fn new(completions: u32) -> io::Result<Self> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(completions)
            .build(ENTRIES)?;
        Ok(Self { io })
    }

    /// Queues a request, which the next [`wait`](Self::wait) submits.
    ///
    /// # Safety
    /// The memory that the request names is valid for what the kernel does with it until its last completion.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the caller vouches for the memory.
        let pushed = unsafe { self.io.submission().push(entry) };
        pushed.map_err(|_| io::Error::from(io::ErrorKind::QuotaExceeded))
    }

    /// Submits what is queued and waits for a completion, for at most `limit`. A signal ends it (`Interrupted`), and so
    /// does the limit (`TimedOut`).
    fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let submitter = self.io.submitter();
        let waited = match limit {
            None => submitter.submit_and_wait(1),
            Some(limit) => {
                let limit = Timespec::from(limit);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
        };
        match waited {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => {
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(error) => Err(error),
        }
    }

    /// The next completion, if there is one.
    fn next(&mut self) -> Option<Completion> {
        self.io.completion().next().map(|entry| Completion {
            id: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        })
    }

    /// Asks the kernel to end all requests; each still gets its last completion.
    fn cancel(&mut self) {
        let limit = Timespec::from(CANCEL_LIMIT);
        let all = CancelBuilder::any();
        // An error means that there is nothing to cancel, or that it takes longer: the completion shows which.
        let _ = self.io.submitter().register_sync_cancel(Some(limit), all);
    }
}

/// The error of a completion.
fn failure(result: i32) -> io::Error {
    match Errno::from_raw(result.saturating_neg()) {
        Errno::ECANCELED => io::ErrorKind::Interrupted.into(),
        error => error.into(),
    }
}

/// Why movers can't use io_uring here: the kernel is too old, or forbids it to this process.
pub(crate) fn support() -> Result<(), Fallback> {
    static SUPPORT: OnceLock<Result<(), Fallback>> = OnceLock::new();
    SUPPORT.get_or_init(probe).clone()
}

/// Why there is no ring. The kernel's error is the same whether a sysctl or a filter forbids it.
pub(crate) fn no_ring(error: &io::Error) -> Fallback {
    let sysctl = || {
        let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
        text.trim().parse().ok()
    };
    match sysctl() {
        Some(value @ 1..) if error.raw_os_error() == Some(libc::EPERM) => {
            Fallback::UringDisabled { value }
        }
        _ => Fallback::refused("io_uring_setup", error),
    }
}

fn probe() -> Result<(), Fallback> {
    let ring = Ring::new(ENTRIES).map_err(|error| no_ring(&error))?;
    if !ring.io.params().is_feature_recvsend_bundle() {
        return Err(Fallback::NoBundles);
    }
    let refused = |error| Fallback::refused("IORING_REGISTER_PBUF_RING", &error);
    buffers::Buffers::new(&ring, 1).map_err(refused)?;
    Ok(())
}
