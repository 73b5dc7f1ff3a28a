//! `iperf report FILE…`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use iperf_results::format;
use iperf_results::read_all;

use super::output::{note, print};
use super::{InputArgs, OutputArgs, ReportFormat, UNREADABLE};

/// Show one or more results side by side, one row a run
///
/// Reads what iperf3 and its relatives, iperf 2, uperf, netperf, neper, sockperf, qperf, nuttcp, ntttcp and vsock_perf
/// print, and published tables. The tool is recognised by the content.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Results: files, directories (all their files), - for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// What to print
    #[arg(
        long,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    format: ReportFormat,
    #[command(flatten)]
    output: OutputArgs,
}

/// 0, or 2 if an input could not be read; the others are shown all the same.
pub(super) fn run(args: &ReportArgs) -> ExitCode {
    let (records, errors) = read_all(&args.files, &args.input.options());
    for error in &errors {
        note(&error.to_string());
    }
    if records.is_empty() {
        return ExitCode::from(UNREADABLE);
    }
    let text = format::report(args.format.into(), &records).unwrap_or_default();
    match print(args.output.output.as_deref(), &text) {
        Ok(()) if errors.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(UNREADABLE),
        Err(error) => {
            note(&error);
            ExitCode::from(UNREADABLE)
        }
    }
}
