//! The worker of a stream that receives.

use std::sync::Arc;

use iperf_model::Transport;

use crate::datagrams::DatagramCounters;
use crate::error::EngineError;
use crate::modes::Modes;
use crate::movers::MoverContext;
use crate::run::RunPlan;
use crate::waking::Waking;
use crate::waking::low_water::LowWater;
use crate::worker::receiver::Receiver;
use crate::worker::{Task, Worker};

/// The worker of a stream that receives data, and how it takes it.
pub(super) fn receiver(
    context: &MoverContext<'_>,
    task: Task,
    plan: &RunPlan<'_>,
    received: Arc<DatagramCounters>,
) -> Result<(Box<dyn Worker>, Modes), EngineError> {
    let (ask, block) = (plan.local.low_water, plan.config.block);
    let (socket, counters) = (task.socket.clone(), task.counters.clone());
    let is_udp = plan.config.transport == Transport::Udp;
    let chosen = if is_udp {
        context.datagram_receiver(received)
    } else {
        context.receiver()?
    };
    let waking = if is_udp {
        Waking::of_datagrams(ask, block, &socket, counters)
    } else if context.may_use_recv() && task.sharers == 1 {
        Waking::LowWater(LowWater::new(ask, context.room(), counters))
    } else {
        Waking::AtOnce
    };
    let receiver = Receiver::new(task, chosen.mover, waking);
    Ok((Box::new(receiver), chosen.modes))
}
