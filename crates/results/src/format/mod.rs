//! What records and comparisons are printed as.

mod benchmark;
mod csv;
mod draw;
mod github;
mod grid;
mod html;
mod influx;
mod json;
mod junit;
mod metrics;
mod netperf;
mod sweep;
mod text;
pub(crate) mod value;

pub use sweep::{Sweep, sweep};

use crate::compare::{Comparison, Side};
use crate::metric::Metric;
use crate::record::{FailedRun, Record};

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for a terminal.
    Text,
    /// A table for Markdown.
    Markdown,
    /// A row a run, or a metric of a comparison.
    Csv,
    /// Everything.
    Json,
    /// A page of its own.
    Html,
    /// A picture: the plots of the page.
    Svg,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
    /// InfluxDB's line protocol.
    Influx,
    /// github-action-benchmark, `customBiggerIsBetter`.
    GithubActionBenchmark,
    /// github-action-benchmark, `customSmallerIsBetter`.
    GithubActionBenchmarkSmaller,
    /// Bencher's metric format.
    Bencher,
    /// netperf's names, as its `-k` prints them.
    Netperf,
    /// neper's names.
    Neper,
    /// JUnit XML; comparisons only.
    Junit,
    /// A step summary of GitHub; comparisons only.
    Github,
}

impl Format {
    /// Whether it is for dashboards, which also show that a run failed.
    pub fn shows_failures(self) -> bool {
        matches!(self, Self::OpenMetrics | Self::Prometheus | Self::Influx)
    }
}

/// One or more results, side by side, and for dashboards the runs that failed. `None` if the format is one of comparisons only.
pub fn report(format: Format, records: &[Record], failed: &[FailedRun]) -> Option<String> {
    Some(match format {
        Format::Text => text::text(&grid::report(records)),
        Format::Markdown => text::markdown(&grid::report(records)),
        Format::Csv => csv::report(records),
        Format::Json => json::report(records),
        Format::Html => html::report(records),
        Format::Svg => html::report_picture(records),
        Format::OpenMetrics => metrics::report(records, failed, true),
        Format::Prometheus => metrics::report(records, failed, false),
        Format::Influx => influx::report(records, failed),
        Format::GithubActionBenchmark => benchmark::github_action(records, false),
        Format::GithubActionBenchmarkSmaller => benchmark::github_action(records, true),
        Format::Bencher => benchmark::bencher(records),
        Format::Netperf => netperf::netperf(records),
        Format::Neper => netperf::neper(records),
        Format::Junit | Format::Github => return None,
    })
}

/// The page of a test that failed.
pub fn failure_page(failed: &FailedRun) -> String {
    html::failure(failed)
}

/// A comparison. The formats of benchmark services and of other tools have no verdicts: they get the
/// figures of the other sides' runs.
pub fn comparison(format: Format, sides: &[Side], comparison: &Comparison) -> String {
    let new: Vec<Record> = sides
        .iter()
        .skip(1)
        .flat_map(|side| side.records.clone())
        .collect();
    let table = |print: fn(&grid::Grid) -> String| {
        let table = print(&grid::comparison(comparison));
        format!("{table}\n{}\n", grid::conclusion(comparison))
    };
    match format {
        Format::Text => table(text::text),
        Format::Markdown => table(text::markdown),
        Format::Csv => csv::comparison(comparison),
        Format::Json => json::comparison(comparison),
        Format::Html => html::comparison(comparison),
        Format::Svg => html::comparison_picture(comparison),
        Format::OpenMetrics => metrics::comparison(comparison, true),
        Format::Prometheus => metrics::comparison(comparison, false),
        Format::Influx => influx::comparison(comparison),
        Format::GithubActionBenchmark => benchmark::github_action(&new, false),
        Format::GithubActionBenchmarkSmaller => benchmark::github_action(&new, true),
        Format::Bencher => benchmark::bencher(&new),
        Format::Netperf => netperf::netperf(&new),
        Format::Neper => netperf::neper(&new),
        Format::Junit => junit::comparison(comparison),
        Format::Github => github::summary(comparison),
    }
}

/// A figure for people: `9.41 Gbit/s`.
pub fn shown(metric: &Metric) -> String {
    value::show(metric.value, metric.unit())
}

/// The workflow commands that belong to [`Format::Github`].
pub fn annotations(comparison: &Comparison) -> String {
    github::annotations(comparison)
}
