//! The loop of a client: feeds the state machine, carries out its actions, and ends the test when its limit is reached.

mod ending;
mod opening;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use iperf_control::{Control, Conversation, OnBroken, Output, Step, Stop, Surroundings};
use iperf_engine::net::{SocketBuffers, Target, Warnings};
use iperf_engine::probe::{Period, clock_id};
use iperf_engine::{CpuMeter, EngineError, WatchLimits, bind};
use iperf_model::{ClientConfig, Event, Peer, TestBegan, TestConfig, TestStarted, Transport};
use iperf_proto::Deadlines;
use iperf_proto::client::{Action, Client, Failure};
use iperf_proto::cookie::Cookie;
use iperf_proto::extensions::Granted;
use iperf_proto::params::Params;
use iperf_proto::results::Results;
use tokio::sync::Notify;
use tracing::debug;

use self::opening::join;
use crate::phase::{Phase, Running, Verdict};
use crate::probing::Probing;
use crate::streams::Opened;
use crate::{ClientError, Login, connect};

/// How often a running test is checked for a peer that fell silent.
const WATCH: Duration = Duration::from_millis(500);

/// How long a server with closed windows may read nothing; a slow one keeps its windows open.
const STALL_LIMIT: Duration = Duration::from_secs(30);

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
        .as_ref()
        .map(bind)
        .transpose()
        .map_err(ClientError::Affinity)?;
    let meter = CpuMeter::start();
    let control = Control::new(stream.control).map_err(ClientError::Control)?;
    let mut driver = Driver::new(config, login, control, stream.target, output).await?;
    let (phase, result) = driver.drive(meter, &mut stop).await;
    driver.leave(phase, &result).await;
    result
}

/// What a step leads to.
enum Next {
    /// The test continues in this phase.
    Phase(Phase),
    /// It ends, in this phase.
    Over(Phase, Result<(), ClientError>),
}

/// What a client waits for in addition to its control connection.
enum Woken {
    /// All streams are connected, or one was not.
    Opened(Result<Opened, EngineError>),
    /// A worker ended, or the quota is met.
    ByWorker,
}

struct Driver<'a, 'o> {
    /// As the user requested.
    config: &'a ClientConfig,
    /// As requested from the server: what depends on the connection is decided.
    test: Arc<TestConfig>,
    talk: Conversation<Client>,
    control_mss: u32,
    target: Target,
    cookie: Cookie,
    output: &'a mut Output<'o>,
    wake: Arc<Notify>,
    /// The server has all streams. It confirms that even if its reply to a UDP hello is lost.
    accepted: Arc<AtomicBool>,
    /// What the server grants, if it is this program.
    granted: Option<Granted>,
    /// What differs from the request.
    warnings: Warnings,
    /// What data sockets have, even if they can't be connected.
    socket_buffers: SocketBuffers,
    surroundings: Surroundings,
    /// Measures the latency beside the test.
    probing: Probing,
}

impl<'a, 'o> Driver<'a, 'o> {
    async fn new(
        config: &'a ClientConfig,
        login: Option<&Login>,
        control: Control,
        target: Target,
        output: &'a mut Output<'o>,
    ) -> Result<Self, ClientError> {
        let surroundings = Surroundings::ask(&control, config.local.environment);
        control
            .configure(&config.local)
            .map_err(ClientError::Control)?;
        let cookie = random_cookie().map_err(ClientError::Random)?;
        let params = Params::from_test(&config.test);
        let machine = Client::new(cookie.clone(), params, Deadlines::client(), Instant::now());
        let mut talk = Conversation::new(control, machine, OnBroken::ReadOn);
        if let Err(error) = talk.flush().await {
            debug!(%error, "can't send the cookie");
        }
        // Checked when the first bytes are in flight: before that, the kernel still guesses from the handshake.
        let mss = talk.control.socket().tcp_mss().ok();
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
        let mut params = Params::from_test(&test);
        if let Some(login) = login {
            params.set_auth_token(login.token().map_err(ClientError::Login)?);
        }
        if let Some(clock) = clock_id(&cookie) {
            params.set_clock(clock);
        }
        talk.machine.set_params(params);
        Ok(Self {
            config,
            test: Arc::new(test),
            talk,
            control_mss,
            target,
            cookie,
            output,
            wake: Arc::new(Notify::new()),
            accepted: Arc::default(),
            granted: None,
            warnings: Warnings::default(),
            socket_buffers: SocketBuffers::default(),
            surroundings,
            probing: Probing::None,
        })
    }

    /// Goes through the test, phase by phase. The last phase is returned, for it may hold open streams.
    async fn drive(
        &mut self,
        meter: CpuMeter,
        stop: &mut Stop,
    ) -> (Phase, Result<(), ClientError>) {
        let mut phase = Phase::Asking(meter);
        loop {
            let step = match self.wait(&mut phase, stop).await {
                Ok(step) => step,
                Err(error) => return (phase, Err(error)),
            };
            let next = match step {
                Step::Act(action) => self.act(phase, action).await,
                Step::Other(Woken::Opened(streams)) => self.opened(phase, streams),
                Step::Other(Woken::ByWorker) | Step::Look => self.look(phase).await,
                Step::Stopped(reason) => {
                    let phase = self.cut_short(phase);
                    self.talk.machine.terminate();
                    Next::Over(phase, Err(ClientError::Interrupted(reason)))
                }
            };
            match next {
                Next::Phase(next) => phase = next,
                Next::Over(phase, result) => {
                    if matches!(phase, Phase::Opening(..)) {
                        self.report_buffers();
                    }
                    return (phase, result);
                }
            }
        }
    }

