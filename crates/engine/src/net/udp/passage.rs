//! How datagrams go through the kernel: one by one, many in one call, or many in one packet.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use iperf_model::{Batching, ReceiveMode, reason};
use iperf_zc::udp::Receive;
use iperf_zc::{sockopt, udp};
use socket2::Socket;
use tracing::debug;

use crate::datagrams::Passage;
use crate::net::plan::{StreamPlan, StreamSpec};
use crate::worker::quantum::{BlockKind, LEAST_TOGETHER, quantum};

/// Bytes of the headers of a datagram over IPv4, without options, and over IPv6.
const HEADERS_V4: usize = 20 + 8;
const HEADERS_V6: usize = 40 + 8;

/// Chooses how datagrams go through the kernel, and sets the socket up for it.
///
/// Offload is on where it is requested, and by itself where many datagrams go together, as far as the kernel has it. A
/// sender's segments must fit the path, for they are never fragments.
pub(super) fn choose_passage(
    socket: &Socket,
    plan: &StreamPlan<'_>,
    spec: StreamSpec,
    peer: IpAddr,
) -> Passage {
    let offloads = || match turn_on_offload(socket, plan, spec) {
        Ok(()) => true,
        Err(error) if plan.test.udp.gsro => {
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
        let wanted = plan.test.udp.gsro || together > 1;
        let possible = 2 * plan.test.block as usize <= udp::MAX_BYTES
            && fits_path(socket, plan.test.block, peer);
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
        let headers_do = plan.test.zerocopy.receive == ReceiveMode::Trunc && !plan.test.udp.gsro;
        let receive = if headers_do {
            Receive::Header
        } else if (plan.test.udp.gsro || !plan.has_lone_datagrams()) && offloads() {
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

fn turn_on_offload(socket: &Socket, plan: &StreamPlan<'_>, spec: StreamSpec) -> io::Result<()> {
    if spec.role.sends() {
        let block = u16::try_from(plan.test.block).unwrap_or(u16::MAX);
        sockopt::set_udp_segment(socket.as_fd(), block)
    } else {
        sockopt::set_udp_gro(socket.as_fd())
    }
}

/// Whether datagrams may go together.
fn kind(plan: &StreamPlan<'_>) -> BlockKind {
    if plan.has_lone_datagrams() && !plan.test.udp.gsro {
        BlockKind::LoneDatagram
    } else {
        BlockKind::Datagram
    }
}

/// How many datagrams a sender may hand over at once, so that no burst is longer than those of its pacing.
pub(super) fn together(plan: &StreamPlan<'_>) -> usize {
    let kind = kind(plan);
    if kind == BlockKind::LoneDatagram {
        return 1;
    }
    let paced = plan
        .test
        .pacing
        .rate
        .map(|rate| quantum(rate, plan.test.pacing.burst, plan.test.block, kind));
    // The system spreads packets, and one with many segments is one packet.
    let by_system = plan
        .test
        .pacing
        .fq_rate
        .map(|rate| quantum(rate, None, plan.test.block, kind));
    let least = paced.into_iter().chain(by_system).min();
    match least {
        Some(blocks) if blocks < LEAST_TOGETHER => 1,
        Some(blocks) => blocks as usize,
        None => usize::MAX,
    }
}

/// Whether a datagram fits into one packet, by the path MTU that the kernel reports.
fn fits_path(socket: &Socket, block: u32, peer: IpAddr) -> bool {
    // A socket for IPv6 whose peer has an IPv4 address sends IPv4.
    let headers = if peer.to_canonical().is_ipv4() {
        HEADERS_V4
    } else {
        HEADERS_V6
    };
    let mtu = sockopt::path_mtu(socket.as_fd(), peer.is_ipv4());
    // Where the kernel does not know the MTU, the first call will find out.
    mtu.map_or(true, |mtu| block as usize + headers <= mtu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::udp::listen;
    use crate::net::udp::tests::{SPEC, config};
    use iperf_model::{BitRate, LocalOptions, Role, TestConfig};

    #[test]
    fn no_more_go_together_than_pacing_allows() {
        let of = |rate: Option<u64>, burst, fq_rate: Option<u64>| {
            let mut test = config();
            test.block = 1448;
            test.pacing.rate = rate.map(BitRate::new);
            test.pacing.burst = burst;
            test.pacing.fq_rate = fq_rate.map(BitRate::new);
            together(&StreamPlan::new(&test, &LocalOptions::default()))
        };
        assert_eq!(of(None, None, None), usize::MAX);
        assert_eq!(of(Some(1_000_000_000), None, None), 10);
        assert_eq!(of(Some(10_000_000), None, None), 1);
        assert_eq!(of(Some(10_000_000), Some(7), None), 7);
        assert_eq!(of(None, None, Some(1_000_000_000)), 10);
        assert_eq!(of(Some(1_000_000_000), None, Some(100_000_000)), 1);
        assert_eq!(of(Some(2_000_000_000), None, Some(1_000_000_000)), 10);
        // A batch of two or three saves little, and a short queue drops it.
        assert_eq!(of(Some(10_000_000), Some(3), None), 1);
        assert_eq!(of(Some(500_000_000), None, None), 1);
    }

    /// The passage of a stream to a socket on loopback.
    fn passage(sending: bool, change: impl FnOnce(&mut TestConfig, &mut LocalOptions)) -> Passage {
        let here = "127.0.0.1:0".parse().unwrap();
        let socket = listen(here, None).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        let (mut test, mut local) = (config(), LocalOptions::default());
        test.block = 1448;
        test.pacing.rate = None;
        change(&mut test, &mut local);
        let plan = StreamPlan::new(&test, &local);
        let spec = StreamSpec {
            role: Role::of(sending),
            ..SPEC
        };
        choose_passage(&socket, &plan, spec, here.ip())
    }

    #[test]
    fn many_datagrams_that_go_together_are_one_packet_unless_forbidden() {
        let batching =
            |change: fn(&mut TestConfig, &mut LocalOptions)| passage(true, change).batching;
        assert_eq!(batching(|_, _| ()), Batching::Packets);
        assert_eq!(batching(|_, local| local.no_gso = true), Batching::Nothing);
        let paced = |test: &mut TestConfig, local: &mut LocalOptions| {
            test.pacing.rate = Some(BitRate::new(1_000_000_000));
            local.no_gso = true;
        };
        assert_eq!(batching(paced), Batching::Nothing);
        assert_eq!(
            batching(|test, _| test.pacing.rate = Some(BitRate::new(10_000_000))),
            Batching::Nothing
        );
        let requested = |test: &mut TestConfig, local: &mut LocalOptions| {
            test.pacing.rate = Some(BitRate::new(10_000_000));
            test.udp.gsro = true;
            local.no_gso = true;
        };
        assert_eq!(batching(requested), Batching::Packets);
        // Two do not fit.
        assert_eq!(batching(|test, _| test.block = 40_000), Batching::Calls);
    }

    #[test]
    fn receivers_take_joined_datagrams_unless_headers_do() {
        let receive =
            |change: fn(&mut TestConfig, &mut LocalOptions)| passage(false, change).receive;
        assert_eq!(receive(|_, _| ()), Receive::Merged);
        assert_eq!(receive(|_, local| local.no_gso = true), Receive::Whole);
        assert_eq!(
            receive(|test, _| test.zerocopy.receive = ReceiveMode::Trunc),
            Receive::Header
        );
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
