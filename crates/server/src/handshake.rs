//! From a cookie to a test that is ready to run: parameters, checks, data streams.

mod streams;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use iperf_auth::Authorizer;
use iperf_control::{Control, Conversation, OnBroken, Step, Stop, Wire};
use iperf_engine::Stream;
use iperf_engine::net::Warnings;
use iperf_model::{Buffers, Peer, ServerConfig, SocketName, TestBegan, TestConfig, Transport};
use iperf_proto::Deadlines;
use iperf_proto::code::Code;
use iperf_proto::cookie::Cookie;
use iperf_proto::extensions::Granted;
use iperf_proto::server::{Action, Failure, Server};
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::streams::{next_aside, next_hello};
use crate::data_listener::DataListener;
use crate::error::TestError;
use crate::identify::{Identified, Refusals};
use crate::port_permit::{Contention, PortPermits};
use crate::session::TestPlan;
use crate::slots::{Slot, Slots};
use crate::terms;
use crate::udp_listener::UdpListener;
use crate::waiting::Origin;

/// How long the next data connection may take.
const STREAM_LIMIT: Duration = Duration::from_secs(4);

/// How long a handshake may take as a whole, from the cookie to the last data connection: the 256 streams of the largest
/// test over a round trip of 200 ms.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);

/// A client whose streams are all connected: its test may run.
pub(crate) struct ReadyTest {
    pub(crate) talk: Conversation<Server>,
    pub(crate) plan: TestPlan,
    /// Its place, if it has one already.
    pub(crate) slot: Option<Slot>,
}

/// A client that has sent its cookie.
pub(crate) struct NewClient {
    pub(crate) cookie: Cookie,
    pub(crate) stream: Wire,
    pub(crate) peer: SocketName,
    /// Its data connections, as they are accepted. The server closes it when it is busy with another test.
    pub(crate) connections: mpsc::Receiver<Identified>,
    pub(crate) config: Arc<ServerConfig>,
    /// Buffers of the listening socket, which accepted sockets begin with, where that says something.
    pub(crate) listener: Option<Buffers>,
    /// For the port of streams that do not use the listening socket.
    pub(crate) port_permits: PortPermits,
    /// Refuses connections that no handshake expects.
    pub(crate) refusals: Refusals,
    /// Checks logins; without it everybody may run tests.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
    /// Where to take a place before streams are opened; `None` takes it afterwards.
    pub(crate) slots: Option<Slots>,
    /// How long the handshake may take as a whole.
    pub(crate) limit: Duration,
    /// Called once when the parameters have been accepted.
    pub(crate) on_accepted: Box<dyn FnOnce() + Send>,
}

/// How a handshake ended without a test.
pub(crate) struct Dropped {
    /// What to report; `None` when the client was only told that the server is busy.
    pub(crate) error: Option<TestError>,
    /// The test and the buffers, once the parameters were accepted.
    pub(crate) began: Option<Box<(TestBegan, Buffers)>>,
    /// Whether the client sent parameters, readable or not: then this counts as the one test of `-1`.
    pub(crate) had_params: bool,
}

impl Dropped {
    /// The handshake's task panicked.
    pub(crate) fn by_panic() -> Self {
        Self {
            error: Some(TestError::Panicked),
            began: None,
            had_params: false,
        }
    }
}

