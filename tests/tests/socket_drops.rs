//! Datagrams that reach the receiver's machine and are dropped at its socket: the kernel knows how many.

use iperf_harness::json::int;
use iperf_harness::pair::{run_client, start_client};
use iperf_harness::{Finished, HANG, Peer, Server, priority};

/// More than these are dropped in each test.
const DROPS: u64 = 100;

/// The receiver reports its losses as drops, and all of them: nothing can be lost elsewhere.
fn all_losses_are_drops(document: &serde_json::Value, ends: &[&Finished]) {
    let udp = |key: &str| int(document, &format!("/end/streams/0/udp/{key}"));
    let (drops, lost) = (udp("socket_drops"), udp("lost_packets"));
    let story: String = ends.iter().map(ToString::to_string).collect();
    assert!(
        drops > i64::try_from(DROPS).ok(),
        "{drops:?} drops\n{story}"
    );
    assert!(drops <= lost, "{drops:?} drops, {lost:?} lost\n{story}");
}

/// Runs a test with a server, or client, that is stopped for a while. Its buffer holds a few milliseconds.
fn run(format: &str, server_sleeps: bool) -> (Finished, Finished) {
    priority::raise();
    let server = Server::start(Peer::Ours, &["-1", format]);
    let direction = if server_sleeps { "" } else { "-R" };
    let args = format!("{format} -u -t 2 -b 20M -l 1000 -w 16K {direction}");
    let client = start_client(Peer::Ours, server.port(), &args);
    let receiver = if server_sleeps {
        &server.process
    } else {
        &client
    };
    server.drop_datagrams_of(receiver, DROPS);
    let (client, server) = (client.finish(HANG), server.finish(HANG));
    assert!(client.succeeded() && server.succeeded(), "{client}{server}");
    (client, server)
}

#[test]
fn a_server_that_sleeps_drops() {
    let (client, server) = run("-J", true);
    // The client learns it with the results.
    for end in [&server, &client] {
        all_losses_are_drops(&end.document(), &[&client, &server]);
    }
}

#[test]
fn a_client_that_sleeps_drops() {
    let (client, server) = run("-J", false);
    all_losses_are_drops(&client.document(), &[&client, &server]);
}

#[test]
fn the_text_names_the_drops() {
    let line = " of them dropped in the receiver's socket\n";
    let (client, server) = run("-V", true);
    for end in [&client, &server] {
        let (before, _) = end
            .stdout
            .split_once(line)
            .unwrap_or_else(|| panic!("{end}"));
        let drops = before
            .rsplit(' ')
            .next()
            .and_then(|word| word.parse::<u64>().ok());
        assert!(drops > Some(DROPS), "{drops:?} drops\n{end}");
    }
    let server = Server::start(Peer::Ours, &["-1"]);
    let client = run_client(Peer::Ours, server.port(), "-u -t 1");
    assert!(!client.stdout.contains(line), "not without -V\n{client}");
    assert!(server.finish(HANG).succeeded());
}
