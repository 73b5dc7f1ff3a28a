//! Receiving by mapping: the pages that the network filled appear in the receiver's memory.
//!
//! TCP and vsock do it with the same three calls, `mmap`, `getsockopt`, `madvise(MADV_DONTNEED)`, and differ in the
//! rest; [`receiver`] chooses. Both continue by copy, without losing a byte, if mapping is refused or does not pay, and
//! report why.

mod fallback;
mod options;
mod tcp;
mod vsock;

use std::io;
use std::os::fd::BorrowedFd;

use crate::receive::ReceiveMover;
use crate::receive::map::tcp::TcpMapReceiver;
use crate::receive::map::vsock::VsockMapReceiver;
use crate::socket_kind::SocketKind;
use crate::sys::vsock_zerocopy::DEVICE;
use crate::verify::Verifier;

pub use options::{DEFAULT_WINDOW, MapOptions};

/// A mover that receives from a connected stream socket by mapping, as far as possible.
///
/// While it lives it may hold the connection open, whatever happens to the socket's descriptor: a mapping holds the
/// socket.
pub fn receiver(
    socket: BorrowedFd<'_>,
    options: &MapOptions,
    verifier: Option<Verifier>,
) -> io::Result<Box<dyn ReceiveMover>> {
    Ok(match SocketKind::of(socket)? {
        SocketKind::Vsock | SocketKind::VsockSeqpacket => Box::new(VsockMapReceiver::new(
            socket,
            options,
            verifier,
            DEVICE.as_ref(),
        )),
        _ => Box::new(TcpMapReceiver::new(socket, options, verifier)),
    })
}
