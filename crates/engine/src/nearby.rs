//! Streams that stay on this machine, whose send buffers can be small, and stay full only while the receiver does not read.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use iperf_zc::tcp_info::TcpInfo;
use socket2::{Protocol, Socket};

/// A path with a longer round trip is one to another machine, or one with a simulated delay.
const SHORT: Duration = Duration::from_millis(1);

/// Whether a TCP connection stays on this machine and nothing delays it on its way.
pub(crate) fn is_nearby(socket: &Socket) -> bool {
    let address = |address: std::io::Result<socket2::SockAddr>| address.ok()?.as_socket();
    let ends = address(socket.local_addr()).zip(address(socket.peer_addr()));
    ends.is_some_and(|(local, peer)| is_same_machine(local, peer))
        && socket.protocol().is_ok_and(|p| p == Some(Protocol::TCP))
        && TcpInfo::read(socket.as_fd()).is_ok_and(|info| is_short(&info))
}

/// Addresses of two machines differ, and those of loopback belong to one.
fn is_same_machine(local: SocketAddr, peer: SocketAddr) -> bool {
    let (local, peer) = (local.ip().to_canonical(), peer.ip().to_canonical());
    local == peer || IpAddr::is_loopback(&local) && IpAddr::is_loopback(&peer)
}

/// A path with delay had no shorter round trip either; a busy machine had.
fn is_short(info: &TcpInfo) -> bool {
    let micros = info.min_rtt.unwrap_or(info.rtt);
    Duration::from_micros(micros.into()) <= SHORT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn tcp_over_loopback_is_nearby_and_datagrams_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::from(stream);
        let info = TcpInfo::read(socket.as_fd()).unwrap();
        assert_eq!(is_nearby(&socket), is_short(&info));
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        datagrams.connect(datagrams.local_addr().unwrap()).unwrap();
        assert!(!is_nearby(&Socket::from(datagrams)));
    }

    #[test]
    fn other_machines_and_delays_are_not_nearby() {
        let address = |text: &str| text.parse().unwrap();
        let near = |a, b| is_same_machine(address(a), address(b));
        assert!(near("127.0.0.1:1", "127.0.0.2:2"));
        assert!(near("[::ffff:192.0.2.1]:1", "192.0.2.1:2"));
        assert!(!near("192.0.2.1:1", "192.0.2.2:2"));
        assert!(!near("[::1]:1", "[2001:db8::1]:2"));
        let path = |min_rtt, rtt| TcpInfo {
            rtt,
            min_rtt,
            ..TcpInfo::default()
        };
        assert!(is_short(&path(Some(40), 8_000)));
        assert!(!is_short(&path(Some(20_000), 20_000)));
        assert!(!is_short(&path(None, 2_000)));
    }
}
