//! A peer that is stopped, or on an unreachable machine, is dropped within a minute, in every mode and on both ends.
//! What is waited for here is real time, so the cases run side by side.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt;
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::service::serves;
use iperf_harness::{HANG, Peer, Port, Problems, Running, Server, netns, parallel};
use nix::sys::signal::Signal;

/// A minute, and some for a busy machine.
const DROPPED_WITHIN: Duration = Duration::from_secs(75);

/// Which end the signal stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Client,
    Server,
}

/// A stopped end: the other one is ours.
struct Case {
    stopped: Stopped,
    peer: Peer,
    args: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} stopped, {}", self.stopped, self.peer, self.args)
    }
}

fn client(peer: Peer, host: &str, port: u16, args: &str) -> std::process::Command {
    let mut command = peer.command();
    command
        .args(["-c", host, "-p", &port.to_string(), "-i", "0.5"])
        .args(args.split_whitespace());
    command
}

fn is_running(server: &Running) -> bool {
    server.stdout_so_far().contains("sec ")
}

/// Both ends of a running test in the middle of it.
fn start(case: &Case) -> (Server, Running) {
    let (server, ours) = match case.stopped {
        Stopped::Client => (Peer::Ours, case.peer),
        Stopped::Server => (case.peer, Peer::Ours),
    };
    let server = Server::start(server, &["-i", "0.5", "--forceflush"]);
    let client = Running::start(client(ours, "127.0.0.1", server.port(), case.args));
    let begun = wait_for(HANG, || {
        (is_running(&server.process) || is_running(&client)).then_some(())
    });
    assert!(begun.is_some(), "the test does not begin");
    (server, client)
}

fn stop_one(case: &Case) -> Result<(), String> {
    let mut f = Problems::new();
    let (mut server, mut client) = start(case);
    match case.stopped {
        Stopped::Client => {
            client.signal(Signal::SIGSTOP);
            let dropped = wait_for(DROPPED_WITHIN, || {
                let errors = server.process.stderr_so_far();
                errors.contains("iperf: ").then_some(())
            });
            f.holds("the server drops the client", dropped.is_some());
            if let Err(error) = serves(server.port(), Peer::Ours, HANG) {
                f.add(error);
            }
            f.holds("the server lives", server.process.is_alive());
        }
        Stopped::Server => {
            server.process.signal(Signal::SIGSTOP);
            let ended = wait_for(DROPPED_WITHIN, || (!client.is_alive()).then_some(()));
            f.holds("the client ends", ended.is_some());
            let end = client.finish(Duration::ZERO);
            f.equal("the client's exit code", end.code(), Some(1));
            return f.into_result(end.to_string());
        }
    }
    f.into_result(server.process.stderr_so_far())
}

/// Every mode between our own ends, and what can be known of a stopped iperf3: that it takes nothing.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for args in [
        "-t 0 -b 10M",
        "-t 0 -b 10M -R",
        "-t 0 -b 10M --bidir",
        "-n 100G",
        "-n 100G -R",
        "-u -t 0 -b 10M",
        "-u -t 0 -b 10M -R",
        "-u -k 1000000000 -b 10M --bidir",
        "-t 3600 -b 10M -P 2",
    ] {
        for stopped in [Stopped::Client, Stopped::Server] {
            cases.push(Case {
                stopped,
                peer: Peer::Ours,
                args,
            });
        }
    }
    for peer in [Peer::Old, Peer::New] {
        for (stopped, args) in [
            (Stopped::Server, "-n 100G"),
            (Stopped::Client, "-n 100G -R"),
        ] {
            cases.push(Case {
                stopped,
                peer,
                args,
            });
        }
    }
    cases
}

#[test]
fn a_stopped_peer_is_dropped_within_a_minute() {
    let cases = cases();
    parallel::each(&cases, cases.len(), stop_one);
}

/// How a test begins before its wire is cut.
struct CutCase {
    args: &'static str,
    client: Peer,
    server: Peer,
}

impl fmt::Display for CutCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}, {}", self.client, self.server, self.args)
    }
}

fn cut_one(case: &CutCase) -> Result<(), String> {
    let ends = netns::wire(1500);
    let port = Port::reserve();
    let mut command = case.server.command();
    command.args([
        "-s",
        "-i",
        "0.5",
        "--forceflush",
        "-p",
        &port.number().to_string(),
    ]);
    let mut server = Running::start(ends[1].enter(&command));
    let up = wait_for(HANG, || {
        server.stdout_so_far().contains("listening").then_some(())
    });
    assert!(up.is_some(), "the server does not listen");
    let command = client(case.client, "10.9.0.2", port.number(), case.args);
    let mut client = Running::start(ends[0].enter(&command));
    let begun = wait_for(HANG, || {
        (is_running(&server) || is_running(&client)).then_some(())
    });
    assert!(begun.is_some(), "the test does not begin");
    // Neither end is notified: the interfaces stay up, and the frames are dropped.
    for (end, address, name) in [
        (&ends[0], "10.9.0.2", "left"),
        (&ends[1], "10.9.0.1", "right"),
    ] {
        let nobody = "02:00:00:00:00:99";
        end.run(
            "ip",
            &[
                "neigh",
                "replace",
                address,
                "lladdr",
                nobody,
                "dev",
                name,
                "nud",
                "permanent",
            ],
        );
    }
    let mut f = Problems::new();
    let mut ended = [case.client != Peer::Ours, case.server != Peer::Ours];
    let both = wait_for(DROPPED_WITHIN, || {
        ended[0] |= !client.is_alive();
        ended[1] |= server.stderr_so_far().contains("iperf: ");
        ended.iter().all(|ended| *ended).then_some(())
    });
    f.holds(format!("both ends notice: {ended:?}"), both.is_some());
    f.holds(
        "the server lives",
        case.server != Peer::Ours || server.is_alive(),
    );
    f.into_result(server.stderr_so_far())
}

#[test]
fn a_peer_behind_a_dead_wire_is_dropped_within_a_minute() {
    let mut cuts = Vec::new();
    for (client, server) in [
        (Peer::Ours, Peer::Ours),
        (Peer::Ours, Peer::New),
        (Peer::New, Peer::Ours),
    ] {
        for args in [
            "-t 3600 -b 10M",
            "-n 100G -b 10M -R",
            "-u -t 3600 -b 10M",
            "-u -n 100G -b 10M -R",
        ] {
            cuts.push(CutCase {
                args,
                client,
                server,
            });
        }
    }
    parallel::each(&cuts, cuts.len(), cut_one);
}
