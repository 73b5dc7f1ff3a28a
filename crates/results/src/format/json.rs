//! JSON: the records, or the comparison, whole.

use serde_json::{Map, Value, json};

use super::grid::word;
use crate::compare::{Compared, Comparison, Outcome, Test};
use crate::record::Record;
use crate::stats::Summary;

/// The records, their metrics as members by name.
pub(super) fn report(records: &[Record]) -> String {
    let records: Vec<Value> = records.iter().map(record).collect();
    print(&json!({ "records": records }))
}

fn record(record: &Record) -> Value {
    let mut value = serde_json::to_value(record).unwrap_or_default();
    let metrics: Map<String, Value> = record
        .metrics
        .iter()
        .map(|metric| {
            (
                metric.name.clone(),
                json!({ "value": metric.value, "unit": metric.unit(), "better": metric.better() }),
            )
        })
        .collect();
    value["metrics"] = metrics.into();
    value
}

/// The comparison.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let outcome = match comparison.outcome() {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Inconclusive => "inconclusive",
        Outcome::NotComparable => "not comparable",
    };
    let requirements: Vec<Value> = comparison
        .requirements
        .iter()
        .map(|checked| {
            json!({
                "requirement": checked.requirement.text, "test": checked.test, "side": checked.side,
                "value": checked.value, "met": checked.met,
            })
        })
        .collect();
    print(&json!({
        "outcome": outcome,
        "tests": comparison.tests.iter().map(test).collect::<Vec<_>>(),
        "requirements": requirements,
        "not_compared": comparison.incomparable,
        "warnings": comparison.warnings,
        "seed": crate::stats::SEED,
    }))
}

fn test(test: &Test) -> Value {
    let metrics: Map<String, Value> = test
        .metrics
        .iter()
        .map(|metric| (metric.name.clone(), compared(metric)))
        .collect();
    json!({
        "test": test.name, "base": test.base, "new": test.new, "paired": test.paired, "metrics": metrics,
        "notes": test.notes,
    })
}

fn compared(metric: &Compared) -> Value {
    let side = |summary: &Summary| {
        json!({
            "n": summary.n, "median": summary.median, "min": summary.min, "max": summary.max,
            "spread": summary.spread,
        })
    };
    let (decision, effect) = (&metric.decision, metric.decision.effect);
    json!({
        "unit": metric.unit(),
        "base": side(&metric.base),
        "new": side(&metric.new),
        "change": effect.change,
        "interval": [effect.low, effect.high],
        "change_is": if effect.difference { "difference" } else { "ratio minus 1" },
        "p": decision.p,
        "adjusted_p": metric.adjusted_p,
        "smallest_p": decision.smallest_p,
        "exact": decision.exact,
        "margin": metric.margin,
        "gated": metric.gated,
        "verdict": metric.verdict.map(|verdict| word(verdict).to_lowercase()),
        "runs_to_decide": metric.runs,
        "outliers": metric.outliers,
    })
}

/// A value as text, with a line end.
pub(super) fn print(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