/// Takes a client through the handshake.
pub(crate) async fn run(client: NewClient, stop: Stop) -> Result<Box<ReadyTest>, Dropped> {
    let control = Control::new(client.stream)
        .and_then(|control| control.configure(&client.config.local).map(|()| control))
        .map_err(|error| Dropped {
            error: Some(TestError::Control(error)),
            began: None,
            had_params: false,
        })?;
    let mut handshake = Handshake {
        cookie: client.cookie.clone(),
        talk: Conversation::new(
            control,
            Server::new(Deadlines::server(), Instant::now()),
            OnBroken::Fail,
        ),
        config: client.config,
        connections: client.connections,
        arrived: Vec::new(),
        port_permits: client.port_permits,
        contention: None,
        refusals: client.refusals,
        authorizer: client.authorizer,
        origin: Origin::of(&client.peer),
        slots: client.slots,
        slot: None,
        on_accepted: Some(client.on_accepted),
        udp: None,
        side: None,
        test: None,
        exact: false,
        streams: Vec::new(),
        warnings: Warnings::default(),
        deadline: None,
    };
    let driven = timeout(client.limit, handshake.drive(stop)).await;
    match driven.unwrap_or_else(|_| Err(handshake.too_long(client.limit))) {
        Ok(Proceed::Ready(test, began)) => {
            let first = handshake.streams.first().map(|stream| stream.buffers);
            let buffers = match test.socket.window {
                Some(_) => first.or(client.listener),
                None => client.listener.or(first),
            };
            Ok(Box::new(ReadyTest {
                slot: handshake.slot,
                talk: handshake.talk,
                plan: TestPlan {
                    cookie: client.cookie,
                    peer: client.peer,
                    test,
                    began,
                    exact: handshake.exact,
                    streams: handshake.streams,
                    warnings: handshake.warnings.take(),
                    buffers: buffers.unwrap_or_default(),
                },
            }))
        }
        Ok(Proceed::Busy) => {
            handshake.talk.machine.deny();
            // Displaced by a flood of others, it is not waited for unless there is time.
            match handshake.refusals.permit() {
                Some(_permit) => handshake.leave().await,
                None => {
                    let _ = handshake.talk.flush().await;
                }
            }
            Err(Dropped {
                error: None,
                began: None,
                had_params: false,
            })
        }
        Err(error) => {
            let had_params = handshake.test.is_some()
                || match &error {
                    TestError::Refused(code) => *code != Code::BUSY,
                    other => matches!(
                        other,
                        TestError::Denied(_) | TestError::Protocol(Failure::BadParams { .. })
                    ),
                };
            error.tell(&mut handshake.talk.machine);
            let first = handshake.streams.first().map(|stream| stream.buffers);
            let buffers = client.listener.or(first).unwrap_or_default();
            let began = handshake.test.take().map(|(config, at)| TestBegan {
                peer: Peer::AcceptedFrom(client.peer),
                at,
                cookie: client.cookie.to_string(),
                control_mss: 0,
                config,
            });
            handshake.leave().await;
            Err(Dropped {
                error: Some(error),
                began: began.map(|began| Box::new((began, buffers))),
                had_params,
            })
        }
    }
}

/// How a handshake goes on.
enum Proceed {
    /// All streams are connected.
    Ready(Arc<TestConfig>, SystemTime),
    /// Another test has begun, or too many run.
    Busy,
}

/// What a handshake waits for besides its control connection.
enum Arrival {
    /// A connection with its cookie; `None` when another test has begun.
    Connection(Option<Identified>),
    /// A stream of another kind than the control connection.
    Aside(Identified),
    /// A hello that opens a UDP stream.
    Hello(std::io::Result<SocketAddr>),
    /// Another handshake waits for the port, or none does any more.
    Contention,
}

struct Handshake {
    cookie: Cookie,
    talk: Conversation<Server>,
    config: Arc<ServerConfig>,
    connections: mpsc::Receiver<Identified>,
    /// Data connections that have been accepted, in any order.
    arrived: Vec<Identified>,
    port_permits: PortPermits,
    /// While this handshake holds the port for streams: the others that wait for it.
    contention: Option<Contention>,
    refusals: Refusals,
    authorizer: Option<Arc<Authorizer>>,
    origin: Origin,
    /// Where to take a place before streams are opened.
    slots: Option<Slots>,
    slot: Option<Slot>,
    on_accepted: Option<Box<dyn FnOnce() + Send>>,
    /// Listens for the next UDP stream.
    udp: Option<UdpListener>,
    /// Listens for streams of another kind than the control connection.
    side: Option<DataListener>,
    test: Option<(Arc<TestConfig>, SystemTime)>,
    /// Whether the client is this program and counts what this end counts.
    exact: bool,
    streams: Vec<Stream>,
    /// What is not as asked for.
    warnings: Warnings,
    /// When the next data connection must have been accepted.
    deadline: Option<Instant>,
}

