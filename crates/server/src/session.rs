//! One running test.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_control::{Blocking, Control, Machine, Output, Stop, spawn_blocking};
use iperf_engine::{CpuMeter, Due, FileError, Measurement, Prepared, RunPlan, pin};
use iperf_model::{
    Event, Limit, Peer, RunTotals, ServerConfig, Sink, TestBegan, TestConfig, TestStarted,
    Transport,
};
use iperf_proto::code::Code;
use iperf_proto::results::Results;
use iperf_proto::server::{Action, Server};
use iperf_proto::summary::summarize;
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until};
use tracing::{debug, warn};

use crate::error::TestError;
use crate::handshake::Candidate;
use crate::rate_watch::SharedRateWatch;

/// How often a running test is looked at for peers that fell silent.
const WATCH: Duration = Duration::from_millis(250);

/// How long a client with closed windows may take nothing; one that is slow keeps its windows open. And how long a
/// client that sends may take for its very first byte, once its connections stand.
const STALL_LIMIT: Duration = Duration::from_secs(4);

/// A timed test that the client does not end is ended this long after its time, as iperf3 does.
const OVERTIME: Duration = Duration::from_secs(40);

/// Datagrams may be slower than the control connection. When the client has stopped they have all come as soon as
/// none came for the first time, and nobody waits longer than the second.
const SETTLE_SILENCE: Duration = Duration::from_millis(10);
const SETTLE_LIMIT: Duration = Duration::from_millis(200);

/// A lost data stream is most often the first sign of a lost client; its control connection gets this long to say
/// so, because that is the better message.
const LOST_STREAM_GRACE: Duration = Duration::from_secs(1);

/// Runs a test to its end and gives the sink back.
pub(crate) async fn run(
    candidate: Box<Candidate>,
    mut sink: Box<dyn Sink>,
    config: &ServerConfig,
    rate: Option<SharedRateWatch>,
    stop: Stop,
) -> (Box<dyn Sink>, Result<(), TestError>) {
    let mut output = Output::new(sink.as_mut());
    announce(&candidate, config, &mut output);
    let Candidate {
        control,
        machine,
        test,
        exact,
        streams,
        ..
    } = *candidate;
    let mut session = Session {
        config,
        test,
        exact,
        control,
        machine,
        output,
        phase: Phase::Ready,
        wake: Arc::new(Notify::new()),
        lost: None,
        wrong_data: None,
        overtime: None,
        rate,
        parting: None,
    };
    let result = session.drive(streams, stop).await;
    if let Err(error) = &result {
        session.output.event(&Event::Failed(error.failure()));
        match error {
            TestError::Interrupted(_) => session.machine.terminate(),
            other => {
                if let Some(code) = other.code() {
                    session
                        .machine
                        .refuse(code, 0, other.explanation().as_deref());
                }
            }
        }
    }
    session.leave().await;
    (sink, result)
}

/// Tells the sink what happened in the handshake.
fn announce(candidate: &Candidate, config: &ServerConfig, output: &mut Output<'_>) {
    output.event(&Event::TestBegan(TestBegan {
        peer: Peer::AcceptedFrom(candidate.peer.clone()),
        at: candidate.began,
        cookie: candidate.cookie.to_string(),
        control_mss: 0,
        config: candidate.test.clone(),
    }));
    for stream in &candidate.streams {
        output.event(&Event::StreamOpened(stream.info.clone()));
    }
    if let Some(carrier) = config.listen.carrier() {
        output.event(&Event::CarriedBy(carrier));
    }
    output.event(&Event::BuffersKept(candidate.buffers));
    output.event(&Event::TestStarted(TestStarted {
        config: candidate.test.clone(),
        interval: config.local.interval,
        gso: candidate.test.udp.gsro,
        gro: candidate.test.udp.gsro,
    }));
}

/// Where a test stands.
enum Phase {
    Ready,
    Running(Box<Measurement>),
    Ended(RunTotals),
}

struct Session<'a> {
    config: &'a ServerConfig,
    test: Arc<TestConfig>,
    /// Whether the client is this program and counts what this end counts.
    exact: bool,
    control: Control,
    machine: Server,
    output: Output<'a>,
    phase: Phase,
    wake: Arc<Notify>,
    /// A data stream was lost: the error to end with, unless the client says something first.
    lost: Option<(Instant, TestError)>,
    /// What came in last was not what was sent.
    wrong_data: Option<TestError>,
    /// When the test must have ended.
    overtime: Option<Instant>,
    rate: Option<SharedRateWatch>,
    /// Waits until the client has closed the streams that end in order.
    parting: Option<Blocking<()>>,
}

