//! How datagrams go through the kernel: one by one, many in one call, or many in one packet.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use iperf_model::{Batching, reason};
use iperf_zc::udp::Receive;
use iperf_zc::{sockopt, udp};
use socket2::Socket;
use tracing::debug;

use crate::datagrams::Passage;
use crate::net::{StreamPlan, StreamSpec};
use crate::worker::quantum::{BlockKind, LEAST_TOGETHER, quantum};

/// Bytes of the headers of a datagram over IPv4, without options, and over IPv6.
const HEADERS_V4: usize = 20 + 8;
const HEADERS_V6: usize = 40 + 8;

/// Chooses how datagrams go through the kernel, and sets the socket up for it.
///
/// Offload is on where it is asked for, and by itself where many datagrams go together, as far as the kernel has it. A
/// sender's segments must fit the path, for they are never fragments.
pub(super) fn choose_passage(
    socket: &Socket,
    plan: &StreamPlan,
    spec: StreamSpec,
    peer: IpAddr,
) -> Passage {
    let offloads = || match turn_on_offload(socket, plan, spec) {
        Ok(()) => true,
        Err(error) if plan.gsro => {
            let reason = reason(&error);
            let text = format!("this kernel refuses UDP offload (--gsro): {reason}");
            plan.warnings.add(text);
            false
        }
        Err(error) => {
            debug!("no UDP offload here: {error}");
            false
        }
    };
    if spec.role.sends() {
        let kind = kind(plan);
        let together = together(plan);
        let wanted = plan.gsro || together > 1;
        let possible =
            2 * plan.block as usize <= udp::MAX_BYTES && fits_path(socket, plan.block, peer);
        let batching = if wanted && possible && offloads() {
            Batching::Packets
        } else if together > 1 {
            Batching::Calls
        } else {
            Batching::Nothing
        };
        Passage {
            batching,
            together,
            kind,
            ..Passage::default()
        }
    } else {
        // Each header of joined datagrams lies behind a payload, which would have to be copied.
        let headers_do = plan.skip_rx_copy && !plan.gsro;
        let receive = if headers_do {
            Receive::Header
        } else if (plan.gsro || !plan.no_gso) && offloads() {
            Receive::Merged
        } else {
            Receive::Whole
        };
        Passage {
            receive,
            ..Passage::default()
        }
    }
}

fn turn_on_offload(socket: &Socket, plan: &StreamPlan, spec: StreamSpec) -> io::Result<()> {
    if spec.role.sends() {
        let block = u16::try_from(plan.block).unwrap_or(u16::MAX);
        sockopt::set_udp_segment(socket.as_fd(), block)
    } else {
        sockopt::set_udp_gro(socket.as_fd())
    }
}

/// Whether datagrams may go together.
fn kind(plan: &StreamPlan) -> BlockKind {
    if plan.no_gso && !plan.gsro {
        BlockKind::LoneDatagram
    } else {
        BlockKind::Datagram
    }
}

/// How many datagrams a sender may hand over at once, so that no burst is longer than those of its pacing.
pub(super) fn together(plan: &StreamPlan) -> usize {
    let kind = kind(plan);
    if kind == BlockKind::LoneDatagram {
        return 1;
    }
    let paced = plan
        .rate
        .map(|rate| quantum(rate, plan.burst, plan.block, kind));
    // The system spreads packets, and one with many segments is one packet.
    let by_system = plan
        .fq_rate
        .map(|rate| quantum(rate, None, plan.block, kind));
    let least = paced.into_iter().chain(by_system).min();
    match least {
        Some(blocks) if blocks < LEAST_TOGETHER => 1,
        Some(blocks) => blocks as usize,
        None => usize::MAX,
    }
}

