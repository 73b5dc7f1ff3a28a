//! CSV: one row per run with every figure in base units, or one row per metric of a comparison.

use super::grid::word;
use crate::compare::{Compared, Comparison, Test};
use crate::metric::order;
use crate::record::Record;

/// One row a run.
pub(super) fn report(records: &[Record]) -> String {
    let mut parameters: Vec<String> = Vec::new();
    let mut metrics: Vec<&str> = Vec::new();
    for record in records {
        for (name, _) in record.parameters.named() {
            if !parameters.iter().any(|known| known == name) {
                parameters.push(name.to_owned());
            }
        }
        for metric in &record.metrics {
            if !metrics.contains(&metric.name.as_str()) {
                metrics.push(&metric.name);
            }
        }
    }
    metrics.sort_by_cached_key(|name| order(name));
    let fixed = ["file", "line", "tool", "version", "started", "pair"];
    let mut rows = Rows::new(
        fixed
            .into_iter()
            .chain(parameters.iter().map(String::as_str))
            .chain(metrics.iter().copied()),
    );
    for record in records {
        let mut row = vec![
            record.source.file.to_string(),
            record.source.line.to_string(),
            record.tool.name().to_owned(),
            record.version.clone().unwrap_or_default(),
            record.started.map(|at| at.to_string()).unwrap_or_default(),
            record.pair.map(|pair| pair.to_string()).unwrap_or_default(),
        ];
        let named = record.parameters.named();
        let value = |name: &str| {
            named
                .iter()
                .find(|(known, _)| *known == name)
                .and_then(|(_, value)| value.clone())
        };
        row.extend(
            parameters
                .iter()
                .map(|name| value(name).unwrap_or_default()),
        );
        row.extend(metrics.iter().map(|name| {
            record
                .get(name)
                .map(|value| value.to_string())
                .unwrap_or_default()
        }));
        rows.add(row);
    }
    rows.finish()
}

/// A column of a comparison: its name, and its text in a metric's row.
type Column = (&'static str, fn(&Test, &Compared) -> String);

/// The columns of a comparison. A number that is not finite is left out where there need not be one.
const COLUMNS: [Column; 22] = [
    ("test", |test, _| test.name.clone()),
    ("base", |test, _| test.base.clone()),
    ("new", |test, _| test.new.clone()),
    ("metric", |_, metric| metric.name.clone()),
    ("base_n", |_, metric| metric.base.n.to_string()),
    ("base_median", |_, metric| metric.base.median.to_string()),
    ("base_spread", |_, metric| metric.base.spread.to_string()),
    ("new_n", |_, metric| metric.new.n.to_string()),
    ("new_median", |_, metric| metric.new.median.to_string()),
    ("new_spread", |_, metric| metric.new.spread.to_string()),
    ("change", |_, metric| finite(metric.decision.effect.change)),
    ("change_low", |_, metric| finite(metric.decision.effect.low)),
    ("change_high", |_, metric| {
        finite(metric.decision.effect.high)
    }),
    ("is_difference", |_, metric| {
        metric.decision.effect.difference.to_string()
    }),
    ("p", |_, metric| metric.decision.p.to_string()),
    ("adjusted_p", |_, metric| metric.adjusted_p.to_string()),
    ("smallest_p", |_, metric| {
        metric.decision.smallest_p.to_string()
    }),
    ("margin", |_, metric| finite(metric.margin)),
    ("gated", |_, metric| metric.gated.to_string()),
    ("paired", |test, _| test.paired.to_string()),
    ("verdict", |_, metric| {
        let verdict = metric.verdict.map(|verdict| word(verdict).to_lowercase());
        verdict.unwrap_or_default()
    }),
    ("runs_to_decide", |_, metric| {
        metric.runs.map(|runs| runs.to_string()).unwrap_or_default()
    }),
];

fn finite(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        String::new()
    }
}

/// One row a metric.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let mut rows = Rows::new(COLUMNS.map(|(name, _)| name));
    for test in &comparison.tests {
        for metric in &test.metrics {
            rows.add(COLUMNS.map(|(_, text)| text(test, metric)).to_vec());
        }
    }
    rows.finish()
}

/// Rows in memory, which takes every write.
struct Rows(csv::Writer<Vec<u8>>);

impl Rows {
    fn new<'a>(heading: impl IntoIterator<Item = &'a str>) -> Self {
        let mut rows = Self(csv::Writer::from_writer(Vec::new()));
        rows.add(heading.into_iter().map(str::to_owned).collect());
        rows
    }

    fn add(&mut self, row: Vec<String>) {
        let written = self.0.write_record(row);
        debug_assert!(written.is_ok(), "{written:?}");
    }

    fn finish(self) -> String {
        let bytes = self.0.into_inner().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
