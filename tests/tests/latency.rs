//! Request/response tests between real ends: `--rr` over each transport that this machine has.

use std::time::Duration;

use iperf_harness::json::{self, float, int, list, text};
use iperf_harness::netns::Namespace;
use iperf_harness::pair::{run_client, tcp_pair};
use iperf_harness::proxy::{Fate, HalfClose, Plan, Proxy, Vmm};
use iperf_harness::{HANG, Pair, Peer, Server, parallel};
use serde_json::Value;

/// The documents of a client and its server.
fn run(args: &str) -> (Value, Value) {
    let run = tcp_pair(args).run();
    let succeeded = run.client.succeeded() && run.server.succeeded();
    assert!(succeeded, "{args}: {run}");
    run.documents()
}

fn rr<'a>(document: &'a Value, key: &str) -> &'a Value {
    json::at(document, &format!("/end/rr/{key}"))
}

/// What holds of every request/response test.
fn is_sound(args: &str, client: &Value) -> Result<(), String> {
    let transactions = rr(client, "transactions").as_u64().unwrap_or(0);
    let latency = |key: &str| float(client, &format!("/end/rr/latency_us/{key}"));
    let figures = [latency("min"), latency("p50"), latency("max")];
    let [Some(min), p50, Some(max)] = figures else {
        return Err(format!("{args}: {figures:?}"));
    };
    // A starved machine may exchange too little for a median.
    let p50 = p50.or((transactions < 20).then_some(min)).unwrap_or(0.0);
    let histogram = text(client, "/end/rr/histogram/data").unwrap_or_default();
    let known = iperf_model::Latencies::from_base64(histogram);
    let counted = known.map(|latencies| latencies.count());
    if transactions > 0 && min > 0.0 && min <= p50 && p50 <= max && counted == Some(transactions) {
        Ok(())
    } else {
        Err(format!("{args}: {transactions}, {counted:?}, {figures:?}"))
    }
}

#[test]
fn every_kind_of_exchange_is_counted_and_timed() {
    let rows: Vec<String> = [
        "--rr -t 1",
        "--rr -t 1 -R",
        "--rr=100,5000 -t 1 -P 3 -O 1",
        "--rr=200000 -t 1",
        "--rr -t 1 --pipeline 16",
        "--rr=3000,70000 -t 1 --pipeline 64 -R",
        "--rr -t 1 --busy-poll 100",
        "--rr -u -t 1",
        "--rr=100,1000 -u -t 1 -R -P 2",
        "--rr -u -t 1 --pipeline 16",
        "--rr -t 1 --rate 200",
        "--rr -u -t 1 --rate 200 --pipeline 8 -P 2",
        "--rr -t 1 --rate 500 -R --busy-poll 50",
        "--crr -t 1",
        "--crr=100,70000 -t 1 -P 4 -O 1",
        "--crr -t 1 --rate 200 --busy-poll 50",
    ]
    .map(str::to_owned)
    .into();
    parallel::each(&rows, 2, |args| {
        let (client, server) = run(args);
        let crr = args.contains("--crr");
        let mode = Value::from(if crr { "crr" } else { "rr" });
        let (own, peer) = (rr(&client, "mode"), rr(&server, "mode"));
        assert_eq!((own, peer), (&mode, &mode), "{args}");
        let open = args.contains("--rate");
        let kind = rr(&client, "loop").as_str();
        assert_eq!(kind, Some(if open { "open" } else { "closed" }), "{args}");
        assert_eq!(
            float(&client, "/end/rr/response_latency_us/p50").is_some(),
            open,
            "{args}"
        );
        if !args.contains("-R") {
            let intervals = list(&client, "/intervals");
            let timed = |i: &Value| int(i, "/rr/transactions") > Some(0);
            assert!(intervals.iter().any(timed), "{args}");
        }
        let part = |part: &str| float(&client, &format!("/end/rr/{part}/min"));
        if let (Some(connect), Some(close)) = (part("connect_us"), part("close_us")) {
            let whole = part("latency_us").unwrap_or_default();
            assert!(crr && connect > 0.0 && connect + close <= whole, "{args}");
        } else {
            assert!(!crr, "{args}: no times of connections");
        }
        is_sound(args, &client)
    });
}

/// The transactions in the lines at the end of a report: those of the streams, and their sum.
fn transactions_in(report: &str) -> (Vec<u64>, Option<u64>) {
    let lines = report
        .lines()
        .filter(|line| line.contains(" transactions "));
    let count = |line: &str| {
        let before = line.split(" transactions ").next()?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    let (sums, streams): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("[SUM]"));
    let streams = streams.into_iter().filter_map(count).collect();
    (streams, sums.into_iter().find_map(count))
}

