//! The loop of a client: feeds the protocol machine, obeys it, and ends the test when its limit is reached.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use iperf_control::{Blocking, Control, Machine, Output, Stop, spawn_blocking};
use iperf_engine::net::udp::hello_patience;
use iperf_engine::net::{Hello, Target};
use iperf_engine::{
    CpuMeter, Due, Ending, EngineError, FileError, Measurement, Prepared, Run, RunPlan, Stream, pin,
};
use iperf_model::{
    ClientConfig, CopyMode, CopyReport, Event, Peer, RunTotals, StreamOutcome, Summary, TestBegan,
    TestConfig, TestStarted, Transport,
};
use iperf_proto::Deadlines;
use iperf_proto::client::{Action, Client, Failure};
use iperf_proto::cookie::Cookie;
use iperf_proto::extensions::Granted;
use iperf_proto::params::Params;
use iperf_proto::results::Results;
use iperf_proto::summary::summarize;
use rand::Rng;
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until};
use tracing::debug;

use crate::quota::{self, Flush};
use crate::streams::Opening;
use crate::{ClientError, Login, connect};

/// How often a running test is looked at for peers that fell silent.
const WATCH: Duration = Duration::from_millis(500);

/// A lost data stream is most often the first sign of a lost server; its control connection gets this long to
/// say so, because that is the better message.
const LOST_STREAM_GRACE: Duration = Duration::from_secs(1);

/// How long a server with closed windows may take nothing; one that is slow keeps its windows open.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// After `-n` or `-k` the peer's kernel has everything; its program gets this long to read it, since iperf3's
/// servers stop counting the moment they are told that the test is over.
const QUOTA_GRACE: Duration = Duration::from_millis(5);

/// Runs a test to its end.
pub(crate) async fn run(
    config: &ClientConfig,
    login: Option<&Login>,
    output: &mut Output<'_>,
    mut stop: Stop,
) -> Result<(), ClientError> {
    let connecting = connect::connect(config);
    let stream = tokio::select! {
        stream = connecting => stream?,
        reason = stop.wait() => return Err(ClientError::Interrupted(reason)),
    };
    let _affinity = config
        .local
        .affinity
        .map(pin)
        .transpose()
        .map_err(ClientError::Affinity)?;
    let control = Control::new(stream.control).map_err(ClientError::Control)?;
    let mut driver = Driver::new(config, login, control, stream.target, output).await?;
    let result = driver.drive(&mut stop).await;
    driver.leave(&result).await;
    result
}

/// Where a test stands.
enum Phase {
    /// The protocol is at work.
    Handshake,
    /// Data streams are being opened.
    Opening(Blocking<Result<Vec<Stream>, EngineError>>),
    /// They stand, and their workers wait.
    Opened(Box<Prepared>),
    /// The clock is running, and data flows.
    Running(Measurement),
    /// The test is over; receivers still empty their sockets.
    Ended(Measurement, RunTotals),
    /// The streams are closed, or those that end in order are waited for.
    Closed(Option<Blocking<()>>),
}

struct Driver<'a, 'o> {
    /// As the user asked.
    config: &'a ClientConfig,
    /// As the server was asked: what depends on the connection is settled.
    test: Arc<TestConfig>,
    control: Control,
    control_mss: u32,
    target: Target,
    cookie: Cookie,
    machine: Client,
    output: &'a mut Output<'o>,
    phase: Phase,
    meter: Option<CpuMeter>,
    started: Instant,
    wake: Arc<Notify>,
    /// The quota is met, and the last bytes are on their way.
    flush: Flush,
    /// The server has all streams, which it says even when its reply to a UDP hello is lost.
    accepted: Arc<AtomicBool>,
    /// What the server said that it grants: that it is this program.
    granted: Option<Granted>,
    /// A data stream was lost: the error to end with, unless the server says something first.
    lost: Option<(Instant, ClientError)>,
}

