//! The second part of a handshake: the test is agreed, and its streams are being opened.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use iperf_control::Wire;
use iperf_engine::Stream;
use iperf_engine::net::{StreamPlan, StreamSpec, Warnings, sctp, tcp, vmm, vsock};
use iperf_engine::probe::{self, Answerer};
use iperf_model::{Buffers, Listen, Role, ServerConfig, TestConfig, Transport, stream_number};
use iperf_proto::stream_id::{INDEX_LEN, index_from, stream_id};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::data_listener::DataListener;
use crate::error::TestError;
use crate::identify::Identified;
use crate::port_permit::Contention;
use crate::slots::Slot;
use crate::udp_listener::UdpListener;

/// How long the next data connection may take.
const STREAM_LIMIT: Duration = Duration::from_secs(4);

/// Where the streams come from.
pub(super) enum Source {
    /// The server's listening socket, like the control connection. A numbered stream sends its number.
    Shared { numbered: bool },
    /// A listening socket of their own.
    Aside(DataListener, Option<Contention>),
    /// Hellos.
    Hellos(UdpListener, Contention),
    /// None is expected any more.
    Closed,
}

impl Source {
    /// Waits for a stream on a listening socket of its own; `last` is the one before.
    async fn next(&mut self, last: Option<&Stream>) -> Arrival {
        match self {
            Self::Shared { .. } | Self::Closed => pending().await,
            Self::Aside(listener, None) => Arrival::Aside(listener.next().await),
            Self::Aside(listener, Some(contention)) => tokio::select! {
                stream = listener.next() => Arrival::Aside(stream),
                () = contention.changed() => Arrival::Contention,
            },
            Self::Hellos(listener, contention) => tokio::select! {
                hello = listener.next(last) => Arrival::Hello(hello),
                () = contention.changed() => Arrival::Contention,
            },
        }
    }
}

/// The connection of the probes.
pub(super) enum Probe {
    /// There is none.
    None,
    /// It is the next one.
    Awaited,
    /// Probes are answered.
    Open(Answerer),
}

/// What a handshake waits for in addition to its control connection.
pub(super) enum Arrival {
    /// A connection with its cookie; `None` when another test has begun.
    Connection(Option<Identified>),
    /// A stream of another kind than the control connection.
    Aside(Identified),
    /// A hello that opens a UDP stream.
    Hello(io::Result<SocketAddr>),
    /// Another handshake waits for the port, or none does any more.
    Contention,
    /// Another client waits for the slot.
    Inquiry,
}

/// A test that is agreed, and what there is of its streams.
pub(super) struct Opening {
    pub(super) test: Arc<TestConfig>,
    /// When its parameters were accepted.
    pub(super) began: SystemTime,
    /// Whether the client is this program and counts what this end counts.
    pub(super) exact: bool,
    pub(super) streams: Vec<Stream>,
    /// Its slot, if it has one already.
    pub(super) slot: Option<Slot>,
    /// What answers probes, if the client sends any. Its connection comes before those of the streams.
    pub(super) probe: Probe,
    /// Data connections that have been accepted, in any order.
    arrived: Vec<Identified>,
    source: Source,
    /// When the next data connection must have been accepted.
    deadline: Instant,
    config: Arc<ServerConfig>,
    warnings: Warnings,
}

