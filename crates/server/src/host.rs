//! The host: knows who is at the door, who is in the hall and who has the floor.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_auth::{Authorizer, Padding};
use iperf_control::{Stop, StopReason, Wire, wait_until};
use iperf_engine::{Affinity, pin};
use iperf_model::{
    Buffers, Event, Failure, FailureKind, ServerAuth, ServerConfig, Sink, SocketName,
};
use iperf_proto::code::Code;
use iperf_proto::cookie::Cookie;
use iperf_proto::server::Server as Machine;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::error::TestError;
use crate::greet::{self, Greeted, Refusals};
use crate::handshake::{self, Candidate, Dropped, Guest};
use crate::listen::Listener;
use crate::port_permit::PortPermits;
use crate::rate_watch::SharedRateWatch;
use crate::waiting::{Origin, Waiting};
use crate::watch::{self, SharedSink};
use crate::{ServerError, listen, session};

/// Connections whose cookie is awaited, handshakes whose parameters are, and handshakes whose data connections are: so
/// many of each.
const MAX_WAITING: usize = 512;

/// How often to log such an error.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// How long to accept no connections after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a test that is told to stop may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the tasks tell the host.
enum Knock {
    /// A connection's cookie, or `None` when none came.
    Greeted(Option<Greeted>, SocketName, u64),
    /// A handshake has got parameters that this server accepts.
    Accepted(Cookie),
    /// A handshake ended.
    Handshake(Cookie, Result<Box<Candidate>, Dropped>),
    /// The running test ended.
    Session(Box<dyn Sink>, Result<(), TestError>),
    /// The running test's task panicked.
    Lost,
}

/// A listening server.
pub(crate) struct Host {
    config: Arc<ServerConfig>,
    listener: Listener,
    buffers: Option<Buffers>,
    /// Here while no test runs.
    sink: Option<Box<dyn Sink>>,
    /// The same, for the case that a test does not give it back.
    spare: Option<SharedSink>,
    /// Connections without a cookie, by number. They are closed when what is kept here is dropped.
    greetings: Waiting<u64, oneshot::Sender<()>>,
    /// Handshakes without parameters, with the way to hand them their data connections. They end when it is dropped.
    asked: Waiting<Cookie, mpsc::Sender<Greeted>>,
    /// Handshakes with parameters, which open their data connections.
    opening: Waiting<Cookie, mpsc::Sender<Greeted>>,
    refusals: Refusals,
    /// When to accept connections again, after an error.
    accept_again: Option<Instant>,
    /// When that was last logged.
    accept_warned: Option<Instant>,
    /// Connections accepted so far.
    accepted: u64,
    port_permits: PortPermits,
    rate: Option<SharedRateWatch>,
    authorizer: Option<Arc<Authorizer>>,
    tests: u64,
    /// Unbounded, so that no task waits with what it has to tell; each tells a thing or two, and their number is bounded.
    knocks: (mpsc::UnboundedSender<Knock>, mpsc::UnboundedReceiver<Knock>),
    _affinity: Option<Affinity>,
}

impl Host {
    pub(crate) async fn open(config: ServerConfig) -> Result<Self, ServerError> {
        raise_descriptor_limit();
        let affinity = config
            .local
            .affinity
            .map(pin)
            .transpose()
            .map_err(ServerError::Affinity)?;
        let authorizer = config.auth.as_ref().map(authorizer).transpose()?;
        let listener = listen::listen(&config).await.map_err(ServerError::Listen)?;
        let buffers = listener.buffers().map_err(ServerError::Listen)?;
        let start = Instant::now();
        let rate = config
            .rate_limit
            .map(|limit| SharedRateWatch::new(limit, start));
        Ok(Self {
            rate,
            config: Arc::new(config),
            listener,
            buffers,
            sink: None,
            spare: None,
            accept_again: None,
            accept_warned: None,
            greetings: Waiting::new(MAX_WAITING),
            asked: Waiting::new(MAX_WAITING),
            opening: Waiting::new(MAX_WAITING),
            refusals: Refusals::new(),
            accepted: 0,
            port_permits: PortPermits::new(),
            authorizer: authorizer.map(Arc::new),
            tests: 0,
            knocks: mpsc::unbounded_channel(),
            _affinity: affinity,
        })
    }

