//! The server: accepts connections, keeps track of handshakes and running tests, and reports what happens between tests.
//!
//! Everything else is a task or a thread that sends a [`TaskEvent`] when it is done.

mod attach;
mod change;
mod ending;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use iperf_auth::Authorizer;
use iperf_control::{Stop, StopReason, Wire, wait_until};
use iperf_engine::{Affinity, EngineError, bind};
use iperf_model::{
    Buffers, Concurrency, Event, Outputs, ServerConfig, ServerCounters, Sink, SocketName, TestId,
};
use iperf_proto::code::Code;
use iperf_proto::cookie::Cookie;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockAddr;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::interval;
use tracing::{debug, info, warn};

use self::attach::Availability;
use crate::client_rates::ClientRates;
use crate::error::TestError;
use crate::handshake::{Dropped, ReadyTest};
use crate::identify::{Identified, Refusals};
use crate::listen::Listener;
use crate::port_permit::PortPermits;
use crate::rate_watch::SharedRateWatch;
use crate::registry::Tests;
use crate::slots::{HeldSlot, Slots};
use crate::tasks::SharedSink;
use crate::test_thread::{Job, TestThread};
use crate::waiting::{Origin, Waiting};
use crate::{ServerError, Service, listen};

pub use change::{Change, Terms};

/// The most connections whose cookie is awaited, handshakes whose parameters are, and handshakes whose data connections
/// are, of each.
const MAX_WAITING: usize = 512;

/// How often to log such an error.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// How long to accept no connections after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a server shows that it reacts.
const BEAT: Duration = Duration::from_secs(5);

/// What a task or a test's thread reports.
enum TaskEvent {
    /// A connection's cookie, or `None` when none arrived.
    Identified(Option<Identified>, SocketName, u64),
    /// A handshake has parameters that this server accepts.
    Accepted(Cookie),
    /// A handshake ended.
    Handshake(Cookie, Result<Box<ReadyTest>, Dropped>),
    /// The holders of the taken slots have been asked for a client.
    Waited(Identified, SocketName),
    /// A test is over, and its slot is free.
    Over(TestId),
    /// The thread of a test has ended; `None` when it panicked.
    Ended(TestId, Option<Result<(), TestError>>),
}

/// A listening server.
pub(crate) struct Server<'a> {
    config: Arc<ServerConfig>,
    listener: Listener,
    buffers: Option<Buffers>,
    outputs: &'a dyn Outputs,
    counters: Arc<ServerCounters>,
    drain: Option<watch::Receiver<bool>>,
    changes: Option<mpsc::Receiver<Change>>,
    /// One test runs after another, as iperf3's do.
    is_sequential: bool,
    /// No test begins any more.
    is_draining: bool,
    /// The server stops: handshakes and tests end, and it ends after them.
    stopped: Option<StopReason>,
    /// For what belongs to no test.
    sink: SharedSink,
    tests: Tests,
    slots: Slots,
    /// Connections without a cookie, by number. They are closed when what is kept here is dropped.
    unidentified: Waiting<u64, oneshot::Sender<()>>,
    /// Handshakes without parameters, with the way to their data connections. They end when it is dropped.
    awaiting_parameters: Waiting<Cookie, mpsc::Sender<Identified>>,
    /// Handshakes with parameters, which open their data connections.
    opening: Waiting<Cookie, mpsc::Sender<Identified>>,
    refusals: Refusals,
    /// Clients that are being told that there is no test for them.
    farewells: JoinSet<()>,
    /// When to accept connections again, after an error.
    accept_again: Option<Instant>,
    /// When that was last reported.
    accept_warned: Option<Instant>,
    /// Connections accepted so far.
    accepted: u64,
    port_permits: PortPermits,
    rate: Option<SharedRateWatch>,
    client_rates: ClientRates,
    authorizer: Option<Arc<Authorizer>>,
    announced: u64,
    /// Unbounded, so that no task waits for the server; each sends one or two events, and the tasks are bounded.
    sender: mpsc::UnboundedSender<TaskEvent>,
    events: mpsc::UnboundedReceiver<TaskEvent>,
    _affinity: Option<Affinity>,
}

