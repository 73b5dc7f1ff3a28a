//! Prometheus' text format and OpenMetrics. All are gauges, "the last test": such a text is valid in both, but for the
//! last line. It has no time stamps, with which node_exporter's textfile collector would skip the file.

use super::value::push;
use std::collections::BTreeMap;

use super::grid::names;
use crate::compare::Comparison;
use crate::metric::Unit;
use crate::record::{Direction, FailedRun, Record, Target};
use crate::stats::Verdict;

/// The figures of each run.
pub(super) fn report(records: &[Record], failed: &[FailedRun], end: bool) -> String {
    let mut families = Families::default();
    let names = names(records);
    for (record, run) in records.iter().zip(&names) {
        let target = Labels::of(run, record.target.as_ref());
        families.add(SUCCESS, SUCCESS_HELP, &target.pairs(), 1.0);
        let mut labels = target.pairs();
        labels.push(("tool", record.tool.name()));
        labels.extend(
            record
                .parameters
                .transport
                .as_deref()
                .map(|transport| ("transport", transport)),
        );
        for metric in &record.metrics {
            let (name, help, own) = family(&metric.name);
            let direction = match (
                metric.name.ends_with(".reverse"),
                record.parameters.direction,
            ) {
                (true, _) | (_, Some(Direction::Reverse)) => "reverse",
                _ => "forward",
            };
            let mut labels = labels.clone();
            labels.push(("direction", direction));
            labels.extend(own.iter().map(|(key, value)| (*key, value.as_str())));
            // Base units are bytes.
            let scale = if metric.unit() == Unit::BitsPerSecond {
                1.0 / 8.0
            } else {
                1.0
            };
            families.add(&name, help, &labels, metric.value * scale);
        }
        if let Some(started) = record.started {
            families.add(
                "iperf_last_run_timestamp_seconds",
                "When the test began, in seconds since 1970.",
                &target.pairs(),
                started,
            );
        }
    }
    for failure in failed {
        let target = Labels::of(&failure.run, failure.target.as_ref());
        families.add(SUCCESS, SUCCESS_HELP, &target.pairs(), 0.0);
    }
    families.print(end)
}

/// The metric by which a dashboard sees a failed test; all others are missing then.
const SUCCESS: &str = "iperf_success";
const SUCCESS_HELP: &str = "1 if the test has a result, 0 if it failed.";

/// The labels that name a run, whether it succeeded or not.
struct Labels {
    run: String,
    host: Option<String>,
    port: Option<String>,
}

impl Labels {
    fn of(run: &str, target: Option<&Target>) -> Self {
        Self {
            run: run.to_owned(),
            host: target.map(|target| target.host.clone()),
            port: target.and_then(|target| Some(target.port?.to_string())),
        }
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        let mut pairs = vec![("run", self.run.as_str())];
        pairs.extend(self.host.as_deref().map(|host| ("target", host)));
        pairs.extend(self.port.as_deref().map(|port| ("port", port)));
        pairs
    }
}

/// Change, p and verdict of each metric.
pub(super) fn comparison(comparison: &Comparison, end: bool) -> String {
    let mut families = Families::default();
    for test in &comparison.tests {
        for metric in test
            .metrics
            .iter()
            .filter(|metric| metric.verdict.is_some())
        {
            let labels = [
                ("test", test.name.as_str()),
                ("side", test.new.as_str()),
                ("metric", metric.name.as_str()),
            ];
            let effect = metric.decision.effect;
            let (name, help) = if effect.difference {
                (
                    "iperf_compare_difference",
                    "New minus base, in the metric's unit.",
                )
            } else {
                ("iperf_compare_change_ratio", "New over base, minus 1.")
            };
            families.add(name, help, &labels, effect.change);
            families.add(
                "iperf_compare_p_ratio",
                "The adjusted p.",
                &labels,
                metric.adjusted_p,
            );
            let worse = f64::from(u8::from(metric.verdict == Some(Verdict::Worse)));
            families.add(
                "iperf_compare_worse",
                "1 if the metric is worse.",
                &labels,
                worse,
            );
        }
    }
    families.print(end)
}

