//! `iperf sweep --vary OPTION=VALUES… -- CLIENT OPTIONS`

use std::process::ExitCode;

use clap::Args;
use iperf_results::compare::Settings;
use iperf_results::format::{self, Format, shown};
use iperf_results::stats::median;
use iperf_results::{Metric, Record, definition};
use iperf_runs::{Axis, Combination, Plan, Rounds, combinations, merge};

use super::output::{note, print};
use super::runs::RunArgs;
use super::{InputArgs, OutputArgs, ReportFormat, UNREADABLE, bytes};

/// Run a client with all combinations of options, in interleaved rounds, and print a table
///
/// Rows are the values of the first --vary, columns those of the second; each further one makes a table per value. Cells
/// are medians. Runs and failures are as for `bench`. The program is this one, with -J.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// An option without its dashes and its values; off leaves it out, on gives it without a value. cmd= is a whole
    /// command line with placeholders such as {length}, once for each
    #[arg(long, required = true, value_name = "OPTION=VALUE,…")]
    vary: Vec<Axis>,
    /// Options of the client, the same for all
    #[arg(last = true, value_name = "CLIENT OPTION")]
    options: Vec<String>,
    /// What the table shows, of all metrics of `report`
    #[arg(long, value_name = "METRIC", default_value = "throughput", value_parser = metric, help_heading = "Output")]
    metric: String,
    /// Show the seconds that SIZE would take at the measured throughput; K, M, G and T are 1024-based
    #[arg(long, value_name = "SIZE", value_parser = bytes, conflicts_with = "metric", help_heading = "Output")]
    seconds_for: Option<u64>,
    #[command(flatten)]
    runs: RunArgs,
    #[command(flatten)]
    input: InputArgs,
    /// What to print: tables as text or for Markdown, and in other formats all runs
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

/// A metric, or a short name of one.
fn metric(text: &str) -> Result<String, String> {
    let name = match text {
        "cpu" => "cpu.command",
        "mapped" => "zerocopy.rx.mapped",
        "spliced" => "zerocopy.rx.spliced",
        name => name,
    };
    definition(name).map_or_else(|| Err(format!("no metric {text}")), |_| Ok(name.to_owned()))
}

pub(super) fn run(args: &SweepArgs) -> ExitCode {
    match prepared(args) {
        Ok((axes, all, plan)) => args
            .runs
            .execute(&plan, &|rounds| show(args, &axes, &all, &plan, rounds)),
        Err(error) => {
            note(&error);
            ExitCode::from(UNREADABLE)
        }
    }
}

fn prepared(args: &SweepArgs) -> Result<(Vec<Axis>, Vec<Combination>, Plan), String> {
    let program = std::env::current_exe()
        .map_err(|error| format!("the path of this program is not known: {error}"))?;
    let mut options = args.options.clone();
    options.push("-J".into());
    let axes = merge(&args.vary);
    let all = combinations(&axes, &program.to_string_lossy(), &options)?;
    let commands = all
        .iter()
        .map(|one| (one.name.clone(), one.command.clone()))
        .collect();
    let plan = args
        .runs
        .plan(commands, Settings::default(), args.input.options())?;
    Ok((axes, all, plan))
}

fn show(
    args: &SweepArgs,
    axes: &[Axis],
    all: &[Combination],
    plan: &Plan,
    rounds: &Rounds,
) -> ExitCode {
    let format: Format = args.format.into();
    let text = match format {
        Format::Text | Format::Markdown => tables(args, format, axes, all, rounds),
        _ => {
            let records: Vec<Record> = (0..plan.sides.len())
                .flat_map(|side| rounds.records(side))
                .cloned()
                .collect();
            format::report(format, &records).unwrap_or_default()
        }
    };
    match print(args.output.output.as_deref(), &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&error);
            ExitCode::from(UNREADABLE)
        }
    }
}

/// A table for each combination of the third axis and those behind it.
fn tables(
    args: &SweepArgs,
    format: Format,
    axes: &[Axis],
    all: &[Combination],
    rounds: &Rounds,
) -> String {
    let what = match args.seconds_for {
        Some(bytes) => format!("seconds for {bytes} bytes"),
        None => args.metric.clone(),
    };
    let further = |one: &Combination| one.at.get(2..).unwrap_or_default().to_vec();
    let mut groups: Vec<Vec<usize>> = all.iter().map(further).collect();
    groups.sort();
    groups.dedup();
    let mut text = String::new();
    for group in groups {
        let words: Vec<String> = axes
            .iter()
            .skip(2)
            .zip(&group)
            .map(|(axis, at)| format!("{}={}", axis.name, axis.values[*at]))
            .collect();
        let title = [&[what.clone()][..], &words].concat().join(", ");
        let columns = axes.get(1).map_or(1, |axis| axis.values.len());
        let mut heading = vec![axes[0].name.clone()];
        match axes.get(1) {
            Some(axis) => heading.extend(
                axis.values
                    .iter()
                    .map(|value| format!("{}={value}", axis.name)),
            ),
            None => heading.push(what.clone()),
        }
        let rows = (0..axes[0].values.len())
            .map(|row| {
                let mut cells = vec![axes[0].values[row].clone()];
                cells.extend((0..columns).map(|column| {
                    let mut at = vec![row];
                    at.extend(axes.get(1).map(|_| column));
                    at.extend(&group);
                    let side = all.iter().position(|one| one.at == at);
                    side.map_or_else(String::new, |side| cell(args, &rounds.records(side)))
                }));
                cells
            })
            .collect();
        text.push_str(&format::table(format, &title, heading, rows));
        text.push('\n');
    }
    text
}

/// The median of a cell's runs, and their range.
fn cell(args: &SweepArgs, records: &[&Record]) -> String {
    let value = |record: &&Record| match args.seconds_for {
        Some(bytes) => {
            let throughput = record.get("throughput").filter(|rate| *rate > 0.0)?;
            Some(bytes as f64 * 8.0 / throughput)
        }
        None => record.get(&args.metric),
    };
    let mut values: Vec<f64> = records.iter().filter_map(value).collect();
    values.sort_by(f64::total_cmp);
    let name = if args.seconds_for.is_some() {
        "seconds"
    } else {
        &args.metric
    };
    let shown = |value: f64| {
        shown(&Metric {
            name: name.into(),
            value,
        })
    };
    match values[..] {
        [] => "no result".into(),
        [value] => shown(value),
        [least, .., most] => format!(
            "{} ({} … {})",
            shown(median(&values)),
            shown(least),
            shown(most)
        ),
    }
}
