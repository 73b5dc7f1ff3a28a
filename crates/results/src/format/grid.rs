//! Tables before formatting: a heading, rows, and lines below. Text, Markdown and HTML show the same tables.

use super::value::{change, p, plain, show};
use crate::compare::{Compared, Comparison, Outcome, describe, differences};
use crate::metric::{Unit, order};
use crate::record::Record;
use crate::stats::Verdict;

/// A table and the notes below it.
#[derive(Debug, Default)]
pub(crate) struct Grid {
    pub(crate) heading: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Title and lines of each list below.
    pub(crate) lists: Vec<(&'static str, Vec<String>)>,
}

/// The metrics that tables for people show; CSV and JSON have all.
const SHOWN: &[&str] = &[
    "throughput",
    "throughput.reverse",
    "throughput.both",
    "throughput.sent",
    "transactions",
    "latency.idle",
    "latency.increase",
    "latency.mean",
    "latency.p50",
    "latency.p99",
    "latency.max",
    "connect.p50",
    "one_way.mean",
    "one_way.p50",
    "loss",
    "jitter",
    "retransmits",
    "rtt",
    "fairness",
    "fairness.reverse",
    "cpu.sender",
    "cpu.receiver",
    "cpu.command",
    "cpu.server",
    "zerocopy.tx.uncopied",
    "zerocopy.rx.mapped",
    "zerocopy.rx.spliced",
    "seconds",
];

/// The heading of the spread between the intervals of one run.
const WITHIN: &str = "within the run";

/// One row a run.
pub(crate) fn report(records: &[Record]) -> Grid {
    let has = |metric: &&&str| records.iter().any(|record| record.get(metric).is_some());
    let received = records
        .iter()
        .all(|record| record.get("throughput").is_some());
    // What was sent is of interest where it is not nearly what was received, or where nothing else is known.
    let differs =
        |metric: &&&str| **metric != "throughput.sent" || !received || records.iter().any(lossy);
    let metrics: Vec<&str> = SHOWN.iter().filter(has).filter(differs).copied().collect();
    let mut grid = Grid::default();
    grid.heading
        .extend(["run", "tool", "test"].map(str::to_owned));
    grid.heading
        .extend(metrics.iter().map(|metric| (*metric).to_owned()));
    let spreads: Vec<_> = records.iter().map(Record::within).collect();
    let some_spread = spreads.iter().any(Option::is_some);
    if some_spread {
        grid.heading.push(WITHIN.to_owned());
    }
    let names = names(records);
    for ((record, name), spread) in records.iter().zip(&names).zip(&spreads) {
        let mut row = vec![plain(name), plain(&tool(record)), plain(&describe(record))];
        row.extend(metrics.iter().map(|metric| {
            record
                .get(metric)
                .map_or_else(String::new, |value| show(value, Unit::of(metric)))
        }));
        if some_spread {
            row.push(spread.map_or_else(String::new, |(spread, n)| {
                format!("±{:.1} % (n={n})", spread * 100.0)
            }));
        }
        grid.rows.push(row);
    }
    let mut notes = notes(records, &names);
    if some_spread {
        notes.push(format!(
            "{WITHIN}: the standard deviation of a run's own intervals over their mean. Runs differ by other amounts: \
             it is no evidence for a comparison"
        ));
    }
    grid.lists.push(("Notes", notes));
    grid.lists
        .push(("Not comparable", not_comparable(records, &names)));
    grid
}

fn lossy(record: &Record) -> bool {
    record.get("loss").is_some_and(|loss| loss > 0.001)
}

/// A name for each run: its file, and its line where a file has several.
pub(crate) fn names(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            let file = &record.source.file;
            let name = std::path::Path::new(&**file)
                .file_name()
                .map_or(&**file, |name| name.to_str().unwrap_or(file));
            let several = records
                .iter()
                .filter(|other| other.source.file == *file)
                .nth(1)
                .is_some();
            if several {
                format!("{name}:{}", record.source.line)
            } else {
                name.to_owned()
            }
        })
        .collect()
}

/// The tool with its version; iperf3's own contains the name.
pub(crate) fn tool(record: &Record) -> String {
    match &record.version {
        Some(version) if version.starts_with("iperf") => version.clone(),
        Some(version) => format!("{} {version}", record.tool.name()),
        None => record.tool.name().to_owned(),
    }
}

/// Each note once, with the runs that have it.
fn notes(records: &[Record], names: &[String]) -> Vec<String> {
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for (record, name) in records.iter().zip(names) {
        for note in &record.notes {
            match notes.iter_mut().find(|(known, _)| known == note) {
                Some((_, runs)) => runs.push(name),
                None => notes.push((note, vec![name])),
            }
        }
    }
    let line = |(note, runs): (&str, Vec<&str>)| plain(&format!("{}: {note}", some(&runs)));
    notes.into_iter().map(line).collect()
}

/// The first few names, and how many others.
fn some(names: &[&str]) -> String {
    match names {
        [first, second, rest @ ..] if rest.len() > 1 => {
            format!("{first}, {second} and {} others", rest.len())
        }
        few => few.join(", "),
    }
}

