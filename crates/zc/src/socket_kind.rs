//! The kind of a mover's socket: a call that avoids the copy on one kind makes it on another.

use std::io;
use std::os::fd::BorrowedFd;

use crate::account::{Fallback, Report};
use crate::sys::sockopt;

/// The kinds of sockets whose zero-copy paths differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketKind {
    Tcp,
    Mptcp,
    Udp,
    /// A Unix stream.
    Unix,
    Vsock,
    VsockSeqpacket,
    /// SCTP and everything else: their paths copy, as MPTCP's do.
    Other,
}

impl SocketKind {
    /// Reads it from the kernel.
    pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let ask = |name| sockopt::read_int(socket, libc::SOL_SOCKET, name);
        let (domain, kind) = (ask(libc::SO_DOMAIN)?, ask(libc::SO_TYPE)?);
        let protocol = ask(libc::SO_PROTOCOL)?;
        Ok(match (domain, kind, protocol) {
            (libc::AF_INET | libc::AF_INET6, _, libc::IPPROTO_TCP) => Self::Tcp,
            (libc::AF_INET | libc::AF_INET6, _, libc::IPPROTO_MPTCP) => Self::Mptcp,
            (libc::AF_INET | libc::AF_INET6, _, libc::IPPROTO_UDP) => Self::Udp,
            (libc::AF_UNIX, libc::SOCK_STREAM, _) => Self::Unix,
            (libc::AF_VSOCK, libc::SOCK_STREAM, _) => Self::Vsock,
            (libc::AF_VSOCK, ..) => Self::VsockSeqpacket,
            _ => Self::Other,
        })
    }

    /// Its name in a sentence.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Mptcp => "MPTCP",
            Self::Udp => "UDP",
            Self::Unix => "Unix sockets",
            Self::Vsock => "vsock",
            Self::VsockSeqpacket => "vsock SEQPACKET",
            Self::Other => "this kind of socket",
        }
    }

    /// Whether `sendfile(2)` and `splice(2)` put references to pages into the socket (`MSG_SPLICE_PAGES`), or splice
    /// takes them out of it.
    pub(crate) fn splices(self) -> bool {
        matches!(self, Self::Tcp | Self::Unix)
    }

    /// Whether `recv(MSG_TRUNC)` drops bytes of a stream unread (tcp(7)).
    pub(crate) fn truncates(self) -> bool {
        matches!(self, Self::Tcp)
    }

    /// What a call does on a kind on which it passes no bytes without a copy.
    pub(crate) fn copies_inside(self, call: &'static str) -> Fallback {
        let kind = self.name();
        Fallback::CopiedInside { call, kind }
    }
}

/// The report of a call that passes bytes without a copy on some kinds of sockets, and copies inside the kernel on
/// others.
#[derive(Default)]
pub(crate) struct PassingCalls {
    kind: Option<SocketKind>,
    pub(crate) report: Report,
}

impl PassingCalls {
    /// Whether `call` copies on this socket, if it `passes` bytes on such kinds. Its kind is determined at the first call.
    pub(crate) fn copies(
        &mut self,
        socket: BorrowedFd<'_>,
        call: &'static str,
        passes: fn(SocketKind) -> bool,
    ) -> io::Result<bool> {
        let kind = match self.kind {
            Some(kind) => kind,
            None => *self.kind.insert(SocketKind::of(socket)?),
        };
        let copies = !passes(kind);
        if copies && self.report.fallback.is_none() {
            self.report.fallback = Some(kind.copies_inside(call));
        }
        Ok(copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Protocol, Socket, Type};
    use std::os::fd::AsFd;

    #[test]
    fn kinds_of_sockets_are_recognised() {
        let cases = [
            (Domain::IPV4, Type::STREAM, SocketKind::Tcp),
            (Domain::IPV6, Type::STREAM, SocketKind::Tcp),
            (Domain::IPV6, Type::DGRAM, SocketKind::Udp),
            (Domain::UNIX, Type::STREAM, SocketKind::Unix),
            (Domain::UNIX, Type::DGRAM, SocketKind::Other),
            (Domain::VSOCK, Type::STREAM, SocketKind::Vsock),
            (Domain::VSOCK, Type::SEQPACKET, SocketKind::VsockSeqpacket),
        ];
        for (domain, kind, expected) in cases {
            let socket = Socket::new(domain, kind, None).unwrap();
            assert_eq!(SocketKind::of(socket.as_fd()).unwrap(), expected);
        }
        let mptcp = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP));
        if let Ok(socket) = mptcp {
            assert_eq!(SocketKind::of(socket.as_fd()).unwrap(), SocketKind::Mptcp);
        }
    }
}
