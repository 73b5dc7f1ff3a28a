//! Statistics read from the workers of a request/response test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use iperf_model::{Exchange, ExchangeCounts, Role, TestConfig};

use crate::exchange::timings::{Snapshot, Timings};
use crate::exchange::window::Waiting;

/// What a requester writes and the sampler reads. An exchange that begins in the omitted period counts there, whenever it
/// ends.
#[derive(Debug)]
pub(crate) struct Shared {
    omitted: Option<Recorded>,
    counted: Recorded,
    omitting: AtomicBool,
}

/// What was recorded of one of the two periods.
#[derive(Debug)]
struct Recorded {
    service: Timings,
    /// Only an open loop has these two.
    response: Option<Timings>,
    late: Option<Timings>,
    /// Only with a connection for each transaction.
    connect: Option<Timings>,
    close: Option<Timings>,
    timeouts: AtomicU64,
}

impl Shared {
    fn new(exchange: &Exchange, omitting: bool) -> Self {
        Self {
            omitted: omitting.then(|| Recorded::new(exchange)),
            counted: Recorded::new(exchange),
            omitting: AtomicBool::new(omitting),
        }
    }

    pub(crate) fn is_omitting(&self) -> bool {
        self.omitting.load(Ordering::Relaxed)
    }

    fn period(&self, omitted: bool) -> &Recorded {
        match &self.omitted {
            Some(recorded) if omitted => recorded,
            _ => &self.counted,
        }
    }

    /// A request was answered at `now`.
    pub(crate) fn record(&self, waiting: &Waiting, now: Instant) {
        let recorded = self.period(waiting.omitted);
        let since = |time| now.saturating_duration_since(time);
        recorded.service.record(since(waiting.sent));
        if let (Some(response), Some(late)) = (&recorded.response, &recorded.late) {
            response.record(since(waiting.due));
            late.record(waiting.sent.saturating_duration_since(waiting.due));
        }
    }

    /// A request of a closed loop was answered after `time`.
    pub(crate) fn record_round_trip(&self, time: Duration, omitted: bool) {
        self.period(omitted).service.record(time);
    }

    /// How long the connection of a transaction took to open and to close.
    pub(crate) fn record_connection(&self, waiting: &Waiting, connect: Duration, close: Duration) {
        let recorded = self.period(waiting.omitted);
        for (timings, time) in [(&recorded.connect, connect), (&recorded.close, close)] {
            if let Some(timings) = timings {
                timings.record(time);
            }
        }
    }

