//! `--log-format json`: one line per test.

use iperf_harness::pair::start_client;
use iperf_harness::process::wait_for;
use iperf_harness::wire::{PARAMS, RawClient};
use iperf_harness::{HANG, Peer, Problems, Server, json};

#[test]
fn each_test_is_one_line() {
    let server = Server::start(Peer::Ours, &["--log-format", "json", "--tests", "4"]);
    let clients = [
        start_client(Peer::Old, server.port(), "-t 1 -b 1M -J"),
        start_client(Peer::New, server.port(), "-u -t 1 -b 1M -R -J"),
        start_client(Peer::Ours, server.port(), "-n 1M --bidir -J"),
    ];
    let mut f = Problems::new();
    let mut cookies = Vec::new();
    for client in clients {
        let end = client.finish(HANG);
        f.holds(format!("{end}"), end.succeeded());
        let document = end.document();
        cookies.extend(json::text(&document, "/start/cookie").map(str::to_owned));
    }
    // A client ends before its server has noticed.
    wait_for(HANG, || {
        let output = server.process.stdout_so_far();
        let written = |cookie: &String| {
            let mut lines = output.lines();
            lines.any(|line| line.contains("\"outcome\"") && line.contains(cookie))
        };
        cookies.iter().all(written).then_some(())
    });
    drop(RawClient::up_to_running(server.port(), PARAMS, 1));
    let end = server.stop();
    let lines: Vec<_> = end
        .stdout
        .lines()
        .map(|line| json::parse(line).unwrap_or_default())
        .collect();
    let event =
        |line: &serde_json::Value| json::text(line, "/event").unwrap_or_default().to_owned();
    f.equal(
        "the first line",
        lines.first().map(event).as_deref(),
        Some("listening"),
    );
    let tests: Vec<_> = lines.iter().filter(|line| event(line) == "test").collect();
    for cookie in &cookies {
        let own: Vec<_> = tests
            .iter()
            .filter(|line| json::text(line, "/cookie") == Some(cookie))
            .collect();
        f.equal("lines of a test", own.len(), 1);
        for line in own {
            f.equal("outcome", json::text(line, "/outcome"), Some("completed"));
            let moved =
                ["/received/bytes", "/sent/bytes"].map(|key| json::int(line, key).unwrap_or(0));
            f.holds("bytes", moved.iter().any(|bytes| *bytes > 0));
        }
    }
    let left = tests
        .iter()
        .filter(|line| json::text(line, "/outcome") != Some("completed"));
    f.equal("lines of tests that did not complete", left.count(), 1);
    f.assert_none(end);
}
