//! SCTP, where the kernel has it; where it has none, both ends report it at once.

use std::path::Path;

use iperf_harness::pair::words;
use iperf_harness::{Finished, HANG, Peer, Running, Server};
use serde_json::Value;

fn kernel_has_sctp() -> bool {
    Path::new("/proc/net/sctp").exists()
}

fn run(command_line: &str) -> Finished {
    let mut command = Peer::Ours.command();
    command.args(words(command_line));
    Running::start(command).finish(HANG)
}

#[test]
fn a_test_runs_or_the_missing_module_is_named() {
    for options in ["", "-R", "--bidir -P 2", "--nstreams 8 -X 127.0.0.1"] {
        let end = run(&format!("--loopback --sctp -t 1 -b 20M -J {options}"));
        let document: Value = serde_json::from_str(&end.stdout).expect("one JSON document");
        if kernel_has_sctp() {
            assert_eq!(end.code(), Some(0), "{end}");
            assert_eq!(document["start"]["test_start"]["protocol"], "SCTP", "{end}");
            assert!(
                document["end"]["sum_received"]["bytes"].as_u64() > Some(0),
                "{end}"
            );
        } else {
            assert_eq!(end.code(), Some(1), "{end}");
            let error = document["error"].as_str().unwrap_or_default();
            assert!(
                error.contains("SCTP is not available on this system"),
                "{end}"
            );
            assert!(error.contains("kernel module sctp"), "{end}");
        }
    }
}

#[test]
fn the_server_continues_after_a_client_that_wanted_sctp() {
    let server = Server::start(Peer::Ours, &[]);
    let port = server.port();
    let wanted = run(&format!("-c 127.0.0.1 -p {port} --sctp -n 1M"));
    assert_eq!(wanted.succeeded(), kernel_has_sctp(), "{wanted}");
    let next = run(&format!("-c 127.0.0.1 -p {port} -n 1M"));
    assert!(next.succeeded(), "{next}");
}
