//! From a cookie to a test that is ready to run: parameters, checks, data streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use iperf_auth::Authorizer;
use iperf_control::{Control, Conversation, OnBroken, Step, Stop, Wire};
use iperf_engine::net::{StreamPlan, StreamSpec, sctp, tcp, vsock};
use iperf_engine::{EngineError, Stream};
use iperf_model::{
    Buffers, CID_ANY, Listen, Peer, ServerConfig, SocketName, TestBegan, TestConfig, Transport,
    stream_number,
};
use iperf_proto::Deadlines;
use iperf_proto::code::Code;
use iperf_proto::cookie::Cookie;
use iperf_proto::extensions::Granted;
use iperf_proto::server::{Action, Failure, Server};
use iperf_proto::stream_id::stream_id;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::TestError;
use crate::greet::{Greeted, Refusals};
use crate::port_permit::{Contention, PortPermit, PortPermits};
use crate::side_door::SideDoor;
use crate::terms;
use crate::udp_door::{Expected, UdpDoor};

/// How long the next data connection may take.
const STREAM_LIMIT: Duration = Duration::from_secs(4);

/// How long a handshake may take as a whole, from the cookie to the last data connection: the 256 streams of the largest
/// test over a round trip of 200 ms.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);

/// A test that has all it needs, and wants to run.
pub(crate) struct Candidate {
    pub(crate) cookie: Cookie,
    pub(crate) talk: Conversation<Server>,
    pub(crate) peer: SocketName,
    pub(crate) test: Arc<TestConfig>,
    pub(crate) began: SystemTime,
    /// Whether the client is this program and counts what this end counts.
    pub(crate) exact: bool,
    pub(crate) streams: Vec<Stream>,
    pub(crate) buffers: Buffers,
}

