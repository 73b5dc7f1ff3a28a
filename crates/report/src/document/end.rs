//! The member `end`: the result of the whole test, without the omitted period.

use iperf_model::{Environment, EnvironmentAfter};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{EndClock, EndExchanges, EndLoad, EndOneWay, Limit};

/// The result of the whole test. Empty for a failed test.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct End {
    /// One element per stream, in order of creation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<EndStream>,
    /// UDP: the sender's bytes and the receiver's losses in one object.
    pub sum: Option<EndSum>,
    /// What was sent; with `--bidir` by the client. UDP: 3.11 and later.
    pub sum_sent: Option<EndSum>,
    /// What of it was received. UDP: 3.11 and later.
    pub sum_received: Option<EndSum>,
    /// `sum` of what the server sent, with `--bidir`.
    pub sum_bidir_reverse: Option<EndSum>,
    /// `sum_sent` of what the server sent, with `--bidir`.
    pub sum_sent_bidir_reverse: Option<EndSum>,
    /// `sum_received` of what the server sent, with `--bidir`.
    pub sum_received_bidir_reverse: Option<EndSum>,
    /// CPU time of both ends.
    pub cpu_utilization_percent: Option<CpuUtilization>,
    /// TCP: congestion control where data was sent.
    pub sender_tcp_congestion: Option<String>,
    /// TCP: congestion control where data was received.
    pub receiver_tcp_congestion: Option<String>,
    /// **Own**: throughput test: what limited it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// **Own**: request/response test: all exchanges.
    pub rr: Option<EndExchanges>,
    /// **Own**, `--probe`: the latency under load.
    pub load: Option<EndLoad>,
    /// **Own**, where one-way delays were measured: the clocks.
    pub clock: Option<EndClock>,
    /// **Own**, `--one-way`: the delays of datagrams, by direction.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub one_way: Vec<EndOneWay>,
    /// **Own**: what is known of both machines when the test is over.
    pub environment: Option<EndEnvironment>,
}

/// **Own**: what is known of both machines when the test is over.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndEnvironment {
    /// Time of this machine's processors, in percent, that the hypervisor gave to others during the test.
    pub steal_percent: Option<f64>,
    /// The same of the peer's machine.
    pub remote_steal_percent: Option<f64>,
    /// The peer's version.
    pub remote_version: Option<String>,
    /// The peer's machine, as in `start.environment`.
    pub remote: Option<Environment>,
}

impl EndEnvironment {
    pub(crate) fn of(after: &EnvironmentAfter) -> Self {
        let remote = after.remote.as_ref();
        Self {
            steal_percent: after.steal_percent,
            remote_steal_percent: remote.and_then(|remote| remote.steal_percent),
            remote_version: remote.and_then(|remote| remote.version.clone()),
            remote: remote.map(|remote| remote.environment.clone()),
        }
    }
}

/// One stream: `udp`, or `sender` and `receiver`.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndStream {
    /// A stream of datagrams.
    pub udp: Option<UdpStream>,
    /// What was sent on a stream of bytes.
    pub sender: Option<StreamSide>,
    /// How much of a file went through (`-F`).
    pub diskfile: Option<DiskFile>,
    /// What was received on a stream of bytes.
    pub receiver: Option<StreamSide>,
}

/// One side of a stream of bytes. A server has 0 bytes for its peer's side.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamSide {
    /// The file descriptor of `start.connected[].socket`.
    pub socket: i64,
    /// 0.
    pub start: f64,
    /// Length of the test on this side, in seconds.
    pub end: f64,
    /// Length of the test in seconds; of a receiver, as this end measured it.
    pub seconds: f64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Over `end`.
    pub bits_per_second: f64,
    /// Segments that were sent again, if the sender counts them.
    pub retransmits: Option<u64>,
    /// Reordering events. 3.20 and later.
    pub reorder: Option<u64>,
    /// Largest congestion window in bytes; 0 where this end receives, as in the fields below.
    pub max_snd_cwnd: Option<u64>,
    /// Largest window of the peer in bytes. 3.10 and later.
    pub max_snd_wnd: Option<u64>,
    /// Largest round-trip time in microseconds.
    pub max_rtt: Option<u64>,
    /// Smallest round-trip time in microseconds.
    pub min_rtt: Option<u64>,
    /// Mean round-trip time in microseconds.
    pub mean_rtt: Option<u64>,
    /// **Own**, receiver: largest low-water mark of the socket in bytes; 0 for none.
    pub rcv_lowat: Option<u64>,
    /// Whether this end sends on the stream: the same on both sides. Absent before 3.7.
    pub sender: Option<bool>,
    /// **Own**: how the bytes were moved, if zero-copy was requested.
    pub zerocopy: Option<Copies>,
    /// **Own**, of this end: what `--io=uring` came to.
    pub io: Option<IoUse>,
}

/// What moved the bytes of a stream in and out of the kernel.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IoUse {
    /// `uring` or `calls`.
    pub used: String,
    /// Why it is not io_uring.
    pub reason: Option<String>,
}

