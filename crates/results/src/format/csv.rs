//! CSV: one row a run with every figure in base units, or one row a metric of a comparison.

use super::grid::word;
use crate::compare::Comparison;
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

/// One row a metric.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let mut rows = Rows::new([
        "test",
        "base",
        "new",
        "metric",
        "base_n",
        "base_median",
        "base_spread",
        "new_n",
        "new_median",
        "new_spread",
        "change",
        "change_low",
        "change_high",
        "is_difference",
        "p",
        "adjusted_p",
        "smallest_p",
        "margin",
        "gated",
        "paired",
        "verdict",
        "runs_to_decide",
    ]);
    for test in &comparison.tests {
        for metric in &test.metrics {
            let (decision, effect) = (&metric.decision, metric.decision.effect);
            let finite = |value: f64| {
                if value.is_finite() {
                    value.to_string()
                } else {
                    String::new()
                }
            };
            rows.add(vec![
                test.name.clone(),
                test.base.clone(),
                test.new.clone(),
                metric.name.clone(),
                metric.base.n.to_string(),
                metric.base.median.to_string(),
                metric.base.spread.to_string(),
                metric.new.n.to_string(),
                metric.new.median.to_string(),
                metric.new.spread.to_string(),
                finite(effect.change),
                finite(effect.low),
                finite(effect.high),
                effect.difference.to_string(),
                decision.p.to_string(),
                metric.adjusted_p.to_string(),
                decision.smallest_p.to_string(),
                finite(metric.margin),
                metric.gated.to_string(),
                test.paired.to_string(),
                metric
                    .verdict
                    .map(|verdict| word(verdict).to_lowercase())
                    .unwrap_or_default(),
                metric.runs.map(|runs| runs.to_string()).unwrap_or_default(),
            ]);
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
