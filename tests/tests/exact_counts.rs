//! A test by amount (`-n`, `-k`) moves exactly that amount, and both ends report it, also in their intervals: with and
//! without an omitted period.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use iperf_harness::json::int;
use iperf_harness::pair::tcp_pair;
use iperf_harness::{Case, Peer, Problems, parallel};
use serde_json::Value;

/// What a document reports as moved: each sum of the end, and the sum of the counted intervals.
fn moved(document: &Value, sum: &str, interval: &str) -> [Option<i64>; 2] {
    let counted = document["intervals"].as_array().unwrap();
    let counted = counted.iter().map(|entry| &entry[interval]);
    let bytes = counted
        .filter(|entry| entry["omitted"] == Value::Bool(false))
        .filter_map(|entry| entry["bytes"].as_i64());
    [
        int(document, &format!("/end/{sum}/bytes")),
        Some(bytes.sum()),
    ]
}

/// The documents' names of what one direction moved: its sums, and its sum in an interval.
fn directions(args: &str) -> &'static [[&'static str; 4]] {
    const FORWARD: [&str; 4] = ["sum_sent", "sum_received", "sum_received", "sum"];
    const REVERSE: [&str; 4] = ["sum_received", "sum_sent", "sum_sent", "sum"];
    const BACK: [&str; 4] = [
        "sum_received_bidir_reverse",
        "sum_sent_bidir_reverse",
        "sum_sent_bidir_reverse",
        "sum_bidir_reverse",
    ];
    if args.contains("--bidir") {
        &[FORWARD, BACK]
    } else if args.contains("-R") {
        &[REVERSE]
    } else {
        &[FORWARD]
    }
}

/// The documents have the expected bytes.
fn moves_exactly(case: &Case<i64>) -> Result<(), String> {
    let (args, amount) = (case.args.as_str(), case.expected);
    let run = tcp_pair(args).run();
    let mut problems = Problems::new();
    problems.holds("both succeed", run.client.succeeded());
    let (client, server) = (run.client_json()?, run.server_json()?);
    for [own, other, servers, interval] in directions(args) {
        let amount = Some(amount);
        problems.equal(
            "client, own sum",
            moved(&client, own, interval),
            [amount; 2],
        );
        problems.equal(
            "client, peer's sum",
            moved(&client, other, interval)[0],
            amount,
        );
        problems.equal("server", moved(&server, servers, interval), [amount; 2]);
    }
    problems.into_result(format!("{args}\n{run}"))
}

#[test]
fn both_ends_count_the_amount_exactly() {
    const MIB: i64 = 1 << 20;
    let mut cases = Vec::new();
    for omit in ["", "-O 1"] {
        for mode in ["", "-R", "--bidir"] {
            for (test, amount) in [
                ("-k 5", 5 * 128 * 1024),
                ("-k 500 -l 1000 -P 4", 500_000),
                ("-n 1M -P 4", MIB),
                // The last block is sent whole.
                ("-n 1000001 -l 1000", 1_001_000),
                ("-k 50 -b 20M -l 10000", 500_000),
                ("-u -k 50 -b 10M -l 1000", 50_000),
                ("-u -n 50K -b 10M -l 1024 -P 4", 50 * 1024),
                ("-u -k 64 -b 20M/16 -l 1000 --udp-counters-64bit", 64_000),
                ("-k 40 -l 10000 -P 4 --threads 2", 400_000),
                ("-n 1M -Z", MIB),
            ] {
                cases.push(Case::ours(&format!("{test} {omit} {mode}"), amount));
            }
        }
    }
    parallel::each(&cases, 6, moves_exactly);
}

/// iperf3's servers stop when they have sent the amount, and its clients count what arrived in the omitted period. Between
/// this program and iperf3 a test ends as between two iperf3s.
#[test]
fn a_test_with_iperf3_ends() {
    let mut cases = Vec::new();
    for real in [Peer::New, Peer::Old] {
        for (args, amount) in [
            ("-n 1M -O 1", 1 << 20),
            ("-k 5 -O 1 -P 2", 5 * 128 * 1024),
            ("-u -k 50 -b 10M -l 1000 -O 1", 50_000),
            ("-n 1M -O 1 -R", 1 << 20),
            ("-k 50 -O 1 -R", 50 * 128 * 1024),
            ("-u -k 50 -b 10M -l 1000 -O 1 -R", 50_000),
        ] {
            for (client, server) in [(Peer::Ours, real), (real, Peer::Ours)] {
                cases.push(Case::new(client, server, args, amount));
            }
        }
    }
    parallel::each(&cases, 6, |case| {
        let run = case.pair().client_args("-J").server_args("-J").run();
        let mut problems = Problems::new();
        problems.holds("the client succeeds", run.client.succeeded());
        let client = run.client_json()?;
        if case.client == Peer::Ours && !case.args.contains("-R") {
            let sent = int(&client, "/end/sum_sent/bytes");
            problems.equal("sent", sent, Some(case.expected));
        }
        // As iperf3's senders do, in the omitted period, too: what arrives behind it is the amount.
        if case.client == Peer::Ours && case.args.contains("-n 1M -O 1 -R") {
            let received = int(&client, "/end/sum_received/bytes");
            problems.holds("no more is received", received <= Some(case.expected));
        }
        problems.into_result(&run)
    });
}
