//! What `bench` and `sweep` have in common: the options of runs, the plan that they make, and its execution.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use iperf_results::ReadOptions;
use iperf_results::compare::Settings;
use iperf_runs::{
    Bench, Ended, Interrupt, Journal, Launcher, Order, Plan, Ready, Rounds, SidePlan,
};

use super::UNREADABLE;
use super::output::{check, failed, note, stdout};
use super::progress::Progress;

/// The hidden subcommand that runs one command of a bench.
pub(super) const SUPERVISE: &str = "supervise";

/// How commands are run, and how often.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Server to start before each run and stop after it: one for all commands, or one each ('' for none)
    #[arg(long, value_name = "CMD", help_heading = "Commands")]
    server: Vec<String>,
    /// How to know that the server is ready: the port on which it listens, or a text that it prints [its -p, or any port]
    #[arg(
        long,
        value_name = "PORT|TEXT",
        requires = "server",
        help_heading = "Commands"
    )]
    ready: Vec<Ready>,
    /// Command to run before each run
    #[arg(long, value_name = "CMD", help_heading = "Commands")]
    prepare: Option<String>,
    /// Command to run after each run, also after one that failed
    #[arg(long, value_name = "CMD", help_heading = "Commands")]
    cleanup: Option<String>,
    /// Seconds after which a command is ended and its run counts as failed
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, help_heading = "Commands")]
    timeout: Duration,
    /// Number of rounds; fewer than 8 can never tell two commands apart
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole::<1, 10_000>, help_heading = "Rounds")]
    rounds: u64,
    /// Number of rounds at the start that do not count
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<0, 10_000>, help_heading = "Rounds")]
    warmup: u64,
    /// Order of the commands in a round
    #[arg(
        long,
        value_enum,
        default_value = "abba",
        value_name = "ORDER",
        help_heading = "Rounds"
    )]
    order: OrderArg,
    /// Seed of --order random
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<0, { u64::MAX }>, help_heading = "Rounds")]
    seed: u64,
    /// Print what would run and how long it would take, and run nothing
    #[arg(long, help_heading = "Rounds")]
    dry_run: bool,
    /// Append every run to FILE, as JSON lines
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    save: Option<PathBuf>,
    /// Continue the runs in --save's FILE
    #[arg(long, requires = "save", help_heading = "Output")]
    resume: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrderArg {
    /// Alternating: A B, B A, A B…
    Abba,
    /// Shuffled in each round
    Random,
}

/// A time above 0, at most a week.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= 604_800.0)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be seconds, above 0 and up to 604800".into())
}

/// A whole number in a range.
pub(super) fn whole<const LEAST: u64, const MOST: u64>(text: &str) -> Result<u64, String> {
    let number: Option<u64> = text.parse().ok();
    number
        .filter(|number| (LEAST..=MOST).contains(number))
        .ok_or_else(|| format!("must be a whole number from {LEAST} to {MOST}"))
}

impl RunArgs {
    /// The plan for these commands, each with its name.
    pub(super) fn plan(
        &self,
        commands: Vec<(String, String)>,
        settings: Settings,
        read: ReadOptions,
    ) -> Result<Plan, String> {
        let count = commands.len();
        let servers = each("--server", &self.server, count)?;
        let ready = each("--ready", &self.ready, count)?;
        let server = |at: usize| {
            let server = servers[at].filter(|server| !server.is_empty())?;
            let ready = ready[at].cloned();
            Some((
                server.clone(),
                ready.unwrap_or_else(|| Ready::of_command(server)),
            ))
        };
        let side = |(at, (name, command))| SidePlan {
            name,
            command,
            server: server(at),
        };
        Ok(Plan {
            sides: commands.into_iter().enumerate().map(side).collect(),
            rounds: self.rounds,
            warmup: self.warmup,
            order: match self.order {
                OrderArg::Abba => Order::Abba,
                OrderArg::Random => Order::Random,
            },
            seed: self.seed,
            timeout: self.timeout,
            prepare: self.prepare.clone(),
            cleanup: self.cleanup.clone(),
            max_rounds: None,
            settings,
            read,
        })
    }

    /// Whether the output can be written after the runs, which may take hours.
    pub(super) fn may_write(&self, output: Option<&Path>) -> Result<(), String> {
        match output {
            Some(path) if !self.dry_run => check(path),
            _ => Ok(()),
        }
    }

    /// Runs the plan, or prints it. `show` prints what has finished.
    pub(super) fn execute(&self, plan: &Plan, show: &dyn Fn(&Rounds) -> ExitCode) -> ExitCode {
        if self.dry_run {
            dry_run(plan)
        } else {
            self.bench(plan, show)
        }
    }

    fn bench(&self, plan: &Plan, show: &dyn Fn(&Rounds) -> ExitCode) -> ExitCode {
        let journal = self
            .save
            .as_deref()
            .map(|path| Journal::open(path, plan, self.resume))
            .transpose();
        let (journal, finished) = match journal {
            Ok(journal) => {
                journal.map_or((None, Vec::new()), |(journal, runs)| (Some(journal), runs))
            }
            Err(error) => return failed(&error),
        };
        let interrupt = match Interrupt::catch() {
            Ok(interrupt) => interrupt,
            Err(error) => return failed(&format!("signals cannot be caught: {error}")),
        };
        let launcher = Launcher {
            // This very program, even if its file has been replaced.
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
        let code = show(&rounds);
        match ended {
            Err(error) => failed(&error),
            Ok(Ended::Interrupted(signal)) => ExitCode::from(128 | signal),
            Ok(_) if summary(plan, &rounds) => ExitCode::from(UNREADABLE),
            Ok(_) => code,
        }
    }
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

/// A line a side: its name and command.
pub(super) fn legend(plan: &Plan) -> String {
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
        Err(error) => failed(&format!("stdout: {error}")),
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
        let then = if rounds.dropped[at] {
            "; it failed twice in a row and is left out"
        } else {
            "; rounds without all results are left out"
        };
        let runs = if failed == 1 { "run" } else { "runs" };
        note(&format!("{failed} {runs} of {} failed{then}", side.name));
    }
    any
}
