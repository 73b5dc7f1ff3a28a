//! `iperf bench` with real programs: its rounds, its servers, what fails, and that nothing outlives it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::{Finished, Peer, Port, Running};
use nix::sys::signal::Signal;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);
/// How long processes may take to be gone after a bench was killed.
const GONE: Duration = Duration::from_secs(30);

fn start(words: &[&str]) -> Running {
    let mut command = Command::new(Peer::Ours.path());
    command.arg("bench").args(words).env("LC_ALL", "C");
    Running::start(command)
}

fn bench(words: &[&str]) -> Finished {
    let end = start(words).finish(LIMIT);
    assert!(!end.timed_out, "{end}");
    end
}

/// A short test over loopback.
fn loopback(options: &str) -> String {
    format!(
        "{} --loopback -n 2M -J {options}",
        Peer::Ours.path().display()
    )
}

/// The lines of a file of runs, without the first.
fn saved(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().skip(1);
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn keys(runs: &[Value]) -> Vec<(u64, String)> {
    runs.iter()
        .map(|run| {
            (
                run["pair"].as_u64().unwrap(),
                run["side"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

/// A duration that no other process on the machine sleeps, by which a process is recognised.
fn nap() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{number}", 1_000_000 + std::process::id())
}

/// The processes that sleep so long.
fn sleepers(nap: &str) -> Vec<PathBuf> {
    let wanted = format!("sleep\0{nap}\0");
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| fs::read(path.join("cmdline")).is_ok_and(|line| line == wanted.as_bytes()))
        .collect()
}

/// A command that leaves processes everywhere: in its group, in a session of their own, and forked twice.
fn spreads(nap: &str) -> String {
    format!(
        "sleep {nap} & setsid sleep {nap} & (setsid sh -c 'sleep {nap} & sleep {nap}' &) ; sleep {nap}"
    )
}

const SPREAD: usize = 5;

/// Whether a server listens on the port; connections that have ended may still be in TIME_WAIT.
fn is_served(port: u16) -> bool {
    TcpListener::bind(("0.0.0.0", port)).is_err()
}

#[test]
fn two_commands_run_in_pairs_that_alternate_and_every_run_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs.jsonl");
    let file = file.to_str().unwrap();
    let command = loopback("");
    let end = bench(&[
        &command, &command, "--rounds", "3", "--warmup", "1", "--name", "old", "--name", "new",
        "--save", file,
    ]);
    // Three pairs are too few to distinguish the sides.
    assert_eq!(end.code(), Some(0), "{end}");
    assert!(end.stdout.contains(&format!("old: {command}")), "{end}");
    assert!(
        end.stdout.contains("(n=3)") && end.stdout.contains("cpu.command"),
        "{end}"
    );
    let runs = saved(Path::new(file));
    let order = ["1 old", "1 new", "2 new", "2 old", "3 old", "3 new"];
    let ran: Vec<String> = keys(&runs)
        .iter()
        .map(|(pair, side)| format!("{pair} {side}"))
        .collect();
    assert_eq!(ran, order);
    for run in &runs {
        assert_eq!(run["records"][0]["pair"], run["pair"], "{run}");
        assert!(run["output"].as_str().unwrap().contains("\"end\""), "{run}");
        assert!(run["cpu_seconds"].as_f64().unwrap() > 0.0, "{run}");
    }
    // Without --resume it is not touched.
    let end = bench(&[&command, &command, "--save", file]);
    assert_eq!(end.code(), Some(2), "{end}");
    assert!(end.stderr.contains("--resume"), "{end}");
}

#[test]
fn each_command_has_its_server_which_is_awaited_and_stopped() {
    let port = Port::reserve();
    let number = port.number();
    let client = |peer: Peer| {
        format!(
            "{} -c 127.0.0.1 -p {number} -n 2M -J",
            peer.path().display()
        )
    };
    let server = |peer: Peer| format!("{} -s -p {number}", peer.path().display());
    let end = bench(&[
        &client(Peer::New),
        &client(Peer::Ours),
        "--server",
        &server(Peer::New),
        "--server",
        &server(Peer::Ours),
        "--name",
        "iperf3",
        "--name",
        "ours",
        "--rounds",
        "2",
    ]);
    assert_eq!(end.code(), Some(0), "{end}");
    assert!(
        end.stdout.contains("cpu.server") && end.stdout.contains("(n=2)"),
        "{end}"
    );
    assert!(!is_served(number), "{end}");
}

#[test]
fn a_server_may_go_to_the_background_and_its_output_shows_that_it_is_ready() {
    let port = Port::reserve();
    let ours = Peer::Ours.path().display();
    let number = port.number();
    let client = format!("{ours} -c 127.0.0.1 -p {number} -n 1M -J");
    let nap = nap();
    for (server, ready) in [
        (
            format!("{ours} -s -p {number} & sleep {nap} &"),
            number.to_string(),
        ),
        (
            format!("setsid {ours} -s --forceflush -p {number} &"),
            "Server listening".into(),
        ),
    ] {
        let end = bench(&[
            &client, "--server", &server, "--ready", &ready, "--rounds", "2",
        ]);
        assert_eq!(end.code(), Some(0), "{end}");
        assert!(!is_served(number), "{end}");
    }
    assert_eq!(sleepers(&nap), Vec::<PathBuf>::new());
}

#[test]
fn a_slowdown_is_found() {
    let (base, slow) = (loopback("-b 100M"), loopback("-b 20M"));
    let words = [&base, slow.as_str(), "--rounds", "8"];
    let end = bench(&[&words[..], &["--ignore", "rate"]].concat());
    assert_eq!(end.code(), Some(1), "{end}");
    let end = bench(&words);
    assert_eq!(end.code(), Some(4), "{end}");
    assert!(end.stderr.contains("rate"), "{end}");
}

#[test]
fn rounds_are_added_until_the_comparison_is_decided() {
    let (base, slow) = (loopback("-b 100M"), loopback("-b 20M"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs.jsonl");
    let end = bench(&[
        &base,
        &slow,
        "--rounds",
        "2",
        "--until",
        "decided",
        "--max-rounds",
        "40",
        "--ignore",
        "rate",
        "--save",
        file.to_str().unwrap(),
    ]);
    assert_eq!(end.code(), Some(1), "{end}");
    // Two pairs are always inconclusive, and eight are the fewest that are not.
    assert!(saved(&file).len() >= 16, "{end}");
}

#[test]
fn what_fails_is_named_with_the_end_of_its_output_and_the_others_are_kept() {
    let nap = nap();
    let hangs = format!("echo before the hang; {}", spreads(&nap));
    let good = loopback("");
    let end = bench(&[
        &good,
        &hangs,
        "echo no result here",
        "echo broken >&2; exit 3",
        "--timeout",
        "6",
        "--rounds",
        "2",
        "--name",
        "good",
        "--name",
        "hangs",
        "--name",
        "unreadable",
        "--name",
        "fails",
    ]);
    assert_eq!(end.code(), Some(2), "{end}");
    for expected in [
        "hangs failed: was still running after 6 s\n    | before the hang",
        "unreadable failed: its output could not be read",
        "    | no result here",
        "fails failed: ended with exit code 3\n    | broken",
    ] {
        assert!(end.stderr.contains(expected), "{expected}: {end}");
    }
    assert!(end.stdout.contains("good, round 2"), "{end}");
    assert_eq!(sleepers(&nap), Vec::<PathBuf>::new());
}

#[test]
fn a_server_that_ends_early_is_named() {
    let good = loopback("");
    let end = bench(&[
        &good,
        "--server",
        "echo no device >&2; exit 7",
        "--rounds",
        "1",
    ]);
    assert_eq!(end.code(), Some(2), "{end}");
    let expected = "the server ended with exit code 7 before it listened";
    assert!(
        end.stderr.contains(expected) && end.stderr.contains("| no device"),
        "{end}"
    );
}

#[test]
fn a_command_that_changes_its_parameters_between_rounds_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let grows = format!(
        "echo >> {0}; {1} --loopback -J -n $(wc -l < {0})M",
        count.display(),
        Peer::Ours.path().display()
    );
    let end = bench(&[&loopback(""), &grows, "--rounds", "2"]);
    assert_eq!(end.code(), Some(2), "{end}");
    assert!(
        end.stderr
            .contains("B failed: changed its parameters: bytes"),
        "{end}"
    );
}

/// Starts a bench whose second command never ends, and waits until the first has ended and the second has started all
/// of its processes.
fn hanging(nap: &str, words: &[&str]) -> Running {
    let (good, hangs) = (loopback(""), spreads(nap));
    let running = start(&[&[good.as_str(), &hangs, "--rounds", "9"], words].concat());
    let started = wait_for(LIMIT, || (sleepers(nap).len() == SPREAD).then_some(()));
    assert!(started.is_some(), "{}", running.stderr_so_far());
    running
}

#[test]
fn a_signal_stops_all_processes_runs_the_cleanup_and_prints_what_has_finished() {
    for (signal, code) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let cleaned = folder.path().join("cleaned");
        let cleanup = format!("echo >> {}", cleaned.display());
        let nap = nap();
        let running = hanging(&nap, &["--cleanup", &cleanup]);
        running.signal(signal);
        let end = running.finish(LIMIT);
        assert_eq!(end.code(), Some(code), "{end}");
        assert!(end.stdout.contains("A, round 1"), "{end}");
        assert_eq!(sleepers(&nap), Vec::<PathBuf>::new(), "{end}");
        assert_eq!(fs::read_to_string(cleaned).unwrap(), "\n\n");
    }
}

#[test]
fn nothing_outlives_a_bench_that_was_killed() {
    let (of_command, of_server) = (nap(), nap());
    let server = format!("sleep {of_server} & echo up; wait");
    let running = hanging(&of_command, &["--server", &server, "--ready", "up"]);
    assert_eq!(sleepers(&of_server).len(), 1);
    running.signal(Signal::SIGKILL);
    running.finish(LIMIT);
    for nap in [of_command, of_server] {
        let gone = wait_for(GONE, || sleepers(&nap).is_empty().then_some(()));
        assert!(gone.is_some(), "{:?}", sleepers(&nap));
    }
}

#[test]
fn a_bench_that_was_killed_is_resumed_behind_its_last_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.jsonl");
    let file = path.to_str().unwrap();
    let command = loopback("");
    let words = [command.as_str(), &command, "--save", file];
    let running = start(&[&words[..], &["--rounds", "1000"]].concat());
    let lines = || fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    wait_for(LIMIT, || (lines() > 5).then_some(())).unwrap();
    running.signal(Signal::SIGKILL);
    running.finish(LIMIT);
    let whole = fs::read_to_string(&path).unwrap();
    let whole = &whole[..=whole.rfind('\n').unwrap()];
    // What a crash in the middle of a write leaves.
    fs::write(&path, format!("{whole}{{\"pair\":")).unwrap();
    let rounds = whole.lines().count();
    let end = bench(&[&words[..], &["--resume", "--rounds", &rounds.to_string()]].concat());
    // Equal sides may differ by chance.
    assert!(matches!(end.code(), Some(0 | 1)), "{end}");
    assert!(end.stdout.contains(&format!("(n={rounds})")), "{end}");
    assert!(fs::read_to_string(&path).unwrap().starts_with(whole));
    let mut ran = keys(&saved(&path));
    ran.sort();
    let all: Vec<(u64, String)> = (1..=rounds as u64)
        .flat_map(|pair| ["A", "B"].map(|side| (pair, side.to_owned())))
        .collect();
    assert_eq!(ran, all);
    // Runs of other commands are not mixed in.
    let end = bench(&[&command, "true", "--save", file, "--resume"]);
    assert_eq!(end.code(), Some(2), "{end}");
    assert!(end.stderr.contains("other commands"), "{end}");
}

#[test]
fn a_dry_run_prints_the_plan_and_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    let command = format!("touch {}; iperf3 -c host -t 3", ran.display());
    let end = bench(&[
        &command,
        &command,
        "--rounds",
        "2",
        "--warmup",
        "1",
        "--server",
        "iperf3 -s -p 7000",
        "--dry-run",
    ]);
    assert_eq!(end.code(), Some(0), "{end}");
    for line in [
        "round 1: A, B\n",
        "round 2: B, A\n",
        "server of B: iperf3 -s -p 7000, ready when it listens on port 7000\n",
        "duration: 18 s",
    ] {
        assert!(end.stdout.contains(line), "{line}: {end}");
    }
    assert!(!ran.exists());
}

#[test]
fn wrong_options_are_named() {
    for (words, expected) in [
        (
            &[
                "true", "true", "--server", "a", "--server", "b", "--server", "c",
            ][..],
            "3 --server for 2",
        ),
        (&["true", "true", "--name", "a"], "1 --name for 2"),
        (
            &["true", "true", "--name", "a", "--name", "a"],
            "names must differ and not be empty",
        ),
        (&["true", "--resume"], "--save"),
        (&["true", "--timeout", "0"], "above 0"),
        (&["true", "--server", "x", "--ready", "70000"], "1 to 65535"),
        (&["true", "--rounds", "0"], "from 1 to 10000"),
    ] {
        let end = bench(words);
        assert_eq!(end.code(), Some(2), "{end}");
        assert!(end.stderr.contains(expected), "{expected}: {end}");
    }
}

#[test]
fn a_sweep_runs_all_combinations_and_prints_a_table() {
    let sweep = |words: &[&str]| {
        let mut command = Command::new(Peer::Ours.path());
        command.arg("sweep").args(words).env("LC_ALL", "C");
        Running::start(command).finish(LIMIT)
    };
    let axes = [
        "--vary",
        "length=4K,32K",
        "--vary",
        "zerocopy-rx=off,splice",
    ];
    let client = ["--rounds", "2", "--", "--loopback", "-n", "1M"];
    let end = sweep(&[&axes[..], &client].concat());
    assert_eq!(end.code(), Some(0), "{end}");
    let lines: Vec<&str> = end.stdout.lines().map(str::trim).collect();
    assert!(
        lines[1].starts_with("length") && lines[1].ends_with("zerocopy-rx=splice"),
        "{end}"
    );
    assert!(
        lines[2].starts_with("4K") && lines[3].starts_with("32K"),
        "{end}"
    );
    assert_eq!(end.stdout.matches("bit/s (").count(), 4, "{end}");
    let end = sweep(&[&axes[..], &["--seconds-for", "4000M"], &client].concat());
    assert!(
        end.stdout.starts_with("seconds for 4194304000 bytes\n"),
        "{end}"
    );
    assert!(
        !end.stdout.contains("bit/s") && !end.stdout.contains("no result"),
        "{end}"
    );
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("runs.jsonl");
    let words = [&axes[..], &["--save", saved.to_str().unwrap()]].concat();
    let end = sweep(&[&words[..], &["--plot"], &client].concat());
    assert!(
        end.stdout.contains("█") && end.stdout.contains("░ to the greatest"),
        "{end}"
    );
    for (format, begin) in [("svg", "<svg "), ("html", "<!DOCTYPE html>")] {
        let end = sweep(&[&words[..], &["--resume", "--format", format], &client].concat());
        assert!(end.stdout.starts_with(begin), "{end}");
        // Two sizes, by copy and by splice, each with its error bar.
        assert_eq!(end.stdout.matches("<circle").count(), 4, "{end}");
        assert_eq!(end.stdout.matches("class=\"range").count(), 4, "{end}");
    }
    let end = sweep(&[&words[..], &["--resume", "--format", "csv"], &client].concat());
    assert_eq!(end.stdout.lines().count(), 1 + 8, "{end}");
    let end = sweep(&[
        "--vary",
        "cmd=echo {length}",
        "--vary",
        "length=1,2",
        "--rounds",
        "1",
    ]);
    assert_eq!(end.code(), Some(2), "{end}");
    assert!(end.stdout.contains("no result"), "{end}");
}