    pub(crate) async fn serve(
        mut self,
        sink: Box<dyn Sink>,
        mut stop: Stop,
        ready: impl FnOnce(Option<SocketAddr>),
    ) -> Result<(), ServerError> {
        let sink = SharedSink::new(sink);
        self.spare = Some(sink.clone());
        self.sink = Some(Box::new(sink));
        ready(self.listener.address());
        self.announce();
        loop {
            let idle = self.config.idle_timeout.filter(|_| self.sink.is_some());
            let idle = idle.map(|limit| Instant::now() + limit);
            tokio::select! {
                // In this order: what has been read is seen before a newcomer displaces it.
                biased;
                reason = stop.wait() => return Err(self.farewell(reason).await),
                Some(knock) = self.knocks.1.recv() => {
                    if self.answer(knock, &stop) {
                        return Ok(());
                    }
                }
                accepted = self.listener.accept(), if self.accept_again.is_none() => {
                    self.accepted(accepted);
                }
                () = wait_until(self.accept_again) => self.accept_again = None,
                () = wait_until(idle) => {
                    debug!("no test within the idle time-out");
                    if self.config.one_off {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes a connection. An error is most often a lack of descriptors, which others may give back.
    fn accepted(&mut self, accepted: io::Result<(Wire, SocketName)>) {
        match accepted {
            Ok((stream, peer)) => self.greet(stream, peer),
            Err(error) => {
                let now = Instant::now();
                self.accept_again = Some(now + ACCEPT_PAUSE);
                if self.accept_warned.is_none_or(|at| now - at >= WARN_PAUSE) {
                    self.accept_warned = Some(now);
                    warn!(%error, "can't accept connections");
                }
            }
        }
    }

    /// Says that the server is ready for its next test.
    fn announce(&mut self) {
        self.tests += 1;
        let port = self.config.listen.port();
        self.tell(&Event::Listening {
            port,
            test_number: self.tests,
        });
    }

    /// Tells the sink, if no test has it.
    fn tell(&mut self, event: &Event) {
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.event(event)
        {
            warn!(%error, "can't write output");
        }
    }

    fn greet(&mut self, stream: Wire, peer: SocketName) {
        self.accepted += 1;
        let order = self.accepted;
        let (entry, displaced) = oneshot::channel();
        self.greetings.insert(order, Origin::of(&peer), entry);
        let (knocks, refusals) = (self.knocks.0.clone(), self.refusals.clone());
        let name = peer.clone();
        let lost = move || Knock::Greeted(None, name, order);
        watch::spawn(knocks, lost, async move {
            let greeted = greet::read_cookie(stream, order, displaced, refusals).await;
            Knock::Greeted(greeted, peer, order)
        });
    }

    /// Reacts to what a task tells; true when the server is done.
    fn answer(&mut self, knock: Knock, stop: &Stop) -> bool {
        match knock {
            Knock::Greeted(greeted, peer, order) => {
                self.greetings.remove(&order);
                if let Some(greeted) = greeted {
                    self.seat(greeted, peer, stop);
                }
                false
            }
            Knock::Accepted(cookie) => {
                if let Some((origin, connections)) = self.asked.remove(&cookie) {
                    self.opening.insert(cookie, origin, connections);
                }
                false
            }
            Knock::Handshake(cookie, outcome) => {
                self.asked.remove(&cookie);
                self.opening.remove(&cookie);
                match outcome {
                    Ok(candidate) => match self.begin(candidate, stop) {
                        Ok(()) => false,
                        Err(dropped) => self.dropped(dropped),
                    },
                    Err(dropped) => self.dropped(dropped),
                }
            }
            Knock::Session(sink, result) => {
                debug!(?result, "test ended");
                self.sink = Some(sink);
                if !self.config.one_off {
                    self.announce();
                }
                self.config.one_off
            }
            Knock::Lost => {
                self.sink = self
                    .spare
                    .clone()
                    .map(|sink| Box::new(sink) as Box<dyn Sink>);
                self.tell(&Event::Failed(TestError::Panicked.failure()));
                self.tell(&Event::TestFinished);
                if !self.config.one_off {
                    self.announce();
                }
                self.config.one_off
            }
        }
    }

    /// Finds the place of a connection: with its handshake, as a new one, or outside.
    fn seat(&mut self, greeted: Greeted, peer: SocketName, stop: &Stop) {
        let known = self.opening.get(&greeted.cookie);
        if let Some(connections) = known.or_else(|| self.asked.get(&greeted.cookie)) {
            if let Err(error) = connections.try_send(greeted) {
                self.refusals.refuse(error.into_inner().stream);
            }
            return;
        }
        let Greeted { cookie, stream, .. } = greeted;
        if self.sink.is_none() {
            self.refusals.refuse(stream);
            return;
        }
        let (sender, connections) = mpsc::channel(2 * usize::from(iperf_model::MAX_STREAMS));
        self.asked.insert(cookie.clone(), Origin::of(&peer), sender);
        let (knocks, stop) = (self.knocks.0.clone(), stop.clone());
        let (accepted, accepted_cookie) = (knocks.clone(), cookie.clone());
        let guest = Guest {
            cookie: cookie.clone(),
            stream,
            peer,
            connections,
            config: self.config.clone(),
            listener: self.buffers,
            port_permits: self.port_permits.clone(),
            refusals: self.refusals.clone(),
            authorizer: self.authorizer.clone(),
            limit: handshake::HANDSHAKE_LIMIT,
            on_accepted: Box::new(move || {
                let _ = accepted.send(Knock::Accepted(accepted_cookie));
            }),
        };
        let lost_cookie = cookie.clone();
        let lost = move || Knock::Handshake(lost_cookie, Err(Dropped::by_panic()));
        watch::spawn(knocks, lost, async move {
            let outcome = handshake::run(guest, stop).await;
            Knock::Handshake(cookie, outcome)
        });
    }

    /// Starts a test, or turns its client away: another one runs, or those before have used up the limit of the rate.
    fn begin(&mut self, candidate: Box<Candidate>, stop: &Stop) -> Result<(), Dropped> {
        let now = Instant::now();
        if self
            .rate
            .as_ref()
            .is_some_and(|rate| rate.look().used_up(now))
        {
            let error = TestError::Refused(Code::TOTAL_RATE);
            let explanation = error.explanation();
            turn_away(candidate, move |machine| {
                machine.refuse(Code::TOTAL_RATE, 0, explanation.as_deref());
            });
            return Err(Dropped {
                error: Some(error),
                began: None,
                had_params: true,
            });
        }
        let Some(sink) = self.sink.take() else {
            turn_away(candidate, Machine::deny);
            return Ok(());
        };
        // The others learn that the server is busy when their channel closes.
        self.asked.clear();
        self.opening.clear();
        let (config, knocks) = (self.config.clone(), self.knocks.0.clone());
        let stop = stop.clone();
        let rate = self.rate.clone();
        watch::spawn(knocks, || Knock::Lost, async move {
            let (sink, result) = session::run(candidate, sink, &config, rate, stop).await;
            Knock::Session(sink, result)
        });
        Ok(())
    }

    /// Reports a handshake that came to nothing; true when it was the one test of `-1`.
    fn dropped(&mut self, dropped: Dropped) -> bool {
        let Some(error) = dropped.error else {
            return false;
        };
        debug!(%error, "handshake failed");
        if self.sink.is_none() {
            return false;
        }
        if let Some(began) = dropped.began {
            let (began, buffers) = *began;
            self.tell(&Event::TestBegan(began));
            self.tell(&Event::BuffersKept(buffers));
        }
        self.tell(&Event::Failed(error.failure()));
        self.tell(&Event::TestFinished);
        if self.config.one_off && dropped.had_params {
            return true;
        }
        self.announce();
        false
    }

    /// Lets the running test say goodbye, then ends.
    async fn farewell(mut self, reason: StopReason) -> ServerError {
        let idle = self.sink.is_some();
        if idle {
            let error = TestError::Interrupted(reason);
            self.tell(&Event::Failed(Failure {
                kind: FailureKind::Interrupt,
                message: error.to_string(),
            }));
            self.tell(&Event::TestFinished);
        } else {
            let goodbye = async {
                while let Some(knock) = self.knocks.1.recv().await {
                    if matches!(knock, Knock::Session(..) | Knock::Lost) {
                        return;
                    }
                }
            };
            let _ = timeout(FAREWELL, goodbye).await;
        }
        ServerError::Interrupted(reason)
    }
}

/// Tells a client whose streams are open why there is no test.
fn turn_away(candidate: Box<Candidate>, tell: impl FnOnce(&mut Machine) + Send + 'static) {
    tokio::spawn(async move {
        // Its streams are closed after the message.
        let Candidate { mut talk, .. } = *candidate;
        tell(&mut talk.machine);
        talk.close(None).await;
    });
}

fn authorizer(auth: &ServerAuth) -> Result<Authorizer, ServerError> {
    let padding = if auth.pkcs1 {
        Padding::Pkcs1
    } else {
        Padding::Oaep
    };
    let authorizer = Authorizer::load(&auth.private_key, &auth.users, auth.skew, padding)
        .map_err(ServerError::Login)?;
    if let Some(weakness) = authorizer.weakness() {
        warn!("{weakness}");
    }
    Ok(authorizer)
}

/// Streams and strangers need descriptors; the soft limit is there for programs that use `select`.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        debug!(%error, "can't raise the limit of open files");
    }
}
