//! A running test on one end: its worker threads, and what is read from their counters.

pub(crate) mod affinity;
pub(crate) mod clock;
pub(crate) mod cpu;
mod drops;
mod ended;
mod exchange;
pub(crate) mod kernel_view;
mod limits;
pub(crate) mod linger;
mod machine;
pub(crate) mod measurement;
mod plan;
mod reported;
mod running_stream;
mod tcp_stats;
mod threads;
mod totals;
pub(crate) mod watch;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_model::{Interval, Role, Transport};
use iperf_zc::interrupt;
use tracing::debug;

pub use ended::{LostStream, WorkerEnd};
pub use plan::RunPlan;

use crate::error::EngineError;
use crate::exchange::TimeLimit;
use crate::run::drops::UdpErrors;
use crate::run::limits::Gauge;
use crate::run::linger::Lingering;
use crate::run::reported::Reported;
use crate::run::running_stream::RunningStream;
use crate::run::threads::Threads;
use crate::stream::Stream;
use crate::worker::counters::Phase;
use crate::worker::gate::Gate;
use crate::worker::quota::Quota;

/// How long a worker may take to follow a change of its phase. A wake-up takes microseconds; this is for a machine that
/// is out of CPU.
const WORKER_LIMIT: Duration = Duration::from_secs(5);

/// The longest pause while workers follow.
const LONGEST_NAP: Duration = Duration::from_millis(5);

/// All streams of one end, running.
pub struct Run {
    streams: Vec<RunningStream>,
    quotas: Quotas,
    /// See [`RunPlan::exact`].
    exact: bool,
    reported: Reported,
    /// The peer's senders sent all that they had, and were not stopped by the clock.
    peer_is_finite: bool,
    /// Where times of the present period count from, and the last sample.
    base: Instant,
    last: Instant,
    omitting: bool,
    /// When a timed request/response test ends: nothing counts after that.
    time_limit: TimeLimit,
    progress: Progress,
    gate: Arc<Gate>,
    /// When the workers began.
    started: Instant,
    /// What the limits of the test are measured by; `None` for exchanges.
    limits: Option<Gauge>,
    /// Why datagrams were dropped, if streams of them are received.
    udp_errors: Option<UdpErrors>,
}

/// The quotas of the directions that there are.
struct Quotas {
    sent: Option<Arc<Quota>>,
    received: Option<Arc<Quota>>,
}

impl Quotas {
    fn iter(&self) -> impl Iterator<Item = &Arc<Quota>> {
        self.sent.iter().chain(&self.received)
    }
}

/// When bytes were last seen to move, for each direction.
struct Progress {
    sent: (u64, Instant),
    received: (u64, Instant),
}

impl Run {
    /// Makes a worker for each stream. They wait for [`Self::go`].
    pub fn prepare(streams: Vec<Stream>, plan: &RunPlan<'_>) -> Result<Self, EngineError> {
        interrupt::install().map_err(EngineError::system("install the wake-up signal"))?;
        let has = |sends: bool| {
            streams
                .iter()
                .any(|stream| stream.info.role.sends() == sends)
        };
        let plan = &plan.of_workers(has(true))?;
        let limit = plan.config.limit;
        let send_quota = Quota::new(limit)
            .filter(|_| !plan.outlasts_quota)
            .map(Arc::new);
        let receive_quota = if plan.config.exchange.is_some() {
            // The requester decides when it is done.
            None
        } else if plan.config.transport == Transport::Udp {
            Quota::of_numbers(limit, plan.config.block)
        } else if plan.exact {
            Quota::of_whole_blocks(limit, plan.config.block)
        } else {
            Quota::new(limit)
        };
        let receive_quota = receive_quota.map(Arc::new);
        // What may be sent in the omitted period.
        let bounded = !plan.exact && plan.config.transport != Transport::Udp;
        let allowance = Quota::new(limit).filter(|_| bounded).map(Arc::new);
        let quotas = Quotas {
            sent: send_quota.clone().filter(|_| has(true)),
            received: receive_quota.clone().filter(|_| has(false)),
        };
        let omitting = plan.config.omit > 0;
        let now = Instant::now();
        let mut run = Self {
            streams: Vec::with_capacity(streams.len()),
            quotas,
            exact: plan.exact,
            reported: Reported::default(),
            peer_is_finite: false,
            base: now,
            last: now,
            omitting,
            time_limit: TimeLimit::new(plan.config),
            progress: Progress {
                sent: (0, now),
                received: (0, now),
            },
            gate: Arc::new(Gate::default()),
            started: now,
            limits: None,
            udp_errors: None,
        };
        let block = OnceCell::new();
        let mut threads = Threads::new(plan, &streams);
        for stream in streams {
            let role = stream.info.role;
            let quota = if role.sends() {
                &send_quota
            } else {
                &receive_quota
            };
            let sharers = threads.next_sharers(role);
            let (stream, worker) = RunningStream::new(
                stream,
                plan,
                quota.clone(),
                allowance.clone(),
                &block,
                sharers,
            )?;
            threads.add(run.streams.len(), &stream, worker);
            run.streams.push(stream);
        }
        let family = run.streams.iter().find_map(RunningStream::receives_over_v6);
        run.udp_errors = family.and_then(UdpErrors::start);
        let route = run.streams.first().and_then(RunningStream::route);
        run.limits = Gauge::start(plan.config, route);
        // A failure drops the run, and that ends the workers that already wait.
        threads.start(plan.placement, &mut run.streams, &run.gate, &plan.wake)?;
        Ok(run)
    }

