//! One running test.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_control::{
    Blocking, Conversation, Detached, Output, Step, Stop, Surroundings, spawn_blocking,
};
use iperf_engine::net::transactions::Transactions;
use iperf_engine::probe::Answerer;
use iperf_engine::{
    CpuMeter, Measurement, Prepared, RunPlan, Stream, Trouble, Watch, WatchLimits, bind,
};
use iperf_model::{
    Buffers, Event, Placement, RunTotals, ServerConfig, Sink, SocketName, TestBegan, TestConfig,
    TestStarted, Transport, reason,
};
use iperf_proto::code::Code;
use iperf_proto::results::Results;
use iperf_proto::server::{Action, Server};
use iperf_proto::summary::summarize;
use tokio::sync::Notify;

use crate::error::TestError;
use crate::inquiry::Inquiries;
use crate::rate_watch::{SharedRateWatch, TestRate};
use crate::settle::settle;
use crate::slots::HeldSlot;

/// How often a running test is checked for silent peers.
const WATCH: Duration = Duration::from_millis(250);

/// How long a client with closed windows may read nothing (a slow one keeps its windows open), and how long a sending
/// client may take for its first byte once its connections are established.
const STALL_LIMIT: Duration = Duration::from_secs(4);

/// A timed test that the client does not end is ended this long after its time, as iperf3 does.
const OVERTIME: Duration = Duration::from_secs(40);

/// What a test needs in addition to its control connection.
pub(crate) struct TestPlan {
    pub(crate) peer: SocketName,
    pub(crate) began: TestBegan,
    /// Whether the client is this program and counts what this end counts.
    pub(crate) exact: bool,
    pub(crate) streams: Vec<Stream>,
    /// Accepts a connection for each transaction.
    pub(crate) transactions: Option<Transactions>,
    /// Answers the client's probes.
    pub(crate) answerer: Option<Answerer>,
    /// What differs from the request.
    pub(crate) warnings: Vec<String>,
    pub(crate) buffers: Buffers,
}

/// Runs a test to its end.
///
/// It must run on a current-thread runtime: the CPU time of the calling thread is the test's, and so is its binding to a
/// CPU.
pub(crate) async fn run(
    talk: Detached<Server>,
    plan: TestPlan,
    sink: &mut dyn Sink,
    config: &ServerConfig,
    rates: &[SharedRateWatch],
    stop: Stop,
    slot: &mut HeldSlot,
) -> Result<(), TestError> {
    let mut output = Output::new(sink);
    let talk = match talk.attach() {
        Ok(talk) => talk,
        Err(error) => {
            let error = TestError::Control(error);
            announce(&plan, config, None, &mut output);
            output.event(&Event::Failed(error.failure()));
            output.event(&Event::TestFinished);
            slot.give_back();
            return Err(error);
        }
    };
    let mut surroundings = Surroundings::ask(&talk.control, config.local.environment);
    let facts = surroundings.event().await;
    announce(&plan, config, facts, &mut output);
    let mut session = Session {
        config,
        test: plan.began.config,
        exact: plan.exact,
        answerer: plan.answerer,
        transactions: plan.transactions,
        talk,
        surroundings,
        output,
        wake: Arc::new(Notify::new()),
        rates,
        slot,
    };
    let (phase, result) = session.drive(plan.streams, stop).await;
    if let Err(error) = &result {
        session.output.event(&Event::Failed(error.failure()));
        error.tell(&mut session.talk.machine);
    }
    session.leave(phase).await;
    result
}

/// Sends the events of the handshake to the sink.
fn announce(plan: &TestPlan, config: &ServerConfig, facts: Option<Event>, output: &mut Output<'_>) {
    output.event(&Event::TestBegan(plan.began.clone()));
    if let Some(facts) = facts {
        output.event(&facts);
    }
    for stream in &plan.streams {
        output.event(&Event::StreamOpened(stream.info.clone()));
    }
    if let Some(carrier) = config.listen.carrier() {
        output.event(&Event::CarriedBy(carrier));
    }
    output.event(&Event::BuffersKept(plan.buffers));
    for text in &plan.warnings {
        output.event(&Event::Warning(text.clone()));
    }
    output.event(&Event::TestStarted(TestStarted {
        config: plan.began.config.clone(),
        interval: config.local.interval,
        gso: plan.began.config.udp.gsro,
        gro: plan.began.config.udp.gsro,
    }));
}

