//! A running test on one end: its worker threads, and what is read from their counters.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_model::{Interval, LocalOptions, RunTotals, TestConfig, Transport};
use iperf_zc::interrupt;
use tracing::debug;

use crate::EngineError;
use crate::counters::Phase;
use crate::cpu::{CpuMeter, CpuTime};
use crate::gate::Gate;
use crate::goal::Goal;
use crate::member::Member;
use crate::parting::Parting;
use crate::stream::Stream;
use crate::worker::Ending;

/// How long a worker that was asked to do something else may take. A wake-up takes microseconds; this is for a
/// machine that is out of CPU.
const WORKER_LIMIT: Duration = Duration::from_secs(5);

/// What a run needs to know besides its streams.
pub struct RunPlan<'a> {
    /// The test.
    pub config: &'a TestConfig,
    /// This end's own options.
    pub local: &'a LocalOptions,
    /// Called from worker threads when the quota is met or a worker ended by itself.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// A worker that ended without being asked to.
#[derive(Debug)]
pub struct WorkerEnd {
    /// The stream's id on the wire.
    pub id: u32,
    /// Whether this end sends on the stream.
    pub sending: bool,
    /// Why it ended.
    pub ending: Ending,
}

impl WorkerEnd {
    /// Whether the stream was lost, and what the kernel said of it: nothing when the peer closed it. `None` when the
    /// worker ended for a good reason.
    pub fn loss(self) -> Option<Option<io::Error>> {
        match self.ending {
            Ending::Failed(error) => Some(Some(error)),
            Ending::EndOfStream => Some(None),
            Ending::Stopped | Ending::QuotaMet | Ending::SourceDone => None,
        }
    }
}

