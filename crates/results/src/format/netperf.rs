//! The figures under the names of netperf and of neper, for programs that read their output: one block per run.
//!
//! What a run did not measure, such as a percentile of too few samples, is -1 in netperf's and absent in neper's.

use std::fmt::Write as _;

use crate::record::{Record, TestKind};

/// The figures of a run that both need.
struct Figures<'a> {
    record: &'a Record,
    /// Requests that are out at a time on a connection.
    in_flight: f64,
    connections: f64,
}

impl<'a> Figures<'a> {
    fn of(record: &'a Record) -> Self {
        let in_flight = record.parameters.other.get("in_flight");
        let in_flight = in_flight.and_then(|text| text.parse().ok());
        Self {
            record,
            in_flight: in_flight.unwrap_or(1.0),
            connections: record.parameters.parallel.unwrap_or(1) as f64,
        }
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.record.get(name)
    }

    /// `TCP`, `UDP`, …
    fn transport(&self) -> String {
        let transport = self.record.parameters.transport.as_deref();
        transport.unwrap_or("tcp").to_uppercase()
    }

    fn seconds(&self) -> Option<f64> {
        self.get("seconds").or(self.record.parameters.duration)
    }
}

/// netperf's omni output: `NAME=value` (`-- -k`), behind the line that a run of it begins with.
pub(super) fn netperf(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        let figures = Figures::of(record);
        let lines = match figures.get("transactions") {
            Some(rate) => exchanges(&figures, rate),
            None => bulk(&figures),
        };
        let _ = writeln!(text, "{}", banner(&figures));
        for (name, value) in lines {
            let _ = writeln!(text, "{name}={value}");
        }
    }
    text
}

fn banner(figures: &Figures<'_>) -> String {
    let what = match figures.record.parameters.kind {
        Some(TestKind::ConnectRequestResponse) => "CONNECT/REQUEST/RESPONSE",
        Some(TestKind::Stream) | None => "STREAM",
        Some(TestKind::RequestResponse | TestKind::UnderLoad) => "REQUEST/RESPONSE",
    };
    let target = figures.record.target.as_ref();
    let host = target.map_or("0.0.0.0", |target| target.host.as_str());
    format!(
        "MIGRATED {} {what} TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to {host} () port 0 AF_INET",
        figures.transport()
    )
}

type Lines = Vec<(&'static str, String)>;

fn exchanges(figures: &Figures<'_>, rate: f64) -> Lines {
    let parameters = &figures.record.parameters;
    let micros = |name: &str, places: usize| {
        let value = figures.get(name).map(|seconds| seconds * 1e6);
        value.map_or("-1".to_owned(), |value| format!("{value:.places$}"))
    };
    let size = |size: Option<u64>| size.map_or("-1".to_owned(), |size| size.to_string());
    let mut lines = vec![
        ("THROUGHPUT", format!("{rate:.2}")),
        ("THROUGHPUT_UNITS", "Trans/s".to_owned()),
        ("ELAPSED_TIME", elapsed(figures)),
        ("MIN_LATENCY", micros("latency.min", 0)),
        ("MEAN_LATENCY", micros("latency.mean", 2)),
        ("P50_LATENCY", micros("latency.p50", 0)),
        ("P90_LATENCY", micros("latency.p90", 0)),
        ("P99_LATENCY", micros("latency.p99", 0)),
        ("MAX_LATENCY", micros("latency.max", 0)),
        ("STDDEV_LATENCY", micros("latency.stddev", 2)),
        ("TRANSACTION_RATE", format!("{rate:.3}")),
        ("REQUEST_SIZE", size(parameters.block)),
        ("RESPONSE_SIZE", size(parameters.response)),
        ("BURST_SIZE", format!("{:.0}", figures.in_flight - 1.0)),
        ("PROTOCOL", figures.transport()),
    ];
    if rate > 0.0 {
        // As netperf computes it: the mean number in flight over the rate.
        let mean = figures.connections * figures.in_flight / rate * 1e6;
        lines.push(("RT_LATENCY", format!("{mean:.3}")));
    }
    lines
}

fn bulk(figures: &Figures<'_>) -> Lines {
    let rate = figures.get("throughput").unwrap_or(0.0);
    vec![
        ("THROUGHPUT", format!("{:.2}", rate / 1e6)),
        ("THROUGHPUT_UNITS", "10^6bits/s".to_owned()),
        ("ELAPSED_TIME", elapsed(figures)),
        ("PROTOCOL", figures.transport()),
    ]
}

fn elapsed(figures: &Figures<'_>) -> String {
    let seconds = figures.seconds();
    seconds.map_or("-1".to_owned(), |seconds| format!("{seconds:.2}"))
}

/// neper's `key=value`. Its latencies are in seconds.
pub(super) fn neper(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        for (name, value) in of_neper(&Figures::of(record)) {
            let _ = writeln!(text, "{name}={value}");
        }
    }
    text
}

fn of_neper(figures: &Figures<'_>) -> Vec<(String, String)> {
    let record = figures.record;
    let parameters = &record.parameters;
    let seconds = figures.seconds().unwrap_or(0.0);
    let begun = record.started.unwrap_or(0.0);
    let whole = |number: Option<u64>| number.unwrap_or(0).to_string();
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    line("VERSION", record.version.clone().unwrap_or_default());
    if parameters.transport.as_deref() != Some("udp") {
        // Its TCP programs print it always: without a value where the system's default is not known to have been replaced.
        let used = record.environment.get("congestion");
        line("congestion_control", used.cloned().unwrap_or_default());
    }
    line("client", "1".to_owned());
    line("num_flows", format!("{:.0}", figures.connections));
    line("num_threads", format!("{:.0}", figures.connections));
    line("test_length", format!("{seconds:.0}"));
    line("time_start", format!("{begun:.9}"));
    line("time_end", format!("{:.9}", begun + seconds));
    let Some(rate) = figures.get("transactions") else {
        let rate = figures.get("throughput").unwrap_or(0.0);
        line("throughput_opt", "Mb".to_owned());
        line("throughput_units", "Mbit/s".to_owned());
        line("throughput", format!("{:.2}", rate / 1e6));
        // Bits per second that the other side has received.
        line("remote_throughput", format!("{rate:.0}"));
        return lines;
    };
    // Only its program with a connection per transaction may connect without waiting.
    if parameters.kind == Some(TestKind::ConnectRequestResponse) {
        line("async_connect", "1".to_owned());
    } else {
        line("noburst", "0".to_owned());
    }
    line("request_size", whole(parameters.block));
    line("response_size", whole(parameters.response));
    line("num_transactions", format!("{:.0}", rate * seconds));
    for metric in &record.metrics {
        if let Some(figure) = metric.name.strip_prefix("latency.") {
            line(&format!("latency_{figure}"), format!("{:.9}", metric.value));
        }
    }
    line("throughput", format!("{rate:.2}"));
    line("local_throughput", format!("{rate:.0}"));
    line("remote_throughput", format!("{rate:.0}"));
    lines
}
