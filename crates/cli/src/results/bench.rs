//! `iperf bench 'CMD A' 'CMD B'…`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use iperf_results::Record;
use iperf_results::format::{self, Format};
use iperf_runs::{
    Bench, Ended, Interrupt, Journal, Launcher, Mode, Order, Plan, Ready, Rounds, SidePlan,
};

use super::compare::{ComparisonArgs, VerdictArgs, conclude};
use super::output::{note, print, stdout};
use super::progress::Progress;
use super::{InputArgs, UNREADABLE};

/// The hidden subcommand that runs one command of a bench.
pub(super) const SUPERVISE: &str = "supervise";

/// Run commands in interleaved rounds, and compare their results
///
/// Each round runs every command once, through sh; the first is the base. Rounds are pairs, which removes drift from
/// the comparison. Outputs are read as by `report`. Ctrl-C ends the commands and prints the table of what has finished;
/// nothing is left running. Exit code: as for `compare`; 2 also if a run failed; 128 and the signal after a signal.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The commands, the base first
    #[arg(required = true, value_name = "CMD")]
    commands: Vec<String>,
    /// What reports call the commands, in their order [A, B, C…]
    #[arg(long, value_name = "NAME", help_heading = "Commands")]
    name: Vec<String>,
    /// A server, started before each run and stopped after it: one for all commands, or one each ('' for none)
    #[arg(long, value_name = "CMD", help_heading = "Commands")]
    server: Vec<String>,
    /// The port on which the server listens, or a text that it prints, when it is ready [its -p, or any port]
    #[arg(
        long,
        value_name = "PORT|TEXT",
        requires = "server",
        help_heading = "Commands"
    )]
    ready: Vec<Ready>,
    /// Runs before each run
    #[arg(long, value_name = "CMD", help_heading = "Commands")]
    prepare: Option<String>,
    /// Runs after each run, also after one that failed
    #[arg(long, value_name = "CMD", help_heading = "Commands")]
    cleanup: Option<String>,
    /// Seconds after which a command is ended and counts as failed
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, help_heading = "Commands")]
    timeout: Duration,
    /// Rounds; 8 pairs are the fewest that can tell sides apart
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000), help_heading = "Rounds")]
    rounds: u64,
    /// Rounds before them, which do not count
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Rounds")]
    warmup: u64,
    /// Which command goes first in a round
    #[arg(
        long,
        value_enum,
        default_value = "abba",
        value_name = "ORDER",
        help_heading = "Rounds"
    )]
    order: OrderArg,
    /// What a random order depends on
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Rounds")]
    seed: u64,
    /// Add rounds until every gated metric has a verdict
    #[arg(long, value_enum, value_name = "WHEN", help_heading = "Rounds")]
    until: Option<Until>,
    /// The most rounds that --until makes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000), help_heading = "Rounds")]
    max_rounds: u64,
    /// Print what would be run, and how long it takes
    #[arg(long, help_heading = "Rounds")]
    dry_run: bool,
    /// Append every run to FILE, as JSON lines
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    save: Option<PathBuf>,
    /// Go on with the runs of --save's FILE
    #[arg(long, requires = "save", help_heading = "Output")]
    resume: bool,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    verdict: VerdictArgs,
    #[command(flatten)]
    printed: ComparisonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrderArg {
    /// Forth and back: A B, B A, A B…
    Abba,
    /// Shuffled in each round
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    /// Better, worse or the same, but not inconclusive
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

/// A time above 0, at most a week.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= 604_800.0)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "seconds are above 0 and at most 604800".into())
}

pub(super) fn run(args: &BenchArgs) -> ExitCode {
    match plan(args) {
        Ok(plan) if args.dry_run => dry_run(&plan),
        Ok(plan) => bench(args, &plan),
        Err(error) => {
            note(&error);
            ExitCode::from(UNREADABLE)
        }
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
            return Err(format!("--name \"{name}\": names are not empty and differ"));
        }
    }
    let servers = each("--server", &args.server, count)?;
    let ready = each("--ready", &args.ready, count)?;
    let side = |(at, command): (usize, &String)| SidePlan {
        name: args.name.get(at).cloned().unwrap_or_else(|| letters(at)),
        command: command.clone(),
        server: servers[at]
            .filter(|server| !server.is_empty())
            .map(|server| {
                let ready = ready[at].cloned();
                (
                    server.clone(),
                    ready.unwrap_or_else(|| Ready::of_command(server)),
                )
            }),
    };
    Ok(Plan {
        sides: args.commands.iter().enumerate().map(side).collect(),
        rounds: args.rounds,
        warmup: args.warmup,
        order: match args.order {
            OrderArg::Abba => Order::Abba,
            OrderArg::Random => Order::Random,
        },
        seed: args.seed,
        timeout: args.timeout,
        prepare: args.prepare.clone(),
        cleanup: args.cleanup.clone(),
        max_rounds: args.until.map(|_| args.max_rounds.max(args.rounds)),
        settings: args.verdict.settings(),
        read: args.input.options(),
    })
}

/// The value of each command: none, the same for all, or one each.
fn each<'a, T>(option: &str, values: &'a [T], count: usize) -> Result<Vec<Option<&'a T>>, String> {
    match values.len() {
        0 => Ok(vec![None; count]),
        1 => Ok(vec![values.first(); count]),
        n if n == count => Ok(values.iter().map(Some).collect()),
        n => Err(format!(
            "{n} {option} for {count} commands: give one for all, or one each"
        )),
    }
}

