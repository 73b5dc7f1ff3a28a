//! `iperf report`, `compare`, `bench` and `sweep`: subcommands with a command line of their own, in clap's way. Everything
//! else is iperf3's.

mod bench;
mod compare;
pub(crate) mod direct;
mod output;
mod progress;
mod report;
mod runs;
mod sweep;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{Args, Subcommand, ValueEnum};
use iperf_results::format::Format;
use iperf_results::{ReadOptions, Tool};

/// Usage, or input that cannot be read.
pub(crate) const UNREADABLE: u8 = 2;

/// Show and compare results of iperf and of other network benchmarks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Report(report::ReportArgs),
    Compare(compare::CompareArgs),
    Bench(Box<bench::BenchArgs>),
    Sweep(Box<sweep::SweepArgs>),
    #[command(hide = true)]
    Supervise(bench::SuperviseArgs),
}

/// What to read, and how.
#[derive(Debug, Args)]
struct InputArgs {
    /// Read every input as output of TOOL, whatever its content
    #[arg(long = "as", value_name = "TOOL", help_heading = "Input", value_parser = tools())]
    tool: Option<Tool>,
    /// Bytes that each run transferred, for tables of seconds; K, M, G and T are 1024-based
    #[arg(long, value_name = "SIZE", help_heading = "Input", value_parser = bytes)]
    bytes: Option<u64>,
}

impl InputArgs {
    fn options(&self) -> ReadOptions {
        ReadOptions {
            tool: self.tool,
            bytes: self.bytes,
        }
    }
}

fn tools() -> impl clap::builder::TypedValueParser<Value = Tool> {
    PossibleValuesParser::new(Tool::ALL.map(Tool::name)).try_map(|name| name.parse::<Tool>())
}

/// A number of bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no size, as 4000M or 2G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

/// Where to print.
#[derive(Debug, Args)]
struct OutputArgs {
    /// Write to FILE, which is replaced atomically
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
}

/// The formats that both subcommands have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// A table for a terminal
    Text,
    /// A table for Markdown
    Markdown,
    /// A row a run, every figure in base units
    Csv,
    /// Everything, intervals too
    Json,
    /// One self-contained page with plots
    Html,
    /// OpenMetrics
    Openmetrics,
    /// Prometheus' text format, as for node_exporter's textfile collector
    Prometheus,
    /// InfluxDB's line protocol
    Influx,
    /// github-action-benchmark, customBiggerIsBetter
    GithubActionBenchmark,
    /// github-action-benchmark, customSmallerIsBetter
    GithubActionBenchmarkSmaller,
    /// Bencher's metric format
    Bencher,
}

impl From<ReportFormat> for Format {
    fn from(format: ReportFormat) -> Self {
        match format {
            ReportFormat::Text => Self::Text,
            ReportFormat::Markdown => Self::Markdown,
            ReportFormat::Csv => Self::Csv,
            ReportFormat::Json => Self::Json,
            ReportFormat::Html => Self::Html,
            ReportFormat::Openmetrics => Self::OpenMetrics,
            ReportFormat::Prometheus => Self::Prometheus,
            ReportFormat::Influx => Self::Influx,
            ReportFormat::GithubActionBenchmark => Self::GithubActionBenchmark,
            ReportFormat::GithubActionBenchmarkSmaller => Self::GithubActionBenchmarkSmaller,
            ReportFormat::Bencher => Self::Bencher,
        }
    }
}

impl Command {
    pub(crate) fn run(&self) -> ExitCode {
        match self {
            Self::Report(args) => report::run(args),
            Self::Compare(args) => compare::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Sweep(args) => sweep::run(args),
            Self::Supervise(args) => bench::supervise(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_1024_based() {
        assert_eq!(bytes("4000M"), Ok(4000 << 20));
        assert_eq!(bytes("7"), Ok(7));
        for wrong in ["", "M", "0", "1.5G", "1X", "99999999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
