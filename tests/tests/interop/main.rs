//! Every kind of test, with ours at one end and a real iperf3, old or new, at the other.
//!
//! The tables of `tcp` and `udp` are run in each pairing; what a test requests is read from its arguments and checked in the
//! documents of both ends. `IPERF_CASE=text` runs only the cases whose name contains the text.

mod cases;
mod tcp;
mod udp;

use std::fmt;

use cases::{Case, Observed};
use iperf_harness::{Expectation, Outcome, Pair, Peer, Problems, checks, pair, parallel};
use serde_json::Value;

/// Most of a case is waiting for its second to pass.
const WORKERS: usize = 8;

/// A client's warning about datagrams that do not fit into a segment.
const FRAGMENTS: [&str; 3] = [
    "warning: UDP block size ",
    " exceeds TCP MSS ",
    ", may result in fragmentation / drops\n",
];

/// A row of the table in one pairing.
struct Run {
    case: Case,
    client: Peer,
    server: Peer,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} client, {} server: {}",
            self.client, self.server, self.case.name
        )
    }
}

impl Run {
    fn go(&self) -> Result<(), String> {
        let case = &self.case;
        let server_args = if case.text_server { "" } else { "-J" };
        let mut pair = Pair::new(self.client, self.server)
            .host(case.host)
            .client_args("-J")
            .client_args(case.client)
            .server_args(server_args)
            .server_args(case.server);
        if let Some((name, content)) = case.file {
            pair = pair.file(name, content());
        }
        let outcome = pair.run();
        let mut f = Problems::new();
        self.look(&outcome, &mut f);
        f.into_result(&outcome)
    }

    fn look(&self, outcome: &Outcome, f: &mut Problems) {
        for (end, finished) in [("client", &outcome.client), ("server", &outcome.server)] {
            f.holds(format!("the {end} ends by itself"), !finished.timed_out);
            f.equal(format!("the {end}'s exit code"), finished.code(), Some(0));
            let warns = end == "client" && self.case.warning;
            let stderr = finished.stderr.as_str();
            let is_right = if warns {
                FRAGMENTS.iter().all(|part| stderr.contains(part)) && stderr.lines().count() == 1
            } else {
                stderr.is_empty()
            };
            f.holds(format!("the {end}'s stderr: {stderr:?}"), is_right);
        }
        let expected =
            Expectation::of(&pair::words(self.case.client)).between(self.client, self.server);
        let nothing = Value::Null;
        let client = match outcome.client_json() {
            Ok(client) => client,
            Err(e) => return f.add(e),
        };
        let server = match outcome.server_json() {
            _ if self.case.text_server => nothing,
            Ok(server) => server,
            Err(e) => return f.add(e),
        };
        if self.case.text_server {
            checks::document(f, &client, checks::End::Client, self.client, &expected);
        } else {
            checks::both(f, (&client, self.client), (&server, self.server), &expected);
        }
        if let Some(check) = self.case.extra {
            check(
                &Observed {
                    outcome,
                    client: &client,
                    server: &server,
                },
                f,
            );
        }
    }
}

fn run_all(client: Peer, server: Peer) {
    run_these([tcp::table(), udp::table()].concat(), client, server);
}

fn run_these(cases: Vec<Case>, client: Peer, server: Peer) {
    let runs: Vec<Run> = cases
        .into_iter()
        .filter(|case| case.suits(client, server))
        .map(|case| Run {
            case,
            client,
            server,
        })
        .collect();
    parallel::each(&runs, WORKERS, Run::go);
}

#[test]
fn our_client_with_the_old_server() {
    run_all(Peer::Ours, Peer::Old);
}

#[test]
fn our_client_with_the_new_server() {
    run_all(Peer::Ours, Peer::New);
}

#[test]
fn the_old_client_with_our_server() {
    run_all(Peer::Old, Peer::Ours);
}

#[test]
fn the_new_client_with_our_server() {
    run_all(Peer::New, Peer::Ours);
}

#[test]
fn our_client_with_our_server() {
    run_all(Peer::Ours, Peer::Ours);
}

/// The checks ask for nothing that iperf3 does not do.
#[test]
fn the_new_client_with_the_old_server() {
    run_these([tcp::table(), udp::modes()].concat(), Peer::New, Peer::Old);
}

/// The checks ask for nothing that iperf3 does not do.
#[test]
fn the_old_client_with_the_new_server() {
    run_these([tcp::table(), udp::limits()].concat(), Peer::Old, Peer::New);
}