/// A, B… Z, then numbers.
fn letters(at: usize) -> String {
    u8::try_from(at)
        .ok()
        .filter(|at| *at < 26)
        .map_or_else(|| (at + 1).to_string(), |at| char::from(b'A' + at).into())
}

/// A line a side: its name and command.
fn legend(plan: &Plan) -> String {
    let mut text = String::new();
    for side in &plan.sides {
        let _ = writeln!(text, "{}: {}", side.name, side.command);
    }
    text
}

fn dry_run(plan: &Plan) -> ExitCode {
    let mut text = legend(plan);
    for side in &plan.sides {
        if let Some((server, ready)) = &side.server {
            let sign = match ready {
                Ready::Port(port) => format!("listens on port {port}"),
                Ready::AnyPort => "listens on a port".into(),
                Ready::Text(text) => format!("prints \"{text}\""),
            };
            let _ = writeln!(
                text,
                "server of {}: {server}, ready when it {sign}",
                side.name
            );
        }
    }
    for (when, command) in [("before", &plan.prepare), ("after", &plan.cleanup)] {
        if let Some(command) = command {
            let _ = writeln!(text, "{when} each run: {command}");
        }
    }
    if plan.warmup > 0 {
        let _ = writeln!(text, "{} warm-up rounds", plan.warmup);
    }
    for round in 1..=plan.rounds {
        let names: Vec<&str> = plan
            .order_of(round)
            .into_iter()
            .map(|side| plan.sides[side].name.as_str())
            .collect();
        let _ = writeln!(text, "round {round}: {}", names.join(", "));
    }
    if let Some(most) = plan.max_rounds {
        let _ = writeln!(text, "then more, until decided, up to round {most}");
    }
    let rounds = |rounds: u64| (rounds + plan.warmup) as f64;
    let _ = match (plan.seconds_of_round(), plan.max_rounds) {
        (Some(one), Some(most)) => writeln!(
            text,
            "duration: {:.0} s to {:.0} s, by what the commands ask for",
            one * rounds(plan.rounds),
            one * rounds(most)
        ),
        (Some(one), None) => writeln!(
            text,
            "duration: {:.0} s, by what the commands ask for",
            one * rounds(plan.rounds)
        ),
        (None, _) => writeln!(text, "duration: unknown, as a command gives no time (-t)"),
    };
    match stdout(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("stdout: {error}"));
            ExitCode::from(UNREADABLE)
        }
    }
}

fn bench(args: &BenchArgs, plan: &Plan) -> ExitCode {
    let journal = args
        .save
        .as_deref()
        .map(|path| Journal::open(path, plan, args.resume))
        .transpose();
    let (journal, finished) = match journal {
        Ok(journal) => journal.map_or((None, Vec::new()), |(journal, runs)| (Some(journal), runs)),
        Err(error) => {
            note(&error.to_string());
            return ExitCode::from(UNREADABLE);
        }
    };
    let interrupt = match Interrupt::catch() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            note(&format!("signals cannot be caught: {error}"));
            return ExitCode::from(UNREADABLE);
        }
    };
    let launcher = Launcher {
        // This very program, whatever has become of its file.
        program: "/proc/self/exe".into(),
        words: vec![SUPERVISE.into()],
    };
    let mut progress = Progress::new();
    let (rounds, ended) = Bench {
        plan,
        launcher: &launcher,
        interrupt: &interrupt,
        journal,
        observer: &mut progress,
    }
    .run(finished);
    progress.end();
    let code = show(args, plan, &rounds);
    match ended {
        Err(error) => {
            note(&error.to_string());
            ExitCode::from(UNREADABLE)
        }
        Ok(Ended::Interrupted(signal)) => ExitCode::from(128 | signal),
        Ok(_) if summary(plan, &rounds) => ExitCode::from(UNREADABLE),
        Ok(_) => code,
    }
}

/// Names the runs that failed; whether there are any.
fn summary(plan: &Plan, rounds: &Rounds) -> bool {
    let mut any = false;
    for (at, side) in plan.sides.iter().enumerate() {
        let failed = rounds.failures().filter(|(run, _)| run.side == at).count();
        if failed == 0 {
            continue;
        }
        any = true;
        let then = if rounds.given_up[at] {
            "; it is left out, as it failed twice in a row"
        } else {
            "; rounds without all results are left out"
        };
        note(&format!("{failed} runs of {} failed{then}", side.name));
    }
    any
}

/// Prints the table of what has finished.
fn show(args: &BenchArgs, plan: &Plan, rounds: &Rounds) -> ExitCode {
    let sides = rounds.sides(plan);
    let format: Format = args.printed.format.into();
    let heading = match format {
        Format::Text => format!("{}\n", legend(plan)),
        _ => String::new(),
    };
    if sides.len() > 1 {
        return conclude(&sides, &args.verdict, &args.printed, &heading);
    }
    let records: Vec<Record> = sides.into_iter().flat_map(|side| side.records).collect();
    if records.is_empty() {
        note("no run has a result");
        return ExitCode::from(UNREADABLE);
    }
    let Some(text) = format::report(format, &records) else {
        note("one command cannot be compared, so there is no such format");
        return ExitCode::from(UNREADABLE);
    };
    match print(
        args.printed.output.output.as_deref(),
        &format!("{heading}{text}"),
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&error);
            ExitCode::from(UNREADABLE)
        }
    }
}
