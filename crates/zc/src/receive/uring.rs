//! Receiving through io_uring: the kernel receives into buffers that it was given beforehand, and one system call waits
//! for all that has arrived.

use std::io;
use std::os::fd::BorrowedFd;

use socket2::SockRef;

use crate::Moved;
use crate::account::{Fallback, Report};
use crate::receive::{CopyReceiver, ReceiveMover};
use crate::sys::uring::no_ring;
use crate::sys::uring::receiving::Receiving;

/// Reads a TCP stream through io_uring, and by `recv(2)` where that cannot be used.
pub struct UringReceiver {
    calls: CopyReceiver,
    ring: Option<Receiving>,
    is_fresh: bool,
    calls_because: Option<Fallback>,
}

impl UringReceiver {
    /// Checks and counts what it receives as `receiver` does.
    pub fn new(receiver: CopyReceiver) -> Self {
        Self {
            calls: receiver,
            ring: None,
            is_fresh: true,
            calls_because: None,
        }
    }

    /// Creates the ring. Only now is it known which thread will use it.
    fn begin(&mut self) {
        self.is_fresh = false;
        match Receiving::new(self.calls.drops_all()) {
            Ok(ring) => self.ring = Some(ring),
            Err(error) => {
                self.calls_because = Some(no_ring(&error));
            }
        }
    }
}

impl ReceiveMover for UringReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        if self.is_fresh {
            self.begin();
        }
        let Some(ring) = self.ring.as_mut().filter(|_| wait) else {
            // The request takes nothing while this thread is not in a call for it.
            return self.calls.receive(socket, wait);
        };
        // A read that a low-water mark may hold back has this limit.
        let limit = SockRef::from(&socket).read_timeout().unwrap_or(None);
        let calls = &mut self.calls;
        match ring.receive(socket, limit, |bytes| calls.check(bytes)) {
            Ok(bytes) => Ok(calls.account(bytes)),
            // Less than the low-water mark wakes no thread.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => calls.receive(socket, false),
            Err(error) => Err(error),
        }
    }

    fn report(&self) -> Report {
        Report {
            calls_because: self.calls_because.clone(),
            ..self.calls.report()
        }
    }
}