/// What the requesters of a timed test counted is the same wherever it is shown, and nothing of it is from after the time
/// of the test.
fn counts_agree(args: &str, requester: &Value, responder: &Value) -> Result<(), String> {
    let total = rr(requester, "transactions").as_u64().unwrap_or(0);
    let streams = list(requester, "/end/streams");
    let size = rr(requester, "request_bytes").as_i64().unwrap_or(1);
    let sent = streams
        .iter()
        .filter_map(|stream| int(stream, "/sender/bytes"));
    let sent = sent.sum::<i64>() / size;
    let intervals = list(requester, "/intervals");
    let counted: i64 = intervals
        .iter()
        .filter_map(|interval| int(interval, "/rr/transactions"))
        .sum();
    let end = intervals.iter().filter_map(|i| float(i, "/sum/end"));
    let end = end.fold(0.0, f64::max);
    let answered = int(responder, "/end/sum_received/bytes").unwrap_or(0) / size;
    let total = i64::try_from(total).unwrap_or(-1);
    let in_flight = i64::try_from(streams.len()).unwrap_or(0);
    let timeouts = rr(requester, "timeouts").as_i64().unwrap_or(0);
    is_sound(args, requester)?;
    let is_sound = total > 0
        && (sent, counted) == (total, total)
        && end <= 1.0
        // A response that came too late was sent.
        && answered <= total + in_flight + timeouts;
    if is_sound {
        Ok(())
    } else {
        Err(format!(
            "{args}: {total} transactions, {sent} in streams, {counted} in intervals until {end}, {answered} answered"
        ))
    }
}

#[test]
fn hundreds_of_connections_end_in_time_and_their_sum_is_right() {
    // With a thread for each, and with shared ones.
    let rows = [
        "--rr -P 100 -t 1 --threads 100",
        "--rr -P 100 -t 1 -R --threads 100",
        "--rr -P 300 -t 1",
        "--rr -P 1000 -t 1 -R",
        "--rr -u -P 100 -t 1",
    ]
    .map(str::to_owned);
    parallel::each(&rows, 1, |args| {
        let (client, server) = run(args);
        if args.contains("-R") {
            counts_agree(args, &server, &client)?;
            let both = [&client, &server].map(|end| rr(end, "transactions"));
            let of_streams = int(&client, "/end/sum_sent/bytes");
            if both[0] != both[1] || both[0].as_i64() != of_streams {
                return Err(format!("{args}: {both:?}, {of_streams:?} in streams"));
            }
            Ok(())
        } else {
            counts_agree(args, &client, &server)
        }
    });
    let server = Server::start(Peer::Ours, &[]);
    let client = run_client(Peer::Ours, server.port(), "--rr -P 20 -t 1 -R");
    let (streams, sum) = transactions_in(&client.stdout);
    assert_eq!(streams.len(), 20, "{client}");
    assert_eq!(Some(streams.iter().sum()), sum, "{client}");
}

#[test]
fn n_is_a_number_of_transactions() {
    let rows: Vec<String> = [
        "--rr -n 3000",
        "--rr -n 3000 -R",
        "--rr -n 3000 -P 3 --pipeline 7",
        "--rr -u -n 3000",
        "--rr -u -n 3000 -R -P 2",
        "--rr -n 3000 -O 1 -R",
        "--rr -n 3000 -O 1",
        "--rr -n 100 --rate 300",
        "--rr -n 100 --rate 20 -P 20",
        "--rr -n 3000 -P 100",
        "--rr -n 3000 -P 100 -R -O 1 --pipeline 3",
        "--rr=10,70000 -n 3000 -P 20 --pipeline 16",
        "--rr -u -n 3000 -P 100",
        "--crr -n 3000 -P 3",
        "--crr -n 3000 -O 1",
    ]
    .map(str::to_owned)
    .into();
    parallel::each(&rows, 2, |args| {
        let (client, _) = run(args);
        let wanted = if args.contains("-n 100 ") { 100 } else { 3000 };
        match rr(&client, "transactions").as_u64() {
            Some(count) if count == wanted => Ok(()),
            other => Err(format!("{args}: {other:?}")),
        }
    });
}

#[test]
fn the_text_names_the_transport() {
    let server = Server::start(Peer::Ours, &[]);
    for (option, name) in [("", "TCP"), ("-m", "MPTCP"), ("-u", "UDP")] {
        let client = run_client(Peer::Ours, server.port(), &format!("--rr -n 20 {option}"));
        let line = format!("Closed loop over {name}, 1 connection, 1 in flight");
        assert!(client.stdout.contains(&line), "{client}");
    }
    server.stop();
}