    /// A request was not answered.
    pub(crate) fn add_timeout(&self, waiting: &Waiting) {
        let recorded = self.period(waiting.omitted);
        recorded.timeouts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorded {
    fn new(exchange: &Exchange) -> Self {
        let (open, reconnects) = (exchange.is_open_loop(), exchange.reconnects);
        let timings = |wanted: bool| wanted.then(Timings::new);
        Self {
            service: Timings::new(),
            response: timings(open),
            late: timings(open),
            connect: timings(reconnects),
            close: timings(reconnects),
            timeouts: AtomicU64::new(0),
        }
    }

    fn read(&self) -> Reading {
        let read = |timings: &Option<Timings>| timings.as_ref().map(Timings::read);
        Reading {
            transactions: 0,
            timeouts: self.timeouts.load(Ordering::Relaxed),
            service: Some(self.service.read()),
            response: read(&self.response),
            late: read(&self.late),
            connect: read(&self.connect),
            close: read(&self.close),
        }
    }
}

/// Everything at one time.
#[derive(Clone, Debug, Default)]
struct Reading {
    transactions: u64,
    timeouts: u64,
    service: Option<Snapshot>,
    response: Option<Snapshot>,
    late: Option<Snapshot>,
    connect: Option<Snapshot>,
    close: Option<Snapshot>,
}

impl Reading {
    fn since(&self, before: &Self) -> ExchangeCounts {
        let nothing = Snapshot::default();
        let since = |now: &Option<Snapshot>, before: &Option<Snapshot>| {
            let before = before.as_ref().unwrap_or(&nothing);
            Some(Arc::new(now.as_ref()?.since(before)))
        };
        let service = since(&self.service, &before.service);
        let transactions = self.transactions.saturating_sub(before.transactions);
        ExchangeCounts {
            // Both are read at the same time only if they are one.
            transactions: service
                .as_ref()
                .map_or(transactions, |service| service.count()),
            timeouts: self.timeouts - before.timeouts,
            service,
            response: since(&self.response, &before.response),
            late: since(&self.late, &before.late),
            connect: since(&self.connect, &before.connect),
            close: since(&self.close, &before.close),
        }
    }
}

/// The statistics of one stream.
#[derive(Debug)]
pub(crate) struct ExchangeStats {
    /// Of a requester.
    shared: Option<Arc<Shared>>,
    request_bytes: u64,
    /// At the last sample, and where the test counts from.
    last: Reading,
    base: Reading,
}

impl ExchangeStats {
    /// Of a stream on which this end requests, or not.
    pub(crate) fn new(exchange: &Exchange, requests: bool, omitting: bool) -> Self {
        Self {
            request_bytes: exchange.request.into(),
            shared: requests.then(|| Arc::new(Shared::new(exchange, omitting))),
            last: Reading::default(),
            base: Reading::default(),
        }
    }

    /// Of a stream of a test, if it is a request/response test.
    pub(crate) fn of(config: &TestConfig, role: Role) -> Option<Self> {
        let exchange = config.exchange.as_ref()?;
        Some(Self::new(exchange, role.sends(), config.omit > 0))
    }

    /// The bytes of their requests.
    pub(crate) fn bytes(&self, counts: &ExchangeCounts) -> u64 {
        counts.transactions * self.request_bytes
    }

    /// What the requester records into.
    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.clone()
    }

    fn read(&self, transactions: u64) -> Reading {
        match &self.shared {
            Some(shared) => shared.period(shared.is_omitting()).read(),
            None => Reading {
                transactions,
                ..Reading::default()
            },
        }
    }

    /// What was exchanged since the last sample; `transactions` in all.
    pub(crate) fn sample(&mut self, transactions: u64) -> ExchangeCounts {
        let now = self.read(transactions);
        let counts = now.since(&self.last);
        self.last = now;
        counts
    }

    /// The omitted period is over.
    pub(crate) fn restart(&mut self, transactions: u64) {
        self.base = match &self.shared {
            Some(shared) => {
                shared.omitting.store(false, Ordering::Relaxed);
                Reading::default()
            }
            None => self.read(transactions),
        };
        self.last = self.base.clone();
    }

    /// From the restart to the last sample.
    pub(crate) fn totals(&self) -> ExchangeCounts {
        self.last.since(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_count_from_the_restart() {
        let exchange = Exchange {
            rate: Some(100),
            ..Exchange::new(1, 1)
        };
        let mut stats = ExchangeStats::new(&exchange, true, true);
        let shared = stats.shared().unwrap();
        let due = Instant::now();
        let micros = |micros| due + Duration::from_micros(micros);
        let answered = |sent, now| {
            let omitted = shared.is_omitting();
            shared.record(&Waiting { due, sent, omitted }, now);
        };
        answered(due, micros(10));
        assert_eq!(stats.sample(1).transactions, 1);
        stats.restart(1);
        assert!(!shared.is_omitting());
        answered(micros(100), micros(150));
        for _ in 0..2 {
            let (sent, omitted) = (due, false);
            shared.add_timeout(&Waiting { due, sent, omitted });
        }
        // It began before.
        let (sent, omitted) = (due, true);
        shared.record(&Waiting { due, sent, omitted }, micros(900));
        let sample = stats.sample(2);
        assert_eq!((sample.transactions, sample.timeouts), (1, 2));
        let totals = stats.totals();
        let max = |latencies: &Option<Arc<iperf_model::Latencies>>| {
            latencies.as_ref().unwrap().max().unwrap().as_micros()
        };
        assert_eq!(max(&totals.service), 50);
        assert_eq!(max(&totals.response), 150);
        assert_eq!(max(&totals.late), 100);
        assert_eq!(totals.service.unwrap().count(), 1);
    }

    #[test]
    fn a_responder_counts_and_measures_no_latency() {
        let mut stats = ExchangeStats::new(&Exchange::new(1, 1), false, false);
        let sample = stats.sample(7);
        assert_eq!((sample.transactions, sample.service), (7, None));
    }
}
