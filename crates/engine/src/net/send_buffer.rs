//! The send buffer of a TCP stream (`--sndbuf`), which is small if both ends are on this machine.
//!
//! A receiver with much unread data delays its acknowledgements (`__tcp_ack_snd_check`, net/ipv4/tcp_input.c). So on a
//! path without delay, a stream's two sockets together hold about as much as its send buffer. The kernel would let that
//! grow to several MiB: the data of a few streams would outgrow the processors' caches, and each byte would go to
//! memory and back. A path with delay needs the room, so there the kernel chooses.

use iperf_model::{Buffers, ReceiveMode, SocketSize, TestConfig};
use socket2::Socket;

use crate::error::EngineError;
use crate::nearby::is_nearby;
use crate::net::options::{self, set};
use crate::net::plan::StreamPlan;

/// Bounds of the send buffer requested for one stream, in bytes. Between them it is half a block: the kernel doubles the value,
/// so a block fits.
///
/// The lower one holds one segment of loopback (65,483 bytes) and a part of the next. Below about 40 KiB not even one fits: the
/// receiver delays the acknowledgement of what is less than a segment, and the stream comes to a crawl.
const LEAST: usize = 64 * 1024;
const MOST: usize = 512 * 1024;

/// Sets the send buffer of a connected stream that this end sends on; returns the sizes that the kernel kept.
pub(super) fn size(
    socket: &Socket,
    plan: &StreamPlan<'_>,
    kept: Buffers,
) -> Result<Buffers, EngineError> {
    let bytes = match plan.local.send_buffer {
        SocketSize::Bytes(bytes) => bytes as usize,
        SocketSize::Auto if is_throughput(plan) && is_nearby(socket) => bytes(plan.test),
        SocketSize::Auto | SocketSize::Off => return Ok(kept),
    };
    set("SO_SNDBUF", &bytes, socket.set_send_buffer_size(bytes))?;
    options::buffers(socket, plan.test.socket.window).map_err(EngineError::system(
        "read the sizes of the socket's buffers",
    ))
}

/// A paced stream, which sends several blocks at once and then sleeps, would wait for room in between. One whose receiver splices
/// has a third of its rate with the small buffer (docs/experiments.md).
fn bytes(test: &TestConfig) -> usize {
    if test.pacing.rate.is_some() || test.zerocopy.receive == ReceiveMode::Splice {
        MOST
    } else {
        (test.block as usize / 2).clamp(LEAST, MOST)
    }
}

/// Whether the test fills its buffers, whose sizes are left to this program. A request that does not fit into its buffer
/// takes longer: one of 1 MiB by a quarter.
fn is_throughput(plan: &StreamPlan<'_>) -> bool {
    plan.test.socket.window.is_none() && plan.test.exchange.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::{BitRate, Exchange, LocalOptions, Transport};
    use std::net::{TcpListener, TcpStream};

    /// The size of a send buffer, before and after.
    fn sized(buffer: SocketSize, window: Option<u32>) -> (u32, u32) {
        let mut test = TestConfig::new(Transport::Tcp);
        test.socket.window = window;
        sized_in(&test, buffer)
    }

    fn sized_in(test: &TestConfig, buffer: SocketSize) -> (u32, u32) {
        let local = LocalOptions {
            send_buffer: buffer,
            ..LocalOptions::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::from(stream);
        let before = options::buffers(&socket, None).unwrap();
        let after = size(&socket, &StreamPlan::new(test, &local), before).unwrap();
        assert_eq!(after, options::buffers(&socket, None).unwrap());
        (before.sndbuf, after.sndbuf)
    }

    #[test]
    fn a_stream_over_loopback_has_a_small_buffer_that_holds_a_block() {
        let (_, sndbuf) = sized(SocketSize::Auto, None);
        assert_eq!(sndbuf as usize, 2 * LEAST);
        let mut test = TestConfig::new(Transport::Tcp);
        for (block, buffer) in [(64, LEAST), (300_000, 150_000), (16 << 20, MOST)] {
            test.block = block;
            let (_, sndbuf) = sized_in(&test, SocketSize::Auto);
            assert_eq!(sndbuf as usize, 2 * buffer, "{block}");
        }
    }

    #[test]
    fn a_paced_stream_has_room_for_what_it_sends_at_once() {
        let mut test = TestConfig::new(Transport::Tcp);
        test.pacing.rate = Some(BitRate::new(1_000_000_000));
        let (_, sndbuf) = sized_in(&test, SocketSize::Auto);
        assert_eq!(sndbuf as usize, 2 * MOST);
    }

    #[test]
    fn a_receiver_that_splices_has_a_sender_with_room() {
        let mut test = TestConfig::new(Transport::Tcp);
        test.zerocopy.receive = ReceiveMode::Splice;
        let (_, sndbuf) = sized_in(&test, SocketSize::Auto);
        assert_eq!(sndbuf as usize, 2 * MOST);
    }

    #[test]
    fn requests_have_the_buffer_of_the_kernel() {
        let mut test = TestConfig::new(Transport::Tcp);
        test.exchange = Some(Exchange::new(1, 1));
        let (before, after) = sized_in(&test, SocketSize::Auto);
        assert_eq!(before, after);
    }

    #[test]
    fn a_requested_buffer_is_left_to_the_kernel() {
        let (before, after) = sized(SocketSize::Auto, Some(100_000));
        assert_eq!(before, after);
        let (before, after) = sized(SocketSize::Off, None);
        assert_eq!(before, after);
        let (_, after) = sized(SocketSize::Bytes(30_000), None);
        assert_eq!(after, 60_000);
    }
}
