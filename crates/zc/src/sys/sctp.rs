//! SCTP sockets of the one-to-one style (RFC 6458): their options, and what the kernel reports about an association.
//!
//! The layouts are those of `include/uapi/linux/sctp.h`. The C library has no calls for any of it: what other
//! programs get from libsctp are socket options of level `SOL_SCTP` too.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::sys::sockopt;

/// `SOL_SCTP`: the number of the protocol.
const LEVEL: libc::c_int = libc::IPPROTO_SCTP;
/// `SCTP_SOCKOPT_BINDX_ADD`.
const BINDX_ADD: libc::c_int = 100;
/// `SCTP_GET_ASSOC_STATS` (Linux 3.8).
const GET_ASSOC_STATS: libc::c_int = 112;

/// Sends small messages at once (`SCTP_NODELAY`).
pub fn set_no_delay(socket: BorrowedFd<'_>) -> io::Result<()> {
    sockopt::set::<libc::c_int>(socket, LEVEL, libc::SCTP_NODELAY, &1)
}

/// `struct sctp_assoc_value`.
#[derive(Clone, Copy)]
#[repr(C)]
struct AssocValue {
    /// A one-to-one socket has one association only, and the kernel ignores its id.
    id: i32,
    value: u32,
}

/// Limits what one DATA chunk carries to `bytes` (`SCTP_MAXSEG`).
pub fn set_max_segment(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    let value = AssocValue {
        id: 0,
        value: bytes,
    };
    sockopt::set(socket, LEVEL, libc::SCTP_MAXSEG, &value)
}

/// Requests `streams` outgoing streams when the association is set up (`SCTP_INITMSG`).
pub fn set_outgoing_streams(socket: BorrowedFd<'_>, streams: u16) -> io::Result<()> {
    // 0 leaves the system's value.
    let init = libc::sctp_initmsg {
        sinit_num_ostreams: streams,
        sinit_max_instreams: 0,
        sinit_max_attempts: 0,
        sinit_max_init_timeo: 0,
    };
    sockopt::set(socket, LEVEL, libc::SCTP_INITMSG, &init)
}

/// Allows messages longer than a packet (`SCTP_DISABLE_FRAGMENTS`).
pub fn allow_fragments(socket: BorrowedFd<'_>) -> io::Result<()> {
    sockopt::set::<libc::c_int>(socket, LEVEL, libc::SCTP_DISABLE_FRAGMENTS, &0)
}

/// Binds a bound socket to one more address (`SCTP_SOCKOPT_BINDX_ADD`). Its port must be that of the first one, or 0.
pub fn bind_also(socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(v4) => {
            let address = libc::sockaddr_in {
                sin_family: family(libc::AF_INET)?,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            sockopt::set(socket, LEVEL, BINDX_ADD, &address)
        }
        SocketAddr::V6(v6) => {
            let address = libc::sockaddr_in6 {
                sin6_family: family(libc::AF_INET6)?,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            sockopt::set(socket, LEVEL, BINDX_ADD, &address)
        }
    }
}

fn family(number: libc::c_int) -> io::Result<libc::sa_family_t> {
    libc::sa_family_t::try_from(number).map_err(io::Error::other)
}

/// The part of the kernel's view of an association that output shows or decisions need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssocInfo {
    /// The peer's free receive window, without data in flight, in bytes.
    pub peer_window: u32,
    /// DATA chunks sent and not acknowledged.
    pub unacked: u16,
    /// The longest DATA chunk, in bytes.
    pub fragmentation_point: u32,
    /// Congestion window of the primary path, in bytes.
    pub cwnd: u32,
    /// Smoothed round-trip time of the primary path, in milliseconds.
    pub srtt_ms: u32,
    /// MTU of the primary path, in bytes.
    pub mtu: u32,
    /// DATA chunks retransmitted since the association was set up.
    pub retransmitted: u64,
    /// Gaps that the peer's acknowledgements reported since then: chunks that arrived behind one that did not.
    pub gaps: u64,
}

/// `sizeof(struct sctp_status)`.
const STATUS_BYTES: usize = 176;
/// `sizeof(struct sctp_assoc_stats)`.
const STATS_BYTES: usize = 256;

impl AssocInfo {
    /// Reads the state of a connected one-to-one socket (`SCTP_STATUS`, `SCTP_GET_ASSOC_STATS`).
    pub fn read(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let status = get::<STATUS_BYTES>(socket, libc::SCTP_STATUS)?;
        let stats = get::<STATS_BYTES>(socket, GET_ASSOC_STATS)?;
        Ok(Self::parse(&status, &stats))
    }

    fn parse(status: &[u8; STATUS_BYTES], stats: &[u8; STATS_BYTES]) -> Self {
        let u32_at = |offset| u32::from_ne_bytes(part(status, offset));
        Self {
            peer_window: u32_at(8),
            unacked: u16::from_ne_bytes(part(status, 12)),
            fragmentation_point: u32_at(20),
            // From here on `sstat_primary`, which is packed: its address begins behind four bytes of id.
            cwnd: u32_at(160),
            srtt_ms: u32_at(164),
            mtu: u32_at(172),
            retransmitted: u64::from_ne_bytes(part(stats, 176)),
            gaps: u64::from_ne_bytes(part(stats, 200)),
        }
    }
}

/// Some bytes of a structure, or zeros where there are none.
fn part<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let part = bytes.get(offset..offset + N);
    part.and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

/// Reads a structure of `N` bytes; what the kernel does not fill is 0, and so is the id of the association in
/// the request.
fn get<const N: usize>(socket: BorrowedFd<'_>, name: libc::c_int) -> io::Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    sockopt::read(socket, LEVEL, name, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_the_kernels_sizes() {
        assert_eq!(size_of::<AssocValue>(), 8);
        assert_eq!(size_of::<libc::sctp_initmsg>(), 8);
        // struct sctp_paddrinfo: an id, an address and five numbers, packed behind the 24 bytes of the rest.
        assert_eq!(
            STATUS_BYTES,
            24 + 4 + size_of::<libc::sockaddr_storage>() + 20
        );
        assert_eq!(
            STATS_BYTES,
            8 + size_of::<libc::sockaddr_storage>() + 15 * 8
        );
    }

    #[test]
    fn an_association_is_read_at_the_right_places() {
        let mut status = [0; STATUS_BYTES];
        let mut stats = [0; STATS_BYTES];
        for (offset, value) in [(8, 1_u32), (20, 3), (160, 4), (164, 5), (172, 6)] {
            status[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        status[12..14].copy_from_slice(&2_u16.to_ne_bytes());
        stats[176..184].copy_from_slice(&7_u64.to_ne_bytes());
        stats[200..208].copy_from_slice(&8_u64.to_ne_bytes());
        let expected = AssocInfo {
            peer_window: 1,
            unacked: 2,
            fragmentation_point: 3,
            cwnd: 4,
            srtt_ms: 5,
            mtu: 6,
            retransmitted: 7,
            gaps: 8,
        };
        assert_eq!(AssocInfo::parse(&status, &stats), expected);
    }

    #[test]
    fn a_socket_of_another_protocol_has_no_association() {
        use std::os::fd::AsFd;
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(AssocInfo::read(tcp.as_fd()).is_err());
        for address in ["127.0.0.1:0", "[::1]:0"] {
            assert!(bind_also(tcp.as_fd(), address.parse().unwrap()).is_err());
        }
    }
}