impl<'a, 'o> Driver<'a, 'o> {
    async fn new(
        config: &'a ClientConfig,
        login: Option<&Login>,
        mut control: Control,
        target: Target,
        output: &'a mut Output<'o>,
    ) -> Result<Self, ClientError> {
        let meter = CpuMeter::start();
        control
            .configure(&config.local)
            .map_err(ClientError::Control)?;
        let mut random = [0; 36];
        rand::rng().fill(&mut random);
        let cookie = Cookie::from_random(random);
        let now = Instant::now();
        let params = Params::from_test(&config.test);
        let mut machine = Client::new(cookie.clone(), params, Deadlines::client(), now);
        if let Err(error) = control.flush(&mut machine).await {
            debug!(%error, "can't send the cookie");
        }
        // Looked at when the first bytes are on their way: before, the kernel still guesses from the handshake.
        let mss = control.socket().tcp_mss().ok();
        let control_mss = mss.unwrap_or(0);
        let mut test = config.test.clone();
        let derived = config.block_from_mss && test.transport == Transport::Udp;
        if derived && (1..=65507).contains(&control_mss) {
            test.block = control_mss;
        }
        if test.transport == Transport::Udp && control_mss > 0 && test.block > control_mss {
            output.event(&Event::Warning(format!(
                "UDP block size {} exceeds TCP MSS {control_mss}, may result in fragmentation / drops",
                test.block
            )));
        }
        output.event(&Event::ControlConnected {
            mss,
            derived_block: derived.then_some(test.block),
        });
        let flush = Flush::new(&test);
        let mut params = Params::from_test(&test);
        if let Some(login) = login {
            params.set_auth_token(login.token().map_err(ClientError::Login)?);
        }
        machine.set_params(params);
        Ok(Self {
            config,
            machine,
            test: Arc::new(test),
            control,
            control_mss,
            target,
            cookie,
            output,
            phase: Phase::Handshake,
            meter: Some(meter),
            started: now,
            wake: Arc::new(Notify::new()),
            flush,
            accepted: Arc::default(),
            granted: None,
            lost: None,
        })
    }

    async fn drive(&mut self, stop: &mut Stop) -> Result<(), ClientError> {
        loop {
            self.flush().await?;
            while let Some(action) = self.machine.poll_action() {
                if self.obey(action).await? {
                    return Ok(());
                }
                self.flush().await?;
            }
            let deadline = tokio::time::Instant::from_std(self.deadline());
            let opening = match &mut self.phase {
                Phase::Opening(task) => Some(task),
                _ => None,
            };
            tokio::select! {
                reason = stop.wait() => return Err(self.interrupted(reason).await),
                input = self.control.read() => {
                    self.control.feed(&input, &mut self.machine);
                }
                opened = join(opening) => self.opened(opened)?,
                () = self.wake.notified() => {}
                () = sleep_until(deadline) => {}
            }
            self.tick().await?;
        }
    }

