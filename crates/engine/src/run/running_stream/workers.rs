//! Makes the worker of a stream: its mover, and when it wakes.

use std::sync::Arc;

use iperf_model::{CopyMode, Role, SendMode, Transport};
use socket2::Socket;

use crate::error::EngineError;
use crate::exchange::{self, ExchangeStats};
use crate::modes::Modes;
use crate::movers::MoverContext;
use crate::run::plan::RunPlan;
use crate::waking::Waking;
use crate::waking::low_water::LowWater;
use crate::worker::counters::Counters;
use crate::worker::own_descriptors;
use crate::worker::quantum::BlockKind;
use crate::worker::receiver::Receiver;
use crate::worker::sender::Sender;
use crate::worker::{Task, Worker};

/// When the receiver of a stream wakes. `sharers`: the workers of its thread, this one included.
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

/// The worker of a stream. `stats` are those of a request/response test.
pub(super) fn worker(
    plan: &RunPlan<'_>,
    context: &MoverContext<'_>,
    task: Task,
    role: Role,
    stats: Option<&ExchangeStats>,
) -> Result<WorkerAndModes, EngineError> {
    if let Some((exchange, stats)) = plan.config.exchange.zip(stats) {
        let transactions = plan.transactions.clone();
        let worker = exchange::worker(task, exchange, stats, plan.config, transactions);
        let modes = Modes::new(SendMode::Copy, CopyMode::Copy);
        Ok((worker, modes.through(context.io_of_exchanges())))
    } else if role.sends() {
        sender(plan, context, task)
    } else {
        receiver(plan, context, task)
    }
}

/// The worker of a stream that this end sends on.
fn sender(
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
    let sender = if own_descriptors::suit(plan.config) {
        sender.with_own_descriptors()
    } else {
        sender
    };
    Ok((Box::new(sender), chosen.modes))
}

/// The worker of a stream that this end receives on.
fn receiver(
    plan: &RunPlan<'_>,
    context: &MoverContext<'_>,
    task: Task,
) -> Result<WorkerAndModes, EngineError> {
    let chosen = match &task.datagrams {
        Some(datagrams) => context.datagram_receiver(datagrams.clone()),
        None => context.receiver()?,
    };
    let waking = waking(plan, context, &task.socket, &task.counters, task.sharers);
    let receiver = Receiver::new(task, chosen.mover, waking);
    Ok((Box::new(receiver), chosen.modes))
}
