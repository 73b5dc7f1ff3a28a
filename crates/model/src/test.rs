//! What both ends of a test agree on: the content of the parameter exchange, as types that hold only valid values.

use std::time::Duration;

use crate::{
    BitRate, Exchange, MAX_BLOCK, MAX_OWN_BLOCK, MAX_OWN_BLOCKS, MAX_OWN_STREAMS, MAX_STREAMS,
    Placement, Probe, Role, ZeroCopy,
};

/// How data streams travel. The control connection is always TCP for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain TCP.
    Tcp,
    /// Multipath TCP: TCP's behaviour on sockets of protocol 262.
    Mptcp,
    /// UDP datagrams with a numbered header.
    Udp,
    /// One-to-one SCTP associations.
    Sctp,
    /// `AF_VSOCK` streams.
    Vsock,
    /// `AF_VSOCK` sockets that keep messages apart (`SOCK_SEQPACKET`): a block is one.
    VsockSeqpacket,
}

impl Transport {
    /// The name in `start.test_start.protocol` and in the "Starting Test" line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp | Self::Mptcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Vsock | Self::VsockSeqpacket => "VSOCK",
        }
    }

    /// Whether the kernel keeps `tcp_info` for the data sockets.
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Mptcp)
    }

    /// The most streams of a direction: with more than [`MAX_STREAMS`] they share threads, which byte streams can.
    pub fn most_streams(self) -> u16 {
        match self {
            Self::Tcp | Self::Mptcp | Self::Vsock => MAX_OWN_STREAMS,
            Self::Udp | Self::Sctp | Self::VsockSeqpacket => MAX_STREAMS,
        }
    }

    /// The largest block in bytes. One of more than [`MAX_BLOCK`] needs this program at both ends; messages are not
    /// that long.
    pub fn largest_block(self) -> u32 {
        match self {
            Self::Tcp | Self::Mptcp | Self::Vsock => MAX_OWN_BLOCK,
            Self::Sctp | Self::VsockSeqpacket => MAX_BLOCK,
            Self::Udp => 65_507,
        }
    }

    /// Whether it goes between virtual machines, and its control connection too.
    pub fn is_vsock(self) -> bool {
        matches!(self, Self::Vsock | Self::VsockSeqpacket)
    }

    /// The default block size in bytes. UDP derives its own from the MSS of the
    /// control connection and falls back to this.
    pub fn default_block(self) -> u32 {
        match self {
            Self::Tcp | Self::Mptcp => 128 * 1024,
            Self::Udp => 1460,
            Self::Sctp | Self::Vsock | Self::VsockSeqpacket => 64 * 1024,
        }
    }
}

/// Which end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// The client sends, the server receives.
    #[default]
    Forward,
    /// The server sends (`-R`).
    Reverse,
    /// Both send, each on streams of its own (`--bidir`).
    Bidirectional,
}

impl Direction {
    /// Whether the client has sending streams.
    pub fn client_sends(self) -> bool {
        self != Self::Reverse
    }

    /// Whether the server has sending streams.
    pub fn server_sends(self) -> bool {
        self != Self::Forward
    }
}

/// What ends a test. Totals are over all streams of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After this many seconds, not counting the omitted ones.
    Seconds(u32),
    /// After this many bytes.
    Bytes(u64),
    /// After this many blocks (datagrams over UDP).
    Blocks(u64),
    /// Never; only a signal ends it (`-t 0`).
    Endless,
}

impl Limit {
    /// The value of `test_start.duration`: seconds, 0 when time is no limit.
    pub fn seconds(self) -> u32 {
        if let Self::Seconds(s) = self { s } else { 0 }
    }

    /// The value of `test_start.bytes`: bytes, 0 when bytes are no limit.
    pub fn bytes(self) -> u64 {
        if let Self::Bytes(n) = self { n } else { 0 }
    }

    /// Whether bytes or blocks end the test.
    pub fn is_amount(self) -> bool {
        matches!(self, Self::Bytes(_) | Self::Blocks(_))
    }

    /// The value of `test_start.blocks`: blocks, 0 when blocks are no limit.
    pub fn blocks(self) -> u64 {
        if let Self::Blocks(n) = self { n } else { 0 }
    }
}

/// How fast each sending stream may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pacing {
    /// What each stream's sender keeps to on its own (`-b`), in payload; `None` is unlimited.
    pub rate: Option<BitRate>,
    /// Blocks sent back to back before the rate is checked (`-b rate/burst`), 1..=1000.
    pub burst: Option<u16>,
    /// What the kernel keeps each stream to (`--fq-rate`, `SO_MAX_PACING_RATE`).
    pub fq_rate: Option<BitRate>,
    /// Microseconds; sent in the parameters for old peers' timers and not used by our own sender.
    pub timer_us: u32,
}

