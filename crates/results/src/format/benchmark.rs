//! The JSON of github-action-benchmark and of Bencher: a figure per test and metric, the median of its runs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::json::print;
use crate::compare::{describe, groups};
use crate::metric::{Better, definition};
use crate::record::Record;
use crate::stats::Summary;

/// Each metric of each test with the description of its runs.
fn figures(records: &[Record]) -> Vec<(String, String, Summary)> {
    let mut figures = Vec::new();
    for group in groups(records, &|_| false) {
        let test = format!("{}: {}", group[0].tool.name(), describe(group[0]));
        for metric in &group[0].metrics {
            let values: Vec<f64> = group
                .iter()
                .filter_map(|record| record.get(&metric.name))
                .collect();
            figures.push((test.clone(), metric.name.clone(), Summary::of(&values)));
        }
    }
    figures
}

/// github-action-benchmark's array. The file has one direction: its tool is `customBiggerIsBetter`, or with `smaller`
/// `customSmallerIsBetter`.
pub(super) fn github_action(records: &[Record], smaller: bool) -> String {
    let wanted = if smaller {
        Better::Lower
    } else {
        Better::Higher
    };
    let entries: Vec<Value> = figures(records)
        .into_iter()
        .filter_map(|(test, metric, summary)| {
            let (unit, better) = definition(&metric)?;
            let range = format!("{}", (summary.max - summary.min) / 2.0);
            let unit = if unit.symbol().is_empty() { "1" } else { unit.symbol() };
            let entry = json!({
                "name": format!("{test} - {metric}"), "unit": unit, "value": summary.median, "range": range,
                "extra": format!("median of {} runs", summary.n),
            });
            (better == wanted).then_some(entry)
        })
        .collect();
    print(&entries.into())
}

/// Bencher's metric format. Measures have names of their own: the built-in ones are in nanoseconds and operations.
pub(super) fn bencher(records: &[Record]) -> String {
    let mut tests: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for (test, metric, summary) in figures(records) {
        if definition(&metric).is_none_or(|(_, better)| better == Better::Neither) {
            continue;
        }
        let mut value = json!({ "value": summary.median });
        if summary.n > 1 {
            value["lower_value"] = summary.min.into();
            value["upper_value"] = summary.max.into();
        }
        let name: String = test.chars().take(1024).collect();
        tests
            .entry(name)
            .or_default()
            .insert(measure(&metric), value);
    }
    print(&json!(tests))
}

/// A measure's name includes its unit, which Bencher does not store.
fn measure(metric: &str) -> String {
    use crate::metric::Unit;
    let unit = match definition(metric).map(|(unit, _)| unit) {
        Some(Unit::BitsPerSecond) => "-bits-per-second",
        Some(Unit::PerSecond) => "-per-second",
        Some(Unit::Seconds) => "-seconds",
        Some(Unit::SecondsPerGigabyte) => "-seconds-per-gigabyte",
        Some(Unit::Ratio) => "-ratio",
        _ => "",
    };
    format!("{}{unit}", metric.replace(['.', '_'], "-"))
}
