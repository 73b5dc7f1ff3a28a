//! `iperf bench 'CMD A' 'CMD B'…`

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use iperf_results::Record;
use iperf_results::format::{self, Format};
use iperf_runs::{Mode, Plan, Rounds};

use super::InputArgs;
use super::compare::{VerdictArgs, conclude};
use super::output::failed;
use super::printed::CompareFormatArgs;
use super::runs::{RunArgs, legend, whole};

/// The most rounds of `--until`.
const MOST_ROUNDS: u64 = 100;

/// Run commands in interleaved rounds, and compare their results
///
/// Each round runs every command once, through sh; the first is the base. Rounds are pairs, which removes drift from
/// the comparison. Outputs are read as by `report`. Ctrl-C ends the commands and prints the table of the finished runs.
/// Exit code: as for `compare`; 2 also if a run failed; after a signal, 128 plus its number.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The commands, the base first
    #[arg(required = true, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    commands: Vec<String>,
    /// Name of each command in the output, in their order [A, B, C…]
    #[arg(long, value_name = "NAME", help_heading = "Commands")]
    name: Vec<String>,
    /// Add rounds until the comparison is decided
    #[arg(long, value_enum, value_name = "WHEN", help_heading = "Rounds")]
    until: Option<Until>,
    /// Stop --until after N rounds [100, or --rounds if that is more]
    #[arg(long, value_name = "N", requires = "until", value_parser = whole::<1, 10_000>, help_heading = "Rounds")]
    max_rounds: Option<u64>,
    #[command(flatten)]
    runs: RunArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    verdict: VerdictArgs,
    #[command(flatten)]
    printed: CompareFormatArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    /// Every gated metric is better, worse or the same
    Decided,
}

/// The process between a bench and one of its commands.
#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    #[arg(value_enum)]
    mode: ModeArg,
    #[arg(allow_hyphen_values = true)]
    command: OsString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    Command,
    Service,
}

pub(super) fn supervise(args: &SuperviseArgs) -> ExitCode {
    let mode = match args.mode {
        ModeArg::Command => Mode::Command,
        ModeArg::Service => Mode::Service,
    };
    iperf_runs::supervise(mode, &args.command)
}

pub(super) fn run(args: &BenchArgs) -> ExitCode {
    let ready = args.runs.may_write(args.printed.output.as_deref());
    match ready.and_then(|()| plan(args)) {
        Ok(plan) => args
            .runs
            .execute(&plan, &|rounds| show(args, &plan, rounds)),
        Err(error) => failed(&error),
    }
}

fn plan(args: &BenchArgs) -> Result<Plan, String> {
    let count = args.commands.len();
    if !args.name.is_empty() && args.name.len() != count {
        return Err(format!(
            "{} --name for {count} commands: give one each",
            args.name.len()
        ));
    }
    for (at, name) in args.name.iter().enumerate() {
        if name.is_empty() || args.name[..at].contains(name) {
            return Err(format!(
                "--name '{name}': names must differ and not be empty"
            ));
        }
    }
    let side = |(at, command): (usize, &String)| {
        let name = args.name.get(at).cloned();
        (name.unwrap_or_else(|| letters(at)), command.clone())
    };
    let mut plan = args.runs.plan(
        args.commands.iter().enumerate().map(side).collect(),
        args.verdict.settings(),
        args.input.options(),
    )?;
    if let Some(most) = args.max_rounds.filter(|most| *most < plan.rounds) {
        return Err(format!(
            "--max-rounds {most} is less than --rounds {}",
            plan.rounds
        ));
    }
    plan.max_rounds = args
        .until
        .map(|Until::Decided| args.max_rounds.unwrap_or(MOST_ROUNDS.max(plan.rounds)));
    Ok(plan)
}

/// A, B… Z, then numbers.
fn letters(at: usize) -> String {
    u8::try_from(at)
        .ok()
        .filter(|at| *at < 26)
        .map_or_else(|| (at + 1).to_string(), |at| char::from(b'A' + at).into())
}

/// Prints the table of the finished runs.
fn show(args: &BenchArgs, plan: &Plan, rounds: &Rounds) -> ExitCode {
    let sides = rounds.sides(plan);
    let format = args.printed.format;
    let heading = match format {
        Format::Text => format!("{}\n", legend(plan)),
        _ => String::new(),
    };
    if sides.len() > 1 {
        return conclude(&sides, &args.verdict, &args.printed, &heading);
    }
    let records: Vec<Record> = sides.into_iter().flat_map(|side| side.records).collect();
    if records.is_empty() {
        return failed(&"no run has a result");
    }
    if let Some(text) = format::report(format, &records, &[]) {
        let text = format!("{heading}{text}");
        return args.printed.finish(&text, ExitCode::SUCCESS);
    }
    failed(&"one command cannot be compared, so there is no such format")
}