/// Socket options that both ends set on data sockets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SocketOptions {
    /// Bytes for `SO_SNDBUF` and `SO_RCVBUF` (`-w`).
    pub window: Option<u32>,
    /// Bytes for `TCP_MAXSEG` (`-M`).
    pub mss: Option<u16>,
    /// `TCP_NODELAY` (`-N`).
    pub no_delay: bool,
    /// The IPv4 TOS byte or IPv6 traffic class (`-S`, `--dscp`).
    pub tos: u8,
    /// The IPv6 flow label, 1..=0xfffff (`-L`).
    pub flow_label: Option<u32>,
    /// `TCP_CONGESTION` (`-C`).
    pub congestion: Option<String>,
    /// Forbid IPv4 fragmentation of UDP datagrams (`--dont-fragment`).
    pub dont_fragment: bool,
}

/// What blocks are filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Payload {
    /// Random bytes, drawn once per stream.
    #[default]
    Random,
    /// The digits `0123456789` over and over (`--repeating-payload`).
    Repeating,
}

/// What only UDP tests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct UdpOptions {
    /// 64-bit sequence numbers in the datagram header (`--udp-counters-64bit`).
    pub counters_64bit: bool,
    /// Segmentation offload on the sender and receive offload on the receiver (`--gsro`).
    pub gsro: bool,
}

/// A test as both ends know it after the parameter exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct TestConfig {
    /// How data streams travel.
    pub transport: Transport,
    /// Which end sends.
    pub direction: Direction,
    /// Streams per direction, 1..=128.
    pub streams: u16,
    /// What ends the test.
    pub limit: Limit,
    /// Seconds at the start that are measured but do not count (`-O`).
    pub omit: u32,
    /// Bytes per block: what one send call carries, and one datagram over UDP.
    pub block: u32,
    /// How fast each sending stream may be.
    pub pacing: Pacing,
    /// Options for the data sockets.
    pub socket: SocketOptions,
    /// What blocks are filled with.
    pub payload: Payload,
    /// How bytes go into sockets and come out of them (`-Z`, `--zerocopy-rx`, `--skip-rx-copy`).
    pub zerocopy: ZeroCopy,
    /// Senders send a pattern, and receivers check every byte of it (`--verify`).
    pub verify: bool,
    /// What only UDP tests have.
    pub udp: UdpOptions,
    /// Requests and responses instead of a stream of data (`--rr`): the sending end sends the requests.
    pub exchange: Option<Exchange>,
    /// Delays are measured beside the test (`--probe`, `--one-way`).
    pub probe: Option<Probe>,
    /// Where the threads of the server run during this test (`-A n,m`).
    pub server_affinity: Option<Placement>,
    /// Title of the test (`-T`).
    pub title: Option<String>,
    /// Free text for the JSON output of both sides (`--extra-data`).
    pub extra_data: Option<String>,
    /// The server returns its own output with the results.
    pub get_server_output: bool,
}

impl Default for TestConfig {
    fn default() -> Self {
        Self::new(Transport::Tcp)
    }
}

impl TestConfig {
    /// A test of ten seconds over one stream, iperf3's default.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            direction: Direction::Forward,
            streams: 1,
            limit: Limit::Seconds(10),
            omit: 0,
            block: transport.default_block(),
            pacing: Pacing {
                timer_us: 1000,
                ..Pacing::default()
            },
            socket: SocketOptions::default(),
            payload: Payload::Random,
            zerocopy: ZeroCopy::default(),
            verify: false,
            udp: UdpOptions::default(),
            exchange: None,
            probe: None,
            server_affinity: None,
            title: None,
            extra_data: None,
            get_server_output: false,
        }
    }

    /// From the start of a timed test to its end, the omitted period included.
    pub fn length(&self) -> Option<Duration> {
        match self.limit {
            Limit::Seconds(seconds) => Some(Duration::from_secs(
                u64::from(seconds) + u64::from(self.omit),
            )),
            _ => None,
        }
    }

    /// The number of data streams of the test, over both directions.
    pub fn total_streams(&self) -> usize {
        let per_direction = usize::from(self.streams);
        if self.direction == Direction::Bidirectional {
            2 * per_direction
        } else {
            per_direction
        }
    }

    /// Whether the blocks of all streams fit into the memory that a sender may have for them. Up to iperf3's largest
    /// block they do.
    pub fn blocks_fit(&self) -> bool {
        let together = u64::from(self.block) * u64::from(self.streams);
        self.block <= MAX_BLOCK || together <= MAX_OWN_BLOCKS
    }

    /// What this end does on its `index`-th stream (from 0, in order of creation).
    ///
    /// This is not on the wire: in a bidirectional test the first half of the streams carries the client's
    /// data and the second half the server's.
    pub fn role_on(&self, index: usize, is_client: bool) -> Role {
        let client_sends = match self.direction {
            Direction::Forward => true,
            Direction::Reverse => false,
            Direction::Bidirectional => index < usize::from(self.streams),
        };
        let sends = client_sends == is_client;
        if self.exchange.is_some() {
            Role::of_exchange(sends)
        } else {
            Role::of(sends)
        }
    }
}
