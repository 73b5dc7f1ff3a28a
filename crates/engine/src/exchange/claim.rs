//! Whether the quota of a test allows one more transaction.

use iperf_model::Exchange;

use crate::worker::Task;

/// What a requester has claimed of the quota and not used.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    granted: bool,
    /// The omitted period was running then.
    omits: bool,
}

impl Claim {
    /// Whether there may be another request. Those of the omitted period need no quota.
    pub(crate) fn next(&mut self, task: &Task, exchange: &Exchange, omits: bool) -> bool {
        // One that was granted in the omitted period has to be claimed behind it.
        if self.granted && self.omits == omits {
            return true;
        }
        self.omits = omits;
        self.granted = match &task.quota {
            Some(quota) if !omits => quota.claim(1, u64::from(exchange.request)) > 0,
            _ => true,
        };
        self.granted
    }

    /// It is used: whether for a request of the omitted period.
    pub(crate) fn take(&mut self) -> bool {
        self.granted = false;
        self.omits
    }
}