    async fn wait(
        &mut self,
        phase: &mut Phase,
        stop: &mut Stop,
    ) -> Result<Step<Action, Woken>, ClientError> {
        let deadline = match phase {
            Phase::Running(running) => Some(running.deadline()),
            _ => None,
        };
        let opening = match phase {
            Phase::Opening(opening, _) => Some(opening),
            _ => None,
        };
        let wake = &self.wake;
        let woken = async {
            tokio::select! {
                streams = join(opening) => Woken::Opened(streams),
                () = wake.notified() => Woken::ByWorker,
            }
        };
        let step = self.talk.next(stop, deadline, woken).await;
        // Whatever else is wrong with the connection shows when it is read.
        step.map_err(|_| Failure::ControlClosed.into())
    }

    /// Carries out an action of the state machine.
    async fn act(&mut self, phase: Phase, action: Action) -> Next {
        match (action, phase) {
            (Action::ParamsSent, phase @ Phase::Asking(_)) => {
                self.began();
                Next::Phase(phase)
            }
            (Action::Granted(granted), phase @ Phase::Asking(_)) => {
                self.granted = Some(*granted);
                Next::Phase(phase)
            }
            (Action::OpenStreams, Phase::Asking(meter)) => match self.open().await {
                Ok(opening) => Next::Phase(Phase::Opening(opening, meter)),
                Err(error) => Next::Over(Phase::Asking(meter), Err(error)),
            },
            (Action::StartClock, Phase::Ready(prepared)) => {
                let start = Instant::now();
                self.output.event(&Event::TestStarted(TestStarted {
                    config: self.test.clone(),
                    interval: self.config.local.interval,
                    gso: self.test.udp.gsro,
                    gro: self.test.udp.gsro,
                }));
                Next::Phase(Phase::Started(prepared, start))
            }
            (Action::Run, Phase::Started(prepared, start)) => {
                let limits = WatchLimits {
                    period: WATCH,
                    silence: self.config.local.rcv_timeout,
                    first_byte: None,
                    stall: STALL_LIMIT,
                };
                if self.test.omit == 0 {
                    self.probing.set(Period::Loaded);
                }
                let running = Running::new(prepared.go(start), &self.test, limits);
                Next::Phase(Phase::Running(Box::new(running)))
            }
            (Action::Counts(counts), mut phase) => {
                // Those that arrive when the test is over change nothing.
                if let Phase::Running(running) = &mut phase {
                    running.measurement.run().learn_counts(&counts);
                }
                Next::Phase(phase)
            }
            (Action::CollectResults, Phase::Ended(ended)) => {
                self.surroundings.end().await;
                let mut results = Results::from_totals(&ended.totals, &self.test, None);
                results.environment = self.granted.as_ref().and(self.surroundings.report());
                if self.granted.is_some() {
                    results.limits.clone_from(&ended.totals.limits);
                }
                self.talk.machine.send_results(&results, Instant::now());
                Next::Phase(Phase::Ended(ended))
            }
            (Action::ShowResults(results), Phase::Ended(ended)) => {
                self.conclude(*ended, &results).await
            }
            (Action::Fail(Failure::ServerTerminated), phase) => {
                Next::Over(self.cut_short(phase), Err(Failure::ServerTerminated.into()))
            }
            (Action::Fail(failure), phase) => Next::Over(phase, Err(failure.into())),
            (action, phase) => out_of_place(action.name(), phase),
        }
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

    /// Checks a running test, and ends it when it is over.
    async fn look(&mut self, phase: Phase) -> Next {
        if self.talk.machine.has_been_started() {
            self.accepted.store(true, Ordering::Relaxed);
        }
        let Phase::Running(mut running) = phase else {
            return Next::Phase(phase);
        };
        let report = |mut event| {
            match &mut event {
                Event::OmitFinished => self.probing.set(Period::Loaded),
                Event::Interval(interval) => self.probing.add_to(interval, &self.test),
                _ => {}
            }
            self.output.event(&event);
        };
        let verdict = running.look(&self.test, Instant::now(), report);
        for counts in running.measurement.run().counts_to_tell() {
            self.talk.machine.send_counts(&counts);
        }
        match verdict {
            Ok(Verdict::GoesOn) => Next::Phase(Phase::Running(running)),
            Ok(Verdict::IsOver) => self.end(*running).await,
            Err(trouble) => Next::Over(Phase::Running(running), Err(trouble.into())),
        }
    }
}

/// From `getrandom(2)`: it needs no device, which a container may not have.
fn random_cookie() -> io::Result<Cookie> {
    let mut random = [0; 36];
    // A request below 256 bytes is never cut short.
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(Cookie::from_random(random))
}

/// An action that makes no sense in a phase: the machine and its driver disagree.
fn out_of_place(action: &'static str, phase: Phase) -> Next {
    let error = ClientError::OutOfPlace {
        action,
        phase: phase.name(),
    };
    Next::Over(phase, Err(error))
}
