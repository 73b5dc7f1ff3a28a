//! Request/response tests: what is exchanged, and what is counted.

use std::sync::Arc;
use std::time::Duration;

use crate::Latencies;

/// The exchanges of a request/response test (`--rr`, `--crr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Bytes of a request.
    pub request: u32,
    /// Bytes of a response.
    pub response: u32,
    /// Requests that may wait for their responses on a connection at the same time (`--pipeline`).
    pub in_flight: u16,
    /// Requests per second and connection, sent by a schedule (`--rate`); `None` is a closed loop: each response is
    /// followed by the next request.
    pub rate: Option<u32>,
    /// How long to spin on the socket before a call blocks (`--busy-poll`); zero never spins.
    pub busy_poll: Duration,
    /// How long a datagram may take to be answered before it counts as lost (`--rr-timeout`).
    pub timeout: Duration,
    /// Each transaction has a connection of its own (`--crr`).
    pub reconnects: bool,
}

impl Exchange {
    /// The most bytes of a request or a response.
    pub const MAX_BYTES: u32 = 1 << 20;
    /// The least bytes of a request or a response over UDP, which begins with its number.
    pub const MIN_DATAGRAM: u32 = 8;
    /// The most requests in flight on a connection.
    pub const MAX_IN_FLIGHT: u16 = 1024;
    /// The highest rate of a connection.
    pub const MAX_RATE: u32 = 1_000_000;
    /// The longest time to spin.
    pub const MAX_BUSY_POLL: Duration = Duration::from_secs(1);
    /// The longest time to wait for a response.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

    /// One exchange at a time, in a closed loop.
    pub fn new(request: u32, response: u32) -> Self {
        Self {
            request,
            response,
            in_flight: 1,
            rate: None,
            busy_poll: Duration::ZERO,
            timeout: Duration::from_secs(1),
            reconnects: false,
        }
    }

    /// Whether requests are sent by a schedule.
    pub fn is_open_loop(&self) -> bool {
        self.rate.is_some()
    }
}

/// What one end counted of exchanges: on a stream or on all, in an interval or in a test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExchangeCounts {
    /// Exchanges that are complete: a requester has the response, a responder has sent it.
    pub transactions: u64,
    /// Requester: datagrams that were not answered in time. They are no transactions.
    pub timeouts: u64,
    /// Requester: from the sending of a request to the last byte of its response; with a connection for each
    /// transaction, from before it is opened until it is closed.
    pub service: Option<Arc<Latencies>>,
    /// Requester with a schedule: from the time at which a request was due to the last byte of its response.
    pub response: Option<Arc<Latencies>>,
    /// Requester with a schedule: how late requests were sent.
    pub late: Option<Arc<Latencies>>,
    /// Requester with a connection for each transaction: how long it took to open. This is part of `service`.
    pub connect: Option<Arc<Latencies>>,
    /// The same requester: from the last byte of a response until the connection was closed. This is part of `service`.
    pub close: Option<Arc<Latencies>>,
}

impl ExchangeCounts {
    /// What several streams counted together; `None` without any.
    pub fn sum(parts: impl Iterator<Item = Self>) -> Option<Self> {
        parts.reduce(|mut sum, part| {
            sum.add(&part);
            sum
        })
    }

    /// Adds what another stream counted.
    pub fn add(&mut self, other: &Self) {
        self.transactions = self.transactions.saturating_add(other.transactions);
        self.timeouts = self.timeouts.saturating_add(other.timeouts);
        for (sum, part) in [
            (&mut self.service, &other.service),
            (&mut self.response, &other.response),
            (&mut self.late, &other.late),
            (&mut self.connect, &other.connect),
            (&mut self.close, &other.close),
        ] {
            match (sum.as_mut(), part) {
                (_, None) => {}
                (None, Some(part)) => *sum = Some(part.clone()),
                (Some(sum), Some(part)) => Arc::make_mut(sum).add(part),
            }
        }
    }
}
