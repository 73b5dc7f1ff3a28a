//! Our output compared with iperf3's for the same command: the same lines, the same keys, types and order.
//!
//! Recorded outputs of 3.22 are in `tests/data/samples`; more commands are run with the newest real iperf3 next to
//! ours. Figures are masked, and how often an interval repeats is left open, because both depend on the clock.

mod samples;

use std::fmt;
use std::fs;
use std::path::Path;

use iperf_harness::compare::compare;
use iperf_harness::{Outcome, Pair, Peer, Problems, json, parallel};
use samples::{LIVE, Sample, TCP, UDP, sample};

const WORKERS: usize = 8;

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}, server {}", self.client, self.server)
    }
}

/// Both ends are the same program.
fn run(peer: Peer, client: &str, server: &str) -> Outcome {
    Pair::new(peer, peer)
        .client_args(client)
        .server_args(server)
        .file("f.bin", vec![b'x'; 3_000_000])
        .run()
}

fn recorded(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/samples")
        .join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn check_exits(f: &mut Problems, outcome: &Outcome) {
    f.equal("the client's exit code", outcome.client.code(), Some(0));
    f.equal("the server's exit code", outcome.server.code(), Some(0));
    f.equal("the client's stderr", outcome.client.stderr.as_str(), "");
    f.equal("the server's stderr", outcome.server.stderr.as_str(), "");
}

fn beside_the_samples(peer: Peer) {
    let rows: Vec<Sample> = TCP.into_iter().chain(UDP).collect();
    parallel::each(&rows, WORKERS, |row| {
        let outcome = run(peer, row.client, row.server);
        let mut f = Problems::new();
        check_exits(&mut f, &outcome);
        let ends = [
            ("client", row.client_file, &outcome.client.stdout),
            ("server", row.server_file, &outcome.server.stdout),
        ];
        for (end, file, got) in ends {
            if !file.is_empty() {
                compare(
                    &mut f,
                    &format!("{end} ({file})"),
                    got,
                    &recorded(file),
                    peer == Peer::Ours,
                );
            }
        }
        f.into_result(&outcome)
    });
}

#[test]
fn our_text_is_like_the_samples() {
    beside_the_samples(Peer::Ours);
}

/// The comparison requires nothing that differs between two runs of iperf3.
#[test]
fn iperf3s_text_is_like_its_samples() {
    // Should a newer iperf3 write something else, its output has to be recorded again.
    beside_the_samples(Peer::New);
}

#[test]
fn our_text_is_like_iperf3s() {
    let rows = LIVE.map(|(client, server)| sample(client, server, "", ""));
    parallel::each(&rows, WORKERS, |row| {
        let ours = run(Peer::Ours, row.client, row.server);
        let real = run(Peer::New, row.client, row.server);
        let mut f = Problems::new();
        check_exits(&mut f, &ours);
        compare(
            &mut f,
            "client",
            &ours.client.stdout,
            &real.client.stdout,
            true,
        );
        compare(
            &mut f,
            "server",
            &ours.server.stdout,
            &real.server.stdout,
            true,
        );
        f.into_result(format!("{ours}\nand the real one:\n{real}"))
    });
}

/// As in 3.22: what was requested, at both ends.
#[test]
fn gsro_is_reported_as_requested() {
    for server in [Peer::Ours, Peer::New] {
        for client in [Peer::Ours, Peer::New] {
            for (args, want) in [("-u", 0), ("-u --gsro", 1), ("-u --gsro -R", 1)] {
                let outcome = Pair::new(client, server)
                    .client_args("-J -t 1 -b 1M -l 1000")
                    .client_args(args)
                    .server_args("-J")
                    .run();
                let mut f = Problems::new();
                for document in [outcome.client_json(), outcome.server_json()] {
                    let document = document.expect("a document");
                    for key in ["gso", "gro"] {
                        let value = json::int(&document, &format!("/start/test_start/{key}"));
                        f.equal(
                            format!("{client} to {server}, {args}, {key}"),
                            value,
                            Some(want),
                        );
                    }
                }
                f.assert_none(&outcome);
            }
        }
    }
}
