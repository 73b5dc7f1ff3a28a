//! Receiving from message sockets (SCTP) as if they were byte streams.

use std::io;
use std::os::fd::BorrowedFd;

use crate::Moved;
use crate::account::Report;
use crate::receive::ReceiveMover;
use crate::sys::sockopt;

/// Reads messages as if they were a byte stream: a message longer than the buffer is read in parts.
pub struct MessageReceiver {
    inner: Box<dyn ReceiveMover>,
}

impl MessageReceiver {
    /// Empties the socket with `inner`.
    pub fn new(inner: Box<dyn ReceiveMover>) -> Self {
        Self { inner }
    }
}

impl ReceiveMover for MessageReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        self.inner.receive(socket, wait)
    }

    /// `FIONREAD` reports the length of the first message only. The memory that all of them use is never less than
    /// their payload.
    fn backlog(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        sockopt::received_memory(socket)
    }

    fn obeys_low_water(&self) -> bool {
        self.inner.obeys_low_water()
    }

    fn report(&self) -> Report {
        self.inner.report()
    }
}