impl Session<'_> {
    async fn drive(
        &mut self,
        streams: Vec<iperf_engine::Stream>,
        mut stop: Stop,
    ) -> Result<(), TestError> {
        // Bound to the test: the binding ends with it.
        let _affinity = self
            .test
            .server_affinity
            .map(pin)
            .transpose()
            .unwrap_or_else(|error| {
                warn!(%error, "can't bind to the CPU that the client asks for");
                None
            });
        self.start(streams).await?;
        loop {
            self.control
                .flush(&mut self.machine)
                .await
                .map_err(TestError::Control)?;
            while let Some(action) = self.machine.poll_action() {
                if self.obey(action).await? {
                    return Ok(());
                }
                self.control
                    .flush(&mut self.machine)
                    .await
                    .map_err(TestError::Control)?;
            }
            let deadline = self.deadline();
            tokio::select! {
                reason = stop.wait() => {
                    self.conclude(Instant::now());
                    return Err(TestError::Interrupted(reason));
                }
                input = self.control.read() => self.control.feed(&input, &mut self.machine),
                () = self.wake.notified() => {}
                () = sleep_until(deadline.into()) => {}
            }
            self.tick()?;
        }
    }

    async fn start(&mut self, streams: Vec<iperf_engine::Stream>) -> Result<(), TestError> {
        let wake = self.wake.clone();
        let plan = RunPlan {
            config: &self.test,
            local: &self.config.local,
            // iperf3's clients count what they receive. Of datagrams that is less than what is sent, so that they must
            // get more until they are content.
            outlasts_quota: self.test.transport == Transport::Udp && !self.exact,
            wake: Arc::new(move || wake.notify_one()),
        };
        let prepared =
            Prepared::new(streams, &plan, CpuMeter::start(), false).map_err(TestError::Streams)?;
        let start = Instant::now();
        self.machine.streams_ready(start);
        self.control
            .flush(&mut self.machine)
            .await
            .map_err(TestError::Control)?;
        self.phase = Phase::Running(Box::new(prepared.go(start)));
        if let Some(rate) = &self.rate {
            rate.look().begin(start);
        }
        if let Limit::Seconds(seconds) = self.test.limit {
            let length = Duration::from_secs(u64::from(seconds) + u64::from(self.test.omit));
            self.overtime = Some(start + length + OVERTIME);
        }
        Ok(())
    }

    /// When to look again although nothing happened.
    fn deadline(&self) -> Instant {
        let clock = match &self.phase {
            Phase::Running(measurement) => measurement.deadline(),
            _ => None,
        };
        let lost = self.lost.as_ref().map(|(deadline, _)| *deadline);
        let machine = Machine::poll_timeout(&self.machine);
        let watch = Instant::now() + WATCH;
        [clock, lost, machine]
            .into_iter()
            .flatten()
            .fold(watch, Instant::min)
    }

    /// Does what the machine asks for; true when the test is over.
    async fn obey(&mut self, action: Action) -> Result<bool, TestError> {
        match action {
            Action::EndTest => {
                let end = Instant::now();
                self.settle().await;
                self.conclude(end);
                self.wrong_data.take().map_or(Ok(()), Err)?;
                self.machine.exchange_results(Instant::now());
            }
            Action::PeerResults(_) => {
                if let Phase::Ended(totals) = &self.phase {
                    let output = self
                        .test
                        .get_server_output
                        .then(|| self.output.server_output());
                    let results = Results::from_totals(totals, &self.test, output.flatten());
                    self.machine.send_results(&results, Instant::now());
                }
            }
            Action::Done => return Ok(true),
            Action::ClientTerminated => {
                self.conclude(Instant::now());
                return Err(TestError::ClientTerminated);
            }
            Action::Fail(failure) => return Err(failure.into()),
            // Parameters come once, and the handshake took them.
            Action::Params(_) => {}
        }
        Ok(false)
    }

    /// Looks at the clock, the workers and the peer.
    fn tick(&mut self) -> Result<(), TestError> {
        let now = Instant::now();
        if Machine::poll_timeout(&self.machine).is_some_and(|deadline| deadline <= now) {
            self.machine.handle_timeout(now);
        }
        let Phase::Running(measurement) = &mut self.phase else {
            return Ok(());
        };
        while let Some(due) = measurement.poll(now) {
            match due {
                Due::Interval(interval) => self.output.event(&Event::Interval(interval)),
                Due::OmitFinished => self.output.event(&Event::OmitFinished),
                // The client keeps the time.
                Due::Limit => {}
            }
        }
        let run = measurement.run();
        for end in run.ended_workers() {
            let sending = end.role.sends();
            if let Some(source) = end.loss() {
                let of_file = source.as_ref().is_some_and(FileError::is);
                let error = TestError::StreamLost { sending, source };
                if of_file {
                    // The client has no better message about a file of this machine.
                    return Err(error);
                }
                self.lost.get_or_insert((now + LOST_STREAM_GRACE, error));
            }
        }
        if let Some(source) = run.wrong_data() {
            return Err(TestError::wrong_data(source));
        }
        let (sent, received) = run.bytes();
        let limit = self.config.local.rcv_timeout;
        if run
            .receive_silence(now)
            .is_some_and(|silence| silence >= limit)
        {
            return Err(TestError::Silence);
        }
        let starting = self.test.transport != Transport::Udp && received == 0;
        if starting
            && run
                .receive_silence(now)
                .is_some_and(|silence| silence >= STALL_LIMIT)
        {
            return Err(TestError::Mute(STALL_LIMIT.as_secs()));
        }
        if run
            .send_stall(now)
            .is_some_and(|stall| stall >= STALL_LIMIT)
        {
            return Err(TestError::Stalled(STALL_LIMIT.as_secs()));
        }
        if self
            .rate
            .as_ref()
            .is_some_and(|rate| rate.look().exceeded(now, sent + received))
        {
            return Err(TestError::Refused(Code::TOTAL_RATE));
        }
        if self.overtime.is_some_and(|overtime| overtime <= now) {
            return Err(TestError::Overtime);
        }
        match self.lost.take_if(|(deadline, _)| *deadline <= now) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits until the datagrams that were on their way when the client stopped have come.
    async fn settle(&mut self) {
        let Phase::Running(measurement) = &mut self.phase else {
            return;
        };
        if self.test.transport != Transport::Udp || !self.test.direction.client_sends() {
            return;
        }
        measurement.run().stop_senders();
        let deadline = Instant::now() + SETTLE_LIMIT;
        let mut seen = None;
        while seen.replace(measurement.run().bytes().1) != Some(measurement.run().bytes().1)
            && Instant::now() < deadline
        {
            sleep(SETTLE_SILENCE).await;
        }
    }

    /// Ends the streams and reports what this end counted.
    fn conclude(&mut self, end: Instant) {
        let Phase::Running(measurement) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return;
        };
        let mut measurement = *measurement;
        measurement.run().stop_senders();
        measurement.run().finish_receivers();
        // A client that waits for its last bytes to arrive says a moment later that it is done.
        let one_way = !self.test.direction.server_sends();
        let complete = measurement
            .run()
            .complete_at(self.test.block)
            .filter(|_| one_way);
        let end = complete.unwrap_or(end);
        if let Some(rate) = &self.rate {
            let (sent, received) = measurement.run().bytes();
            // What the last moments add counts for the tests to come.
            let _ = rate.look().exceeded(Instant::now(), sent + received);
        }
        let (last, totals) = measurement.finish(end);
        self.wrong_data = measurement.run().wrong_data().map(TestError::wrong_data);
        let parting = measurement.part();
        // On a thread of its own, while results are exchanged.
        self.parting = (!parting.is_over()).then(|| spawn_blocking(|| parting.wait()));
        if let Some(interval) = last {
            self.output.event(&Event::Interval(interval));
        }
        // Without the peer's results there is nothing in them that could be wrong.
        if let Ok(summary) = summarize(&totals, &self.test, None) {
            self.output.event(&Event::Summary(summary));
        }
        self.phase = Phase::Ended(totals);
    }

    /// Says what is left to say and closes the connection.
    async fn leave(self) {
        let Self {
            mut control,
            mut machine,
            mut output,
            phase,
            parting,
            ..
        } = self;
        output.event(&Event::TestFinished);
        drop(phase);
        if let Err(error) = control.flush(&mut machine).await {
            debug!(%error, "can't say goodbye");
        }
        let parted = async {
            if let Some(parting) = parting {
                // Without a thread the streams are closed at once.
                let _ = parting.await;
            }
        };
        tokio::join!(parted, control.close());
    }
}
