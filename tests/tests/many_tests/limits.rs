//! Limits of all tests together, and of those of one client.

use iperf_harness::pair::{run_client, start_client};
use iperf_harness::{HANG, Peer, Problems, Running, Server};
use nix::sys::signal::Signal;

const BUSY: &str = "the server is busy running a test. try again later";
const TOO_FAST: &str = "total required bandwidth is larger than server limit";

/// Starts clients one after another, each once the server reports the one before.
fn start_in_turn(server: &Server, peers: &[Peer], args: &str) -> Vec<Running> {
    let mut clients = Vec::new();
    for (number, peer) in (1..).zip(peers) {
        clients.push(start_client(*peer, server.port(), args));
        server.wait_for_test(number);
    }
    clients
}

/// A client that is too many is refused in every mode, in iperf3's words, and the tests that run do not notice.
fn one_too_many(options: &[&str]) {
    let server = Server::start(Peer::Ours, options);
    let running = start_in_turn(&server, &[Peer::Old, Peer::Ours], "-t 600 -b 10M");
    let mut f = Problems::new();
    for peer in [Peer::Old, Peer::New, Peer::Ours] {
        for args in ["-t 1", "-t 1 -u -R"] {
            let end = run_client(peer, server.port(), args);
            f.holds(
                format!("{peer} {args} gets the reason: {}", end.complaint()),
                end.complaint().contains(BUSY),
            );
        }
    }
    for client in running {
        client.signal(Signal::SIGINT);
        let end = client.finish(HANG);
        let is_undisturbed = end.stderr.contains("the client has terminated");
        f.holds(format!("{end}"), is_undisturbed);
    }
    f.assert_none(server.stop());
}

#[test]
fn no_more_tests_run_than_the_server_allows() {
    one_too_many(&["--tests", "2"]);
}

#[test]
fn no_more_tests_of_a_client_run_than_the_server_allows() {
    one_too_many(&["--tests", "0", "--tests-per-client", "2"]);
}

/// Neither of the first two exceeds the limit by itself; together they do, and the faster one ends.
fn together(options: &[&str]) {
    let server = Server::start(Peer::Ours, options);
    let slow = start_client(Peer::New, server.port(), "-t 6 -b 2M");
    let fast = start_client(Peer::Ours, server.port(), "-t 20 -b 9M");
    let (slow, fast) = (slow.finish(HANG), fast.finish(HANG));
    let end = server.stop();
    let mut f = Problems::new();
    f.holds(format!("{slow}"), slow.succeeded());
    f.holds(format!("{fast}"), fast.complaint().contains(TOO_FAST));
    f.holds("the server reports why", end.stderr.contains(TOO_FAST));
    f.assert_none(end);
}

#[test]
fn the_limit_of_the_server_covers_all_tests_together() {
    together(&["--tests", "4", "--server-bitrate-limit", "10M/2"]);
}

#[test]
fn the_limit_of_a_client_covers_all_its_tests_together() {
    together(&["--tests", "4", "--client-bitrate-limit", "10M/2"]);
}
