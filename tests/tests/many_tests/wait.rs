//! `--wait`: a client tries again while the server is busy or not there yet.

use std::time::Duration;

use iperf_harness::pair::{run_client, start_client};
use iperf_harness::port::Port;
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems, Running, Server, json};

#[test]
fn a_client_waits_for_a_busy_iperf3_and_reports_why() {
    for peer in [Peer::Ours, Peer::New] {
        let server = Server::start(peer, &["--forceflush"]);
        let running = start_client(Peer::Old, server.port(), "-t 6 -b 1M");
        wait_for(HANG, || {
            server
                .process
                .stdout_so_far()
                .contains("[  5]")
                .then_some(())
        })
        .expect("a test runs");
        let waiting = run_client(Peer::Ours, server.port(), "-n 1M -J --wait 40");
        let running = running.finish(HANG);
        let document = waiting.document();
        let mut f = Problems::new();
        f.holds(format!("{running}"), running.succeeded());
        f.holds("it succeeds in the end", waiting.succeeded());
        f.equal(
            "bytes",
            json::int(&document, "/end/sum_received/bytes"),
            Some(1 << 20),
        );
        f.equal(
            "the reason, once",
            waiting
                .stderr
                .matches("warning: the server is busy; trying again for up to 40 s")
                .count(),
            1,
        );
        f.assert_none(waiting);
    }
}

#[test]
fn a_client_waits_for_a_server_that_starts_later() {
    let port = Port::reserve();
    let client = start_client(Peer::Ours, port.number(), "-n 1M -V --wait 40");
    let reason = "warning: the server can't be reached: Connection refused; trying again";
    wait_for(HANG, || {
        client.stderr_so_far().contains(reason).then_some(())
    })
    .expect("it reports why it waits");
    let mut command = Peer::Ours.command();
    command.args(["-s", "-1", "-p", &port.number().to_string()]);
    let server = Running::start(command);
    let client = client.finish(HANG);
    let server = server.finish(HANG);
    let mut f = Problems::new();
    f.holds("both succeed", client.succeeded() && server.succeeded());
    f.equal(
        "attempts in the output",
        client.stdout.matches("Connecting to host").count(),
        1,
    );
    f.assert_none(client);
}

#[test]
fn waiting_ends_with_the_last_reason() {
    let port = Port::reserve();
    let end = run_client(Peer::Ours, port.number(), "-n 1M --wait 1.5");
    let mut f = Problems::new();
    f.equal("exit code", end.code(), Some(1));
    f.holds("it waited", end.took >= Duration::from_millis(1500));
    f.holds(
        "the error",
        end.stderr.contains("error - unable to connect to server"),
    );
    f.assert_none(end);
}