impl<'a> Server<'a> {
    /// Listens. Warnings go to `sink`, which is for what belongs to no test.
    pub(crate) async fn open(
        config: ServerConfig,
        outputs: &'a dyn Outputs,
        service: Service,
        mut sink: SharedSink,
    ) -> Result<Self, ServerError> {
        let affinity = config
            .local
            .affinity
            .as_ref()
            .map(bind)
            .transpose()
            .map_err(ServerError::Affinity)?;
        let terms = Terms::load(&config)?;
        if let Some(weakness) = terms.weakness() {
            report(&mut sink, &Event::Warning(weakness.to_owned()));
        }
        let listener = match service.listener {
            Some(listener) => listen::adopt(listener),
            None => listen::listen(&config).await,
        };
        let listener = listener.map_err(ServerError::Listen)?;
        let buffers = listener.buffers().map_err(ServerError::Listen)?;
        let start = Instant::now();
        let rate = config
            .rate_limit
            .map(|limit| SharedRateWatch::new(limit, start));
        let (sender, events) = mpsc::unbounded_channel();
        Ok(Self {
            rate,
            client_rates: ClientRates::new(config.client_rate_limit),
            slots: Slots::new(&config),
            is_sequential: config.tests == Concurrency::ONE,
            tests: Tests::default(),
            config: Arc::new(config),
            listener,
            buffers,
            outputs,
            counters: service.counters,
            drain: service.drain,
            changes: service.changes,
            is_draining: false,
            stopped: None,
            farewells: JoinSet::new(),
            sink,
            accept_again: None,
            accept_warned: None,
            unidentified: Waiting::new(MAX_WAITING),
            awaiting_parameters: Waiting::new(MAX_WAITING),
            opening: Waiting::new(MAX_WAITING),
            refusals: Refusals::new(),
            accepted: 0,
            port_permits: PortPermits::new(),
            authorizer: terms.authorizer,
            announced: 0,
            sender,
            events,
            _affinity: affinity,
        })
    }

    pub(crate) async fn serve(
        mut self,
        mut stop: Stop,
        ready: impl FnOnce(SockAddr),
    ) -> Result<(), ServerError> {
        ready(self.listener.address().map_err(ServerError::Listen)?);
        self.announce();
        self.counters.set_ready(true);
        let served = self.run(&mut stop).await;
        self.await_farewells().await;
        served
    }

