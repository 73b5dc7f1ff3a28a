//! Probes beside a test: they measure the latency of the path while it carries data, and the offset of the ends'
//! clocks.
//!
//! ```text
//! Prober ── probe, by a schedule ──► Answerer      on a connection of their own, opened before the data streams
//!    │ ◄──────── answer, with the server's times ────────┘
//!    ├─► Probes, for each period
//!    └─► PeerClock ◄── HeaderReader (the delay of each datagram), at both ends
//! ```
//!
//! With an iperf3 server there are no answers: [`KernelProber`] reads the round-trip times that the kernel keeps.

mod answerer;
mod clocks;
mod kernel;
mod one_way;
mod period;
mod prober;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};

use iperf_model::{Exchange, SocketOptions, TestConfig, Transport};
use iperf_proto::cookie::Cookie;
use iperf_proto::probe::LENGTH;

pub use answerer::Answerer;
pub use clocks::PeerClock;
pub use kernel::KernelProber;
pub(crate) use one_way::OneWay;
pub use period::Period;
pub use prober::Prober;

/// The test that the connection of the probes belongs to: the same path, without the options that shape a data stream.
pub fn config_of(test: &TestConfig) -> TestConfig {
    let transport = match test.transport {
        Transport::Tcp | Transport::Mptcp | Transport::Sctp => Transport::Tcp,
        Transport::Udp => Transport::Udp,
        Transport::Vsock | Transport::VsockSeqpacket => Transport::Vsock,
    };
    let length = u32::try_from(LENGTH).unwrap_or(u32::MAX);
    let tos = test.probe.and_then(|probe| probe.tos);
    TestConfig {
        direction: iperf_model::Direction::Forward,
        block: length,
        socket: SocketOptions {
            no_delay: true,
            tos: tos.unwrap_or(test.socket.tos),
            flow_label: test.socket.flow_label,
            ..SocketOptions::default()
        },
        // Datagrams go one by one.
        exchange: Some(Exchange::new(length, length)),
        ..TestConfig::new(transport)
    }
}

/// Identifies the monotonic clock of this machine, which restarts with each boot, by a value that only ends with the
/// same clock can recognise.
pub fn clock_id(cookie: &Cookie) -> Option<String> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let mut hasher = DefaultHasher::new();
    cookie.as_bytes().hash(&mut hasher);
    boot.hash(&mut hasher);
    Some(format!("{:016x}", hasher.finish()))
}