    /// Lets data flow. The test began at `start`.
    pub fn go(&mut self, start: Instant) {
        self.base = start;
        self.last = start;
        self.started = start;
        self.time_limit.begin(start);
        self.progress = Progress {
            sent: (0, start),
            received: (0, start),
        };
        self.gate.open(start);
    }

    /// Takes an interval that ends at `now`.
    pub fn sample(&mut self, now: Instant) -> Interval {
        let now = self.time_limit.within(now);
        let (base, omitted) = (self.base, self.omitting);
        let interval = Interval {
            start: self.last.saturating_duration_since(base),
            end: now.saturating_duration_since(base),
            omitted,
            streams: self.streams.iter_mut().map(RunningStream::sample).collect(),
            // The driver has them.
            probes: None,
        };
        self.last = now;
        interval
    }

    /// Waits until the requesters of a test whose time is over have counted their last transactions.
    pub fn settle_requesters(&mut self, now: Instant) {
        if self.time_limit.is_over(now) {
            self.stop_counting(RunningStream::sends, Phase::Finishing);
        }
    }

    /// Ends the omitted period: everything counts from `now` on.
    pub fn end_omit(&mut self, now: Instant) {
        for stream in &mut self.streams {
            stream.restart();
        }
        if let Some(limits) = &mut self.limits {
            limits.restart();
        }
        self.base = now;
        self.last = now;
        self.omitting = false;
    }

    /// Whether the omitted period is still running.
    pub fn is_omitting(&self) -> bool {
        self.omitting
    }

    /// When the quota of the test was met. iperf3 ends a test as soon as one direction has met it, and counts what it
    /// received in the omitted period; two ends of this program wait for both directions.
    pub fn quota_met_at(&self) -> Option<Instant> {
        if self.omitting {
            return None;
        }
        if !self.exact {
            return self.quotas.iter().filter_map(|quota| quota.met_at()).min();
        }
        let mut last = None;
        for quota in self.quotas.iter() {
            last = last.max(Some(quota.met_at()?));
        }
        last
    }

    /// Whether this end has sent its quota, or need not send any.
    pub fn has_sent_quota(&self) -> bool {
        !self.exact
            || self
                .quotas
                .sent
                .as_ref()
                .is_none_or(|quota| quota.met_at().is_some())
    }

    /// When the last byte of the quota came in, if nothing came behind it: what was waited for after that is no part
    /// of the test. `block` is in bytes.
    pub fn complete_at(&self, block: u32) -> Option<Instant> {
        let mut quotas = self
            .quotas
            .iter()
            .filter(|quota| !quota.is_exceeded(block.into()));
        quotas
            .find_map(|quota| quota.met_at())
            .filter(|met| *met > self.base)
    }

    /// Workers that ended by themselves since the last call.
    pub fn ended_workers(&mut self) -> Vec<WorkerEnd> {
        self.streams
            .iter_mut()
            .filter_map(RunningStream::take_ending)
            .collect()
    }

    /// A verified stream on which what arrived is not what was sent. Nothing behind the difference was counted.
    pub fn wrong_data(&self) -> Option<LostStream> {
        let difference = self.streams.iter().find_map(RunningStream::difference)?;
        Some(LostStream {
            role: Role::Receiver,
            source: Some(difference.into()),
        })
    }

    /// Bytes that this end sent and received so far, omitted ones included.
    pub fn bytes(&self) -> (u64, u64) {
        self.streams
            .iter()
            .fold((0, 0), |(sent, received), stream| {
                let bytes = stream.bytes();
                if stream.sends() {
                    (sent + bytes, received)
                } else {
                    (sent, received + bytes)
                }
            })
    }

    /// How long ago the receiving streams last got something; `None` when there are none, or when the peer has reported
    /// that it sends no more.
    pub fn receive_silence(&mut self, now: Instant) -> Option<Duration> {
        if self.receivers().next().is_some() && self.receivers().all(RunningStream::is_complete) {
            return None;
        }
        let arrived = self.arrived();
        let waits = self.streams.iter().any(RunningStream::awaits_data);
        waits.then(|| Self::silence(&mut self.progress.received, now, arrived))
    }

    /// Bytes received so far. Of an exchange only its request counts, once its response is there.
    pub fn arrived(&self) -> u64 {
        let streams = self.streams.iter().filter(|stream| stream.awaits_data());
        streams.map(RunningStream::bytes).sum()
    }

