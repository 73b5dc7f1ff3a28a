//! From a cookie to a test that is ready to run: parameters and checks first, then the data streams.
//!
//! ```text
//! NewClient ─► ask ─► Opening ─► open ─► ReadyTest
//!               └────── Dropped ◄──┘
//! ```

mod listeners;
mod opening;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_auth::Authorizer;
use iperf_control::{Control, Conversation, OnBroken, Step, Stop, Wire};
use iperf_engine::limits;
use iperf_engine::net::Warnings;
use iperf_engine::net::transactions::Transactions;
use iperf_engine::probe::clock_id;
use iperf_model::{Buffers, Peer, ServerConfig, SocketName, TestBegan};
use iperf_proto::Deadlines;
use iperf_proto::code::Code;
use iperf_proto::cookie::Cookie;
use iperf_proto::params::Params;
use iperf_proto::server::{Action, Failure, Server};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use self::opening::{Arrival, Opening, Probe};
use crate::error::TestError;
use crate::farewell::Farewell;
use crate::identify::{Identified, Refusals};
use crate::port_permit::PortPermits;
use crate::session::TestPlan;
use crate::slots::{Slot, Slots};
use crate::terms;
use crate::waiting::Origin;

/// How long a handshake may take as a whole, from the cookie to the last data connection: the 256 streams of the largest
/// test over a round trip of 200 ms.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);

/// A client whose streams are all connected: its test may run.
pub(crate) struct ReadyTest {
    pub(crate) talk: Conversation<Server>,
    pub(crate) plan: TestPlan,
    /// Its slot, if it has one already.
    pub(crate) slot: Option<Slot>,
}

impl ReadyTest {
    /// Fails for this reason.
    pub(crate) fn fail(mut self, error: TestError) -> Dropped {
        error.tell(&mut self.talk.machine);
        Dropped {
            farewell: Some(self.farewell()),
            ..Dropped::new(error, true)
        }
    }

    /// Is not run, because the server is busy.
    pub(crate) fn deny(mut self) -> Box<Farewell> {
        self.talk.machine.deny();
        self.farewell()
    }

    fn farewell(self) -> Box<Farewell> {
        Farewell::new(self.talk, self.slot, self.plan)
    }
}

/// A client that has sent its cookie.
pub(crate) struct NewClient {
    pub(crate) cookie: Cookie,
    pub(crate) peer: SocketName,
    /// Its data connections, as they are accepted. The server closes it when it is busy with another test.
    pub(crate) connections: mpsc::Receiver<Identified>,
    pub(crate) config: Arc<ServerConfig>,
    /// Buffers of the listening socket, which accepted sockets inherit, where that is meaningful.
    pub(crate) listener: Option<Buffers>,
    /// For the port of streams that do not use the listening socket.
    pub(crate) port_permits: PortPermits,
    /// Refuses connections that no handshake expects.
    pub(crate) refusals: Refusals,
    /// Checks logins; without it everybody may run tests.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
    /// Where to take a slot before streams are opened; `None` takes it afterwards.
    pub(crate) slots: Option<Slots>,
    /// How long the handshake may take as a whole.
    pub(crate) limit: Duration,
    /// Called once when the parameters have been accepted.
    pub(crate) on_accepted: Box<dyn Fn() + Send + Sync>,
}

/// How a handshake ended without a test.
pub(crate) struct Dropped {
    /// What to report; `None` if the client was only refused because the server is busy.
    pub(crate) error: Option<TestError>,
    /// How the client learns of it, once it is reported.
    pub(crate) farewell: Option<Box<Farewell>>,
    /// The test and the buffers, once the parameters were accepted.
    pub(crate) began: Option<Box<(TestBegan, Buffers)>>,
    /// Whether the client sent parameters, readable or not: then this counts as the one test of `-1`.
    pub(crate) had_params: bool,
}

impl Dropped {
    /// Nothing of a test has begun.
    pub(crate) fn new(error: impl Into<Option<TestError>>, had_params: bool) -> Self {
        Self {
            error: error.into(),
            farewell: None,
            began: None,
            had_params,
        }
    }
}

/// Why a handshake ends without a test.
enum Obstacle {
    /// Another test has begun, or too many run.
    Busy,
    Error(TestError),
}

impl<E: Into<TestError>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// How long a client probes the path once the load is over, and awaits the last answers, with some time for a machine that
/// is out of CPU.
const PROBES_AFTER_LOAD: Duration = Duration::from_secs(6);

