//! `--loopback`: both ends in one process, one command, one output.

use iperf_harness::pair::words;
use iperf_harness::{Expectation, Finished, HANG, Peer, Problems, Running, checks, parallel};
use serde_json::Value;

fn run(args: &str) -> Finished {
    let mut command = Peer::Ours.command();
    command.arg("--loopback").args(words(args));
    Running::start(command).finish(HANG)
}

#[test]
fn the_document_is_that_of_a_client() {
    let rows = [
        "-t 1 -b 20M",
        "-t 1 -b 20M -R",
        "-t 1 -b 20M -P 3",
        "-t 1 -b 10M --bidir -P 2",
        "-t 1 -b 20M -O 1",
        "-n 4M",
        "-k 16 -R",
    ];
    parallel::each(&rows, rows.len(), |args| {
        let end = run(&format!("-J {args}"));
        let mut f = Problems::new();
        f.equal("exit code", end.code(), Some(0));
        f.equal("stderr", end.stderr.as_str(), "");
        match serde_json::from_str::<Value>(&end.stdout) {
            Ok(document) => {
                let expected = Expectation::of(&words(args));
                checks::document(
                    &mut f,
                    &document,
                    checks::End::Client,
                    Peer::Ours,
                    &expected,
                );
            }
            Err(e) => f.add(format!("stdout is not one JSON document: {e}")),
        }
        f.into_result(end)
    });
}

#[test]
fn the_text_is_that_of_a_client() {
    let end = run("-t 1");
    assert_eq!((end.code(), end.stderr.as_str()), (Some(0), ""), "{end}");
    for wanted in [
        "[ ID] Interval",
        " sender\n",
        " receiver\n",
        "\niperf Done.\n",
    ] {
        assert!(end.stdout.contains(wanted), "no {wanted:?} in\n{end}");
    }
    assert_eq!(end.stdout.matches("iperf Done.").count(), 1, "{end}");
}

/// Two at once do not get in each other's way, nor into that of a server on the usual port.
#[test]
fn many_loopbacks_run_side_by_side() {
    let rows: Vec<String> = (0..6).map(|n| format!("run {n}")).collect();
    parallel::each(&rows, rows.len(), |_| {
        let end = run("-t 1 -b 10M");
        if end.succeeded() {
            Ok(())
        } else {
            Err(end.to_string())
        }
    });
}
