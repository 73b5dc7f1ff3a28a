//! Which thread drives which stream: a thread for each, or a few that the streams of a direction share (`--threads`). Many
//! streams, and more request/response connections than there are processors, share one per processor.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use iperf_model::{Io, MAX_STREAMS, Placement, Role, SendMode, Transport};

use crate::error::EngineError;
use crate::movers;
use crate::run::affinity::{Place, Places, incoming_cpu};
use crate::run::plan::RunPlan;
use crate::run::running_stream::RunningStream;
use crate::stream::Stream;
use crate::worker::gate::Gate;
use crate::worker::shared::{Idle, SharedWorkers};
use crate::worker::thread::{self, EndingSlot};
use crate::worker::{Wake, Worker};

/// How long a thread of receivers sleeps when it has emptied all sockets, so that a batch gathers.
const NAP: Duration = Duration::from_micros(100);

/// The most streams of a direction per processor that have a thread each. With more senders the scheduler gives some threads
/// a multiple of the others' time, and the streams that they drive a multiple of the bytes. Receivers have to wait for their
/// senders, so their threads are even among themselves; with more of them they only cost time (docs/experiments.md).
const SENDERS: usize = 8;
const RECEIVERS: usize = 24;

/// What a sender may send in a turn, in bytes, where several share a thread. With a turn for each block, small blocks would go
/// to a socket whose state is no longer in the processor's cache.
const TURN: u32 = 64 * 1024;

/// A worker, the stream that it belongs to, and where it leaves its ending.
struct Assigned {
    stream: usize,
    id: u32,
    ending: EndingSlot,
    worker: Box<dyn Worker>,
}

/// The workers of one direction.
struct Direction {
    role: Role,
    exchanges: bool,
    streams: usize,
    /// How many threads drive them.
    threads: usize,
    /// System calls of a turn, where they share.
    calls: u32,
    workers: Vec<Assigned>,
}

/// Assigns workers to threads.
pub(crate) struct Threads {
    directions: [Direction; 2],
}

impl Threads {
    /// Counts threads for the streams of a test.
    pub(crate) fn new(plan: &RunPlan<'_>, streams: &[Stream]) -> Self {
        let direction = |role: Role| {
            let streams = streams
                .iter()
                .filter(|s| s.info.role.sends() == role.sends());
            let streams = streams.count();
            let threads = match plan.local.threads {
                Some(threads) if may_share(plan, role) => streams.min(threads.get().into()),
                None if streams > alone(plan, role) && may_share(plan, role) => processors(),
                _ => streams,
            };
            Direction {
                role,
                exchanges: plan.config.exchange.is_some(),
                streams,
                threads,
                calls: calls(plan, role),
                workers: Vec::with_capacity(streams),
            }
        };
        Self {
            directions: [direction(Role::Sender), direction(Role::Receiver)],
        }
    }

    fn direction(&mut self, role: Role) -> &mut Direction {
        &mut self.directions[usize::from(!role.sends())]
    }

    /// How many workers the thread of the direction's next worker will have.
    pub(crate) fn next_sharers(&mut self, role: Role) -> u32 {
        let direction = self.direction(role);
        let thread = direction.workers.len() % direction.threads.max(1);
        let more = usize::from(thread < direction.streams % direction.threads.max(1));
        u32::try_from(direction.streams / direction.threads.max(1) + more).unwrap_or(u32::MAX)
    }

    /// Adds the worker of the `index`-th stream of the run.
    pub(crate) fn add(&mut self, index: usize, stream: &RunningStream, worker: Box<dyn Worker>) {
        let assigned = Assigned {
            stream: index,
            id: stream.id(),
            ending: stream.ending_slot(),
            worker,
        };
        self.direction(stream.role()).workers.push(assigned);
    }

    /// Starts the threads, which wait at the gate, each at its place.
    pub(crate) fn start(
        self,
        placement: Option<&Placement>,
        streams: &mut [RunningStream],
        gate: &Arc<Gate>,
        wake: &Wake,
    ) -> Result<(), EngineError> {
        let mut places = Places::new(placement);
        for direction in self.directions {
            if direction.threads == direction.workers.len() {
                direction.start_alone(&mut places, streams, gate, wake)?;
            } else {
                direction.start_shared(&mut places, streams, gate, wake)?;
            }
        }
        Ok(())
    }
}