/// Name, help and labels of a metric's family.
fn family(metric: &str) -> (String, &'static str, Vec<(&'static str, String)>) {
    let base = metric.strip_suffix(".reverse").unwrap_or(metric);
    let label = |key, value: &str| vec![(key, value.to_owned())];
    if let Some((name, help, figure)) = delay_family(base) {
        return (name.to_owned(), help, label("figure", figure));
    }
    let (name, help, labels) = match base {
        "throughput" => (
            "iperf_received_bytes_per_second",
            "What the receiver got.",
            vec![],
        ),
        "throughput.sent" => (
            "iperf_sent_bytes_per_second",
            "What the sender sent.",
            vec![],
        ),
        "throughput.both" => (
            "iperf_both_bytes_per_second",
            "Both directions together.",
            vec![],
        ),
        "transactions" => (
            "iperf_transactions_per_second",
            "Requests that were answered.",
            vec![],
        ),
        "loss" => ("iperf_loss_ratio", "Lost datagrams over all.", vec![]),
        "lost" => ("iperf_lost_datagrams", "Lost datagrams.", vec![]),
        "jitter" => ("iperf_jitter_seconds", "Jitter of datagrams.", vec![]),
        "retransmits" => ("iperf_retransmits", "Segments sent again.", vec![]),
        "rtt" => (
            "iperf_rtt_seconds",
            "Mean round trip of the sender's TCP.",
            vec![],
        ),
        "fairness" => (
            "iperf_fairness_ratio",
            "Jain's index of what the streams received.",
            vec![],
        ),
        "bytes" => (
            "iperf_received_bytes",
            "Bytes that the receiver got.",
            vec![],
        ),
        "seconds" => ("iperf_duration_seconds", "How long the test took.", vec![]),
        _ if base.starts_with("cpu.transaction.") => (
            "iperf_cpu_seconds_per_transaction",
            "CPU time of a transaction.",
            label("end", &base[16..]),
        ),
        _ if base.starts_with("cpu.") => (
            "iperf_cpu_seconds_per_gigabyte",
            "CPU time per 10^9 bytes.",
            label("end", &base[4..]),
        ),
        _ if base.starts_with("zerocopy.") => (
            "iperf_zerocopy_ratio",
            "Bytes that were not copied, over all.",
            label("way", &base[9..]),
        ),
        _ => {
            return (
                format!("iperf_{}", base.replace('.', "_")),
                "As the tool counts it.",
                vec![],
            );
        }
    };
    (name.to_owned(), help, labels)
}

/// The families of times: name, help, and which figure of the family a metric is.
fn delay_family(base: &str) -> Option<(&'static str, &'static str, &str)> {
    const LOAD: &str = "Median latency before the load, and how much more it is under load.";
    const PREFIXES: [(&str, &str, &str); 5] = [
        ("latency.call.", "iperf_call_seconds", "Time in one call."),
        (
            "latency.",
            "iperf_latency_seconds",
            "From request to response.",
        ),
        ("one_way.", "iperf_one_way_seconds", "One-way delay."),
        (
            "connect.",
            "iperf_connect_seconds",
            "Opening the connection of a transaction.",
        ),
        (
            "close.",
            "iperf_close_seconds",
            "Closing the connection of a transaction.",
        ),
    ];
    let known = PREFIXES.iter().find_map(|(prefix, name, help)| {
        let figure = base.strip_prefix(prefix)?;
        Some((*name, *help, figure))
    })?;
    match known.2 {
        figure @ ("idle" | "increase") => Some(("iperf_load_latency_seconds", LOAD, figure)),
        _ => Some(known),
    }
}

/// The samples of a family are adjacent.
#[derive(Default)]
struct Families {
    order: Vec<String>,
    samples: BTreeMap<String, (&'static str, Vec<String>)>,
}

impl Families {
    fn add(&mut self, name: &str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        let (_, samples) = self.samples.entry(name.to_owned()).or_insert_with(|| {
            self.order.push(name.to_owned());
            (help, Vec::new())
        });
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escape(value)))
            .collect();
        samples.push(format!("{name}{{{}}} {value}", labels.join(",")));
    }

    fn print(&self, end: bool) -> String {
        let mut out = String::new();
        for name in &self.order {
            let (help, samples) = &self.samples[name];
            push(
                &mut out,
                format_args!(
                    "# HELP {name} {help}\n# TYPE {name} gauge\n{}\n",
                    samples.join("\n")
                ),
            );
        }
        if end {
            out.push_str("# EOF\n");
        }
        out
    }
}

fn escape(value: &str) -> String {
    super::value::plain(value)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
}