/// Takes a client through the handshake.
pub(crate) async fn run(
    client: NewClient,
    stream: Wire,
    mut stop: Stop,
) -> Result<Box<ReadyTest>, Dropped> {
    let limit = client.limit;
    let end = tokio::time::Instant::now() + limit;
    let control = Control::new(stream)
        .and_then(|control| control.configure(&client.config.local).map(|()| control))
        .map_err(|error| Dropped::new(TestError::Control(error), false))?;
    let asked = Instant::now();
    let machine = Server::new(Deadlines::server(), asked);
    let mut handshake = Handshake {
        client,
        talk: Conversation::new(control, machine, OnBroken::Fail),
        warnings: Warnings::default(),
        transactions: None,
        asked,
        reaction: Duration::ZERO,
    };
    let parameters = timeout_at(end, handshake.ask(&mut stop)).await;
    let too_long = || Err(TestError::HandshakeTooLong(limit.as_secs()).into());
    let mut opening = match parameters.unwrap_or_else(|_| too_long()) {
        Ok(opening) => opening,
        Err(obstacle) => return Err(handshake.end(None, obstacle)),
    };
    let opened = timeout_at(end, handshake.open(&mut opening, &mut stop)).await;
    match opened.unwrap_or_else(|_| Err(opening.streams_missing(limit).into())) {
        Ok(()) => Ok(Box::new(handshake.ready(opening))),
        Err(obstacle) => Err(handshake.end(Some(opening), obstacle)),
    }
}

struct Handshake {
    client: NewClient,
    talk: Conversation<Server>,
    /// What is not as parameters for.
    warnings: Warnings,
    /// Accepts a connection for each transaction.
    transactions: Option<Transactions>,
    /// When the client was asked for parameters …
    asked: Instant,
    /// … and how long it took to send them.
    reaction: Duration,
}

impl Handshake {
    /// Waits for the parameters, checks them, and requests the streams.
    async fn ask(&mut self, stop: &mut Stop) -> Result<Opening, Obstacle> {
        loop {
            let connections = self.client.connections.recv();
            match self.talk.next(stop, None, connections).await? {
                Step::Act(Action::Params(params)) => {
                    self.reaction = self.asked.elapsed();
                    return self.accept(&params).await;
                }
                Step::Act(action) => return Err(ending(action).into()),
                // No data connection is due yet.
                Step::Other(Some(early)) => self.client.refusals.refuse(early.stream),
                Step::Other(None) => return Err(Obstacle::Busy),
                Step::Look => {}
                Step::Stopped(reason) => return Err(TestError::Interrupted(reason).into()),
            }
        }
    }

    /// Checks the parameters and accepts the test.
    async fn accept(&mut self, params: &Params) -> Result<Opening, Obstacle> {
        let client = &self.client;
        terms::authorize(params, client.authorizer.as_ref()).await?;
        let test = terms::check(params, &client.config).map_err(TestError::Refused)?;
        let slot = match &client.slots {
            Some(slots) => {
                let origin = Origin::of(&client.peer);
                let slot = slots.take_when_free(origin, test.total_streams()).await;
                Some(slot.ok_or(Obstacle::Busy)?)
            }
            None => None,
        };
        let mut files = limits::check_files(test.total_streams()).map_err(TestError::Streams);
        if !params.is_ours() {
            std::mem::replace(&mut files, Ok(()))?;
        }
        let test = Arc::new(test);
        let (source, mut granted) = self.listen(&test, params.is_ours()).await?;
        if let Some(granted) = &mut granted {
            let ours = clock_id(&self.client.cookie);
            granted.same_clock = ours.is_some() && params.clock() == ours.as_deref();
        }
        if let (Err(_), Some(granted)) = (&files, &granted) {
            // Only a client that was granted extensions learns the reason.
            self.talk.machine.grant(granted);
        }
        files?;
        self.talk.machine.accept(granted.as_ref(), Instant::now());
        (self.client.on_accepted)();
        let exact = granted.is_some_and(|granted| granted.exact);
        let (config, warnings) = (self.client.config.clone(), self.warnings.clone());
        Ok(Opening::new(test, exact, source, slot, config, warnings))
    }

