//! Which copies can be avoided on a socket, before a mover is chosen.

use std::os::fd::BorrowedFd;
use std::path::Path;

use iperf_model::SendMode;
use socket2::SockRef;

use crate::account::Fallback;
use crate::send::msg;
use crate::socket_kind::SocketKind;
use crate::sys::uring;
use crate::sys::vsock;
use crate::sys::vsock_zerocopy::DEVICE;

/// Why a mode would avoid no copy on this socket, as far as known beforehand; nothing is known of `Auto`. The mover's
/// account shows whether the kernel copies after all.
///
/// To find out about [`SendMode::Msg`] the socket gets `SO_ZEROCOPY`, which alone changes nothing.
pub fn send_support(socket: BorrowedFd<'_>, mode: SendMode) -> Result<(), Fallback> {
    let kind = SocketKind::of(socket).map_err(|error| Fallback::refused("SO_DOMAIN", &error))?;
    let datagrams = |mode| {
        Err(Fallback::NotFor {
            mode,
            kind: kind.name(),
        })
    };
    match (mode, kind) {
        (SendMode::Copy | SendMode::Auto, _) => Ok(()),
        (SendMode::Msg, _) => msg::enable(socket),
        // Each datagram needs its own header.
        (SendMode::Sendfile, SocketKind::Udp) => datagrams("sendfile"),
        (SendMode::Splice, SocketKind::Udp) => datagrams("splice"),
        (SendMode::Sendfile | SendMode::Splice, _) if kind.splices() => Ok(()),
        (SendMode::Sendfile, _) => Err(kind.copies_inside("sendfile")),
        (SendMode::Splice, _) => Err(kind.copies_inside("splice")),
    }
}

/// Why io_uring can't move the bytes of TCP streams here.
pub fn uring_support() -> Result<(), Fallback> {
    uring::support()
}

/// Whether both ends of a connected vsock are on this machine, and its kernel module can map what they send. It maps
/// pages that were copied into the kernel, and not the sender's own.
pub fn is_mapped_vsock_loopback(socket: BorrowedFd<'_>) -> bool {
    is_vsock_loopback(socket) && Path::new(DEVICE).exists()
}

/// Whether both ends of a connected vsock are on this machine.
pub fn is_vsock_loopback(socket: BorrowedFd<'_>) -> bool {
    let is_vsock = matches!(SocketKind::of(socket), Ok(SocketKind::Vsock));
    let peer = SockRef::from(&socket).peer_addr().ok();
    let peer = peer.and_then(|address| Some(address.as_vsock_address()?.0));
    let is_here = peer.is_some_and(|cid| {
        cid == libc::VMADDR_CID_LOCAL || vsock::local_cid().is_ok_and(|own| own == cid)
    });
    is_vsock && is_here
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn tcp_has_all_modes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for mode in [
            SendMode::Copy,
            SendMode::Sendfile,
            SendMode::Splice,
            SendMode::Msg,
        ] {
            assert_eq!(send_support(socket.as_fd(), mode), Ok(()), "{mode:?}");
        }
    }

    #[test]
    fn a_unix_stream_has_no_completions() {
        let (socket, _other) = UnixStream::pair().unwrap();
        for mode in [SendMode::Copy, SendMode::Sendfile, SendMode::Splice] {
            assert_eq!(send_support(socket.as_fd(), mode), Ok(()), "{mode:?}");
        }
        let refused = Fallback::Refused {
            call: "SO_ZEROCOPY",
            error: Errno::EOPNOTSUPP,
        };
        assert_eq!(send_support(socket.as_fd(), SendMode::Msg), Err(refused));
    }

    #[test]
    fn datagrams_are_sent_by_copy_or_with_completions() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(send_support(socket.as_fd(), SendMode::Msg), Ok(()));
        let reason = send_support(socket.as_fd(), SendMode::Sendfile).unwrap_err();
        assert_eq!(reason.to_string(), "there is no sendfile for UDP");
        assert!(send_support(socket.as_fd(), SendMode::Splice).is_err());
    }

    #[test]
    fn vsock_copies_files() {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::VSOCK, Type::STREAM, None).unwrap();
        let reason = send_support(socket.as_fd(), SendMode::Sendfile).unwrap_err();
        assert_eq!(
            reason.to_string(),
            "the kernel copies what sendfile carries over vsock"
        );
        assert!(send_support(socket.as_fd(), SendMode::Splice).is_err());
    }
}
