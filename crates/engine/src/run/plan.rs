//! The parameters of a run.

use std::sync::Arc;

use iperf_model::{LocalOptions, Placement, TestConfig};

use crate::error::EngineError;
use crate::net::transactions::Transactions;
use crate::probe::PeerClock;
use crate::worker::own_descriptors;

/// What a run needs to know besides its streams.
pub struct RunPlan<'a> {
    /// The test.
    pub config: &'a TestConfig,
    /// This end's own options.
    pub local: &'a LocalOptions,
    /// Senders do not end when their quota is met: the peer ends the test when it has enough.
    pub outlasts_quota: bool,
    /// Whether the peer is this program and counts what this end counts: each sender reports where its omitted period
    /// ends and what it sent in all.
    pub exact: bool,
    /// Where the threads of this end run.
    pub placement: Option<&'a Placement>,
    /// The peer's clock, where delays are measured.
    pub clock: Option<Arc<PeerClock>>,
    /// With a connection for each transaction: how they are opened or accepted. The streams themselves carry nothing.
    pub transactions: Option<Transactions>,
    /// Called from worker threads when the quota is met or a worker ends by itself.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

impl RunPlan<'_> {
    /// The same plan, with a way to wake that the threads of the workers can use. `sends`: some of them send.
    pub(super) fn of_workers(&self, sends: bool) -> Result<Self, EngineError> {
        let wake = self.wake.clone();
        Ok(Self {
            wake: if own_descriptors::suit(self.config) && (sends || self.config.exchange.is_some())
            {
                own_descriptors::relayed(wake)?
            } else {
                wake
            },
            clock: self.clock.clone(),
            transactions: self.transactions.clone(),
            ..*self
        })
    }
}
