//! The figures of a request/response test. The bytes of its streams are meaningless and left out.

use iperf_report::document::{EndExchanges, Interval, Latency, ShortLatency};

use crate::record::{Record, Sample, TestKind};

/// Seconds of a figure in microseconds.
pub(super) fn seconds(micros: f64) -> f64 {
    micros * 1e-6
}

/// Fills in a record whose parameters are those of any test.
pub(super) fn fill(record: &mut Record, end: &EndExchanges, intervals: &[Interval]) {
    let open = end.kind == "open";
    let parameters = &mut record.parameters;
    parameters.kind = Some(if end.mode == "crr" {
        TestKind::ConnectRequestResponse
    } else {
        TestKind::RequestResponse
    });
    parameters.block = Some(end.request_bytes);
    parameters.response = Some(end.response_bytes);
    parameters.rate = None;
    record.set_other("loop", &end.kind);
    if end.in_flight != 1 {
        record.set_other("in_flight", &end.in_flight);
    }
    if let Some(schedule) = &end.schedule {
        record.set_other("rate", &schedule.target_per_second);
    }
    record.set("transactions", end.transactions_per_second);
    if end.transactions_per_second > 0.0 {
        record.set(
            "seconds",
            end.transactions as f64 / end.transactions_per_second,
        );
    }
    if end.timeouts > 0 {
        let all = end.transactions.saturating_add(end.timeouts);
        record.set_loss("", end.timeouts as f64, all as f64);
    }
    // With a schedule, what a user of the service sees.
    let latency = end.response_latency_us.as_ref().filter(|_| open);
    match latency.or(end.latency_us.as_ref()) {
        Some(latency) => set_latency(record, "latency", latency),
        None => record.note("the latency is in the output of the other end"),
    }
    for (name, latency) in [("connect", &end.connect_us), ("close", &end.close_us)] {
        if let Some(latency) = latency {
            set_latency(record, name, latency);
        }
    }
    for interval in intervals {
        samples(record, interval);
    }
}

/// Sets all figures of a distribution.
pub(super) fn set_latency(record: &mut Record, name: &str, latency: &Latency) {
    for (figure, micros) in latency.figures() {
        record.set(&format!("{name}.{figure}"), micros.map(seconds));
    }
}

fn samples(record: &mut Record, interval: &Interval) {
    let (Some(rr), Some(sum)) = (&interval.rr, &interval.sum) else {
        return;
    };
    if sum.omitted {
        return;
    }
    let latency = rr.response_latency_us.as_ref().or(rr.latency_us.as_ref());
    let latency = latency.map_or_else(Vec::new, |latency| {
        let ShortLatency { p50, p99, max } = latency;
        let figures = [("p50", p50), ("p99", p99), ("max", max)];
        let figures = figures.into_iter();
        figures
            .filter_map(|(name, micros)| Some((name.to_owned(), seconds((*micros)?))))
            .collect()
    });
    record.sample(Sample {
        start: sum.start,
        end: sum.end,
        transactions: Some(rr.transactions_per_second),
        latency,
        ..Sample::default()
    });
}
