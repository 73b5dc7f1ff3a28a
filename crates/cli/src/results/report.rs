//! `iperf report FILE…`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use iperf_results::format;
use iperf_results::{FailedRun, ReadError};

use super::printed::ReportFormatArgs;
use super::{InputArgs, UNREADABLE};

/// Show results side by side, one row per run
///
/// Reads the output of iperf3 and its relatives, iperf 2, uperf, netperf, neper, sockperf, qperf, nuttcp, ntttcp and
/// vsock_perf, and published tables. The tool is recognised from the content. Exit code: 0, or 2 if an input cannot be
/// read; the others are still shown.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Results: files, directories (all their files) or - for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    printed: ReportFormatArgs,
}

/// 0, or 2 if an input could not be read; the others are still shown, and dashboards see a failed run.
pub(super) fn run(args: &ReportArgs) -> ExitCode {
    let (records, errors) = args.input.read(&args.files);
    let format = args.printed.format;
    if records.is_empty() && !format.shows_failures() {
        return ExitCode::from(UNREADABLE);
    }
    let failed: Vec<FailedRun> = errors.iter().map(failed).collect();
    let text = format::report(format, &records, &failed).unwrap_or_default();
    let code = if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNREADABLE)
    };
    args.printed.finish(&text, code)
}

fn failed(error: &ReadError) -> FailedRun {
    let name = Path::new(&*error.file).file_name();
    FailedRun {
        run: name.map_or_else(
            || error.file.to_string(),
            |name| name.to_string_lossy().into_owned(),
        ),
        target: None,
        reason: error.kind.to_string(),
    }
}