    async fn run(&mut self, stop: &mut Stop) -> Result<(), ServerError> {
        let mut beat = interval(BEAT);
        loop {
            if self.is_draining && self.tests.have_left() {
                return Ok(());
            }
            let idle = self.config.idle_timeout.filter(|_| self.tests.are_over());
            let idle = idle.map(|limit| Instant::now() + limit);
            tokio::select! {
                // In this order: what has been read is seen before a newcomer displaces it.
                biased;
                reason = stop.wait() => return Err(self.shutdown(reason, stop).await),
                Some(event) = self.events.recv() => {
                    if self.on_event(event, stop) {
                        return Ok(());
                    }
                }
                change = change::next(self.changes.as_mut()) => self.change(change),
                () = drain_requested(self.drain.as_mut()), if !self.is_draining => self.drain(),
                accepted = self.listener.accept(), if self.accept_again.is_none() => {
                    self.accepted(accepted);
                }
                _ = beat.tick() => self.counters.beat(SystemTime::now()),
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
            Ok((stream, peer)) => {
                ServerCounters::add(&self.counters.connections);
                self.read_cookie(stream, peer);
            }
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

    /// Stops accepting tests. Clients learn that the server is busy.
    fn drain(&mut self) {
        self.is_draining = true;
        self.counters.set_ready(false);
        self.awaiting_parameters.clear();
        self.opening.clear();
    }

    /// Reports that the server is ready: for its next test, or once for all tests that run at the same time.
    fn announce(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        self.announced += 1;
        let port = self.config.listen.port();
        if self.is_sequential {
            self.report(&Event::Listening {
                port,
                test_number: self.announced,
            });
        } else if self.announced == 1 {
            self.report(&Event::ListeningForMany {
                port,
                tests: self.config.tests,
            });
        }
    }

    /// A client was refused because the server is busy.
    fn refused(&self) {
        ServerCounters::add(&self.counters.refused);
    }

    /// Reports what belongs to no test.
    fn report(&mut self, event: &Event) {
        report(&mut self.sink, event);
    }

    /// Reacts to what a task reports; true when the server is done.
    fn on_event(&mut self, event: TaskEvent, stop: &Stop) -> bool {
        match event {
            TaskEvent::Identified(identified, peer, order) => {
                self.unidentified.remove(&order);
                if let Some(identified) = identified {
                    self.attach(identified, peer, stop, Availability::Unknown);
                }
                false
            }
            TaskEvent::Waited(identified, peer) => {
                self.attach(identified, peer, stop, Availability::Known);
                false
            }
            TaskEvent::Accepted(cookie) => {
                if let Some((origin, connections)) = self.awaiting_parameters.remove(&cookie) {
                    self.opening.insert(cookie, origin, connections);
                }
                false
            }
            TaskEvent::Handshake(cookie, outcome) => {
                self.awaiting_parameters.remove(&cookie);
                self.opening.remove(&cookie);
                match outcome.and_then(|ready| self.begin(*ready, stop)) {
                    Ok(()) => false,
                    Err(dropped) => self.dropped(dropped),
                }
            }
            TaskEvent::Over(id) => {
                self.tests.over(id);
                if !self.config.one_off {
                    self.announce();
                }
                false
            }
            TaskEvent::Ended(id, result) => {
                info!(%id, ?result, "test ended");
                if let Some(mut sink) = self.tests.left(id) {
                    report(&mut sink, &Event::Failed(TestError::Panicked.failure()));
                    report(&mut sink, &Event::TestFinished);
                    if !self.config.one_off {
                        self.announce();
                    }
                }
                self.config.one_off
            }
        }
    }

    /// Starts a test, or turns its client away: too many run, or those before have used up the limit of the rate.
    fn begin(&mut self, mut ready: ReadyTest, stop: &Stop) -> Result<(), Dropped> {
        if let Some(reason) = self.stopped {
            return Err(ready.fail(TestError::Interrupted(reason)));
        }
        let now = Instant::now();
        let origin = Origin::of(&ready.plan.peer);
        let client_rate = self.client_rates.of(&origin, now);
        let rates: Vec<_> = self.rate.iter().cloned().chain(client_rate).collect();
        if rates.iter().any(|rate| rate.look().used_up(now)) {
            return Err(ready.fail(TestError::Refused(Code::TOTAL_RATE)));
        }
        let streams = ready.plan.streams.len();
        let slot = ready.slot.take();
        let Some(slot) = slot.or_else(|| self.slots.take(origin, streams)) else {
            self.refused();
            self.part(ready.deny());
            return Ok(());
        };
        let (id, sink) = self.tests.begin(self.outputs);
        let sender = self.sender.clone();
        let thread = TestThread::start(move |result| {
            // There is no receiver once the server has ended.
            drop(sender.send(TaskEvent::Ended(id, result)));
        });
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => {
                self.tests.left(id);
                drop(slot);
                let refused = EngineError::system("start the thread of the test")(error);
                return Err(ready.fail(TestError::Streams(refused)));
            }
        };
        let ReadyTest { talk, plan, .. } = ready;
        let talk = match talk.detach() {
            Ok(talk) => talk,
            Err(error) => {
                self.tests.left(id);
                return Err(Dropped::new(TestError::Control(error), true));
            }
        };
        if self.is_sequential {
            // The others learn that the server is busy when their channel closes.
            self.awaiting_parameters.clear();
            self.opening.clear();
        }
        let sender = self.sender.clone();
        let held = HeldSlot::new(slot, move || {
            drop(sender.send(TaskEvent::Over(id)));
        });
        let job = Job {
            id,
            talk,
            plan,
            sink,
            config: self.config.clone(),
            rates,
            stop: stop.clone(),
        };
        thread.run(job, held);
        Ok(())
    }
}

/// Resolves when the server is to drain.
async fn drain_requested(drain: Option<&mut watch::Receiver<bool>>) {
    if let Some(drain) = drain
        && drain.wait_for(|drain| *drain).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Hands an event to a sink. That output can't be written is no reason to stop serving.
pub(crate) fn report(sink: &mut dyn Sink, event: &Event) {
    if let Err(error) = sink.event(event) {
        warn!(%error, "can't write output");
    }
}

/// Raises the soft limit, which only protects programs that use `select`: each stream and each connection needs a
/// descriptor.
pub fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        debug!(%error, "can't raise the limit of open files");
    }
}
