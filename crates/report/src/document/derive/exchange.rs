//! The figures of request/response tests.

use std::sync::Arc;
use std::time::Duration;

use iperf_model::{Exchange, ExchangeCounts, Latencies, StreamSummary, Summary, TestConfig};

use super::seconds;
use crate::document::{
    EndExchanges, Histogram, IntervalExchanges, Latency, Schedule, ShortLatency,
};

/// Exchanges per second; 0 if no time passed.
fn per_second(transactions: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        transactions as f64 / seconds
    } else {
        0.0
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

impl Latency {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        let percentile = |percent| latencies.percentile(percent).map(micros);
        Self {
            min: latencies.min().map(micros),
            mean: latencies.mean().map(|nanos| nanos / 1e3),
            stddev: latencies.stddev().map(|nanos| nanos / 1e3),
            p50: percentile(50.0),
            p90: percentile(90.0),
            p95: percentile(95.0),
            p99: percentile(99.0),
            p99_9: percentile(99.9),
            p99_99: percentile(99.99),
            max: latencies.max().map(micros),
        }
    }
}

impl ShortLatency {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        Self {
            p50: latencies.percentile(50.0).map(micros),
            p99: latencies.percentile(99.0).map(micros),
            max: latencies.max().map(micros),
        }
    }
}

impl Histogram {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        Self {
            unit: "ns".to_owned(),
            lowest: 1,
            highest: Latencies::HIGHEST,
            significant_digits: Latencies::DIGITS.into(),
            encoding: "hdrhistogram-v2-deflate-base64".to_owned(),
            data: latencies.to_base64(),
        }
    }
}

impl IntervalExchanges {
    /// What was exchanged in a number of seconds.
    pub(crate) fn of(counts: &ExchangeCounts, seconds: f64) -> Self {
        Self {
            transactions: counts.transactions,
            transactions_per_second: per_second(counts.transactions, seconds),
            timeouts: counts.timeouts,
            latency_us: counts.service.as_deref().map(ShortLatency::of),
            response_latency_us: counts.response.as_deref().map(ShortLatency::of),
        }
    }

    /// All streams of an interval.
    pub(crate) fn of_all(interval: &iperf_model::Interval) -> Option<Self> {
        Some(Self::of(&interval.exchanges()?, seconds(interval.length())))
    }
}

/// Seconds of the test at the end that requests, as far as that is known.
pub(crate) fn exchange_seconds(summary: &Summary) -> f64 {
    let requests = |stream: &StreamSummary| stream.own.role.sends();
    let remote = summary.remote_duration;
    let remote = remote.filter(|_| !summary.streams.iter().any(requests));
    seconds(remote.unwrap_or(summary.duration))
}

impl EndExchanges {
    /// The whole test.
    pub(crate) fn of(config: &TestConfig, summary: &Summary) -> Option<Self> {
        let exchange = config.exchange.as_ref()?;
        let counts = summary.exchanges.clone().unwrap_or_default();
        let latency = |latencies: &Option<Arc<Latencies>>| latencies.as_deref().map(Latency::of);
        Some(Self {
            mode: if exchange.reconnects { "crr" } else { "rr" }.to_owned(),
            kind: if exchange.is_open_loop() {
                "open"
            } else {
                "closed"
            }
            .to_owned(),
            request_bytes: exchange.request.into(),
            response_bytes: exchange.response.into(),
            in_flight: exchange.in_flight.into(),
            connections: config.streams.into(),
            transactions: counts.transactions,
            transactions_per_second: per_second(counts.transactions, exchange_seconds(summary)),
            timeouts: counts.timeouts,
            latency_us: latency(&counts.service),
            response_latency_us: latency(&counts.response),
            connect_us: latency(&counts.connect),
            close_us: latency(&counts.close),
            schedule: schedule(exchange, config, counts.late.as_deref()),
            histogram: counts.service.as_deref().map(Histogram::of),
            response_histogram: counts.response.as_deref().map(Histogram::of),
        })
    }
}

fn schedule(
    exchange: &Exchange,
    config: &TestConfig,
    late: Option<&Latencies>,
) -> Option<Schedule> {
    let rate = exchange.rate?;
    Some(Schedule {
        target_per_second: f64::from(rate) * f64::from(config.streams),
        late_p99_us: late.and_then(|late| late.percentile(99.0)).map(micros),
        late_max_us: late.and_then(Latencies::max).map(micros),
    })
}