/// All streams of one end, running.
pub struct Run {
    members: Vec<Member>,
    goals: Vec<Arc<Goal>>,
    /// Where times of the present period count from, and the last sample.
    base: Instant,
    last: Instant,
    omitting: bool,
    progress: Progress,
    gate: Arc<Gate>,
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
        let send_goal = Goal::new(plan.config.limit).map(Arc::new);
        let limit = plan.config.limit;
        let receive_goal = if plan.config.transport == Transport::Udp {
            Goal::of_numbers(limit, plan.config.block).map(Arc::new)
        } else {
            Goal::new(limit).map(Arc::new)
        };
        let goals: Vec<_> = [&send_goal, &receive_goal]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let omitting = plan.config.omit > 0;
        if !omitting {
            for goal in &goals {
                goal.arm();
            }
        }
        let now = Instant::now();
        let mut run = Self {
            members: Vec::with_capacity(streams.len()),
            goals,
            base: now,
            last: now,
            omitting,
            progress: Progress {
                sent: (0, now),
                received: (0, now),
            },
            gate: Arc::new(Gate::default()),
        };
        for stream in streams {
            let goal = if stream.info.sending {
                &send_goal
            } else {
                &receive_goal
            };
            // A failure drops the run, and that ends the workers that already wait.
            let gate = run.gate.clone();
            run.members
                .push(Member::start(stream, plan, goal.clone(), gate)?);
        }
        Ok(run)
    }

    /// Lets data flow. The test began at `start`.
    pub fn go(&mut self, start: Instant) {
        self.base = start;
        self.last = start;
        self.progress = Progress {
            sent: (0, start),
            received: (0, start),
        };
        self.gate.open(start);
    }

    /// Takes an interval that ends at `now`.
    pub fn sample(&mut self, now: Instant) -> Interval {
        let (base, omitted) = (self.base, self.omitting);
        let interval = Interval {
            start: self.last.saturating_duration_since(base),
            end: now.saturating_duration_since(base),
            omitted,
            streams: self.members.iter_mut().map(Member::sample).collect(),
        };
        self.last = now;
        interval
    }

    /// Ends the omitted period: everything counts from `now` on.
    pub fn end_omit(&mut self, now: Instant) {
        for member in &mut self.members {
            member.restart();
        }
        for goal in &self.goals {
            goal.arm();
        }
        self.base = now;
        self.last = now;
        self.omitting = false;
    }

    /// Whether the omitted period is still running.
    pub fn is_omitting(&self) -> bool {
        self.omitting
    }

    /// When the quota of the test was met, by what was sent or by what was received.
    pub fn quota_met_at(&self) -> Option<Instant> {
        self.goals.iter().filter_map(|goal| goal.met_at()).min()
    }

    /// When the last byte of the quota came in, if nothing came behind it: what was waited for after that is no part
    /// of the test. `block` is in bytes.
    pub fn complete_at(&self, block: u32) -> Option<Instant> {
        let mut goals = self
            .goals
            .iter()
            .filter(|goal| !goal.is_exceeded(block.into()));
        goals.find_map(|goal| goal.met_at())
    }

    /// Workers that ended by themselves since the last call.
    pub fn ended_workers(&mut self) -> Vec<WorkerEnd> {
        self.members
            .iter_mut()
            .filter_map(Member::take_ending)
            .collect()
    }

    /// What a receiver of a verified stream found to be other than it was sent, as the error that ended it. Nothing
    /// that came behind it was counted.
    pub fn wrong_data(&self) -> Option<io::Error> {
        let difference = self.members.iter().find_map(Member::difference)?;
        Some(difference.into())
    }

    /// Bytes that this end sent and received so far, omitted ones included.
    pub fn bytes(&self) -> (u64, u64) {
        self.members
            .iter()
            .fold((0, 0), |(sent, received), member| {
                let bytes = member.bytes();
                if member.sends() {
                    (sent + bytes, received)
                } else {
                    (sent, received + bytes)
                }
            })
    }

    /// How long ago the receiving streams last got something; `None` when there are none.
    pub fn receive_silence(&mut self, now: Instant) -> Option<Duration> {
        let received = self.bytes().1;
        self.silence(now, false, received)
    }

    /// How long the peer has taken nothing from the sending streams although its window is closed; `None` when it
    /// takes something, when the network is what is slow, or when there are no such streams.
    pub fn send_stall(&mut self, now: Instant) -> Option<Duration> {
        let sent = self.bytes().0;
        let silence = self.silence(now, true, sent)?;
        let senders = self.members.iter().filter(|member| member.sends());
        let mut blocked = senders.filter(|member| member.is_running()).peekable();
        blocked.peek()?;
        blocked.all(Member::window_is_closed).then_some(silence)
    }

    fn silence(&mut self, now: Instant, sending: bool, bytes: u64) -> Option<Duration> {
        if !self.members.iter().any(|member| member.sends() == sending) {
            return None;
        }
        let seen = if sending {
            &mut self.progress.sent
        } else {
            &mut self.progress.received
        };
        if seen.0 != bytes {
            *seen = (bytes, now);
        }
        Some(now.saturating_duration_since(seen.1))
    }

    /// Stops the senders. Receivers go on.
    pub fn stop_senders(&mut self) {
        self.finish(Member::sends, Phase::Finishing);
    }

    /// Stops counting what arrives, but keeps emptying the sockets, so that a peer whose writes block can end.
    pub fn discard_received(&mut self) {
        let mut counting: Vec<_> = self.members.iter().filter(|m| !m.sends()).collect();
        for member in &counting {
            member.advance(Phase::Discarding);
        }
        // Each says when it has stopped counting, so that no byte comes in behind the last sample.
        patiently(|| {
            counting.retain(|member| member.is_counting());
            for member in &counting {
                member.wake();
            }
            counting.is_empty()
        });
    }

    /// Counts what has arrived by now, then stops all receivers.
    pub fn finish_receivers(&mut self) {
        self.finish(|member| !member.sends(), Phase::Finishing);
    }

    /// Bytes that were sent and that the peer's kernel has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        let senders = self.members.iter().filter(|member| member.sends());
        senders.map(Member::unacknowledged).sum()
    }

    /// Whether all senders have ended, each for a reason of its own.
    pub fn senders_ended(&self) -> bool {
        let mut senders = self.members.iter().filter(|member| member.sends());
        senders.all(|member| !member.is_running())
    }

    /// What was counted until the last sample. `end` is when the test ended.
    pub fn totals(&mut self, end: Instant, meter: &CpuMeter) -> RunTotals {
        let workers = self
            .members
            .iter()
            .fold(CpuTime::default(), |sum, m| sum.plus(m.cpu()));
        RunTotals {
            duration: end.saturating_duration_since(self.base),
            cpu: meter.usage(workers),
            congestion: self
                .members
                .last()
                .and_then(Member::congestion)
                .map(str::to_owned),
            streams: self.members.iter().map(Member::totals).collect(),
        }
    }

    /// Says on streams that end in order that nothing more is sent. The senders have stopped.
    pub fn half_close(&self) {
        for member in &self.members {
            member.half_close();
        }
    }

    /// Ends all workers and closes the sockets, but for those that end in order.
    pub fn part(mut self) -> Parting {
        self.finish(|_| true, Phase::Stopping);
        let members = std::mem::take(&mut self.members);
        Parting::new(
            members
                .into_iter()
                .filter_map(Member::into_parting)
                .collect(),
        )
    }

    /// Moves the chosen workers on to `phase` and waits until they have ended.
    fn finish(&mut self, chosen: impl Fn(&Member) -> bool, phase: Phase) {
        let mut members: Vec<_> = self.members.iter_mut().filter(|m| chosen(m)).collect();
        for member in &members {
            member.advance(phase);
        }
        patiently(|| {
            members.retain_mut(|member| !member.join_if_done());
            for member in &members {
                member.wake();
            }
            members.is_empty()
        });
    }
}

/// Repeats a step until it says that it is done, or until there is no hope left.
fn patiently(mut step: impl FnMut() -> bool) {
    let deadline = Instant::now() + WORKER_LIMIT;
    let mut nap = Duration::from_micros(20);
    while !step() {
        if Instant::now() >= deadline {
            debug!("workers did not obey in time");
            return;
        }
        std::thread::sleep(nap);
        nap = (2 * nap).min(Duration::from_millis(5));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.gate.cancel();
        self.finish(|_| true, Phase::Stopping);
    }
}
