//! `iperf report`, `compare`, `bench` and `sweep`: subcommands with a command line of their own, in clap's way. Everything
//! else is iperf3's.

mod bench;
mod compare;
mod direct;
mod hlog;
mod output;
mod printed;
mod progress;
mod report;
mod runs;
mod sweep;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{Args, Subcommand};
use iperf_results::{ReadError, ReadOptions, Record, Tool, read_all};

pub(crate) use direct::{Files, Labels};

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

    /// Reads all inputs, and prints what is wrong with those that cannot be read.
    fn read(&self, paths: &[PathBuf]) -> (Vec<Record>, Vec<ReadError>) {
        let (records, errors) = read_all(paths, &self.options());
        for error in &errors {
            output::note(&error.to_string());
        }
        (records, errors)
    }
}

fn tools() -> impl clap::builder::TypedValueParser<Value = Tool> {
    PossibleValuesParser::new(Tool::ALL.map(Tool::name)).try_map(|name| name.parse::<Tool>())
}

/// A number of bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "must be a number of bytes above 0, such as 4000M or 2G".to_owned();
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
