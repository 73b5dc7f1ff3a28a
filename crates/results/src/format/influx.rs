//! InfluxDB's line protocol. Rates are always floats and counts always integers: a field keeps its first type.

use super::grid::names;
use super::value::push;
use crate::compare::Comparison;
use crate::metric::Unit;
use crate::record::{FailedRun, Record, Sample};

/// A line a run, and one an interval where the time of the run is known.
pub(super) fn report(records: &[Record], failed: &[FailedRun]) -> String {
    let mut out = String::new();
    let names = names(records);
    for (record, run) in records.iter().zip(&names) {
        let host = record.target.as_ref().map(|target| target.host.as_str());
        let transport = record.parameters.transport.as_deref();
        let direction = record
            .parameters
            .direction
            .map(crate::record::Direction::name);
        let tags = [
            ("direction", direction),
            ("run", Some(run.as_str())),
            ("target", host),
            ("tool", Some(record.tool.name())),
            ("transport", transport),
        ];
        let success = ("success".to_owned(), 1.0, true);
        let fields = record.metrics.iter().map(|metric| {
            let whole = metric.unit() == Unit::Count || metric.unit() == Unit::Bytes;
            (metric.name.replace('.', "_"), metric.value, whole)
        });
        let fields = std::iter::once(success).chain(fields);
        line(&mut out, "iperf", &tags, fields, record.started);
        // Intervals without a time would all have the time of their arrival.
        let Some(started) = record.started else {
            continue;
        };
        for sample in &record.samples {
            let stream = sample
                .stream
                .map_or_else(|| "all".to_owned(), |stream| stream.to_string());
            let half = if sample.reverse { "reverse" } else { "forward" };
            let tags = [
                ("half", Some(half)),
                ("run", Some(run)),
                ("stream", Some(&stream)),
                ("target", host),
                ("tool", Some(record.tool.name())),
            ];
            line(
                &mut out,
                "iperf_interval",
                &tags,
                fields_of(sample).into_iter(),
                Some(started + sample.end),
            );
        }
    }
    for failure in failed {
        let host = failure.target.as_ref().map(|target| target.host.as_str());
        let tags = [("run", Some(failure.run.as_str())), ("target", host)];
        let success = ("success".to_owned(), 0.0, true);
        line(&mut out, "iperf", &tags, std::iter::once(success), None);
    }
    out
}

/// A line a metric.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let mut out = String::new();
    for test in &comparison.tests {
        for metric in test
            .metrics
            .iter()
            .filter(|metric| metric.verdict.is_some())
        {
            let tags = [
                ("metric", Some(metric.name.as_str())),
                ("side", Some(&test.new)),
                ("test", Some(&test.name)),
            ];
            let effect = metric.decision.effect;
            let fields = [
                ("base", metric.base.median),
                ("new", metric.new.median),
                ("change", effect.change),
                ("low", effect.low),
                ("high", effect.high),
                ("p", metric.adjusted_p),
            ];
            line(
                &mut out,
                "iperf_compare",
                &tags,
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value, false)),
                None,
            );
        }
    }
    out
}

fn fields_of(sample: &Sample) -> Vec<(String, f64, bool)> {
    let floats = [
        ("throughput", sample.throughput),
        ("transactions", sample.transactions),
        ("rtt", sample.rtt),
        ("loss", sample.loss),
        ("jitter", sample.jitter),
    ];
    let counts = [("cwnd", sample.cwnd), ("retransmits", sample.retransmits)];
    let floats = floats
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?, false)));
    let counts = counts
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value? as f64, true)));
    floats.chain(counts).collect()
}

/// One line; none without a field. Tags come sorted, and those without a value are left out.
fn line(
    out: &mut String,
    measurement: &str,
    tags: &[(&str, Option<&str>)],
    fields: impl Iterator<Item = (String, f64, bool)>,
    time: Option<f64>,
) {
    let fields: Vec<String> = fields
        .filter(|(_, value, _)| value.is_finite())
        .map(|(name, value, whole)| {
            if whole {
                format!("{name}={value:.0}i")
            } else {
                format!("{name}={value:?}")
            }
        })
        .collect();
    if fields.is_empty() {
        return;
    }
    out.push_str(measurement);
    for (key, value) in tags {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            push(out, format_args!(",{key}={}", escape(value)));
        }
    }
    push(out, format_args!(" {}", fields.join(",")));
    if let Some(seconds) = time {
        push(out, format_args!(" {:.0}", seconds * 1e9));
    }
    out.push('\n');
}

/// Commas, equal signs and blanks have a backslash before them; a backslash at the end would take the next character.
fn escape(value: &str) -> String {
    let plain = super::value::plain(value).replace('\\', "/");
    plain
        .replace(',', "\\,")
        .replace('=', "\\=")
        .replace(' ', "\\ ")
}
