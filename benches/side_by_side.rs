//! Runs the program and others in turns by `iperf bench`, and shows how they compare.
//!
//! ```text
//! cargo bench -p iperf-bench --bench side_by_side -- --peer iperf3 --peer nuttcp --rounds 5 --case tcp
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool of the tests prints for those who run it"
)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, io};

use clap::Parser;
use iperf_bench::machine::Machine;
use iperf_bench::{CASES, Case, Comparison, Effort, Ground, Guest, Program, Round, engine, table};
use serde_json::{Value, json};

/// Runs tests of ours and of peers in interleaved rounds, and compares them.
#[derive(Parser)]
#[command(name = "side_by_side")]
struct Args {
    /// What ours is compared with: iperf3 (the newest), iperf3-old, iperf2, nuttcp, sockperf, qperf, loop (a bare loop
    /// of system calls), or the path of netperf, of neper's tcp_rr, or of a program with iperf3's command line; may be given more than once
    #[arg(long = "peer", value_name = "NAME|PATH", default_value = "iperf3")]
    peers: Vec<String>,
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

fn peer(name: &str) -> Result<Program, String> {
    if name == "loop" {
        return Ok(Program::bare_loop(env!("CARGO_BIN_EXE_bare_loop")));
    }
    Program::named(name)
}

/// Runs everything; false when a case could not be run.
fn compare(args: &Args) -> Result<bool, String> {
    let cases = Case::named(&args.cases).map_err(|name| format!("no case '{name}': see --list"))?;
    let ours = Program::named("ours")?;
    let peers: Result<Vec<Program>, String> = args.peers.iter().map(|name| peer(name)).collect();
    let peers = peers?;
    let effort = Effort {
        rounds: args.rounds,
        seconds: args.seconds,
    };
    let is_vsock = |case: &&Case| case.ground == Ground::Vsock;
    let in_guest: Vec<&Program> = std::iter::once(&ours)
        .chain(
            peers
                .iter()
                .filter(|peer| cases.iter().filter(is_vsock).any(|case| peer.runs(case))),
        )
        .collect();
    let guest = (in_guest.len() > 1).then(|| Guest::boot(&in_guest));
    let machine = Machine::here();
    let mut about = about(&ours, &peers, &machine, effort);
    if let Some(guest) = &guest {
        about.push_str(&guest.line());
        about.push_str(".\n");
    }
    eprintln!("{about}");
    let (results, failures) = run_cases(&cases, &ours, &peers, effort, guest.as_ref())?;
    let mut table = String::new();
    for (peer, comparisons) in results.iter().filter(|(_, all)| !all.is_empty()) {
        let _ = writeln!(table, "{peer}:\n\n{}", table::markdown(comparisons));
    }
    println!("{table}");
    for failure in &failures {
        println!("{failure}");
    }
    let written = |e: io::Error| format!("cannot write a result: {e}");
    if let Some(file) = &args.markdown {
        fs::write(file, format!("{about}\n{table}")).map_err(written)?;
    }
    if let Some(file) = &args.json {
        let peer = |(peer, comparisons): &(&Program, Vec<Comparison>)| json!({ "peer": peer.name, "version": peer.version(), "cases": of_cases(&cases, comparisons) });
        let document = json!({
            "machine": machine.to_json(),
            "ours": ours.version(),
            "peers": results.iter().map(peer).collect::<Vec<_>>(),
            "rounds": args.rounds,
            "seconds": args.seconds,
            "failures": failures,
        });
        fs::write(file, format!("{document:#}\n")).map_err(written)?;
    }
    Ok(failures.is_empty())
}

/// The comparisons with each peer.
type Results<'a> = Vec<(&'a Program, Vec<Comparison>)>;

/// Runs the cases, each with the peers that have such a test. Also returns what failed.
fn run_cases<'a>(
    cases: &[Case],
    ours: &Program,
    peers: &'a [Program],
    effort: Effort,
    guest: Option<&Guest>,
) -> Result<(Results<'a>, Vec<String>), String> {
    let mut results: Results<'a> = peers.iter().map(|peer| (peer, Vec::new())).collect();
    let mut failures = Vec::new();
    for case in cases {
        let programs = match guest {
            Some(guest) if case.ground == Ground::Vsock => guest.programs(),
            _ => {
                let able = peers.iter().filter(|peer| peer.runs(case));
                std::iter::once(ours).chain(able).collect()
            }
        };
        if programs.len() < 2 {
            eprintln!("{}: no peer has this test", case.name);
            continue;
        }
        eprintln!("{}: {}", case.name, case.args_shown());
        let (runs, failed) = engine::run(case, &programs, effort, guest)?;
        failures.extend(
            failed
                .iter()
                .map(|failure| format!("{}: {failure}", case.name)),
        );
        for (peer, comparisons) in &mut results {
            if let Some((ours, peer)) = runs.get(&ours.name).zip(runs.get(&peer.name)) {
                comparisons.extend(Comparison::all(case, &Round::both(ours, peer)));
            }
        }
    }
    if results
        .iter()
        .all(|(_, comparisons)| comparisons.is_empty())
    {
        failures.push("no peer has run any of these cases".to_owned());
    }
    Ok((results, failures))
}

/// What is compared, where and when.
fn about(ours: &Program, peers: &[Program], machine: &Machine, effort: Effort) -> String {
    let versions: Vec<String> = peers.iter().map(Program::version).collect();
    format!(
        "{} against {}: {}. {} rounds of {} s.\n",
        ours.version(),
        versions.join(", "),
        machine.line(),
        effort.rounds,
        effort.seconds
    )
}

/// The figures of each case.
fn of_cases(cases: &[Case], comparisons: &[Comparison]) -> Vec<Value> {
    let of = |case: &Case| {
        let mine = comparisons.iter().filter(|c| c.case.name == case.name);
        let figures: Vec<_> = mine.map(Comparison::to_json).collect();
        json!({ "case": case.name, "args": case.args_shown(), "figures": figures })
    };
    cases.iter().map(of).collect()
}