/// How far a test is. A step consumes the phase that it leaves.
enum Phase {
    /// Data flows.
    Running(Box<Running>),
    /// The test is over, and the ends exchange their results.
    Ended(RunTotals, Option<Blocking<()>>),
}

/// A test whose data flows.
struct Running {
    measurement: Measurement,
    watch: Watch,
    /// When the test must have ended.
    overtime: Option<Instant>,
    rates: Vec<TestRate>,
}

/// What a step leads to.
enum Next {
    /// The test continues in this phase.
    Phase(Phase),
    /// It ends, in this phase.
    Over(Phase, Result<(), TestError>),
}

struct Session<'a> {
    config: &'a ServerConfig,
    test: Arc<TestConfig>,
    /// Whether the client is this program and counts what this end counts.
    exact: bool,
    answerer: Option<Answerer>,
    /// Accepts a connection for each transaction.
    transactions: Option<Transactions>,
    talk: Conversation<Server>,
    surroundings: Surroundings,
    output: Output<'a>,
    wake: Arc<Notify>,
    /// The limits that the test falls under.
    rates: &'a [SharedRateWatch],
    slot: &'a mut HeldSlot,
}

impl Session<'_> {
    /// Goes through the test, phase by phase. The last phase is returned, if the test began, for it may hold open streams.
    async fn drive(
        &mut self,
        streams: Vec<Stream>,
        mut stop: Stop,
    ) -> (Option<Phase>, Result<(), TestError>) {
        let asked = self.test.server_affinity.clone();
        let affinity = asked.as_ref().map(bind).transpose();
        let affinity = affinity.unwrap_or_else(|error| {
            let reason = reason(&error);
            self.output.event(&Event::Warning(format!(
                "unable to bind to the CPU that the client asks for: {reason}"
            )));
            None
        });
        // Where the server runs itself, if the client asks for nothing or for what can't be.
        let local = self.config.local.affinity.as_ref();
        let placement = asked.as_ref().filter(|_| affinity.is_some()).or(local);
        let mut phase = match self.start(streams, placement).await {
            Ok(running) => Phase::Running(Box::new(running)),
            Err(error) => return (None, Err(error)),
        };
        loop {
            let deadline = match &phase {
                Phase::Running(running) => {
                    let Running {
                        measurement, watch, ..
                    } = running.as_ref();
                    Some(watch.deadline(measurement, Instant::now()))
                }
                Phase::Ended(..) => None,
            };
            // A test that ends lets clients wait that ask for its slot.
            let inquiries = self.slot.inquiries().filter(|_| deadline.is_some());
            let other = wake_or_inquiry(&self.wake, inquiries);
            let next = match self.talk.next(&mut stop, deadline, other).await {
                Ok(Step::Act(action)) => self.act(phase, action).await,
                Ok(Step::Other(Other::Woken) | Step::Look) => self.look(phase),
                Ok(Step::Other(Other::Inquiry)) => {
                    if let Some(inquiries) = self.slot.inquiries() {
                        inquiries.answer(&self.talk.control).await;
                    }
                    self.look(phase)
                }
                Ok(Step::Stopped(reason)) => {
                    Next::Over(self.cut_short(phase), Err(TestError::Interrupted(reason)))
                }
                Err(error) => Next::Over(phase, Err(TestError::Control(error))),
            };
            match next {
                Next::Phase(next) => phase = next,
                Next::Over(phase, result) => return (Some(phase), result),
            }
        }
    }

    async fn start(
        &mut self,
        streams: Vec<Stream>,
        placement: Option<&Placement>,
    ) -> Result<Running, TestError> {
        let wake = self.wake.clone();
        let plan = RunPlan {
            config: &self.test,
            local: &self.config.local,
            // iperf3's clients count what they receive. Datagrams may be lost, so they must get more until they have
            // counted enough.
            outlasts_quota: self.test.transport == Transport::Udp && !self.exact,
            exact: self.exact,
            placement,
            clock: self.answerer.as_ref().map(Answerer::clock),
            transactions: self.transactions.take(),
            wake: Arc::new(move || wake.notify_one()),
        };
        let prepared =
            Prepared::new(streams, &plan, CpuMeter::start(), false).map_err(TestError::Streams)?;
        let start = Instant::now();
        self.talk.machine.streams_ready(start);
        self.talk.flush().await.map_err(TestError::Control)?;
        let measurement = prepared.go(start);
        let is_bytes = self.test.transport != Transport::Udp;
        let length = self.test.length();
        let overtime = length.map(|length| start + length + OVERTIME);
        Ok(Running {
            measurement,
            watch: Watch::new(WatchLimits {
                period: WATCH,
                silence: self.config.local.rcv_timeout,
                first_byte: is_bytes.then_some(STALL_LIMIT),
                stall: STALL_LIMIT,
            }),
            overtime,
            rates: self.rates.iter().map(|rate| rate.begin(start)).collect(),
        })
    }

    /// Carries out an action of the state machine.
    async fn act(&mut self, mut phase: Phase, action: Action) -> Next {
        if let Phase::Running(running) = &mut phase {
            // What became due while the message waited comes first, above all the end of the omitted period.
            let report = |event| self.output.event(&event);
            running.measurement.report_due(Instant::now(), report);
        }
        match (action, phase) {
            (Action::EndTest, Phase::Running(mut running)) => {
                let end = Instant::now();
                settle(&mut running.measurement, &self.test).await;
                match self.conclude(*running, end) {
                    (phase, Some(wrong)) => Next::Over(phase, Err(wrong)),
                    (phase, None) => {
                        self.surroundings.end().await;
                        self.talk.machine.exchange_results(Instant::now());
                        Next::Phase(phase)
                    }
                }
            }
            (Action::Counts(counts), Phase::Running(mut running)) => {
                running.measurement.run().learn_counts(&counts);
                Next::Phase(Phase::Running(running))
            }
            (Action::PeerResults(theirs), Phase::Ended(totals, streams)) => {
                let wanted = self.test.get_server_output;
                let output = wanted.then(|| self.output.server_output());
                let mut results = Results::from_totals(&totals, &self.test, output.flatten());
                results.environment = self.surroundings.report().filter(|_| self.exact);
                if self.exact {
                    results.limits.clone_from(&totals.limits);
                }
                self.talk.machine.send_results(&results, Instant::now());
                if let Some(after) = self.surroundings.after(theirs.environment) {
                    self.output.event(&after);
                }
                Next::Phase(Phase::Ended(totals, streams))
            }
            (Action::Done, phase) => Next::Over(phase, Ok(())),
            (Action::ClientTerminated, phase) => {
                Next::Over(self.cut_short(phase), Err(TestError::ClientTerminated))
            }
            (Action::Fail(failure), phase) => Next::Over(phase, Err(failure.into())),
            (action, phase) => {
                let error = TestError::OutOfPlace {
                    action: action.name(),
                    phase: phase.name(),
                };
                Next::Over(phase, Err(error))
            }
        }
    }

    /// Checks the clock, the workers and the peer.
    fn look(&mut self, phase: Phase) -> Next {
        match phase {
            Phase::Running(mut running) => match self.check(&mut running, Instant::now()) {
                Ok(()) => Next::Phase(Phase::Running(running)),
                Err(error) => Next::Over(Phase::Running(running), Err(error)),
            },
            ended @ Phase::Ended(..) => Next::Phase(ended),
        }
    }

    fn check(&mut self, running: &mut Running, now: Instant) -> Result<(), TestError> {
        let Running {
            measurement,
            watch,
            overtime,
            rates,
        } = running;
        // The client keeps the time.
        watch.look(measurement, now, |event| self.output.event(&event))?;
        for counts in measurement.run().counts_to_tell() {
            self.talk.machine.send_counts(&counts);
        }
        let (sent, received) = measurement.run().bytes();
        if exceeded(rates, now, sent + received) {
            return Err(TestError::Refused(Code::TOTAL_RATE));
        }
        if overtime.is_some_and(|overtime| overtime <= now) {
            return Err(TestError::Overtime);
        }
        watch.lost(now)?;
        Ok(())
    }

    /// Ends the streams and reports what this end counted, and returns what is wrong with the last data received.
    fn conclude(&mut self, running: Running, end: Instant) -> (Phase, Option<TestError>) {
        let Running {
            mut measurement,
            mut watch,
            mut rates,
            ..
        } = running;
        let run = measurement.run();
        run.stop_senders();
        run.finish_receivers();
        // A client that waits for its last bytes to arrive reports a moment later that it is done.
        let one_way = !self.test.direction.server_sends();
        let complete = run.complete_at(self.test.block).filter(|_| one_way);
        let end = complete.unwrap_or(end);
        let (sent, received) = run.bytes();
        // What the last moments add counts for the tests to come.
        exceeded(&mut rates, Instant::now(), sent + received);
        let (last, totals) = measurement.finish(end);
        let run = measurement.run();
        let wrong = run
            .wrong_data()
            .or_else(|| watch.fault(run, Instant::now()))
            .or_else(|| watch.cut_off(run));
        let wrong = wrong.map(|lost| Trouble::Lost(lost).into());
        let lingering = measurement.close();
        // On a separate thread, while results are exchanged.
        let streams = (!lingering.is_over()).then(|| spawn_blocking(|| lingering.wait()));
        if let Some(interval) = last {
            self.output.event(&Event::Interval(interval));
        }
        // Without the peer's results there is nothing in them that could be wrong.
        if let Ok(mut summary) = summarize(&totals, &self.test, None) {
            let one_way = !summary.delays.one_way.is_empty();
            let clock = self.answerer.as_ref().filter(|_| one_way);
            summary.delays.clock = clock.and_then(|answerer| answerer.clock().relation());
            self.output.event(&Event::Summary(summary));
        }
        (Phase::Ended(totals, streams), wrong)
    }

    /// Reports what there is of a test that was cut short.
    fn cut_short(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Running(running) => self.conclude(*running, Instant::now()).0,
            ended @ Phase::Ended(..) => ended,
        }
    }

    /// Sends what is left to send and closes the connection.
    async fn leave(mut self, phase: Option<Phase>) {
        self.output.event(&Event::TestFinished);
        let streams = match phase {
            Some(Phase::Ended(_, streams)) => streams,
            running => {
                drop(running);
                None
            }
        };
        self.slot.give_back();
        self.talk.close(streams).await;
    }
}

/// What a session waits for in addition to its control connection.
enum Other {
    /// A worker has something to report.
    Woken,
    /// Another client waits for the slot.
    Inquiry,
}

async fn wake_or_inquiry(wake: &Notify, inquiries: Option<&mut Inquiries>) -> Other {
    let inquiry = async {
        match inquiries {
            Some(inquiries) => inquiries.next().await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = wake.notified() => Other::Woken,
        () = inquiry => Other::Inquiry,
    }
}

/// Whether a limit ends the test. What it has moved counts for each of them.
fn exceeded(rates: &mut [TestRate], now: Instant, bytes: u64) -> bool {
    let over = rates.iter_mut().map(|rate| rate.exceeded(now, bytes));
    over.fold(false, |any, over| any | over)
}

impl Phase {
    /// What this end is doing, for messages.
    fn name(&self) -> &'static str {
        match self {
            Self::Running(_) => "during the test",
            Self::Ended(..) => "after the test",
        }
    }
}
