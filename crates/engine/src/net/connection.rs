//! A connection over vsock, through the kernel or a VMM's Unix socket.

use iperf_model::SocketName;
use socket2::Socket;

/// `VMADDR_CID_HOST`.
pub(super) const HOST: u32 = 2;

/// A connected vsock, of either kind.
#[derive(Debug)]
pub struct Connection {
    /// The socket, in blocking mode.
    pub socket: Socket,
    /// This end.
    pub local: SocketName,
    /// The peer's end.
    pub remote: SocketName,
}
