//! The output of each test can be distinguished from that of the others.

use iperf_harness::pair::{run_client, start_client};
use iperf_harness::process::wait_for;
use iperf_harness::{Finished, HANG, Peer, Problems, Server, json};

/// Three tests at once; their ends. The server has written each test's `last` words by then.
fn three(server: &Server, args: &str, last: &str) -> Vec<Finished> {
    let clients =
        [Peer::Ours, Peer::New, Peer::Old].map(|peer| start_client(peer, server.port(), args));
    let ends: Vec<_> = clients
        .into_iter()
        .map(|client| client.finish(HANG))
        .collect();
    for end in &ends {
        assert!(end.succeeded(), "{end}");
    }
    // A client ends before its server has noticed.
    let written = || server.process.stdout_so_far().matches(last).count() >= ends.len();
    wait_for(HANG, || written().then_some(()));
    ends
}

#[test]
fn lines_of_text_carry_the_number_of_their_test() {
    let server = Server::start(Peer::Ours, &["--tests", "4"]);
    let ends = three(&server, "-t 2 -b 10M --get-server-output", "receiver");
    let end = server.stop();
    let mut f = Problems::new();
    for number in 1..=3 {
        let prefix = format!("#{number} ");
        let own: Vec<_> = end
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect();
        let count = |what: &str| own.iter().filter(|line| line.contains(what)).count();
        f.equal(
            "lines that accept a connection",
            count("Accepted connection"),
            1,
        );
        f.equal("lines of results", count("receiver"), 1);
        // Exactly these lines went to one of the clients.
        let text = own.join("\n");
        f.holds(
            format!("a client has the lines of test {number}"),
            ends.iter().any(|end| end.stdout.contains(&text)),
        );
    }
    let others = end.stdout.lines().filter(|line| !line.starts_with('#'));
    f.equal("lines of no test", others.count(), 3);
    f.holds(
        "the banner",
        end.stdout.contains("(up to 4 tests at a time)"),
    );
    f.assert_none(end);
}

#[test]
fn lines_of_json_carry_the_number_of_their_test() {
    let server = Server::start(Peer::Ours, &["--tests", "0", "--json-stream"]);
    three(&server, "-t 2 -b 10M", "\"event\":\"end\"");
    let end = server.stop();
    let mut f = Problems::new();
    let lines: Vec<_> = end
        .stdout
        .lines()
        .map(|line| json::parse(line).unwrap_or_default())
        .collect();
    for number in 1..=3 {
        let own = lines
            .iter()
            .filter(|line| json::int(line, "/test") == Some(number));
        let events: Vec<_> = own.filter_map(|line| json::text(line, "/event")).collect();
        f.equal("the first event", events.first(), Some(&"start"));
        f.equal("the last event", events.last(), Some(&"end"));
        f.holds(
            "intervals",
            events.iter().filter(|event| **event == "interval").count() >= 2,
        );
    }
    f.assert_none(end);
}

#[test]
fn one_test_at_a_time_has_no_numbers() {
    let server = Server::start(Peer::Ours, &["--tests", "1"]);
    let client = run_client(Peer::Ours, server.port(), "-n 64K");
    let end = server.stop();
    let mut f = Problems::new();
    f.holds("the client succeeds", client.succeeded());
    f.holds(
        "the banner",
        end.stdout.contains("(test #1)") && end.stdout.contains("(test #2)"),
    );
    f.holds(
        "no numbers",
        !end.stdout.lines().any(|line| line.starts_with('#')),
    );
    f.assert_none(end);
}
