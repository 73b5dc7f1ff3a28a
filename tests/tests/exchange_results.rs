//! Subcommands over request/response tests: a sweep, a bench and what it saved.

use iperf_harness::{Finished, HANG, Peer, Running};

/// A subcommand, which must end well.
fn subcommand(args: &[&str]) -> Finished {
    let mut command = Peer::Ours.command();
    command.args(args);
    let end = Running::start(command).finish(HANG);
    assert!(end.succeeded(), "{end}");
    end
}

#[test]
fn a_sweep_over_exchanges_shows_transactions() {
    let axes = ["--vary", "rr=1,100", "--rounds", "1", "--"];
    let end = subcommand(&[&["sweep"], &axes[..], &["--loopback", "-n", "300"]].concat());
    assert!(end.stdout.starts_with("transactions\n"), "{end}");
    assert!(!end.stdout.contains("no result"), "{end}");
    assert_eq!(end.stdout.matches("/s").count(), 2, "{end}");
}

#[test]
fn saved_runs_of_a_bench_of_exchanges_are_reported_and_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("runs.jsonl");
    let file = file.to_str().expect("a path");
    let test = format!("{} --loopback --rr -n 300 -J", Peer::Ours.path().display());
    let mut command = Peer::Ours.command();
    command.args(["bench", "--rounds", "2", "--save", file, &test, &test]);
    let end = Running::start(command).finish(HANG);
    assert!(end.stdout.contains("transactions"), "{end}");
    let table = subcommand(&["report", file]);
    assert_eq!(table.stdout.matches("tcp rr forward").count(), 4, "{table}");
    let names = subcommand(&["report", file, "--format", "netperf"]);
    let count = names.stdout.matches("\nTRANSACTION_RATE=").count();
    assert_eq!(count, 4, "{names}");
    let compared = subcommand(&["compare", file, file]);
    assert!(compared.stdout.contains("(n=4)"), "{compared}");
}