#[test]
fn iperf3_is_refused_before_a_data_connection_is_opened() {
    let server = Server::start(Peer::New, &["-J"]);
    for option in ["--rr", "--crr"] {
        let args = format!("{option} -t 1");
        let client = run_client(Peer::Ours, server.port(), &args);
        assert!(!client.succeeded());
        let message =
            format!("{option} needs iperf at both ends, and the server is another program");
        assert!(client.stderr.contains(&message), "{client}");
        assert!(!client.stdout.contains("connected to"), "{client}");
    }
    server.stop();
}

/// A test whose results can't be written would be run in vain.
#[test]
fn a_file_in_no_folder_is_refused_before_anything_is_connected() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing/file");
    for option in ["--hlog", "--html", "--metrics-file", "--influx"] {
        let args = format!("--rr -t 1 {option} {}", missing.display());
        // Nothing listens on that port.
        let client = run_client(Peer::Ours, 1, &args);
        assert!(!client.succeeded());
        let message = format!("{option} {}: No such file or directory", missing.display());
        assert!(client.stderr.contains(&message), "{client}");
    }
}

#[test]
fn an_iperf3_client_tests_as_before() {
    let outcome = Pair::new(Peer::New, Peer::Ours)
        .client_args("-t 1 -J")
        .run();
    let client = outcome.client_json().unwrap();
    assert_eq!(json::at(&client, "/end/rr"), &Value::Null);
}

#[test]
fn lost_datagrams_are_timeouts_and_are_not_repeated() {
    let server = Server::start(Peer::Ours, &["-1", "-J"]);
    // Each tenth datagram is dropped.
    let lossy = Plan::new().every(10, Fate::Drop);
    let proxy = Proxy::udp(server.port(), lossy, Plan::new());
    let args = "-J --rr -u -n 50 --rr-timeout 100";
    let client = run_client(Peer::Ours, proxy.port(), args);
    assert!(client.succeeded(), "{client}");
    let document = json::parse(&client.stdout).expect("a document");
    let count = |key| rr(&document, key).as_u64().unwrap();
    let (answered, lost) = (count("transactions"), count("timeouts"));
    assert!(lost >= 3, "{client}");
    assert_eq!(answered + lost, 50, "{client}");
    let max = float(&document, "/end/rr/latency_us/max").unwrap();
    assert!(max < 100_000.0 * 20.0, "{max}");
}

/// Connections that share a thread wait for their own responses only, and no longer than for a time-out.
#[test]
fn a_lost_datagram_does_not_hold_up_a_hundred_connections() {
    let server = Server::start(Peer::Ours, &["-1", "-J"]);
    let lossy = Plan::new().every(20, Fate::Drop);
    let proxy = Proxy::udp(server.port(), lossy, Plan::new());
    let args = "-J --rr -u -n 3000 -P 100 --rr-timeout 200";
    let client = run_client(Peer::Ours, proxy.port(), args);
    assert!(client.succeeded(), "{client}");
    let document = json::parse(&client.stdout).expect("a document");
    let count = |key| rr(&document, key).as_u64().unwrap();
    let (answered, lost) = (count("transactions"), count("timeouts"));
    assert!(lost > 0, "{client}");
    assert_eq!(answered + lost, 3000, "{client}");
}

/// Each port is free again as soon as its connection is closed: otherwise all would be used up after a few transactions.
#[test]
fn six_local_ports_are_enough_for_any_number_of_connections() {
    let namespace = Namespace::new();
    let client = namespace.inside(|| {
        let server = Server::start(Peer::Ours, &[]);
        let range = "net.ipv4.ip_local_port_range=40000 40005";
        namespace.run("sysctl", &["-w", range, "net.ipv4.tcp_tw_reuse=0"]);
        run_client(Peer::Ours, server.port(), "-J --crr -n 2000")
    });
    assert!(client.succeeded(), "{client}");
    let document = json::parse(&client.stdout).expect("a document");
    assert_eq!(rr(&document, "transactions").as_u64(), Some(2000));
}

#[test]
fn a_server_behind_a_vmm_declines_a_connection_for_each_transaction() {
    let vmm = Vmm::start(HalfClose::Passed, Duration::ZERO);
    let server = vmm.serve(5201, "-1");
    let client = vmm.client(5201, "--crr -t 1").finish(HANG);
    let message = "the server does not grant --crr for this test";
    assert!(client.stderr.contains(message), "{client}");
    server.finish(HANG);
}
