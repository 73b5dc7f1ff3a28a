//! What subcommands print, and where: `--format` and `--output`, which all of them have.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use iperf_results::format::Format;

use super::output::{failed, print};

/// A format: its name, and what it is.
type Row = (&'static str, Format, &'static str);

/// The formats of all subcommands.
const REPORTS: [Row; 14] = [
    ("text", Format::Text, "A table for a terminal"),
    ("markdown", Format::Markdown, "A table for Markdown"),
    (
        "csv",
        Format::Csv,
        "One row per run, every figure in base units",
    ),
    ("json", Format::Json, "Everything, intervals included"),
    ("html", Format::Html, "One self-contained page with plots"),
    ("svg", Format::Svg, "The plots as a picture"),
    ("openmetrics", Format::OpenMetrics, "OpenMetrics"),
    (
        "prometheus",
        Format::Prometheus,
        "Prometheus' text format, as for node_exporter's textfile collector",
    ),
    ("influx", Format::Influx, "InfluxDB's line protocol"),
    (
        "github-action-benchmark",
        Format::GithubActionBenchmark,
        "For github-action-benchmark, customBiggerIsBetter",
    ),
    (
        "github-action-benchmark-smaller",
        Format::GithubActionBenchmarkSmaller,
        "For github-action-benchmark, customSmallerIsBetter",
    ),
    ("bencher", Format::Bencher, "Bencher's metric format"),
    (
        "netperf",
        Format::Netperf,
        "Under netperf's names: TRANSACTION_RATE, P99_LATENCY…",
    ),
    (
        "neper",
        Format::Neper,
        "Under neper's names: throughput, latency_p99…",
    ),
];

/// The formats of comparisons alone.
const COMPARISONS: [Row; 2] = [
    (
        "junit",
        Format::Junit,
        "JUnit XML, one test case per metric",
    ),
    (
        "github",
        Format::Github,
        "A step summary for GitHub, and annotations on stdout",
    ),
];

/// What is printed, and where. `COMPARES`: the formats of comparisons can be chosen, too.
#[derive(Debug, Args)]
pub(super) struct FormatArgs<const COMPARES: bool> {
    /// Format of the output
    #[arg(
        long,
        default_value = "text",
        value_name = "FORMAT",
        value_parser = formats(COMPARES),
        help_heading = "Output"
    )]
    pub(super) format: Format,
    /// Write to FILE, which is replaced as a whole
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    pub(super) output: Option<PathBuf>,
}

/// For subcommands that show results.
pub(super) type ReportFormatArgs = FormatArgs<false>;

/// For subcommands that compare them.
pub(super) type CompareFormatArgs = FormatArgs<true>;

impl<const COMPARES: bool> FormatArgs<COMPARES> {
    /// Prints `text`: then the exit code is `code`, unless it cannot be written.
    pub(super) fn finish(&self, text: &str, code: ExitCode) -> ExitCode {
        print(self.output.as_deref(), text).map_or_else(|error| failed(&error), |()| code)
    }
}

fn formats(compares: bool) -> impl TypedValueParser<Value = Format> {
    let rows = move || {
        let comparisons = COMPARISONS.iter().filter(move |_| compares);
        REPORTS.iter().chain(comparisons)
    };
    let names = rows().map(|(name, _, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(names).map(move |chosen| {
        let row = rows().find(|(name, ..)| *name == chosen);
        row.map_or(Format::Text, |(_, format, _)| *format)
    })
}