    /// Accepts data connections until all have been made.
    async fn open(&mut self, opening: &mut Opening, stop: &mut Stop) -> Result<(), Obstacle> {
        while !opening.is_complete() {
            let deadline = opening.deadline();
            let arrival = async {
                tokio::select! {
                    connection = self.client.connections.recv() => Arrival::Connection(connection),
                    arrival = opening.next() => arrival,
                }
            };
            match self.talk.next(stop, Some(deadline), arrival).await? {
                Step::Act(action) => return Err(ending(action).into()),
                Step::Other(Arrival::Connection(Some(connection))) => {
                    if opening.shares_listener() {
                        opening.take(connection).await?;
                    } else {
                        self.client.refusals.refuse(connection.stream);
                    }
                }
                Step::Other(Arrival::Connection(None)) => return Err(Obstacle::Busy),
                Step::Other(Arrival::Aside(stream)) => opening.take(stream).await?,
                Step::Other(Arrival::Hello(hello)) => opening.on_hello(hello?)?,
                Step::Other(Arrival::Contention) => {}
                Step::Other(Arrival::Inquiry) => {
                    if let Some(slot) = &mut opening.slot {
                        slot.inquiries.answer(&self.talk.control).await;
                    }
                }
                Step::Look => opening.check_deadlines(Instant::now())?,
                Step::Stopped(reason) => return Err(TestError::Interrupted(reason).into()),
            }
        }
        Ok(())
    }

    fn ready(self, opening: Opening) -> ReadyTest {
        let Self {
            client,
            mut talk,
            warnings,
            transactions,
            ..
        } = self;
        let began = began(&client, &opening);
        let first = opening.buffers();
        let buffers = match opening.test.socket.window {
            Some(_) => first.or(client.listener),
            None => client.listener.or(first),
        };
        let answerer = match opening.probe {
            Probe::Open(answerer) => {
                talk.machine.extend_goodbye(PROBES_AFTER_LOAD);
                Some(answerer)
            }
            Probe::None | Probe::Awaited => None,
        };
        ReadyTest {
            slot: opening.slot,
            talk,
            plan: TestPlan {
                began,
                peer: client.peer,
                exact: opening.exact,
                streams: opening.streams,
                transactions,
                answerer,
                warnings: warnings.take(),
                buffers: buffers.unwrap_or_default(),
            },
        }
    }

    /// Why there is no test, for the server and for the client.
    fn end(mut self, mut opening: Option<Opening>, obstacle: Obstacle) -> Dropped {
        let slot = opening.as_mut().and_then(|opening| opening.slot.take());
        let error = match obstacle {
            Obstacle::Busy => {
                self.talk.machine.deny();
                let farewell = Farewell::new(self.talk, slot, opening);
                // In a flood of clients, not all of them are waited for.
                let farewell = farewell.if_permitted(self.client.refusals.permit());
                return Dropped {
                    farewell: Some(farewell),
                    ..Dropped::new(None, false)
                };
            }
            Obstacle::Error(error) => error,
        };
        let had_params = opening.is_some()
            || match &error {
                TestError::Refused(code) => *code != Code::BUSY,
                other => matches!(
                    other,
                    TestError::Denied(_) | TestError::Protocol(Failure::BadParams { .. })
                ),
            };
        error.tell(&mut self.talk.machine);
        let began = opening.as_ref().map(|opening| {
            let buffers = self.client.listener.or(opening.buffers());
            let began = began(&self.client, opening);
            Box::new((began, buffers.unwrap_or_default()))
        });
        Dropped {
            error: Some(error),
            farewell: Some(Farewell::new(self.talk, slot, opening)),
            began,
            had_params,
        }
    }
}

/// How a test began whose parameters are accepted.
fn began(client: &NewClient, opening: &Opening) -> TestBegan {
    TestBegan {
        peer: Peer::AcceptedFrom(client.peer.clone()),
        at: opening.began,
        cookie: client.cookie.to_string(),
        control_mss: 0,
        config: opening.test.clone(),
    }
}

/// How an action ends a handshake that waits for something else.
fn ending(action: Action) -> TestError {
    match action {
        Action::ClientTerminated => TestError::ClientTerminated,
        Action::Fail(failure) => failure.into(),
        // A client that can't open its streams sends IPERF_DONE.
        Action::Done => Failure::ClientClosed.into(),
        Action::Params(_) | Action::EndTest | Action::PeerResults(_) | Action::Counts(_) => {
            TestError::OutOfPlace {
                action: action.name(),
                phase: "before the test",
            }
        }
    }
}