    /// Writes what the machine has to say. A connection that takes nothing is over, but what the server said
    /// before is still worth reading.
    async fn flush(&mut self) -> Result<(), ClientError> {
        match self.control.flush(&mut self.machine).await {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Err(Failure::ControlClosed.into())
            }
            Err(error) => {
                debug!(%error, "can't write to the control connection");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// When to look again although nothing happened.
    fn deadline(&self) -> Instant {
        let watch = Instant::now() + WATCH;
        let clock = match &self.phase {
            Phase::Running(measurement) => measurement.deadline(),
            _ => None,
        };
        let lost = self.lost.as_ref().map(|(deadline, _)| *deadline);
        let flush = self.flush.deadline();
        let machine = Machine::poll_timeout(&self.machine);
        [clock, lost, flush, machine]
            .into_iter()
            .flatten()
            .fold(watch, Instant::min)
    }

    /// Does what the machine asks for; true when the test is over.
    async fn obey(&mut self, action: Action) -> Result<bool, ClientError> {
        match action {
            Action::ParamsSent => self.began(),
            Action::Granted(granted) => self.granted = Some(*granted),
            Action::OpenStreams => self.open().await?,
            Action::StartClock => {
                self.started = Instant::now();
                self.output.event(&Event::TestStarted(TestStarted {
                    config: self.test.clone(),
                    interval: self.config.local.interval,
                    gso: self.test.udp.gsro,
                    gro: self.test.udp.gsro,
                }));
            }
            Action::Run => self.start(),
            Action::CollectResults => {
                if let Phase::Ended(_, totals) = &self.phase {
                    let results = Results::from_totals(totals, &self.test, None);
                    self.machine.send_results(&results, Instant::now());
                }
            }
            Action::ShowResults(results) => {
                self.conclude(&results)?;
                return Ok(true);
            }
            Action::Fail(failure) => {
                if matches!(failure, Failure::ServerTerminated) {
                    self.conclude_early().await;
                }
                return Err(failure.into());
            }
        }
        Ok(false)
    }

    fn began(&mut self) {
        self.output.event(&Event::TestBegan(TestBegan {
            peer: Peer::ConnectingTo(self.config.endpoint.name()),
            at: SystemTime::now(),
            cookie: self.cookie.to_string(),
            control_mss: self.control_mss,
            config: self.test.clone(),
        }));
    }

    async fn open(&mut self) -> Result<(), ClientError> {
        if self.test.verify {
            match &self.granted {
                Some(granted) if granted.verify => {}
                Some(_) => return Err(ClientError::Declined("--verify")),
                None => return Err(ClientError::NotGranted("--verify")),
            }
        }
        let mut target = self.target.clone();
        if let (Transport::VsockSeqpacket, Target::Vsock(address)) =
            (self.test.transport, &mut target)
        {
            let port = self.granted.as_ref().and_then(|granted| granted.seqpacket);
            address.port = port.ok_or(ClientError::NotGranted("--seqpacket"))?;
        }
        let local = match self.target {
            Target::Inet(address) => {
                let cport = self.config.cport.unwrap_or(0);
                connect::local_address(&self.config.local, cport, address).await?
            }
            Target::Vsock(_) | Target::Hybrid { .. } | Target::Unix { .. } => None,
        };
        let config = ClientConfig {
            test: (*self.test).clone(),
            ..self.config.clone()
        };
        let hello = if self.granted.as_ref().is_some_and(|granted| granted.hello) {
            Hello::Repeated(hello_patience(self.control.socket().as_fd()))
        } else {
            Hello::OnceUntil(self.accepted.clone())
        };
        let opening = Opening::new(config, target, local, self.cookie.clone(), hello);
        self.phase = Phase::Opening(spawn_blocking(move || opening.open()));
        Ok(())
    }

    fn opened(&mut self, streams: Result<Vec<Stream>, EngineError>) -> Result<(), ClientError> {
        let streams = streams.map_err(ClientError::Streams)?;
        for stream in &streams {
            self.output.event(&Event::StreamOpened(stream.info.clone()));
        }
        if let Some(carrier) = self.config.endpoint.carrier() {
            self.output.event(&Event::CarriedBy(carrier));
        }
        if let Some(first) = streams.first() {
            self.output.event(&Event::BuffersKept(first.buffers));
        }
        let meter = self.meter.take().unwrap_or_else(CpuMeter::start);
        let wake = self.wake.clone();
        let plan = RunPlan {
            config: &self.test,
            local: &self.config.local,
            outlasts_quota: false,
            wake: Arc::new(move || wake.notify_one()),
        };
        let prepared = Prepared::new(streams, &plan, meter, true).map_err(ClientError::Streams)?;
        self.phase = Phase::Opened(Box::new(prepared));
        self.machine.streams_opened(Instant::now());
        Ok(())
    }

    fn start(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Closed(None)) {
            Phase::Opened(prepared) => Phase::Running(prepared.go(self.started)),
            other => other,
        };
    }

    /// Looks at the clock, the workers and the quota.
    async fn tick(&mut self) -> Result<(), ClientError> {
        let now = Instant::now();
        if Machine::poll_timeout(&self.machine).is_some_and(|deadline| deadline <= now) {
            self.machine.handle_timeout(now);
        }
        if self.machine.has_been_started() {
            self.accepted.store(true, Ordering::Relaxed);
        }
        let Phase::Running(measurement) = &mut self.phase else {
            return Ok(());
        };
        let mut over = self.flush.is_waiting();
        while let Some(due) = measurement.poll(now) {
            match due {
                Due::Interval(interval) => self.output.event(&Event::Interval(interval)),
                Due::OmitFinished => self.output.event(&Event::OmitFinished),
                Due::Limit => over = true,
            }
        }
        let run = measurement.run();
        for end in run.ended_workers() {
            if matches!(end.ending, Ending::SourceDone) && run.senders_ended() {
                self.flush.source_is_done();
                over = true;
            }
            let sending = end.role.sends();
            if let Some(source) = end.loss() {
                let of_file = source.as_ref().is_some_and(FileError::is);
                let error = ClientError::StreamLost { sending, source };
                if of_file {
                    // The server has no better message about a file of this machine.
                    return Err(error);
                }
                self.lost.get_or_insert((now + LOST_STREAM_GRACE, error));
            }
        }
        if let Some(error) = wrong_data(run) {
            return Err(error);
        }
        over |= run.quota_met_at().is_some();
        over |= quota::tail_is_lost(run, &self.test, now);
        let limit = self.config.local.rcv_timeout;
        if run
            .receive_silence(now)
            .is_some_and(|silence| silence >= limit)
        {
            return Err(ClientError::Silence);
        }
        if run
            .send_stall(now)
            .is_some_and(|stall| stall >= STALL_LIMIT)
        {
            return Err(ClientError::Stalled(STALL_LIMIT.as_secs()));
        }
        if over && self.flush.done(measurement.run(), now) {
            return self.end().await;
        }
        if let Some((_, error)) = self.lost.take_if(|(deadline, _)| *deadline <= now) {
            return Err(error);
        }
        Ok(())
    }

    /// Ends the test: stops the senders, takes the last sample and tells the server.
    async fn end(&mut self) -> Result<(), ClientError> {
        self.stop_measuring(true).await;
        if let Phase::Ended(measurement, _) = &mut self.phase {
            // A receiver may have failed just now.
            measurement.run().ended_workers();
            wrong_data(measurement.run()).map_or(Ok(()), Err)?;
        }
        self.machine.end_test(Instant::now());
        // First the word and then the end of the streams: the other way round the server could take them for lost.
        self.flush().await?;
        if let Phase::Ended(measurement, _) = &mut self.phase {
            measurement.run().half_close();
        }
        Ok(())
    }

    /// Stops the senders and takes the last sample.
    async fn stop_measuring(&mut self, in_order: bool) {
        let phase = std::mem::replace(&mut self.phase, Phase::Closed(None));
        let Phase::Running(mut measurement) = phase else {
            self.phase = phase;
            return;
        };
        let run = measurement.run();
        run.stop_senders();
        let met = measurement
            .run()
            .complete_at(self.test.block)
            .filter(|_| !self.test.direction.client_sends());
        let end = met.unwrap_or_else(Instant::now);
        if in_order && self.flush.is_wanted() {
            sleep(QUOTA_GRACE).await;
        }
        measurement.run().discard_received();
        let (last, totals) = measurement.finish(end);
        if let Some(interval) = last {
            self.output.event(&Event::Interval(interval));
        }
        self.phase = Phase::Ended(measurement, totals);
    }

    /// Reports a whole test.
    fn conclude(&mut self, results: &Results) -> Result<(), ClientError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Closed(None));
        let Phase::Ended(measurement, totals) = phase else {
            return Ok(());
        };
        self.part(measurement);
        let summary = summarize(&totals, &self.test, Some(results))
            .map_err(|code| ClientError::from(Failure::ResultsUnreadable(code.text().into())))?;
        let shortfall = self.shortfall(&summary);
        // A server may send it to a client that did not ask.
        let asked = self.test.get_server_output;
        if let Some(output) = results.server_output.as_ref().filter(|_| asked) {
            self.output.event(&Event::ServerOutput(output.clone()));
        }
        self.output.event(&Event::Summary(summary));
        self.machine.finish();
        shortfall.map_or(Ok(()), Err)
    }

    /// What a test that must not copy copied all the same.
    fn shortfall(&self, summary: &Summary) -> Option<ClientError> {
        if !self.config.local.zerocopy_strict {
            return None;
        }
        let asked = self.test.zerocopy;
        let sender = CopyMode::from(asked.send);
        let receiver = CopyMode::from(asked.receive);
        let sides = summary.streams.iter().flat_map(|stream| {
            let copies = |side: Option<&StreamOutcome>| side?.copies.clone();
            let (sent, received) = (copies(stream.sent()), copies(stream.received()));
            // A sender that may choose may copy for a receiver that maps.
            let receiver_maps = received
                .as_ref()
                .is_some_and(|report| report.requested == CopyMode::Mmap && !report.falls_short());
            let sender = match sender {
                CopyMode::Auto if receiver_maps => CopyMode::Copy,
                other => other,
            };
            // A sender may have copied only because the receiver was to map.
            [("receiver", receiver, received), ("sender", sender, sent)]
        });
        let mut short = sides.filter(|(_, asked, report)| {
            *asked != CopyMode::Copy && report.as_ref().is_none_or(CopyReport::falls_short)
        });
        let (side, requested, report) = short.next()?;
        Some(ClientError::Copied {
            side,
            requested,
            report: report.map(Box::new),
        })
    }

    /// Closes the streams. Those that end in order are read to their ends on a thread of its own.
    fn part(&mut self, measurement: Measurement) {
        let parting = measurement.part();
        let wait = (!parting.is_over()).then(|| spawn_blocking(|| parting.wait()));
        self.phase = Phase::Closed(wait);
    }

    /// Reports what there is of a test that was cut short.
    async fn conclude_early(&mut self) {
        self.stop_measuring(false).await;
        let phase = std::mem::replace(&mut self.phase, Phase::Closed(None));
        let Phase::Ended(measurement, totals) = phase else {
            return;
        };
        self.part(measurement);
        if let Ok(summary) = summarize(&totals, &self.test, None) {
            self.output.event(&Event::Summary(summary));
        }
    }

    async fn interrupted(&mut self, reason: iperf_control::StopReason) -> ClientError {
        self.conclude_early().await;
        self.machine.terminate();
        ClientError::Interrupted(reason)
    }

    /// Says goodbye and closes the connection.
    async fn leave(self, result: &Result<(), ClientError>) {
        let Self {
            mut control,
            mut machine,
            phase,
            ..
        } = self;
        // A server that refused us expects nothing more; every other failure is told.
        let refused = matches!(
            result,
            Err(ClientError::Protocol(
                Failure::Busy | Failure::ServerError { .. }
            ))
        );
        if result.is_err() && !refused && !matches!(result, Err(ClientError::Interrupted(_))) {
            machine.abandon();
        }
        if let Err(error) = control.flush(&mut machine).await {
            debug!(%error, "can't say goodbye");
        }
        // The data sockets go first: a server must not find them open after the goodbye.
        let parting = match phase {
            Phase::Closed(parting) => parting,
            other => {
                drop(other);
                None
            }
        };
        let parted = async {
            if let Some(parting) = parting {
                // Without a thread the streams are closed at once.
                let _ = parting.await;
            }
        };
        tokio::join!(parted, control.close());
    }
}

/// What was received is not what was sent: nobody has to be asked for a better message.
fn wrong_data(run: &Run) -> Option<ClientError> {
    let source = Some(run.wrong_data()?);
    Some(ClientError::StreamLost {
        sending: false,
        source,
    })
}

/// The end of the task that opens the streams.
async fn join(
    task: Option<&mut Blocking<Result<Vec<Stream>, EngineError>>>,
) -> Result<Vec<Stream>, EngineError> {
    match task {
        Some(task) => task.await.unwrap_or_else(|source| {
            Err(EngineError::System {
                operation: "open the streams",
                source,
            })
        }),
        None => std::future::pending().await,
    }
}
