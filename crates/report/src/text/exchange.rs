//! The lines of request/response tests. iperf3 has none.

use std::fmt::Write as _;

use iperf_model::{self as model, Role, Summary, TestConfig, Transport};

use crate::document::{EndExchanges, IntervalExchanges, Latency, ShortLatency, exchange_seconds};
use crate::text::header;

/// Every stream of an interval, and all of them if there are several.
pub(super) fn interval(config: &TestConfig, interval: &model::Interval) -> Vec<String> {
    let seconds = interval.length().as_secs_f64();
    let mut lines = Vec::new();
    for stream in &interval.streams {
        if let Some(counts) = &stream.exchanges {
            let row = IntervalExchanges::of(counts, seconds);
            lines.push(interval_line(&stream.socket.to_string(), interval, &row));
        }
    }
    if config.streams > 1
        && let Some(row) = IntervalExchanges::of_all(interval)
    {
        lines.push(interval_line("SUM", interval, &row));
    }
    lines
}

fn interval_line(id: &str, interval: &model::Interval, row: &IntervalExchanges) -> String {
    let (start, end) = (interval.start.as_secs_f64(), interval.end.as_secs_f64());
    let rate = rate(row.transactions_per_second);
    let mut line = format!("[{id:>3}] {start:>6.2}-{end:<6.2} sec  {rate:>8} trans/s");
    let latency = row.response_latency_us.as_ref();
    if let Some(latency) = latency.or(row.latency_us.as_ref()) {
        line += &short(latency);
    }
    line += &timeouts(row.timeouts);
    if interval.omitted {
        line += "  (omitted)";
    }
    line
}

/// The figures of an interval.
pub(super) fn short(latency: &ShortLatency) -> String {
    let ShortLatency { p50, p99, max } = latency;
    let figures = [("p50", p50), ("p99", p99), ("max", max)];
    let figure = |(name, figure): (&str, &Option<f64>)| format!("  {name} {:>7}", time(*figure));
    figures.map(figure).concat()
}

/// The lines from the separator on.
pub(super) fn summary(config: &TestConfig, summary: &Summary) -> Vec<String> {
    let Some(end) = EndExchanges::of(config, summary) else {
        return Vec::new();
    };
    let seconds = exchange_seconds(summary);
    let mut lines = vec![header::SEPARATOR.to_owned()];
    let line = |id: &str, transactions: u64, per_second: f64| {
        let rate = rate(per_second);
        format!("[{id:>3}]   0.00-{seconds:<6.2} sec  {transactions} transactions  {rate} trans/s")
    };
    for stream in &summary.streams {
        if let Some(counts) = stream.exchange_counts() {
            let id = stream.own.socket.to_string();
            let per_second = counts.transactions as f64 / seconds.max(1e-9);
            lines.push(if config.streams > 1 {
                line(&id, counts.transactions, per_second)
            } else {
                line(&id, end.transactions, end.transactions_per_second) + &timeouts(end.timeouts)
            });
        }
    }
    if config.streams > 1 {
        let sum = line("SUM", end.transactions, end.transactions_per_second);
        lines.push(sum + &timeouts(end.timeouts));
    }
    lines.push(about(config, &end));
    let reconnects = end.mode == "crr";
    if let Some(latency) = &end.response_latency_us {
        lines.push(figures("From when due", latency));
        lines.extend(
            end.latency_us
                .iter()
                .map(|latency| figures("From sending ", latency)),
        );
    } else if let Some(latency) = &end.latency_us {
        let whole = if reconnects {
            "Transaction"
        } else {
            "Round trip"
        };
        lines.push(figures(whole, latency));
    } else if summary
        .streams
        .iter()
        .any(|stream| stream.own.role == Role::Responder)
    {
        lines.push("The other end measures the latency".to_owned());
    }
    for (part, latency) in [
        ("Connect    ", &end.connect_us),
        ("Close      ", &end.close_us),
    ] {
        lines.extend(latency.iter().map(|latency| figures(part, latency)));
    }
    if let Some(schedule) = &end.schedule
        && let Some(max) = schedule.late_max_us
    {
        let p99 = schedule.late_p99_us;
        lines.push(format!(
            "Sent late     p99 {}  max {}",
            time(p99),
            time(Some(max))
        ));
    }
    lines
}

/// What the figures are of.
fn about(config: &TestConfig, end: &EndExchanges) -> String {
    let kind = match &end.schedule {
        Some(schedule) => format!(
            "Open loop of {} requests/s",
            rate(schedule.target_per_second)
        ),
        None => "Closed loop".to_owned(),
    };
    let connections = if end.mode == "crr" {
        format!(
            "a connection for each transaction, {} at a time",
            end.connections
        )
    } else {
        let connections = count(end.connections, "connection");
        format!("{connections}, {} in flight", end.in_flight)
    };
    let transport = match config.transport {
        // To iperf3's keys it is TCP.
        Transport::Mptcp => "MPTCP",
        other => other.name(),
    };
    format!(
        "{kind} over {transport}, {connections}, request {}, response {}",
        count(end.request_bytes, "byte"),
        count(end.response_bytes, "byte"),
    )
}

fn count(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

fn timeouts(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => "  1 timeout".to_owned(),
        count => format!("  {count} timeouts"),
    }
}

pub(super) fn figures(what: &str, latency: &Latency) -> String {
    let figures = latency.figures();
    let figures = figures.iter().filter(|(_, value)| value.is_some());
    figures.fold(what.to_owned(), |mut line, (name, value)| {
        let _ = write!(line, "  {name} {}", time(*value));
        line
    })
}

/// A rate with a decimal only where it is small.
fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

/// A time in three digits; `-` if it is not known.
pub(super) fn time(micros: Option<f64>) -> String {
    let Some(micros) = micros else {
        return "-".to_owned();
    };
    let (value, unit) = match micros {
        _ if micros < 999.5 => (micros, "us"),
        _ if micros < 999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let decimals = match value {
        _ if value < 9.995 => 2,
        _ if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let shown = [0.5, 51.23, 890.4, 999.7, 5660.0, 1_234_567.0];
        let shown = shown.map(|micros| time(Some(micros)));
        assert_eq!(
            shown,
            [
                "0.50 us", "51.2 us", "890 us", "1.00 ms", "5.66 ms", "1.23 s"
            ]
        );
        assert_eq!(time(None), "-");
    }
}
