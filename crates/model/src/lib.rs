//! The vocabulary of the program: plain data without behaviour that needs a socket, a clock or a terminal.
//!
//! Data flows one way through these types:
//!
//! ```text
//! ClientConfig / ServerConfig ──► TestConfig ──► StreamInfo ──► Interval … Interval ──► RunTotals ──► Summary
//!                                                └───────────────── each an Event for a Sink ────────────┘
//! ```
//!
//! Every other crate depends on this one; it depends on no other.

mod config;
mod delays;
mod endpoint;
pub mod environment;
mod event;
mod exchange;
mod latencies;
mod limitation;
mod moment;
mod placement;
mod rate;
mod reason;
mod result;
mod role;
mod sample;
mod server_counters;
mod stream_number;
mod test;
pub mod units;
mod zerocopy;

pub use config::{
    ClientConfig, Concurrency, Credentials, Family, Io, Keepalive, LocalOptions, RateLimit,
    SctpOptions, ServerAuth, ServerConfig, SocketSize,
};
pub use delays::{ClockRelation, Delays, Load, OneWayDelays, Probe, ProbeMethod, Probes};
pub use endpoint::{
    CID_ANY, Carrier, Endpoint, Listen, SocketName, VmmSocket, VmmSocketKind, VsockAddress,
};
pub use environment::{Environment, EnvironmentAfter, RemoteEnvironment};
pub use event::{
    Buffers, Event, Failure, FailureKind, Outputs, Peer, ServerOutput, Sink, StreamInfo, TestBegan,
    TestId, TestStarted,
};
pub use exchange::{Exchange, ExchangeCounts};
pub use latencies::Latencies;
pub use limitation::{Cause, Limitation};
pub use moment::since_1970;
pub use placement::{CpuList, MAX_CPU, NoPlacement, Placement};
pub use rate::{BitRate, ByteRate};
pub use reason::reason;
pub use result::{
    Batching, ByteTotals, CpuUsage, DatagramTotals, Detail, FileProgress, IoReport, RunTotals,
    StreamOutcome, StreamSummary, Summary, TcpTotals,
};
pub use role::Role;
pub use sample::{DatagramSample, Interval, StreamInterval, TcpSample};
pub use server_counters::ServerCounters;
pub use stream_number::stream_number;
pub use test::{
    Direction, Limit, Pacing, Payload, SocketOptions, TestConfig, Transport, UdpOptions,
};
pub use zerocopy::{CopyMode, CopyReport, ReceiveMode, SendMode, ZeroCopy};

/// The version that parsers of iperf3's output look for, followed by this program's own.
///
/// It is sent on the wire as `client_version` and begins `start.version` in JSON.
pub const VERSION: &str = concat!("3.22 (iperf-rs ", env!("CARGO_PKG_VERSION"), ")");

/// The port that iperf3 servers listen on.
pub const DEFAULT_PORT: u16 = 5201;

/// The most streams per direction that a test may have.
pub const MAX_STREAMS: u16 = 128;

/// The most streams of a direction (`-P`) between two ends of this program.
pub const MAX_OWN_STREAMS: u16 = 10_000;

/// The largest block of a byte stream in bytes, in iperf3.
pub const MAX_BLOCK: u32 = 1 << 20;

/// The largest block between two ends of this program.
pub const MAX_OWN_BLOCK: u32 = 16 << 20;

/// The bytes of one block of each stream, all together, if blocks are larger than [`MAX_BLOCK`].
pub const MAX_OWN_BLOCKS: u64 = 256 << 20;