impl Direction {
    /// The direction in the names of its threads.
    fn way(&self) -> &'static str {
        if self.role.sends() { "tx" } else { "rx" }
    }

    /// Starts a thread for each worker.
    fn start_alone(
        self,
        places: &mut Places<'_>,
        streams: &mut [RunningStream],
        gate: &Arc<Gate>,
        wake: &Wake,
    ) -> Result<(), EngineError> {
        let way = self.way();
        for Assigned {
            stream,
            id,
            ending,
            worker,
        } in self.workers
        {
            let name = format!("iperf-{way}-{id}");
            let thread = thread::start_alone(
                name,
                worker,
                ending,
                places.next(),
                gate.clone(),
                wake.clone(),
            )?;
            streams[stream].driven_by(Arc::new(thread));
        }
        Ok(())
    }

    /// Deals the workers out to fewer threads. Where packets decide, those whose packets arrive at the same CPU share one.
    fn start_shared(
        mut self,
        places: &mut Places<'_>,
        streams: &mut [RunningStream],
        gate: &Arc<Gate>,
        wake: &Wake,
    ) -> Result<(), EngineError> {
        let way = self.way();
        let idle = match self.role {
            _ if self.exchanges => Idle::Listen,
            role if role.sends() => Idle::Sleep,
            _ => Idle::Nap(NAP),
        };
        let mut groups: Vec<Vec<Assigned>> = Vec::new();
        groups.resize_with(self.threads, Vec::new);
        let together = places.follow_packets();
        if together {
            self.workers
                .sort_by_key(|assigned| incoming_cpu(assigned.worker.socket()));
        }
        let count = self.workers.len();
        for (index, assigned) in self.workers.into_iter().enumerate() {
            let group = if together {
                index * self.threads / count
            } else {
                index % self.threads
            };
            groups[group].push(assigned);
        }
        for (number, group) in (1_u32..).zip(groups) {
            let place = match places.next() {
                // Of most of its streams.
                Place::Incoming => incoming_cpu(group[group.len() / 2].worker.socket())
                    .map_or(Place::Anywhere, Place::Cpu),
                place => place,
            };
            let (mut members, mut endings, mut workers) = (Vec::new(), Vec::new(), Vec::new());
            for assigned in group {
                members.push(assigned.stream);
                endings.push(assigned.ending);
                workers.push(assigned.worker);
            }
            let workers = SharedWorkers::new(workers, self.calls, idle)
                .map_err(EngineError::system("prepare a shared worker thread"))?;
            let name = format!("iperf-{way}s-{number}");
            let thread =
                thread::start_shared(name, workers, endings, place, gate.clone(), wake.clone())?;
            let thread = Arc::new(thread);
            for stream in members {
                streams[stream].driven_by(thread.clone());
            }
        }
        Ok(())
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// The most streams of a direction that have a thread each.
fn alone(plan: &RunPlan<'_>, role: Role) -> usize {
    let processors = processors();
    if plan.config.exchange.is_some() {
        processors
    } else {
        movers_alone(plan.local.io, role, processors)
    }
}

/// The same, where data goes one way.
fn movers_alone(io: Io, role: Role, processors: usize) -> usize {
    let per_processor = match (io, role.sends()) {
        // A ring waits for one stream.
        (Io::Uring, _) => return MAX_STREAMS.into(),
        (Io::Calls, true) => SENDERS,
        (Io::Calls, false) => RECEIVERS,
    };
    processors
        .saturating_mul(per_processor)
        .min(MAX_STREAMS.into())
}

/// How many system calls a worker makes in its turn. A receiver's takes what there is, and an exchange counts for itself.
fn calls(plan: &RunPlan<'_>, role: Role) -> u32 {
    let config = plan.config;
    if role.sends() && config.exchange.is_none() {
        (TURN / config.block.max(1)).max(1)
    } else {
        1
    }
}

/// Whether workers of the direction can share a thread: their calls must not block in a non-blocking socket.
fn may_share(plan: &RunPlan<'_>, role: Role) -> bool {
    let config = plan.config;
    if let Some(exchange) = config.exchange {
        // One that spins leaves no time to others; connecting and accepting block.
        return exchange.busy_poll.is_zero() && !exchange.reconnects;
    }
    // Files block; MSG_ZEROCOPY waits for completions.
    let waits = role.sends()
        && match config.zerocopy.send {
            SendMode::Copy | SendMode::Sendfile | SendMode::Splice => false,
            SendMode::Auto => config.transport != Transport::Tcp,
            SendMode::Msg => true,
        };
    movers::brings_bytes(config.transport) && plan.local.file.is_none() && !waits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_share_threads_sooner_than_receivers() {
        let alone = |processors| {
            [Role::Sender, Role::Receiver].map(|role| movers_alone(Io::Calls, role, processors))
        };
        assert_eq!(
            [1, 2, 8, 64].map(alone),
            [[8, 24], [16, 48], [64, 128], [128, 128]]
        );
    }

    #[test]
    fn streams_with_a_ring_share_none_up_to_the_most_that_iperf3_has() {
        for role in [Role::Sender, Role::Receiver] {
            assert_eq!(movers_alone(Io::Uring, role, 1), usize::from(MAX_STREAMS));
        }
    }
}
