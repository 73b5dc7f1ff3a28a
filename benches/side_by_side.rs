//! Runs the program and another of the same command line in turns, and says how they compare.
//!
//! ```text
//! cargo bench -p iperf-bench --bench side_by_side -- --peer iperf3 --rounds 5 --case tcp
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool of the tests prints for those who run it"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use std::{fs, io};

use clap::Parser;
use iperf_bench::machine::Machine;
use iperf_bench::{CASES, Case, Comparison, Ground, Guest, Program, Round, Run, Side, table};
use serde_json::json;

/// Runs pairs of tests over loopback: ours, the peer's, the peer's, ours, …, and compares them.
#[derive(Parser)]
#[command(name = "side_by_side")]
struct Args {
    /// What ours is compared with: iperf3 (the newest), iperf3-old, or a path
    #[arg(long, value_name = "NAME|PATH", default_value = "iperf3")]
    peer: String,
    /// Pairs of runs per case
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of a run
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Run only this case; may be given more than once
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Name the cases and end
    #[arg(long)]
    list: bool,
    /// Write all values to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table, with machine, versions and date, to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// What cargo adds to the arguments of every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for case in CASES {
            println!("{:16}{}", case.name, case.args_shown());
        }
        return ExitCode::SUCCESS;
    }
    match compare(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("side_by_side: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything; false when a case could not be run.
fn compare(args: &Args) -> Result<bool, String> {
    let mut cases =
        Case::named(&args.cases).map_err(|name| format!("no case '{name}': see --list"))?;
    let (ours, peer) = (Program::named("ours")?, Program::named(&args.peer)?);
    let is_vsock = |case: &Case| case.ground == Ground::Vsock;
    let mut needs_guest = cases.iter().any(is_vsock);
    if needs_guest && !peer.speaks_vsock() {
        let unknown = cases.extract_if(.., |case| is_vsock(case));
        let unknown: Vec<_> = unknown.map(|case| case.name).collect();
        let what = format!("{peer} has no --vsock for {}", unknown.join(", "));
        if cases.is_empty() {
            return Err(what);
        }
        eprintln!("{what}");
        needs_guest = false;
    }
    let pair = Pair {
        guest: needs_guest.then(|| Guest::boot(&peer)),
        ours,
        peer,
    };
    let (ours, peer) = (&pair.ours, &pair.peer);
    let machine = Machine::here();
    let mut about = format!(
        "{} against {}: {}. {} rounds of {} s.\n",
        ours.version(),
        peer.version(),
        machine.line(),
        args.rounds,
        args.seconds
    );
    if let Some(guest) = &pair.guest {
        about.push_str(&guest.line());
        about.push_str(".\n");
    }
    eprintln!("{about}");
    let mut comparisons = Vec::new();
    let mut failures = Vec::new();
    for case in &cases {
        let (rounds, failure) = rounds(args, case, &pair);
        comparisons.extend(Comparison::all(case, &rounds));
        failures.extend(failure);
    }
    let table = table::markdown(&comparisons);
    println!("{table}");
    for failure in &failures {
        println!("{failure}");
    }
    let written = |e: io::Error| format!("cannot write a result: {e}");
    if let Some(file) = &args.markdown {
        fs::write(file, format!("{about}\n{table}")).map_err(written)?;
    }
    if let Some(file) = &args.json {
        let of = |case: &Case| {
            let mine = comparisons.iter().filter(|c| c.case.name == case.name);
            let figures: Vec<_> = mine.map(Comparison::to_json).collect();
            json!({ "case": case.name, "args": case.args_shown(), "figures": figures })
        };
        let document = json!({
            "machine": machine.to_json(),
            "ours": ours.version(),
            "peer": peer.version(),
            "rounds": args.rounds,
            "seconds": args.seconds,
            "cases": cases.iter().map(of).collect::<Vec<_>>(),
            "failures": failures,
        });
        fs::write(file, format!("{document:#}\n")).map_err(written)?;
    }
    Ok(failures.is_empty())
}

/// What is compared.
struct Pair {
    ours: Program,
    peer: Program,
    /// Where the cases run that can't run here.
    guest: Option<Guest>,
}

impl Pair {
    fn run(&self, side: Side, case: &Case, seconds: u32) -> Result<Run, String> {
        let program = match side {
            Side::Ours => &self.ours,
            Side::Peer => &self.peer,
        };
        let run = match &self.guest {
            Some(guest) if case.ground == Ground::Vsock => guest.run(side, case, seconds),
            _ => program.run(case, seconds),
        };
        run.map_err(|message| format!("{}, {program}: {message}", case.name))
    }
}

/// The rounds of a case, and why there are not as many as asked for.
fn rounds(args: &Args, case: &Case, pair: &Pair) -> (Vec<Round>, Option<String>) {
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        let started = Instant::now();
        let run = |side| pair.run(side, case, args.seconds);
        let round = if number % 2 == 0 {
            run(Side::Ours).and_then(|ours| run(Side::Peer).map(|peer| Round { ours, peer }))
        } else {
            run(Side::Peer).and_then(|peer| run(Side::Ours).map(|ours| Round { ours, peer }))
        };
        match round {
            Ok(round) => {
                let shown = case.figures[0];
                let (unit, factor) = shown.unit();
                let value = |run| shown.of(run).map_or(f64::NAN, |value| value * factor);
                eprintln!(
                    "{:16} {}/{}  {:9.3} {:9.3} {unit}  ({:.1} s)",
                    case.name,
                    number + 1,
                    args.rounds,
                    value(&round.ours),
                    value(&round.peer),
                    started.elapsed().as_secs_f64()
                );
                rounds.push(round);
            }
            Err(message) => {
                eprintln!("{message}");
                return (rounds, Some(message));
            }
        }
    }
    (rounds, None)
}