/// How much of a file went through both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskFile {
    /// Bytes.
    pub sent: u64,
    /// Bytes.
    pub received: u64,
    /// Bytes of the file.
    pub size: u64,
    /// `sent` in percent of `size`, rounded down.
    pub percent_sent: u64,
    /// `received` in percent of `size`, rounded down.
    pub percent_received: u64,
    /// The name given to `-F`.
    pub filename: String,
}

/// A stream of datagrams: the sender's bytes and the receiver's losses.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UdpStream {
    /// The file descriptor of `start.connected[].socket`.
    pub socket: i64,
    /// 0.
    pub start: f64,
    /// Length of the test at the sender, in seconds.
    pub end: f64,
    /// The same.
    pub seconds: f64,
    /// Bytes sent; 0 on a server that receives.
    pub bytes: u64,
    /// Of the bytes sent.
    pub bits_per_second: f64,
    /// Smoothed jitter in milliseconds.
    pub jitter_ms: f64,
    /// Datagrams lost; late ones make it negative.
    pub lost_packets: i64,
    /// Datagrams sent, or else received.
    pub packets: u64,
    /// Lost datagrams in percent of those sent; 0 if that is not known.
    pub lost_percent: f64,
    /// Datagrams that arrived late or twice; 0 where this end sends.
    pub out_of_order: Option<u64>,
    /// **Own**: datagrams that are known to have arrived before. Part of `out_of_order`.
    pub duplicates: Option<u64>,
    /// **Own**: datagrams that found no room in the receiver's socket, omitted ones included. Part of `lost_packets`.
    pub socket_drops: Option<u64>,
    /// **Own**: how this end moved the datagrams: `gso`, `sendmmsg`, `send`, `gro`, `recvmmsg` or `recv`.
    pub moved_by: Option<String>,
    /// **Own**, receiver: the longest sleep that let datagrams gather, in microseconds; 0 for none.
    pub rcv_nap_us: Option<u64>,
    /// Whether this end sends. Absent before 3.7.
    pub sender: Option<bool>,
    /// **Own**: how the bytes were moved, if zero-copy was requested.
    pub zerocopy: Option<UdpCopies>,
    /// **Own**, of this end: what `--io=uring` came to.
    pub io: Option<IoUse>,
}

/// All streams of one direction.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndSum {
    /// 0.
    pub start: f64,
    /// Length of the test in seconds.
    pub end: f64,
    /// The same.
    pub seconds: f64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Over `end`.
    pub bits_per_second: f64,
    /// Segments that were sent again, if the sender counts them.
    pub retransmits: Option<u64>,
    /// UDP: mean jitter of the streams in milliseconds.
    pub jitter_ms: Option<f64>,
    /// UDP: datagrams lost; late ones make it negative.
    pub lost_packets: Option<i64>,
    /// UDP: datagrams sent or received.
    pub packets: Option<u64>,
    /// UDP: lost datagrams in percent of `packets`.
    pub lost_percent: Option<f64>,
    /// **Own**, `sum_received` of UDP: datagrams with a bad checksum that reached the receiver's network namespace, omitted
    /// ones included.
    pub checksum_errors: Option<u64>,
    /// **Own**, `sum_sent` and `sum_received` of several streams: [`jain_index`](super::jain_index) of the bytes of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jain_index: Option<f64>,
    /// Whether this end sends; in `sum_sent` and `sum_received` of UDP always true and false. Absent before 3.7.
    pub sender: Option<bool>,
    /// **Own**: how the bytes of all streams were moved, if zero-copy was requested.
    pub zerocopy: Option<Copies>,
}

/// **Own**: how the bytes went through one end, omitted ones included.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Copies {
    /// The requested mode.
    pub requested: String,
    /// The mode in use at the end.
    pub used: String,
    /// Bytes that were not copied.
    pub bytes_not_copied: u64,
    /// Bytes that were copied.
    pub bytes_copied: u64,
    /// System calls that moved bytes.
    pub calls: u64,
    /// Calls that mapped bytes.
    pub mappings: u64,
    /// Mean bytes per mapping; 0 without any.
    pub bytes_per_mapping: u64,
    /// Sends whose end the kernel reported.
    pub completions: u64,
    /// Those of them that the kernel copied after all.
    pub completions_copied: u64,
    /// CPU time of the streams' threads in seconds per 10⁹ bytes.
    pub cpu_seconds_per_gigabyte: f64,
    /// Why it is not the requested mode.
    pub reason: Option<String>,
}

/// **Own**: how datagrams went through both ends.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UdpCopies {
    /// Through the sending end.
    pub sender: Option<Copies>,
    /// Through the receiving end.
    pub receiver: Option<Copies>,
}

/// CPU time in percent of one CPU. What the peer used is 0 on a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUtilization {
    /// This end: user and system time.
    pub host_total: f64,
    /// This end: user time.
    pub host_user: f64,
    /// This end: system time.
    pub host_system: f64,
    /// The peer: user and system time.
    pub remote_total: f64,
    /// The peer: user time.
    pub remote_user: f64,
    /// The peer: system time.
    pub remote_system: f64,
}
