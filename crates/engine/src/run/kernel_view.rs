//! The kernel's view of a connection of any transport, in the terms of `tcp_info`.

use std::io;
use std::os::fd::BorrowedFd;

use iperf_model::Transport;
use iperf_zc::sctp::AssocInfo;
use iperf_zc::sockopt;
use iperf_zc::tcp_info::TcpInfo;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The kernel's view of a connection; an error for transports that have none.
pub(crate) fn read(transport: Transport, socket: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    if transport != Transport::Sctp {
        return TcpInfo::read(socket);
    }
    let queued = sockopt::queued_memory(socket).unwrap_or(0);
    Ok(translate(&AssocInfo::read(socket)?, queued))
}

/// `queued` is the memory in bytes of what was written and not acknowledged.
fn translate(info: &AssocInfo, queued: usize) -> TcpInfo {
    // The window counts what is under way as taken. What is under way behind a closed one is a probe, and nothing
    // else.
    let closed = info.peer_window < info.fragmentation_point && info.unacked <= 1;
    TcpInfo {
        // Windows are counted in bytes.
        snd_mss: 1,
        snd_cwnd: info.cwnd,
        snd_wnd: Some(info.peer_window),
        rtt: info.srtt_ms.saturating_mul(1000),
        pmtu: info.mtu,
        total_retrans: modulo(info.retransmitted),
        gaps: Some(modulo(info.gaps)),
        notsent_bytes: Some(u32::try_from(queued).unwrap_or(u32::MAX)),
        probes: closed.into(),
        ..TcpInfo::default()
    }
}

/// Modulo 2^32, as the users of counters expect, who take differences.
fn modulo(count: u64) -> u32 {
    u32::try_from(count & u64::from(u32::MAX)).unwrap_or(0)
}

/// Bytes that were sent and that the peer's kernel has not acknowledged, or more. There is
/// nothing to wait for at a socket that cannot be queried.
pub(crate) fn unacknowledged(transport: Transport, socket: BorrowedFd<'_>) -> usize {
    let bytes = match transport {
        Transport::Sctp => sockopt::queued_memory(socket),
        _ => sockopt::unacknowledged(socket),
    };
    bytes.unwrap_or(0)
}

/// Whether there is data to send that the peer gives no room for.
pub(crate) fn window_is_closed(transport: Transport, socket: BorrowedFd<'_>) -> bool {
    // No network lies between the ends of a vsock: when it takes nothing, its peer does not.
    if transport.is_vsock() {
        return !is_writable(socket);
    }
    let Ok(info) = read(transport, socket) else {
        return false;
    };
    let waiting = info.notsent_bytes.unwrap_or(0) > 0;
    waiting && (info.probes > 0 || info.snd_wnd.is_some_and(|window| window < info.snd_mss))
}

fn is_writable(socket: BorrowedFd<'_>) -> bool {
    let mut sockets = [PollFd::new(socket, PollFlags::POLLOUT)];
    // A socket that cannot be queried does not count as full.
    poll(&mut sockets, PollTimeout::ZERO) != Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: AssocInfo = AssocInfo {
        peer_window: 100_000,
        unacked: 1,
        fragmentation_point: 1452,
        cwnd: 4380,
        srtt_ms: 3,
        mtu: 1500,
        retransmitted: (1 << 32) + 5,
        gaps: (1 << 32) + 6,
    };

    #[test]
    fn units_are_those_of_tcp_info() {
        let info = translate(&INFO, 7);
        assert_eq!((info.snd_cwnd * info.snd_mss, info.rtt), (4380, 3000));
        assert_eq!((info.pmtu, info.total_retrans), (1500, 5));
        assert_eq!(info.gaps, Some(6));
        assert_eq!((info.snd_wnd, info.notsent_bytes), (Some(100_000), Some(7)));
    }

    #[test]
    fn a_full_pipe_is_no_closed_window() {
        let probes = |peer_window, unacked| {
            let info = AssocInfo {
                peer_window,
                unacked,
                ..INFO
            };
            translate(&info, 1).probes
        };
        assert_eq!([probes(0, 0), probes(1451, 1)], [1, 1]);
        assert_eq!([probes(0, 2), probes(1452, 1)], [0, 0]);
    }

    #[test]
    fn a_full_unix_socket_is_a_closed_window() {
        use std::io::Write;
        use std::os::fd::AsFd;
        let (mut here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!window_is_closed(Transport::Vsock, here.as_fd()));
        here.set_nonblocking(true).unwrap();
        while here.write(&[0; 4096]).is_ok() {}
        assert!(window_is_closed(Transport::Vsock, here.as_fd()));
    }

    #[test]
    fn tcp_has_its_own_view() {
        use std::os::fd::AsFd;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(read(Transport::Tcp, listener.as_fd()).is_ok());
        assert!(read(Transport::Sctp, listener.as_fd()).is_err());
    }
}