/// A client that has sent its cookie.
pub(crate) struct Guest {
    pub(crate) cookie: Cookie,
    pub(crate) stream: Wire,
    pub(crate) peer: SocketName,
    /// Its data connections, as they come. Closed by the host when another test has begun.
    pub(crate) connections: mpsc::Receiver<Greeted>,
    pub(crate) config: Arc<ServerConfig>,
    /// Buffers of the listening socket, which accepted sockets begin with, where that says something.
    pub(crate) listener: Option<Buffers>,
    /// Who may open streams on a socket beside the listening one.
    pub(crate) port_permits: PortPermits,
    /// Turns away connections that nobody waits for.
    pub(crate) refusals: Refusals,
    /// Who may run tests; `None` is everybody.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
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
pub(crate) async fn run(guest: Guest, stop: Stop) -> Result<Box<Candidate>, Dropped> {
    let control = Control::new(guest.stream)
        .and_then(|control| control.configure(&guest.config.local).map(|()| control))
        .map_err(|error| Dropped {
            error: Some(TestError::Control(error)),
            began: None,
            had_params: false,
        })?;
    let mut handshake = Handshake {
        cookie: guest.cookie.clone(),
        talk: Conversation::new(
            control,
            Server::new(Deadlines::server(), Instant::now()),
            OnBroken::Fail,
        ),
        config: guest.config,
        connections: guest.connections,
        arrived: Vec::new(),
        port_permits: guest.port_permits,
        contention: None,
        refusals: guest.refusals,
        authorizer: guest.authorizer,
        on_accepted: Some(guest.on_accepted),
        udp: None,
        side: None,
        test: None,
        exact: false,
        streams: Vec::new(),
        deadline: None,
    };
    let driven = timeout(guest.limit, handshake.drive(stop)).await;
    match driven.unwrap_or_else(|_| Err(handshake.too_long(guest.limit))) {
        Ok(Proceed::Ready(test, began)) => {
            let first = handshake.streams.first().map(|stream| stream.buffers);
            let buffers = match test.socket.window {
                Some(_) => first.or(guest.listener),
                None => guest.listener.or(first),
            };
            Ok(Box::new(Candidate {
                cookie: guest.cookie,
                talk: handshake.talk,
                peer: guest.peer,
                test,
                began,
                exact: handshake.exact,
                streams: handshake.streams,
                buffers: buffers.unwrap_or_default(),
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
            let buffers = guest.listener.or(first).unwrap_or_default();
            let began = handshake.test.take().map(|(config, at)| TestBegan {
                peer: Peer::AcceptedFrom(guest.peer),
                at,
                cookie: guest.cookie.to_string(),
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
    /// All streams stand.
    Ready(Arc<TestConfig>, SystemTime),
    /// Another test has begun.
    Busy,
}

/// What a handshake waits for besides its control connection.
enum Arrival {
    /// A connection with its cookie; `None` when another test has begun.
    Connection(Option<Greeted>),
    /// A stream of another kind than the control connection.
    Aside(Greeted),
    /// A hello that opens a UDP stream.
    Hello(std::io::Result<SocketAddr>),
    /// Another handshake waits for the port, or none does any more.
    Contention,
}

struct Handshake {
    cookie: Cookie,
    talk: Conversation<Server>,
    config: Arc<ServerConfig>,
    connections: mpsc::Receiver<Greeted>,
    /// Data connections that have come, in any order.
    arrived: Vec<Greeted>,
    port_permits: PortPermits,
    /// While this handshake has the port for streams: who else wants it.
    contention: Option<Contention>,
    refusals: Refusals,
    authorizer: Option<Arc<Authorizer>>,
    on_accepted: Option<Box<dyn FnOnce() + Send>>,
    /// Where the next UDP stream comes in.
    udp: Option<UdpDoor>,
    /// Where streams come in that are of another kind than the control connection.
    side: Option<SideDoor>,
    test: Option<(Arc<TestConfig>, SystemTime)>,
    /// Whether both ends count the same, by what they tell each other.
    exact: bool,
    streams: Vec<Stream>,
    /// When the next data connection must be there.
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
                Step::Act(action) => self.act(action).await?,
                Step::Other(Arrival::Connection(Some(connection))) => self.take(connection)?,
                Step::Other(Arrival::Connection(None)) => return Ok(Proceed::Busy),
                Step::Other(Arrival::Aside(stream)) => self.arrive(stream)?,
                Step::Other(Arrival::Hello(hello)) => {
                    self.admit(hello.map_err(TestError::Control)?)?;
                }
                Step::Other(Arrival::Contention) => {}
                Step::Look => self.check_deadlines()?,
                Step::Stopped(reason) => return Err(TestError::Interrupted(reason)),
            }
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), TestError> {
        match action {
            Action::Params(params) => {
                terms::authorize(&params, self.authorizer.as_ref()).await?;
                let test = terms::check(&params, &self.config).map_err(TestError::Refused)?;
                let file = self.config.local.file.is_some();
                let mut granted = params.is_ours().then(|| Granted::for_test(&test, file));
                match test.transport {
                    Transport::Udp => {
                        let named = granted.as_ref().is_some_and(|granted| granted.hello);
                        self.udp = Some(self.open_udp_door(&test, named).await?);
                    }
                    Transport::Sctp => self.side = Some(self.open_sctp_door(&test).await?),
                    _ => {}
                }
                if test.transport == Transport::VsockSeqpacket {
                    let port = self.open_message_door(&test)?;
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
                Ok(())
            }
            Action::ClientTerminated => Err(TestError::ClientTerminated),
            Action::Fail(failure) => Err(failure.into()),
            // A client that can't open its streams says goodbye.
            Action::Done => Err(Failure::ClientClosed.into()),
            Action::EndTest | Action::PeerResults(_) | Action::Counts(_) => {
                Err(TestError::OutOfPlace {
                    action: action.name(),
                    phase: "before the test",
                })
            }
        }
    }

    /// Takes a data connection of the kind of the control connection.
    fn take(&mut self, connection: Greeted) -> Result<(), TestError> {
        let expected = self
            .test
            .as_ref()
            .is_some_and(|(test, _)| !uses_a_door(test.transport));
        if expected {
            return self.arrive(connection);
        }
        self.refusals.refuse(connection.stream);
        Ok(())
    }

    /// Takes a data connection. When all have come, they become streams in the order in which they were made.
    fn arrive(&mut self, connection: Greeted) -> Result<(), TestError> {
        let Some((test, _)) = &self.test else {
            return Ok(());
        };
        let wanted = test.total_streams();
        self.arrived.push(connection);
        self.deadline = Some(Instant::now() + STREAM_LIMIT);
        if self.arrived.len() == wanted {
            self.arrived.sort_by_key(|connection| connection.order);
            for connection in std::mem::take(&mut self.arrived) {
                self.adopt(connection.stream)?;
            }
        }
        Ok(())
    }

    fn adopt(&mut self, connection: Wire) -> Result<(), TestError> {
        let Some((test, _)) = &self.test else {
            return Ok(());
        };
        let plan = StreamPlan::new(test, &self.config.local);
        let role = self.next_role(test);
        let adopted = match (&self.config.listen, connection) {
            (_, connection @ Wire::Tcp(_)) => {
                let socket = connection.into_socket().map_err(TestError::Control)?;
                match test.transport {
                    Transport::Sctp => sctp::adopt(socket, &plan, role),
                    _ => tcp::adopt(socket, &plan, role),
                }
            }
            (Listen::Hybrid { path, port } | Listen::Unix { path, port }, connection) => {
                let socket = connection.into_socket().map_err(TestError::Control)?;
                vsock::adopt(vsock::forwarded(socket, path, *port), &plan, role)
            }
            (_, connection) => {
                let socket = connection.into_socket().map_err(TestError::Control)?;
                let connection = vsock::accepted(socket).map_err(TestError::Control)?;
                vsock::adopt(connection, &plan, role)
            }
        };
        self.seat(adopted.map_err(TestError::Streams)?);
        Ok(())
    }

    /// Waits until nobody else listens for streams: a port has room for one, and a hello must not be taken for another
    /// test's.
    async fn take_turn(&mut self, test: &TestConfig) -> Result<PortPermit, TestError> {
        let permits = self.port_permits.clone();
        let mut permit = std::pin::pin!(permits.acquire());
        let permit = loop {
            tokio::select! {
                permit = &mut permit => break permit,
                connection = self.connections.recv() => match connection {
                    Some(connection) => self.refusals.refuse(connection.stream),
                    // Another test has begun.
                    None => break None,
                },
            }
        };
        let permit = permit.ok_or(TestError::Refused(Code::BUSY))?;
        let round_trip = tcp::round_trip(&*self.talk.control.socket());
        self.contention = Some(permits.contention(test.total_streams(), round_trip));
        Ok(permit)
    }

    async fn open_udp_door(
        &mut self,
        test: &TestConfig,
        named: bool,
    ) -> Result<UdpDoor, TestError> {
        let turn = self.take_turn(test).await?;
        let local = self.talk.control.local().map_err(TestError::Control)?;
        let peer = self.talk.control.peer().map_err(TestError::Control)?;
        let device = self.config.local.bind_dev.clone();
        let expected = Expected::new(&self.cookie, named);
        UdpDoor::open(local, peer, expected, device, turn).map_err(TestError::Streams)
    }

    async fn open_sctp_door(&mut self, test: &TestConfig) -> Result<SideDoor, TestError> {
        let turn = self.take_turn(test).await?;
        let local = self.talk.control.local().map_err(TestError::Control)?;
        let plan = StreamPlan {
            bind_dev: self.config.local.bind_dev.clone(),
            ..StreamPlan::new(test, &self.config.local)
        };
        let (cookie, refusals) = (self.cookie.clone(), self.refusals.clone());
        let door = SideDoor::for_sctp(local, cookie, plan, turn, refusals).await;
        door.map_err(|error| match error {
            EngineError::NoSctp(_) => TestError::Refused(Code::NO_SCTP),
            other => TestError::Streams(other),
        })
    }

    /// Opens a door where the server listens, and says at which port.
    fn open_message_door(&mut self, test: &TestConfig) -> Result<u32, TestError> {
        let cid = match self.config.listen {
            Listen::Vsock { cid, .. } => cid,
            _ => CID_ANY,
        };
        let plan = StreamPlan::new(test, &self.config.local);
        let (cookie, refusals) = (self.cookie.clone(), self.refusals.clone());
        let (door, port) =
            SideDoor::for_messages(cid, cookie, &plan, refusals).map_err(TestError::Streams)?;
        self.side = Some(door);
        Ok(port)
    }

    /// Makes a stream of a hello, and opens the door for the next.
    fn admit(&mut self, from: SocketAddr) -> Result<(), TestError> {
        let (Some((test, _)), Some(door)) = (&self.test, self.udp.take()) else {
            return Ok(());
        };
        let plan = StreamPlan::new(test, &self.config.local);
        let role = self.next_role(test);
        let more = self.streams.len() + 1 < test.total_streams();
        let (stream, next) = door
            .admit(from, &plan, role, more)
            .map_err(TestError::Streams)?;
        self.udp = next;
        self.seat(stream);
        Ok(())
    }

    fn next_role(&self, test: &TestConfig) -> StreamSpec {
        let index = self.streams.len();
        StreamSpec {
            id: stream_id(index),
            number: stream_number(
                false,
                test.transport,
                self.config.local.file.is_some(),
                index,
            ),
            role: test.role_on(index, false),
        }
    }

    fn seat(&mut self, stream: Stream) {
        self.streams.push(stream);
        self.deadline = Some(Instant::now() + STREAM_LIMIT);
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

/// Whether streams come in through a door of their own.
fn uses_a_door(transport: Transport) -> bool {
    match transport {
        Transport::Udp | Transport::Sctp | Transport::VsockSeqpacket => true,
        Transport::Tcp | Transport::Mptcp | Transport::Vsock => false,
    }
}

async fn next_hello(
    door: Option<&mut UdpDoor>,
    last: Option<&Stream>,
) -> std::io::Result<SocketAddr> {
    match door {
        Some(door) => door.next(last).await,
        None => std::future::pending().await,
    }
}

async fn next_aside(door: Option<&mut SideDoor>) -> Greeted {
    match door {
        Some(door) => door.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
