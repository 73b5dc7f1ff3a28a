//! `iperf sweep --vary OPTION=VALUES… -- CLIENT OPTIONS`

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use console::Term;
use iperf_cli::{Job, parse};
use iperf_results::compare::Settings;
use iperf_results::format::{self, Sweep};
use iperf_results::{Record, Unit, definition, unknown_metric};
use iperf_runs::{Axis, Combination, Plan, Rounds, combinations, merge};

use super::output::failed;
use super::printed::ReportFormatArgs;
use super::runs::RunArgs;
use super::{InputArgs, bytes};

/// Run a client with every combination of options, in interleaved rounds, and print a table
///
/// Rows are the values of the first --vary, columns those of the second; each further one makes a table per value. Cells
/// are medians, with minimum and maximum. Formats html and svg have plots with error bars; csv, json and those for
/// services have all runs. Runs and failures are as for `bench`. The client is this program, with -J.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Option, without its dashes, and the values to try; off omits it, on gives it without a value. cmd= is a whole
    /// command line, with placeholders such as {length}; give it once for each
    #[arg(long, required = true, value_name = "OPTION=VALUE,…")]
    vary: Vec<Axis>,
    /// Options of the client that do not vary
    #[arg(last = true, value_name = "CLIENT OPTION")]
    options: Vec<String>,
    /// Metric that the table shows: any of `report`'s [throughput; with --rr transactions]
    #[arg(long, value_name = "METRIC", value_parser = metric, help_heading = "Output")]
    metric: Option<String>,
    /// Show the seconds that SIZE would take at the measured throughput; K, M, G and T are 1024-based
    #[arg(long, value_name = "SIZE", value_parser = bytes, conflicts_with = "metric", help_heading = "Output")]
    seconds_for: Option<u64>,
    #[command(flatten)]
    runs: RunArgs,
    #[command(flatten)]
    input: InputArgs,
    /// Print bars below a table of text
    #[arg(long, help_heading = "Output")]
    plot: bool,
    #[command(flatten)]
    printed: ReportFormatArgs,
}

/// A metric, or a short name of one.
fn metric(text: &str) -> Result<String, String> {
    let name = match text {
        "cpu" => "cpu.command",
        "mapped" => "zerocopy.rx.mapped",
        "spliced" => "zerocopy.rx.spliced",
        name => name,
    };
    definition(name).map_or_else(|| Err(unknown_metric(text)), |_| Ok(name.to_owned()))
}

pub(super) fn run(args: &SweepArgs) -> ExitCode {
    let ready = args.runs.may_write(args.printed.output.as_deref());
    match ready.and_then(|()| prepared(args)) {
        Ok((axes, all, plan)) => args
            .runs
            .execute(&plan, &|rounds| show(args, &axes, &all, &plan, rounds)),
        Err(error) => failed(&error),
    }
}

fn prepared(args: &SweepArgs) -> Result<(Vec<Axis>, Vec<Combination>, Plan), String> {
    let program = std::env::current_exe()
        .map_err(|error| format!("the path of this program is not known: {error}"))?;
    let mut options = args.options.clone();
    options.push("-J".into());
    let axes = merge(&args.vary);
    let all = combinations(&axes, &program.to_string_lossy(), &options)?;
    for one in &all {
        if let Some(words) = &one.words {
            check(words).map_err(|problem| format!("{}: {problem}", one.name))?;
        }
    }
    let commands = all
        .iter()
        .map(|one| (one.name.clone(), one.command.clone()))
        .collect();
    let plan = args
        .runs
        .plan(commands, Settings::default(), args.input.options())?;
    Ok((axes, all, plan))
}

/// A mistake in the options of a client is found before anything runs.
fn check(words: &[String]) -> Result<(), String> {
    match parse(words.iter().map(OsString::from)) {
        Ok(read) if matches!(read.job, Job::Client(_) | Job::Loopback(_)) => Ok(()),
        Err(error) if !error.lacks_role() => Err(error.in_one_line()),
        _ => Err("the options behind -- run no client: they need -c HOST or --loopback".to_owned()),
    }
}

fn show(
    args: &SweepArgs,
    axes: &[Axis],
    all: &[Combination],
    plan: &Plan,
    rounds: &Rounds,
) -> ExitCode {
    let format = args.printed.format;
    let bars = args.plot.then(|| usize::from(Term::stdout().size().1));
    let text = format::sweep(format, &measured(args, axes, all, rounds), bars);
    let text = text.unwrap_or_else(|| {
        let records: Vec<Record> = (0..plan.sides.len())
            .flat_map(|side| rounds.records(side))
            .cloned()
            .collect();
        format::report(format, &records, &[]).unwrap_or_default()
    });
    args.printed.finish(&text, ExitCode::SUCCESS)
}

/// What the runs were for: an exchange moves no data worth counting.
fn usual(rounds: &Rounds, sides: usize) -> &'static str {
    let mut records = (0..sides).flat_map(|side| rounds.records(side)).peekable();
    let exchanges = records.peek().is_some()
        && records.all(|record| {
            record.get("throughput").is_none() && record.get("transactions").is_some()
        });
    if exchanges {
        "transactions"
    } else {
        "throughput"
    }
}

/// The values of each combination's runs.
fn measured(args: &SweepArgs, axes: &[Axis], all: &[Combination], rounds: &Rounds) -> Sweep {
    let metric = args
        .metric
        .as_deref()
        .unwrap_or_else(|| usual(rounds, all.len()));
    let value = |record: &&Record| match args.seconds_for {
        Some(bytes) => {
            let throughput = record.get("throughput").filter(|rate| *rate > 0.0)?;
            Some(bytes as f64 * 8.0 / throughput)
        }
        None => record.get(metric),
    };
    let (what, unit) = match args.seconds_for {
        Some(bytes) => (format!("seconds for {bytes} bytes"), Unit::Seconds),
        None => (metric.to_owned(), Unit::of(metric)),
    };
    let cell = |(side, one): (usize, &Combination)| {
        let values = rounds.records(side).iter().filter_map(value).collect();
        (one.at.clone(), values)
    };
    Sweep {
        what,
        unit,
        axes: axes
            .iter()
            .map(|axis| (axis.name.clone(), axis.values.clone()))
            .collect(),
        cells: all.iter().enumerate().map(cell).collect(),
    }
}
