//! No test waits for another one: all begin although none ends, beside clients that stall at each step of a handshake.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use iperf_harness::json::{self, text};
use iperf_harness::pair::start_client;
use iperf_harness::process::wait_for;
use iperf_harness::wire::{PARAMS, Raw, RawClient};
use iperf_harness::{HANG, Peer, Server};
use serde_json::Value;

/// How often the output of the server is read.
const PAUSE: Duration = Duration::from_millis(200);

/// They last until they are ended.
const MODES: [&str; 8] = [
    "-t 3600 -b 1M",
    "-t 3600 -b 1M -R",
    "-t 3600 -b 1M --bidir",
    "-t 3600 -b 1M -P 4",
    "-n 1000G -b 1M",
    "-u -t 3600 -b 1M",
    "-u -t 3600 -b 1M -R",
    "-u -t 3600 -b 1M --bidir",
];

/// A line of `--json-stream`: the number of its test, and the event.
fn event(line: &str) -> Option<(u64, Value)> {
    let line = json::parse(line).ok()?;
    Some((line["test"].as_u64()?, line))
}

/// The tests that have moved data, as long as no test is over.
fn running(output: &str) -> BTreeSet<u64> {
    let events: Vec<_> = output.lines().filter_map(event).collect();
    let over = events
        .iter()
        .find(|(_, line)| matches!(text(line, "/event"), Some("end" | "error")));
    assert!(over.is_none(), "a test is over: {over:?}");
    let moves = |line: &Value| {
        let sum = |name: &str| line.pointer(&format!("/data/{name}/bytes"));
        [sum("sum"), sum("sum_bidir_reverse")]
            .into_iter()
            .flatten()
            .any(|bytes| bytes.as_u64() > Some(0))
    };
    events
        .iter()
        .filter(|(_, line)| text(line, "/event") == Some("interval") && moves(line))
        .map(|(test, _)| *test)
        .collect()
}

#[test]
fn every_test_begins_although_no_other_ends() {
    let server = Server::start(
        Peer::Ours,
        &["--tests", "0", "--json-stream", "--forceflush"],
    );
    let port = server.port();
    // Without a cookie, and with nothing but one; without data connections, of TCP and UDP; with too few of them.
    let four = PARAMS.replace("\"parallel\":1", "\"parallel\":4");
    let udp = (PARAMS.replace("\"tcp\":true", "\"udp\":true")).replace("131072", "1000");
    let stalled = (
        Raw::connect(port),
        RawClient::up_to_params(port),
        RawClient::up_to_streams(port, PARAMS),
        RawClient::up_to_streams(port, &udp),
        {
            let mut some = RawClient::up_to_streams(port, &four);
            some.open_data();
            some
        },
    );
    let mut clients = Vec::new();
    for mode in MODES {
        for peer in [Peer::Old, Peer::Ours, Peer::New, Peer::Ours] {
            clients.push(start_client(peer, port, mode));
        }
    }
    let all = wait_for(HANG, || {
        thread::sleep(PAUSE);
        let running = running(&server.process.stdout_so_far()).len();
        let ended = clients.iter_mut().any(|client| !client.is_alive());
        (running == clients.len() || ended).then_some(running)
    });
    let Some(32) = all else {
        let seen = running(&server.process.stdout_so_far());
        let ended = clients.into_iter().filter_map(|mut client| {
            let has_ended = !client.is_alive();
            has_ended.then(|| client.finish(HANG).to_string())
        });
        panic!(
            "{} tests of 32 run: {seen:?}\n{}",
            seen.len(),
            ended.collect::<String>()
        );
    };
    drop(stalled);
}
