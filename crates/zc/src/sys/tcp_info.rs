//! The kernel's view of a TCP socket: `getsockopt(TCP_INFO)`.
//!
//! The structure grows with the kernel, so it is read as bytes at the offsets of `struct tcp_info` in
//! `include/uapi/linux/tcp.h`; what an older kernel does not fill stays `None`.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::sockopt;

/// Room for the structure of any kernel so far (248 bytes in 6.18).
const ROOM: usize = 512;

/// The part of `struct tcp_info` that output shows or decisions need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Maximum segment size of the sending side, in bytes.
    pub snd_mss: u32,
    /// Maximum segment size of what is received, as the kernel estimates it, in bytes.
    pub rcv_mss: u32,
    /// Probes of a closed window sent without an answer.
    pub probes: u8,
    /// Path MTU in bytes.
    pub pmtu: u32,
    /// The most that this end's receive window may be for now, in bytes.
    pub rcv_ssthresh: u32,
    /// Smoothed round-trip time in microseconds.
    pub rtt: u32,
    /// Its mean deviation in microseconds.
    pub rttvar: u32,
    /// Congestion window in segments.
    pub snd_cwnd: u32,
    /// Round-trip time as a receiver of data sees it, in microseconds; 0 if it is unknown.
    pub rcv_rtt: u32,
    /// Segments retransmitted since the socket was opened.
    pub total_retrans: u32,
    /// Bytes per second at which the kernel paces what it sends, if it does (Linux 3.15).
    pub pacing_rate: Option<u64>,
    /// The most that they may be (`SO_MAX_PACING_RATE`), if there is a limit (Linux 3.15).
    pub max_pacing_rate: Option<u64>,
    /// Bytes that the peer acknowledged (Linux 4.1).
    pub bytes_acked: Option<u64>,
    /// Bytes received in order (Linux 4.1).
    pub bytes_received: Option<u64>,
    /// Bytes in the send queue that were never sent (Linux 4.6).
    pub notsent_bytes: Option<u32>,
    /// Shortest round-trip time seen, in microseconds (Linux 4.6).
    pub min_rtt: Option<u32>,
    /// Segments with data that were sent, again or not (Linux 4.6).
    pub data_segs_out: Option<u32>,
    /// Delivery rate by the latest acknowledgements, in bytes per second (Linux 4.9).
    pub delivery_rate: Option<u64>,
    /// Whether the application, and not the network, limited that rate (Linux 4.9).
    pub app_limited: bool,
    /// Microseconds with data that was not acknowledged (Linux 4.10).
    pub busy_us: Option<u64>,
    /// Of them, microseconds for which the receiver's window held back data (Linux 4.10).
    pub rwnd_limited_us: Option<u64>,
    /// Of them, microseconds for which the send buffer held back data (Linux 4.10).
    pub sndbuf_limited_us: Option<u64>,
    /// Segments that the receiver reported as having arrived twice (D-SACK): they were sent again needlessly (Linux 4.19).
    pub dsack_dups: Option<u32>,
    /// Reordering events seen since the socket was opened (Linux 4.19).
    pub reord_seen: Option<u32>,
    /// Window that the peer advertises, in bytes (Linux 5.4).
    pub snd_wnd: Option<u32>,
    /// SCTP, whose associations are shown in these terms too: gaps that acknowledgements reported, modulo 2^32.
    pub gaps: Option<u32>,
}

impl TcpInfo {
    /// Reads the state of a connected TCP socket.
    pub fn read(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let mut bytes = [0_u8; ROOM];
        let filled = sockopt::read(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut bytes)?;
        Ok(Self::parse(&bytes[..filled]))
    }

    fn parse(bytes: &[u8]) -> Self {
        let u32_at = |offset: usize| {
            let field = bytes.get(offset..offset + 4)?;
            Some(u32::from_ne_bytes(field.try_into().ok()?))
        };
        let u64_at = |offset: usize| {
            let field = bytes.get(offset..offset + 8)?;
            Some(u64::from_ne_bytes(field.try_into().ok()?))
        };
        Self {
            probes: bytes.get(3).copied().unwrap_or(0),
            snd_mss: u32_at(16).unwrap_or(0),
            rcv_mss: u32_at(20).unwrap_or(0),
            pmtu: u32_at(60).unwrap_or(0),
            rcv_ssthresh: u32_at(64).unwrap_or(0),
            rtt: u32_at(68).unwrap_or(0),
            rttvar: u32_at(72).unwrap_or(0),
            snd_cwnd: u32_at(80).unwrap_or(0),
            rcv_rtt: u32_at(92).unwrap_or(0),
            total_retrans: u32_at(100).unwrap_or(0),
            // `~0` means no pacing, or no limit of it.
            pacing_rate: u64_at(104).filter(|rate| *rate != u64::MAX),
            max_pacing_rate: u64_at(112).filter(|rate| *rate != u64::MAX),
            bytes_acked: u64_at(120),
            bytes_received: u64_at(128),
            notsent_bytes: u32_at(144),
            // `~0` before the first measurement.
            min_rtt: u32_at(148).filter(|rtt| *rtt != u32::MAX),
            data_segs_out: u32_at(156),
            delivery_rate: u64_at(160).filter(|rate| *rate > 0),
            // `tcpi_delivery_rate_app_limited` is the first bit of its byte.
            app_limited: bytes.get(7).is_some_and(|bits| bits & 1 == 1),
            busy_us: u64_at(168),
            rwnd_limited_us: u64_at(176),
            sndbuf_limited_us: u64_at(184),
            dsack_dups: u32_at(216),
            reord_seen: u32_at(220),
            snd_wnd: u32_at(228),
            gaps: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn counts_the_bytes_of_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        let info = TcpInfo::read(server.as_fd()).unwrap();
        assert_eq!(info.bytes_received, Some(1000));
        assert!(info.snd_mss > 0 && info.pmtu > 0);
        assert!(info.min_rtt.is_some_and(|rtt| rtt < 10_000_000));
        assert_eq!(info.max_pacing_rate, None, "nothing limits it");
    }

    #[test]
    fn an_older_kernels_shorter_answer_leaves_the_rest_unknown() {
        let mut bytes = [0_u8; 104];
        bytes[100..].copy_from_slice(&9_u32.to_ne_bytes());
        let info = TcpInfo::parse(&bytes);
        assert_eq!(info.total_retrans, 9);
        assert_eq!((info.bytes_acked, info.snd_wnd), (None, None));
        assert_eq!(info.min_rtt, None);
        assert_eq!(TcpInfo::parse(&[0xff; 248]).min_rtt, None);
        assert_eq!(TcpInfo::parse(&[]), TcpInfo::default());
    }

    #[test]
    fn a_sender_that_sends_little_is_limited_by_itself_and_by_its_pacing_rate() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let rate: u64 = 1_250_000;
        sockopt::set(
            client.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            &rate,
        )
        .unwrap();
        client.write_all(&[7; 100]).unwrap();
        server.read_exact(&mut [0; 100]).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let info = TcpInfo::read(client.as_fd()).unwrap();
            assert_eq!(info.max_pacing_rate, Some(rate));
            if info.delivery_rate.is_some() && info.app_limited {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{info:?}");
            std::thread::yield_now();
        }
    }
}
