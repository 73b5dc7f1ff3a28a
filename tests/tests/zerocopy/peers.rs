//! Real iperf3, old and new, at the other end: it knows `-Z` and, from 3.17 on, `--skip-rx-copy`, reports nothing of what
//! it did, and writes by copy into pages that cannot be mapped.

use std::fmt;

use iperf_harness::json::{at, int, list, text};
use iperf_harness::netns::Namespace;
use iperf_harness::pair::title;
use iperf_harness::{Pair, Peer, Problems, parallel, peer};
use serde_json::Value;

use crate::account::{self, ExpectedMode};
use crate::mapping::{MTU, is_why_not};
use crate::modes::{PERHAPS_MAPPED, RECEIVERS, SENDERS};

const WORKERS: usize = 4;

/// A test of ours with another.
struct Case {
    client: Peer,
    server: Peer,
    args: String,
    /// What our end does when it sends, and when it receives.
    sends: Option<ExpectedMode>,
    receives: Option<ExpectedMode>,
    /// Why our receiver copies, if it must.
    unmapped: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&title(self.client, self.server, &self.args))
    }
}

impl Case {
    fn go(&self) -> Result<(), String> {
        let outcome = Pair::new(self.client, self.server)
            .client_args("-J")
            .client_args(&self.args)
            .server_args("-J")
            .run();
        let mut f = Problems::new();
        f.equal("the client's exit code", outcome.client.code(), Some(0));
        f.equal("the server's exit code", outcome.server.code(), Some(0));
        let is_client = self.client == Peer::Ours;
        let document = if is_client {
            outcome.client_json()?
        } else {
            outcome.server_json()?
        };
        f.equal("error", text(&document, "/error"), None);
        let streams = list(&document, "/end/streams");
        f.holds("there are streams", !streams.is_empty());
        for stream in streams {
            let sends = at(stream, "/sender/sender") == &Value::Bool(true);
            let (own, other, way) = if sends {
                ("sender", "receiver", self.sends)
            } else {
                ("receiver", "sender", self.receives)
            };
            let object = account::of_stream(stream, own);
            let Some(way) = way else {
                f.equal(own, object, &Value::Null);
                continue;
            };
            account::end(
                &mut f,
                own,
                object,
                way,
                int(stream, &format!("/{own}/bytes")),
            );
            let silent = account::of_stream(stream, other);
            f.equal(
                format!("{other}, of whom nothing is known"),
                silent,
                &Value::Null,
            );
            if self.unmapped && !sends {
                let reason = text(object, "/reason").unwrap_or("none");
                f.holds(format!("reason: {reason}"), is_why_not(reason));
                let mapped = int(object, "/bytes_not_copied").unwrap_or(-1);
                let all = int(stream, &format!("/{own}/bytes")).unwrap_or(0);
                f.holds(
                    format!("{mapped} of {all} bytes mapped"),
                    (0..=all / 10).contains(&mapped),
                );
            }
        }
        f.into_result(&outcome)
    }
}

/// Our client, with all that it can do, against each of them.
fn our_client() -> Vec<Case> {
    let mut cases = Vec::new();
    for server in peer::REAL {
        let case = |args: String, sends, receives| Case {
            client: Peer::Ours,
            server,
            args,
            sends: Some(sends),
            receives: Some(receives),
            unmapped: false,
        };
        let plain = RECEIVERS[0];
        for (option, way) in &SENDERS[1..] {
            cases.push(case(format!("-n 8M {option} {}", plain.0), *way, plain.1));
        }
        for (option, way) in &RECEIVERS[1..] {
            cases.push(case(format!("-n 8M -R {option}"), SENDERS[0].1, *way));
        }
        cases.push(case(
            "-t 1 -b 200M --bidir -Z".to_owned(),
            SENDERS[1].1,
            PERHAPS_MAPPED,
        ));
        cases.push(case(
            "-t 1 -b 200M -O 0 -P 2 --bidir --zerocopy=msg".to_owned(),
            SENDERS[4].1,
            PERHAPS_MAPPED,
        ));
    }
    cases
}

/// Each of their clients, with what it can ask our server for.
fn our_server() -> Vec<Case> {
    let auto = SENDERS[1].1;
    let copy = RECEIVERS[0].1;
    let mut cases = Vec::new();
    for client in peer::REAL {
        let case = |args: &str, sends, receives| Case {
            client,
            server: Peer::Ours,
            args: args.to_owned(),
            sends,
            receives,
            unmapped: false,
        };
        cases.push(case("-t 1 -b 200M", None, None));
        cases.push(case("-t 1 -b 200M -Z", Some(auto), Some(copy)));
        cases.push(case("-t 1 -b 200M -Z -R", Some(auto), Some(copy)));
        cases.push(case("-t 1 -b 200M -Z --bidir", Some(auto), Some(copy)));
        if client == Peer::New {
            let dropped = RECEIVERS[2].1;
            let (plain, both) = (
                "-t 1 -b 200M --skip-rx-copy",
                "-t 1 -b 200M --skip-rx-copy -Z -P 2",
            );
            cases.push(case(plain, Some(SENDERS[0].1), Some(dropped)));
            cases.push(case(both, Some(auto), Some(dropped)));
        }
    }
    cases
}

#[test]
fn our_client_avoids_its_own_copies() {
    parallel::each(&our_client(), WORKERS, Case::go);
}

#[test]
fn our_server_does_what_iperf3_can_ask_for() {
    parallel::each(&our_server(), WORKERS, Case::go);
}

/// Where segments fill pages it is the sender's pages that decide, and those of iperf3 can't be mapped.
#[test]
fn what_iperf3_sends_is_not_mapped_wherever_it_comes_from() {
    let unmapped = ExpectedMode::plain("mmap", &["copy"]).because();
    let mut cases = Vec::new();
    for server in peer::REAL {
        for args in ["-n 64M -R --zerocopy-rx=mmap", "-n 64M -R -Z"] {
            cases.push(Case {
                client: Peer::Ours,
                server,
                args: args.to_owned(),
                sends: None,
                receives: Some(unmapped),
                unmapped: true,
            });
        }
        // It takes what we send, whatever we send it with.
        for (option, way) in &SENDERS[2..] {
            cases.push(Case {
                client: Peer::Ours,
                server,
                args: format!("-n 64M {option} --zerocopy-rx=off"),
                sends: Some(*way),
                receives: None,
                unmapped: false,
            });
        }
    }
    Namespace::with_mtu(MTU).inside(|| parallel::each(&cases, 2, Case::go));
}