    /// How long the peer has taken nothing from the sending streams although its window is closed; `None` when it
    /// takes something, when the network is what is slow, or when there are no such streams.
    pub fn send_stall(&mut self, now: Instant) -> Option<Duration> {
        let sent = self.bytes().0;
        let silence = Self::silence(&mut self.progress.sent, now, sent);
        let senders = self.streams.iter().filter(|stream| stream.sends());
        let mut blocked = senders.filter(|stream| stream.is_running()).peekable();
        blocked.peek()?;
        blocked
            .all(RunningStream::window_is_closed)
            .then_some(silence)
    }

    /// How long `bytes` have not changed.
    fn silence(seen: &mut (u64, Instant), now: Instant, bytes: u64) -> Duration {
        if seen.0 != bytes {
            *seen = (bytes, now);
        }
        now.saturating_duration_since(seen.1)
    }

    /// Stops the senders. Receivers continue.
    pub fn stop_senders(&mut self) {
        self.finish(RunningStream::sends, Phase::Finishing);
    }

    /// Stops counting what arrives, but keeps emptying the sockets, so that a peer whose writes block can end.
    pub fn discard_received(&mut self) {
        self.stop_counting(|stream| !stream.sends(), Phase::Discarding);
    }

    /// Counts what has arrived by now, then stops all receivers.
    pub fn finish_receivers(&mut self) {
        self.finish(|stream| !stream.sends(), Phase::Finishing);
    }

    /// Bytes that were sent and that the peer's kernel has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        let senders = self.streams.iter().filter(|stream| stream.sends());
        senders.map(RunningStream::unacknowledged).sum()
    }

    /// Whether all senders have ended, each for its own reason.
    pub fn senders_ended(&self) -> bool {
        let mut senders = self.streams.iter().filter(|stream| stream.sends());
        senders.all(|stream| !stream.is_running())
    }

    /// Half-closes the streams that linger: nothing more is sent on them. The senders have stopped.
    pub fn half_close(&self) {
        for stream in &self.streams {
            stream.half_close();
        }
    }

    /// Ends all workers and closes the sockets, except those that linger.
    pub fn close(mut self) -> Lingering {
        self.finish(|_| true, Phase::Stopping);
        let running = std::mem::take(&mut self.streams);
        Lingering::new(
            running
                .into_iter()
                .filter_map(RunningStream::into_lingering)
                .collect(),
        )
    }

    /// Moves the chosen workers on to `phase` and waits until each has reported that it stopped counting, so that nothing
    /// is counted after the last sample.
    fn stop_counting(&mut self, chosen: impl Fn(&RunningStream) -> bool, phase: Phase) {
        let mut counting: Vec<_> = self.streams.iter().filter(|m| chosen(m)).collect();
        for stream in &counting {
            stream.advance(phase);
        }
        patiently(counting.len(), |wakes| {
            counting.retain(|stream| stream.is_counting());
            if wakes {
                wake(counting.iter().copied());
            }
            counting.is_empty()
        });
    }

    /// Moves the chosen workers on to `phase` and waits until they have ended.
    fn finish(&mut self, chosen: impl Fn(&RunningStream) -> bool, phase: Phase) {
        let mut running: Vec<_> = self.streams.iter_mut().filter(|m| chosen(m)).collect();
        for stream in &running {
            stream.advance(phase);
        }
        patiently(running.len(), |wakes| {
            running.retain_mut(|stream| !stream.join_if_done());
            if wakes {
                wake(running.iter().map(|stream| &**stream));
            }
            running.is_empty()
        });
    }
}

/// Makes blocking calls of the streams' threads return, each thread's once.
fn wake<'a>(streams: impl Iterator<Item = &'a RunningStream>) {
    let mut woken = HashSet::new();
    for thread in streams.filter_map(RunningStream::thread) {
        if woken.insert(thread.id()) {
            thread.wake();
        }
    }
}

/// Retries `step` with a growing pause until it returns true or `WORKER_LIMIT` has passed.
///
/// The first pause gives busy workers time to follow by themselves, and only those that have not are woken after it
/// (`true`). On a machine with more threads than processors, each signal hands the processor to a thread of the test: a
/// hundred of them took seconds.
fn patiently(workers: usize, mut step: impl FnMut(bool) -> bool) {
    let deadline = Instant::now() + WORKER_LIMIT;
    let mut nap = Duration::from_micros(20);
    let workers = u32::try_from(workers).unwrap_or(u32::MAX);
    let first = nap.saturating_mul(workers).min(LONGEST_NAP);
    if step(false) {
        return;
    }
    std::thread::sleep(first);
    while !step(true) {
        if Instant::now() >= deadline {
            debug!("workers did not obey in time");
            return;
        }
        std::thread::sleep(nap);
        nap = (2 * nap).min(LONGEST_NAP);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.gate.cancel();
        self.finish(|_| true, Phase::Stopping);
    }
}
