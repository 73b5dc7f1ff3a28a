//! What subcommands print, and where: `--format` and `--output`, which all of them have.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use iperf_results::format::Format;

use super::UNREADABLE;
use super::output::{note, print};

/// What is printed, and where. `F` is what the subcommand can print.
#[derive(Debug, Args)]
pub(super) struct FormatArgs<F: ValueEnum + Send + Sync + 'static> {
    /// Format of the output
    #[arg(
        long,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    pub(super) format: F,
    /// Write to FILE, which is replaced as a whole
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    pub(super) output: Option<PathBuf>,
}

impl<F: ValueEnum + Send + Sync + 'static> FormatArgs<F> {
    /// Prints `text`: then the exit code is `code`, unless it cannot be written.
    pub(super) fn finish(&self, text: &str, code: ExitCode) -> ExitCode {
        match print(self.output.as_deref(), text) {
            Ok(()) => code,
            Err(error) => {
                note(&error);
                ExitCode::from(UNREADABLE)
            }
        }
    }
}

/// The formats of all subcommands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// A table for a terminal
    Text,
    /// A table for Markdown
    Markdown,
    /// One row per run, every figure in base units
    Csv,
    /// Everything, intervals included
    Json,
    /// One self-contained page with plots
    Html,
    /// The plots as a picture
    Svg,
    /// OpenMetrics
    Openmetrics,
    /// Prometheus' text format, as for node_exporter's textfile collector
    Prometheus,
    /// InfluxDB's line protocol
    Influx,
    /// For github-action-benchmark, customBiggerIsBetter
    GithubActionBenchmark,
    /// For github-action-benchmark, customSmallerIsBetter
    GithubActionBenchmarkSmaller,
    /// Bencher's metric format
    Bencher,
    /// Under netperf's names: TRANSACTION_RATE, P99_LATENCY…
    Netperf,
    /// Under neper's names: throughput, latency_p99…
    Neper,
}

impl From<ReportFormat> for Format {
    fn from(format: ReportFormat) -> Self {
        match format {
            ReportFormat::Text => Self::Text,
            ReportFormat::Markdown => Self::Markdown,
            ReportFormat::Csv => Self::Csv,
            ReportFormat::Json => Self::Json,
            ReportFormat::Html => Self::Html,
            ReportFormat::Svg => Self::Svg,
            ReportFormat::Openmetrics => Self::OpenMetrics,
            ReportFormat::Prometheus => Self::Prometheus,
            ReportFormat::Influx => Self::Influx,
            ReportFormat::GithubActionBenchmark => Self::GithubActionBenchmark,
            ReportFormat::GithubActionBenchmarkSmaller => Self::GithubActionBenchmarkSmaller,
            ReportFormat::Bencher => Self::Bencher,
            ReportFormat::Netperf => Self::Netperf,
            ReportFormat::Neper => Self::Neper,
        }
    }
}

/// The formats of a report, and those of comparisons alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompareFormat {
    Report(ReportFormat),
    Junit,
    Github,
}

impl ValueEnum for CompareFormat {
    fn value_variants<'a>() -> &'a [Self] {
        use ReportFormat as R;
        const ALL: [CompareFormat; 16] = [
            CompareFormat::Report(R::Text),
            CompareFormat::Report(R::Markdown),
            CompareFormat::Report(R::Csv),
            CompareFormat::Report(R::Json),
            CompareFormat::Report(R::Html),
            CompareFormat::Report(R::Svg),
            CompareFormat::Report(R::Openmetrics),
            CompareFormat::Report(R::Prometheus),
            CompareFormat::Report(R::Influx),
            CompareFormat::Report(R::GithubActionBenchmark),
            CompareFormat::Report(R::GithubActionBenchmarkSmaller),
            CompareFormat::Report(R::Bencher),
            CompareFormat::Report(R::Netperf),
            CompareFormat::Report(R::Neper),
            CompareFormat::Junit,
            CompareFormat::Github,
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Report(format) => format.to_possible_value(),
            Self::Junit => {
                Some(PossibleValue::new("junit").help("JUnit XML, one test case per metric"))
            }
            Self::Github => Some(
                PossibleValue::new("github")
                    .help("A step summary for GitHub, and annotations on stdout"),
            ),
        }
    }
}

impl From<CompareFormat> for Format {
    fn from(format: CompareFormat) -> Self {
        match format {
            CompareFormat::Report(format) => format.into(),
            CompareFormat::Junit => Self::Junit,
            CompareFormat::Github => Self::Github,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_have_the_formats_of_reports_and_two_more() {
        let reports = ReportFormat::value_variants().iter().copied();
        let expected: Vec<CompareFormat> = reports
            .map(CompareFormat::Report)
            .chain([CompareFormat::Junit, CompareFormat::Github])
            .collect();
        assert_eq!(CompareFormat::value_variants(), expected);
    }
}
