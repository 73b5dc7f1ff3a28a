//! Makes the worker of a stream: its mover, and when it wakes.

use std::sync::Arc;

use iperf_model::Transport;
use socket2::Socket;

use crate::datagrams::DatagramCounters;
use crate::error::EngineError;
use crate::modes::Modes;
use crate::movers::MoverContext;
use crate::run::RunPlan;
use crate::waking::Waking;
use crate::waking::low_water::LowWater;
use crate::worker::counters::Counters;
use crate::worker::quantum::BlockKind;
use crate::worker::receiver::Receiver;
use crate::worker::sender::Sender;
use crate::worker::{Task, Worker};

/// When the receiver of a stream wakes, on a thread that it shares with so many in all.
fn waking(
    plan: &RunPlan<'_>,
    context: &MoverContext<'_>,
    socket: &Socket,
    counters: &Arc<Counters>,
    sharers: u32,
) -> Waking {
    let ask = plan.local.low_water;
    if plan.config.transport == Transport::Udp {
        Waking::of_datagrams(ask, plan.config.block, socket, counters.clone())
    } else if context.may_use_recv() && sharers == 1 {
        Waking::LowWater(LowWater::new(ask, context.room(), counters.clone()))
    } else {
        Waking::AtOnce
    }
}

type WorkerAndModes = (Box<dyn Worker>, Modes);

/// The worker of a stream that this end sends on.
pub(super) fn sender(
    plan: &RunPlan<'_>,
    context: &MoverContext<'_>,
    task: Task,
) -> Result<WorkerAndModes, EngineError> {
    let chosen = context.sender()?;
    let kind = if plan.config.transport == Transport::Udp {
        context.passage.kind
    } else {
        BlockKind::Bytes
    };
    let (block, pacing) = (plan.config.block, plan.config.pacing);
    let sender = Sender::new(task, chosen.mover, block, pacing, kind);
    Ok((Box::new(sender), chosen.modes))
}

/// The worker of a stream that this end receives on.
pub(super) fn receiver(
    plan: &RunPlan<'_>,
    context: &MoverContext<'_>,
    task: Task,
    datagrams: Arc<DatagramCounters>,
) -> Result<WorkerAndModes, EngineError> {
    let chosen = if plan.config.transport == Transport::Udp {
        context.datagram_receiver(datagrams)
    } else {
        context.receiver()?
    };
    let waking = waking(plan, context, &task.socket, &task.counters, task.sharers);
    let receiver = Receiver::new(task, chosen.mover, waking);
    Ok((Box::new(receiver), chosen.modes))
}
