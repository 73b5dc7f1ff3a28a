//! What is kept of a test when it is over.

use iperf_model::{
    Direction, Failure, FailureKind, Peer, StreamOutcome, Summary, TestBegan, Transport, since_1970,
};
use serde::Serialize;
use serde_with::skip_serializing_none;

/// A test that is over, as one line of the log has it.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TestRecord {
    /// When it began, in seconds since 1970.
    pub time: f64,
    /// Its number on this server, from 1.
    pub test: u64,
    /// `completed`, `failed`, `client_left` or `interrupted`.
    pub outcome: &'static str,
    /// Why it did not complete.
    pub error: Option<String>,
    /// The address of the client.
    pub client: String,
    /// The port of its control connection.
    pub client_port: u32,
    /// The cookie that names the test at both ends.
    pub cookie: String,
    /// `tcp`, `mptcp`, `udp`, `sctp`, `vsock` or `vsock-seqpacket`.
    pub transport: &'static str,
    /// `forward`, `reverse` or `bidirectional`, as the client has it.
    pub direction: &'static str,
    /// Streams per direction.
    pub streams: u16,
    /// Length of the test in seconds.
    pub seconds: f64,
    /// What this end received, if it received.
    pub received: Option<Moved>,
    /// What this end sent, if it sent.
    pub sent: Option<Moved>,
    /// CPU time of the test in percent of one CPU.
    pub cpu_percent: f64,
}

/// What went one way.
#[skip_serializing_none]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Moved {
    /// Bytes of payload.
    pub bytes: u64,
    /// Bits per second over the test.
    pub bits_per_second: f64,
    /// A sender over TCP: segments sent again.
    pub retransmits: Option<u64>,
    /// A receiver over UDP: datagrams that were expected.
    pub packets: Option<u64>,
    /// A receiver over UDP: those that did not arrive.
    pub lost: Option<i64>,
    /// A receiver over UDP: the mean jitter of its streams in seconds.
    pub jitter_seconds: Option<f64>,
}

impl TestRecord {
    /// A test that begins.
    pub(crate) fn begin(test: u64, began: &TestBegan) -> Self {
        let (Peer::ConnectingTo(peer) | Peer::AcceptedFrom(peer)) = &began.peer;
        Self {
            time: since_1970(began.at),
            test,
            outcome: "completed",
            client: peer.host.clone(),
            client_port: peer.port,
            cookie: began.cookie.clone(),
            transport: transport_name(began.config.transport),
            direction: direction_name(began.config.direction),
            streams: began.config.streams,
            ..Self::default()
        }
    }

    /// Its totals.
    pub(crate) fn summarize(&mut self, summary: &Summary) {
        self.seconds = summary.duration.as_secs_f64();
        self.cpu_percent = summary.cpu.total;
        let own = |sends| {
            let own = summary.streams.iter().map(|stream| &stream.own);
            let own: Vec<_> = own.filter(|stream| stream.role.sends() == sends).collect();
            (!own.is_empty()).then(|| Moved::of(&own, self.seconds))
        };
        (self.received, self.sent) = (own(false), own(true));
    }

    /// Why it ended early.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.outcome = match failure.kind {
            FailureKind::Error => "failed",
            FailureKind::Interrupt => "interrupted",
            FailureKind::ClientLeft => "client_left",
        };
        self.error = Some(failure.message.clone());
    }
}

impl Moved {
    fn of(streams: &[&StreamOutcome], seconds: f64) -> Self {
        let bytes: u64 = streams.iter().map(|stream| stream.bytes).sum();
        let datagrams: Vec<_> = streams
            .iter()
            .filter(|stream| !stream.role.sends())
            .filter_map(|stream| stream.datagram_totals())
            .collect();
        let tcp = streams
            .iter()
            .filter_map(|stream| Some(stream.byte_totals()?.tcp?.retransmits))
            .reduce(|sum, retransmits| sum + retransmits);
        let udp = !datagrams.is_empty();
        let jitter: f64 = datagrams.iter().map(|totals| totals.jitter).sum();
        Self {
            bytes,
            bits_per_second: if seconds > 0.0 {
                8.0 * bytes as f64 / seconds
            } else {
                0.0
            },
            retransmits: tcp,
            packets: udp.then(|| datagrams.iter().map(|d| d.counted_packets()).sum()),
            lost: udp.then(|| datagrams.iter().filter_map(|d| d.counted_lost()).sum()),
            jitter_seconds: udp.then(|| jitter / datagrams.len() as f64),
        }
    }
}

fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Mptcp => "mptcp",
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
        Transport::Vsock => "vsock",
        Transport::VsockSeqpacket => "vsock-seqpacket",
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Reverse => "reverse",
        Direction::Bidirectional => "bidirectional",
    }
}