impl Handshake {
    async fn drive(&mut self, mut stop: Stop) -> Result<Proceed, TestError> {
        loop {
            if let Some((test, began)) = &self.test
                && self.streams.len() == test.total_streams()
            {
                return Ok(Proceed::Ready(test.clone(), *began));
            }
            let deadlines = [self.deadline, self.port_deadline()];
            let arrival = async {
                tokio::select! {
                    connection = self.connections.recv() => Arrival::Connection(connection),
                    stream = next_aside(self.side.as_mut()) => Arrival::Aside(stream),
                    hello = next_hello(self.udp.as_mut(), self.streams.last()) => {
                        Arrival::Hello(hello)
                    }
                    () = Contention::changed(self.contention.as_mut()) => Arrival::Contention,
                }
            };
            let deadline = deadlines.into_iter().flatten().min();
            let step = self.talk.next(&mut stop, deadline, arrival).await;
            match step.map_err(TestError::Control)? {
                Step::Act(action) => {
                    if !self.act(action).await? {
                        return Ok(Proceed::Busy);
                    }
                }
                Step::Other(Arrival::Connection(Some(connection))) => self.take(connection)?,
                Step::Other(Arrival::Connection(None)) => return Ok(Proceed::Busy),
                Step::Other(Arrival::Aside(stream)) => self.arrive(stream)?,
                Step::Other(Arrival::Hello(hello)) => {
                    self.on_hello(hello.map_err(TestError::Control)?)?;
                }
                Step::Other(Arrival::Contention) => {}
                Step::Look => self.check_deadlines()?,
                Step::Stopped(reason) => return Err(TestError::Interrupted(reason)),
            }
        }
    }

    /// Does what the machine asks for; false when there is no place for the test.
    async fn act(&mut self, action: Action) -> Result<bool, TestError> {
        match action {
            Action::Params(params) => {
                terms::authorize(&params, self.authorizer.as_ref()).await?;
                let test = terms::check(&params, &self.config).map_err(TestError::Refused)?;
                if let Some(slots) = &self.slots {
                    self.slot = slots.take(self.origin.clone(), test.total_streams());
                    if self.slot.is_none() {
                        return Ok(false);
                    }
                }
                let file = self.config.local.file.is_some();
                let mut granted = params.is_ours().then(|| Granted::for_test(&test, file));
                match test.transport {
                    Transport::Udp => {
                        let named = granted.as_ref().is_some_and(|granted| granted.hello);
                        self.udp = Some(self.open_udp_listener(&test, named).await?);
                    }
                    Transport::Sctp => self.side = Some(self.open_sctp_listener(&test).await?),
                    _ => {}
                }
                if test.transport == Transport::VsockSeqpacket {
                    let port = self.open_message_listener(&test)?;
                    granted = granted.map(|granted| Granted {
                        seqpacket: Some(port),
                        ..granted
                    });
                }
                self.test = Some((Arc::new(test), SystemTime::now()));
                self.deadline = Some(Instant::now() + STREAM_LIMIT);
                self.exact = granted.as_ref().is_some_and(|granted| granted.exact);
                self.talk.machine.accept(granted.as_ref(), Instant::now());
                if let Some(on_accepted) = self.on_accepted.take() {
                    on_accepted();
                }
                Ok(true)
            }
            Action::ClientTerminated => Err(TestError::ClientTerminated),
            Action::Fail(failure) => Err(failure.into()),
            // A client that can't open its streams sends IPERF_DONE.
            Action::Done => Err(Failure::ClientClosed.into()),
            Action::EndTest | Action::PeerResults(_) | Action::Counts(_) => {
                Err(TestError::OutOfPlace {
                    action: action.name(),
                    phase: "before the test",
                })
            }
        }
    }

    /// When others wait for the port: until when this handshake may keep it.
    fn port_deadline(&mut self) -> Option<Instant> {
        self.contention.as_mut()?.deadline(Instant::now())
    }

    fn check_deadlines(&mut self) -> Result<(), TestError> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(self.streams_missing(STREAM_LIMIT));
        }
        if self.port_deadline().is_some_and(|deadline| deadline <= now) {
            let since = self.contention.as_ref().map(Contention::since);
            return Err(self.streams_missing(since.map_or(STREAM_LIMIT, |since| now - since)));
        }
        Ok(())
    }

    fn streams_missing(&self, within: Duration) -> TestError {
        let wanted = self.test.as_ref().map(|(test, _)| test.total_streams());
        TestError::StreamsMissing {
            opened: self.streams.len() + self.arrived.len(),
            wanted: wanted.unwrap_or(0),
            seconds: within.as_secs(),
        }
    }

    /// The error of a handshake that did not end in time.
    fn too_long(&self, limit: Duration) -> TestError {
        match self.test {
            Some(_) => self.streams_missing(limit),
            None => TestError::HandshakeTooLong(limit.as_secs()),
        }
    }

    async fn leave(mut self) {
        let _ = self.talk.flush().await;
        drop(self.streams);
        self.talk.close(None).await;
    }
}
