//! Delays that are measured beside a throughput test: by probes, and by the times in datagrams.

use std::sync::Arc;

use crate::{Latencies, Role};

/// What a test has for measuring delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Probes per second.
    pub rate: u16,
    /// The type of service of the probes and of their answers (`--probe-dscp`); otherwise the test's.
    pub tos: Option<u8>,
    /// The latency under load is reported, beside that before and after (`--probe`). Otherwise the probes serve the clocks
    /// alone.
    pub reports: bool,
    /// Receivers of datagrams measure the delay of each (`--one-way`).
    pub one_way: bool,
}

impl Probe {
    /// The highest rate.
    pub const MAX_RATE: u16 = 1000;
    /// The rate where none is given.
    pub const RATE: u16 = 50;
}

/// How the latency under load was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMethod {
    /// By small messages on a connection of their own, which the peer answers.
    Messages,
    /// By the round-trip time that the kernel smooths for each data stream.
    KernelRoundTrip,
}

/// The probes of one period: before the load, during it, after it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probes {
    /// How many were sent.
    pub sent: u64,
    /// How many of them were not answered.
    pub lost: u64,
    /// From sending a probe to its answer.
    pub round_trip: Latencies,
    /// Client to server.
    pub up: Option<Latencies>,
    /// Server to client.
    pub down: Option<Latencies>,
}

/// The latency under load.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// How it was measured.
    pub method: ProbeMethod,
    /// Before the load.
    pub idle: Probes,
    /// While data flowed, without the omitted period.
    pub loaded: Probes,
    /// After the load.
    pub after: Probes,
}

/// How the clocks of both ends relate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClockRelation {
    /// They are one clock.
    pub exact: bool,
    /// The server's time less the client's, in nanoseconds.
    pub offset: i64,
    /// How far the offset may be off, in nanoseconds, at any time while delays were measured.
    pub error: u64,
    /// How fast the offset grows, in millionths, where that could be measured.
    pub drift_ppm: Option<f64>,
}

/// The delays of the datagrams that an end received.
#[derive(Clone, Debug, PartialEq)]
pub struct OneWayDelays {
    /// What this end did with the datagrams.
    pub role: Role,
    /// From the time in a datagram to its arrival.
    pub delays: Arc<Latencies>,
}

/// All delays of a test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delays {
    /// `--probe`: the latency under load.
    pub load: Option<Load>,
    /// Where one-way delays were measured: the clocks.
    pub clock: Option<ClockRelation>,
    /// `--one-way`: the delays of datagrams, by direction.
    pub one_way: Vec<OneWayDelays>,
}