impl Opening {
    pub(super) fn new(
        test: Arc<TestConfig>,
        exact: bool,
        source: Source,
        slot: Option<Slot>,
        config: Arc<ServerConfig>,
        warnings: Warnings,
    ) -> Self {
        let probe = match test.probe {
            Some(_) if exact => Probe::Awaited,
            _ => Probe::None,
        };
        Self {
            test,
            probe,
            began: SystemTime::now(),
            exact,
            streams: Vec::new(),
            slot,
            arrived: Vec::new(),
            source,
            deadline: Instant::now() + STREAM_LIMIT,
            config,
            warnings,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.streams.len() == self.test.total_streams() && !self.awaits_probe()
    }

    fn awaits_probe(&self) -> bool {
        matches!(self.probe, Probe::Awaited)
    }

    /// Whether the next connection comes from the server's listening socket.
    pub(super) fn shares_listener(&self) -> bool {
        let probe = self.awaits_probe() && self.test.transport != Transport::Udp;
        probe || matches!(self.source, Source::Shared { .. })
    }

    /// The buffers of the first stream.
    pub(super) fn buffers(&self) -> Option<Buffers> {
        self.streams.first().map(|stream| stream.buffers)
    }

    /// Waits for a stream on a listening socket of its own, and for clients that wait for the slot.
    pub(super) async fn next(&mut self) -> Arrival {
        let inquiry = async {
            match &mut self.slot {
                Some(slot) => slot.inquiries.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            arrival = self.source.next(self.streams.last()) => arrival,
            () = inquiry => Arrival::Inquiry,
        }
    }

    fn contention(&mut self) -> Option<&mut Contention> {
        match &mut self.source {
            Source::Shared { .. } | Source::Closed => None,
            Source::Aside(_, contention) => contention.as_mut(),
            Source::Hellos(_, contention) => Some(contention),
        }
    }

    /// When others wait for the port: until when this handshake may keep it.
    fn port_deadline(&mut self) -> Option<Instant> {
        self.contention()?.deadline(Instant::now())
    }

    pub(super) fn deadline(&mut self) -> Instant {
        let port = self.port_deadline();
        port.map_or(self.deadline, |port| port.min(self.deadline))
    }

    pub(super) fn check_deadlines(&mut self, now: Instant) -> Result<(), TestError> {
        if self.deadline <= now {
            return Err(self.streams_missing(STREAM_LIMIT));
        }
        if self.port_deadline().is_some_and(|deadline| deadline <= now) {
            let since = self.contention().map(|contention| contention.since());
            return Err(self.streams_missing(since.map_or(STREAM_LIMIT, |since| now - since)));
        }
        Ok(())
    }

    pub(super) fn streams_missing(&self, within: Duration) -> TestError {
        TestError::StreamsMissing {
            opened: self.streams.len() + self.arrived.len(),
            wanted: self.test.total_streams(),
            seconds: within.as_secs(),
        }
    }

    /// Takes a data connection. When all have arrived, they become streams, in the order in which they were made or in
    /// that of their numbers.
    pub(super) async fn take(&mut self, mut connection: Identified) -> Result<(), TestError> {
        if self.awaits_probe() {
            let test = probe::config_of(&self.test);
            let stream = self.adopt(connection.stream, &test, PROBE)?;
            return self.answer_probes(stream);
        }
        let numbered = matches!(self.source, Source::Shared { numbered: true });
        if numbered {
            connection.order = read_index(&mut connection.stream).await?;
        }
        self.arrived.push(connection);
        self.deadline = Instant::now() + STREAM_LIMIT;
        if self.arrived.len() == self.test.total_streams() {
            self.arrived.sort_by_key(|connection| connection.order);
            if numbered {
                check_indices(&self.arrived)?;
            }
            for connection in std::mem::take(&mut self.arrived) {
                let stream = self.adopt(connection.stream, &self.test, self.next_spec())?;
                self.attach(stream);
            }
        }
        Ok(())
    }

    fn answer_probes(&mut self, stream: Stream) -> Result<(), TestError> {
        let datagrams = self.test.transport == Transport::Udp;
        let answerer = Answerer::start(stream, datagrams).map_err(TestError::Streams)?;
        self.probe = Probe::Open(answerer);
        self.deadline = Instant::now() + STREAM_LIMIT;
        Ok(())
    }

    fn adopt(
        &self,
        connection: Wire,
        test: &TestConfig,
        spec: StreamSpec,
    ) -> Result<Stream, TestError> {
        let plan = self.plan(test);
        let is_tcp = matches!(connection, Wire::Tcp(_));
        let socket = connection.into_socket()?;
        let adopted = match &self.config.listen {
            _ if is_tcp && test.transport == Transport::Sctp => sctp::adopt(socket, &plan, spec),
            _ if is_tcp => tcp::adopt(socket, &plan, spec),
            Listen::Vmm(vmm) => vsock::adopt(vmm::forwarded(socket, vmm), &plan, spec),
            _ => vsock::adopt(vsock::accepted(socket)?, &plan, spec),
        };
        adopted.map_err(TestError::Streams)
    }

    /// Makes a stream of a hello, and listens for the next.
    pub(super) fn on_hello(&mut self, from: SocketAddr) -> Result<(), TestError> {
        let probing = self.awaits_probe();
        let more = probing || self.streams.len() + 1 < self.test.total_streams();
        let (test, spec) = if probing {
            (Arc::new(probe::config_of(&self.test)), PROBE)
        } else {
            (self.test.clone(), self.next_spec())
        };
        if let Source::Hellos(listener, contention) =
            std::mem::replace(&mut self.source, Source::Closed)
        {
            let accepted = listener.accept(from, &self.plan(&test), spec, more);
            let (stream, next) = accepted.map_err(TestError::Streams)?;
            if let Some(next) = next {
                self.source = Source::Hellos(next, contention);
            }
            if probing {
                return self.answer_probes(stream);
            }
            self.attach(stream);
        }
        Ok(())
    }

    fn plan<'a>(&'a self, test: &'a TestConfig) -> StreamPlan<'a> {
        StreamPlan {
            warnings: self.warnings.clone(),
            ..StreamPlan::new(test, &self.config.local)
        }
    }

    fn next_spec(&self) -> StreamSpec {
        let index = self.streams.len();
        let file = self.config.local.file.is_some();
        StreamSpec {
            id: stream_id(index),
            number: stream_number(false, self.test.transport, file, index),
            role: self.test.role_on(index, false),
        }
    }

    fn attach(&mut self, stream: Stream) {
        self.streams.push(stream);
        self.deadline = Instant::now() + STREAM_LIMIT;
    }
}

/// The connection of the probes, on which this end answers. It has no number in output.
const PROBE: StreamSpec = StreamSpec {
    id: 0,
    number: 0,
    role: Role::Responder,
};

/// Reads which stream a data connection is. The client sends it together with the cookie.
async fn read_index(stream: &mut Wire) -> Result<u64, TestError> {
    let mut bytes = [0; INDEX_LEN];
    match timeout(STREAM_LIMIT, stream.read_exact(&mut bytes)).await {
        Ok(Ok(_)) => Ok(index_from(bytes) as u64),
        Ok(Err(error)) => Err(TestError::Control(error)),
        Err(_) => Err(TestError::HandshakeTooLong(STREAM_LIMIT.as_secs())),
    }
}

/// Whether the connections, in order, are each stream once.
fn check_indices(arrived: &[Identified]) -> Result<(), TestError> {
    let mut places = (0..).zip(arrived);
    match places.find(|(place, connection)| connection.order != *place) {
        None => Ok(()),
        Some((_, connection)) => Err(TestError::StreamIndex {
            index: connection.order,
            wanted: arrived.len(),
        }),
    }
}