/// Whether a datagram fits into one packet, as far as the kernel knows the path.
fn fits_path(socket: &Socket, block: u32, peer: IpAddr) -> bool {
    // A socket for IPv6 whose peer has an IPv4 address sends IPv4.
    let headers = if peer.to_canonical().is_ipv4() {
        HEADERS_V4
    } else {
        HEADERS_V6
    };
    let mtu = sockopt::path_mtu(socket.as_fd(), peer.is_ipv4());
    // Where the kernel does not say, the first call will.
    mtu.map_or(true, |mtu| block as usize + headers <= mtu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::udp::listen;
    use crate::net::udp::tests::{SPEC, plan};
    use iperf_model::Role;

    #[test]
    fn no_more_go_together_than_pacing_allows() {
        let of = |rate, burst, fq_rate| {
            together(&StreamPlan {
                block: 1448,
                rate,
                burst,
                fq_rate,
                ..plan()
            })
        };
        assert_eq!(of(None, None, None), usize::MAX);
        assert_eq!(of(Some(1_000_000_000), None, None), 10);
        assert_eq!(of(Some(10_000_000), None, None), 1);
        assert_eq!(of(Some(10_000_000), Some(7), None), 7);
        assert_eq!(of(None, None, Some(1_000_000_000)), 10);
        assert_eq!(of(Some(1_000_000_000), None, Some(100_000_000)), 1);
        assert_eq!(of(Some(2_000_000_000), None, Some(1_000_000_000)), 10);
        // Two or three that go together spare little, and a short queue drops them.
        assert_eq!(of(Some(10_000_000), Some(3), None), 1);
        assert_eq!(of(Some(500_000_000), None, None), 1);
    }

    /// The passage of a stream to a socket on loopback.
    fn passage(sending: bool, change: impl FnOnce(&mut StreamPlan)) -> Passage {
        let here = "127.0.0.1:0".parse().unwrap();
        let socket = listen(here, None).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        let mut plan = StreamPlan {
            block: 1448,
            rate: None,
            ..plan()
        };
        change(&mut plan);
        let spec = StreamSpec {
            role: Role::of(sending),
            ..SPEC
        };
        choose_passage(&socket, &plan, spec, here.ip())
    }

    #[test]
    fn many_datagrams_that_go_together_are_one_packet_unless_forbidden() {
        let batching = |change: fn(&mut StreamPlan)| passage(true, change).batching;
        assert_eq!(batching(|_| ()), Batching::Packets);
        assert_eq!(batching(|plan| plan.no_gso = true), Batching::Nothing);
        let paced = |plan: &mut StreamPlan| {
            plan.rate = Some(1_000_000_000);
            plan.no_gso = true;
        };
        assert_eq!(batching(paced), Batching::Nothing);
        assert_eq!(
            batching(|plan| plan.rate = Some(10_000_000)),
            Batching::Nothing
        );
        let asked = |plan: &mut StreamPlan| {
            plan.rate = Some(10_000_000);
            plan.gsro = true;
            plan.no_gso = true;
        };
        assert_eq!(batching(asked), Batching::Packets);
        // Two do not fit.
        assert_eq!(batching(|plan| plan.block = 40_000), Batching::Calls);
    }

    #[test]
    fn receivers_take_joined_datagrams_unless_headers_do() {
        let receive = |change: fn(&mut StreamPlan)| passage(false, change).receive;
        assert_eq!(receive(|_| ()), Receive::Merged);
        assert_eq!(receive(|plan| plan.no_gso = true), Receive::Whole);
        assert_eq!(receive(|plan| plan.skip_rx_copy = true), Receive::Header);
    }

    #[test]
    fn segments_longer_than_the_path_takes_are_no_segments() {
        let here = "127.0.0.1:0".parse().unwrap();
        let socket = listen(here, None).unwrap();
        let to = here.ip();
        // Unknown until it is connected.
        assert!(fits_path(&socket, 65_507, to));
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        assert!(fits_path(&socket, 1448, to));
        assert!(
            !fits_path(&socket, 65_536, to),
            "loopback has an MTU of 65536"
        );
    }
}