/// In what runs differ from the first.
fn not_comparable(records: &[Record], names: &[String]) -> Vec<String> {
    let Some((first, others)) = records.split_first() else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for (record, name) in others.iter().zip(&names[1..]) {
        let differing = differences(first, record, |_| false);
        if !differing.is_empty() {
            let parts: Vec<String> = differing
                .iter()
                .map(|d| format!("{} {} instead of {}", d.name, d.new, d.base))
                .collect();
            lines.push(plain(&format!(
                "{name} with {}: {}",
                names[0],
                parts.join(", ")
            )));
        }
    }
    lines
}

/// One row a metric, test and side.
pub(crate) fn comparison(comparison: &Comparison) -> Grid {
    let mut grid = Grid::default();
    let several = comparison.tests.len() > 1;
    let heading = [
        "metric",
        "base",
        "new",
        "change",
        "95 % interval",
        "p",
        "verdict",
    ];
    grid.heading = several
        .then_some("test")
        .into_iter()
        .chain(heading)
        .map(str::to_owned)
        .collect();
    for test in &comparison.tests {
        let mut metrics: Vec<&Compared> = test
            .metrics
            .iter()
            .filter(|metric| metric.verdict.is_some())
            .collect();
        metrics.sort_by_cached_key(|metric| (!metric.gated, order(&metric.name)));
        for metric in metrics {
            let mut row = Vec::new();
            if several {
                row.push(plain(&format!("{}: {}", test.new, test.name)));
            }
            row.extend(cells(metric));
            grid.rows.push(row);
        }
    }
    let requirement = |checked: &crate::compare::Checked| {
        let unit = Unit::of(&checked.requirement.metric);
        let value = checked
            .value
            .map_or_else(|| "not measured".to_owned(), |value| show(value, unit));
        let word = if checked.met { "met" } else { "MISSED" };
        plain(&format!(
            "{word}: {} in {} ({}): {value}",
            checked.requirement, checked.side, checked.test
        ))
    };
    grid.lists.push((
        "Requirements",
        comparison.requirements.iter().map(requirement).collect(),
    ));
    grid.lists.push((
        "Not compared",
        comparison
            .incomparable
            .iter()
            .map(|text| plain(text))
            .collect(),
    ));
    grid.lists.push((
        "Warnings",
        comparison.warnings.iter().map(|text| plain(text)).collect(),
    ));
    grid.lists.push(("Inconclusive", inconclusive(comparison)));
    let mut notes: Vec<String> = comparison
        .tests
        .iter()
        .flat_map(|test| &test.notes)
        .map(|text| plain(text))
        .collect();
    notes.sort();
    notes.dedup();
    grid.lists.push(("Notes", notes));
    grid
}

fn cells(metric: &Compared) -> [String; 7] {
    let unit = metric.unit();
    let effect = metric.decision.effect;
    let side = |summary: &crate::stats::Summary| match summary.n {
        1 => show(summary.median, unit),
        n if effect.difference => {
            let (min, max) = (show(summary.min, unit), show(summary.max, unit));
            format!("{} ({min} to {max}, n={n})", show(summary.median, unit))
        }
        n => format!(
            "{} ±{:.1} % (n={n})",
            show(summary.median, unit),
            summary.spread * 100.0
        ),
    };
    let bound = |value: f64| match value {
        _ if value.is_infinite() || !effect.difference && value <= -1.0 => "?".to_owned(),
        _ => change(value, effect.difference, unit),
    };
    let verdict = match (metric.verdict, metric.gated) {
        (Some(verdict), true) => word(verdict).to_owned(),
        (Some(verdict), false) => format!("({})", word(verdict)),
        (None, _) => String::new(),
    };
    [
        metric.name.clone(),
        side(&metric.base),
        side(&metric.new),
        change(effect.change, effect.difference, unit),
        format!("{} … {}", bound(effect.low), bound(effect.high)),
        p(metric.adjusted_p),
        verdict,
    ]
}

/// A verdict in a word.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::Same => "same",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// Why gated metrics are undecided, and what would decide them.
fn inconclusive(comparison: &Comparison) -> Vec<String> {
    let metrics = comparison
        .tests
        .iter()
        .flat_map(|test| test.metrics.iter().map(move |metric| (test, metric)));
    let undecided = metrics.filter(|(_, m)| m.gated && m.verdict == Some(Verdict::Inconclusive));
    undecided
        .map(|(test, metric)| {
            plain(&format!(
                "{} of {}: {}",
                metric.name,
                test.new,
                undecided_because(metric)
            ))
        })
        .collect()
}

/// One sentence on an undecided metric.
pub(crate) fn undecided_because(metric: &Compared) -> String {
    let runs = match metric.runs {
        Some(runs) => format!("about {runs} runs a side would decide"),
        None => "more than 1000 runs a side would be needed".to_owned(),
    };
    format!(
        "{} and {} runs can reach p = {} at best; {runs}",
        metric.base.n,
        metric.new.n,
        p(metric.decision.smallest_p)
    )
}

/// The result of a comparison, in a sentence.
pub(crate) fn conclusion(comparison: &Comparison) -> &'static str {
    match comparison.outcome() {
        Outcome::Passed => "Nothing gated is worse.",
        Outcome::Failed => "Worse, or a requirement is missed.",
        Outcome::Inconclusive => "Inconclusive: more runs are needed.",
        Outcome::NotComparable => "Not comparable.",
    }
}
