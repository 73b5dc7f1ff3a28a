//! The socket buffers of UDP streams.
//!
//! A receive buffer keeps datagrams while the receiver does not run, so it is large. A send buffer is what holds the
//! sender back, so it is small.

use std::os::fd::AsFd;
use std::time::Duration;

use iperf_model::Buffers;
use iperf_zc::sockopt;
use socket2::Socket;

use crate::error::EngineError;
use crate::net::options::{self, set};
use crate::net::plan::{StreamPlan, StreamSpec};
use crate::net::udp::passage::together;

/// The time that receive buffers should hold at the rate of the test.
const BUFFERED: Duration = Duration::from_millis(10);

/// About what the kernel needs to keep a datagram, besides its payload.
pub(crate) const BOOKKEEPING: u32 = 1280;

/// What the receive buffers of all streams together should hold when the rate is unlimited, in bytes: the time of a
/// sender that fills 50 Gbit/s.
const UNLIMITED_BUFFERS: u32 = 64 << 20;

/// What each of them should hold however many there are and however low the rate is: at low rates it is the time for
/// which a busy machine may leave a receiver waiting. Memory that nothing waits in is not used.
const LARGE_BUFFER: u32 = 4 << 20;

/// What a send buffer should hold when packets have many segments: some of the longest.
const PACKETS_IN_FLIGHT: u32 = 4 * 65_536;

/// Raises the buffer of this end's direction to what the test needs, unless `-w` sets it.
pub(super) fn make_room(
    socket: &Socket,
    plan: &StreamPlan<'_>,
    spec: StreamSpec,
) -> Result<Buffers, EngineError> {
    let kept = options::kept(socket, plan)?;
    if plan.test.socket.window.is_some() {
        return Ok(kept);
    }
    // The kernel reserves twice the requested size, half of it for its own bookkeeping.
    let receive = receive_buffer(plan, spec);
    if kept.rcvbuf / 2 < receive {
        let raised = sockopt::raise_receive_buffer(socket.as_fd(), receive);
        set("SO_RCVBUF", &receive, raised)?;
    }
    let send = send_buffer(plan, spec);
    if kept.sndbuf / 2 < send {
        let raised = sockopt::raise_send_buffer(socket.as_fd(), send);
        set("SO_SNDBUF", &send, raised)?;
    }
    options::kept(socket, plan)
}

/// Bytes that the receive buffer should hold.
fn receive_buffer(plan: &StreamPlan<'_>, spec: StreamSpec) -> u32 {
    let least = two_datagrams(plan);
    if spec.role.sends() {
        return least;
    }
    let by_rate = plan.test.pacing.rate.map_or(u32::MAX, |rate| {
        let bytes = rate.bytes().bytes_in(BUFFERED);
        let datagrams =
            u64::try_from(bytes).unwrap_or(u64::MAX) / u64::from(plan.test.block.max(1));
        let datagrams = datagrams.max(plan.test.pacing.burst.unwrap_or(0).into());
        // Half of what is kept is for bookkeeping, and short datagrams need more.
        let each = plan.test.block.max(plan.test.block.midpoint(BOOKKEEPING));
        u32::try_from(datagrams.saturating_mul(each.into())).unwrap_or(u32::MAX)
    });
    let most = (UNLIMITED_BUFFERS / u32::from(plan.test.streams.max(1))).max(LARGE_BUFFER);
    by_rate.clamp(LARGE_BUFFER, most).max(least)
}

/// Bytes that the send buffer should hold. It is what keeps a sender back when the device is slower, and so must be
/// smaller than the queues before the device: what they have no room for is lost.
fn send_buffer(plan: &StreamPlan<'_>, spec: StreamSpec) -> u32 {
    let least = two_datagrams(plan);
    if spec.role.sends() && together(plan) > 1 {
        least.max(PACKETS_IN_FLIGHT)
    } else {
        least
    }
}

/// So that one can come or go while another is made or read.
fn two_datagrams(plan: &StreamPlan<'_>) -> u32 {
    2 * plan.test.block + 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::udp::tests::{SPEC, config};
    use iperf_model::{BitRate, LocalOptions, Role};

    #[test]
    fn receive_buffers_hold_ten_milliseconds() {
        let receiver = StreamSpec {
            role: Role::Receiver,
            ..SPEC
        };
        let local = LocalOptions::default();
        let of = |rate: Option<u64>, block, streams| {
            let mut test = config();
            test.streams = streams;
            test.block = block;
            test.pacing.rate = rate.map(BitRate::new);
            receive_buffer(&StreamPlan::new(&test, &local), receiver)
        };
        assert_eq!(of(Some(10_000_000_000), 1460, 1), 8561 * 1460);
        assert_eq!(of(Some(1_000_000_000), 64, 1), 19_531 * 672);
        assert_eq!(of(Some(1_048_576), 32_768, 1), LARGE_BUFFER);
        assert_eq!(of(None, 1460, 1), UNLIMITED_BUFFERS);
        assert_eq!(of(None, 1460, 4), UNLIMITED_BUFFERS / 4);
        assert_eq!(of(None, 1460, 128), LARGE_BUFFER);
        let mut test = config();
        test.pacing.rate = None;
        let sender = StreamPlan::new(&test, &local);
        assert_eq!(receive_buffer(&sender, SPEC), two_datagrams(&sender));
    }
}
