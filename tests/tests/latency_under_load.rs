//! `--probe` and `--one-way` against the truth: a link with a known queue, between real ends.
//!
//! ```text
//! left ── queue of 50 kB, 1 Mbit/s: 400 ms when it is full ──► right
//! ```
//!
//! UDP faster than the link keeps the queue full: what arrives has waited behind 50 kB, less a part of a datagram, which is
//! why these are short.

use std::process::Command;
use std::time::Duration;

use iperf_harness::json::{self, float, int, list, text};
use iperf_harness::netns::{Namespace, wire};
use iperf_harness::pair::{run_client, start_client, words};
use iperf_harness::proxy::Proxy;
use iperf_harness::{Finished, Peer, Running, Server, parallel, priority};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

const QUEUE_BYTES: f64 = 50_000.0;
const BITS_PER_SECOND: f64 = 1e6;

/// The delay of the full queue in microseconds.
const QUEUE_US: f64 = QUEUE_BYTES * 8.0 / BITS_PER_SECOND * 1e6;

/// A test over a wire with that queue at the end of the client, or of the server.
fn over_the_queue(server: Peer, at_client: bool, args: &str) -> Finished {
    priority::raise();
    let ends = wire(1500);
    let [here, there] = &ends;
    let (end, device) = if at_client {
        (here, "left")
    } else {
        (there, "right")
    };
    let shape = format!(
        "qdisc add dev {device} root tbf rate {BITS_PER_SECOND}bit burst 2000 limit {QUEUE_BYTES}"
    );
    end.run("tc", &words(&shape));
    let server = Server::start_with(server, &["-1"], |command| there.enter(&command));
    let mut command = Peer::Ours.command();
    command
        .args(["-c", "10.9.0.2", "-p", &server.port().to_string(), "-J"])
        .args(words(args));
    let client = Running::start(here.enter(&command)).finish(LIMIT);
    let server = server.finish(LIMIT);
    assert!(client.succeeded(), "{client}{server}");
    client
}

fn document(client: &Finished) -> Value {
    json::parse(&client.stdout).expect("a document")
}

/// Whether a delay is that of the queue, to 5 %.
fn is_of_the_queue(name: &str, micros: Option<f64>) -> Result<(), String> {
    let off = micros.map(|micros| (micros - QUEUE_US).abs() / QUEUE_US);
    if off.is_some_and(|off| off < 0.05) {
        Ok(())
    } else {
        Err(format!("{name}: {micros:?} us, and the queue's {QUEUE_US}"))
    }
}

#[test]
fn the_increase_is_the_delay_of_the_queue_in_its_direction() {
    let rows = ["", "-R"].map(str::to_owned);
    parallel::each(&rows, 2, |way| {
        let args = format!("-u -l 400 -b 1500k -O 3 -t 4 --probe --one-way {way}");
        let forward = way.is_empty();
        let end = over_the_queue(Peer::Ours, forward, &args);
        let document = document(&end);
        let load = |key: &str| float(&document, &format!("/end/load/{key}"));
        let (loaded, free) = if forward {
            ("up_increase_us", "down_increase_us")
        } else {
            ("down_increase_us", "up_increase_us")
        };
        is_of_the_queue("round trip", load("increase_us"))?;
        is_of_the_queue(loaded, load(loaded))?;
        let other = load(free).ok_or("no other way")?;
        if other.abs() > QUEUE_US / 20.0 {
            return Err(format!("{free}: {other}"));
        }
        is_of_the_queue("datagrams", float(&document, "/end/one_way/0/delay_us/p50"))?;
        let rpm = load("rpm").ok_or("no rpm")?;
        assert!((140.0..160.0).contains(&rpm), "{rpm}");
        let exact = json::at(&document, "/end/clock/exact");
        assert_eq!(exact, &Value::Bool(true), "{end}");
        let direction = text(&document, "/end/one_way/0/direction");
        assert_eq!(direction, text(&document, "/end/load/direction"), "{end}");
        Ok(())
    });
}

#[test]
fn beside_iperf3_the_kernel_reports_the_latency() {
    for server in [Peer::Old, Peer::New] {
        let end = over_the_queue(server, true, "--probe -O 1 -t 3");
        let document = document(&end);
        assert_eq!(
            text(&document, "/end/load/method"),
            Some("tcp_info"),
            "{end}"
        );
        let load = |key: &str| float(&document, &format!("/end/load/{key}")).unwrap();
        let idle = load("idle/latency_us/mean");
        assert!(idle > 0.0 && load("increase_us") > QUEUE_US / 8.0, "{end}");
    }
}

#[test]
fn a_receivers_round_trips_beside_iperf3_are_named_as_coarse() {
    let server = Server::start(Peer::New, &[]);
    for (args, is_coarse) in [("--probe -t 1", false), ("--probe -t 1 -R", true)] {
        let end = run_client(Peer::Ours, server.port(), args);
        assert!(end.succeeded(), "{end}");
        let note = "round trips of the streams (to 1 ms where this end receives)";
        assert_eq!(end.stdout.contains(note), is_coarse, "{end}");
    }
    server.stop();
}

/// The document of a client that reads another boot id than its server, so that it knows nothing of its clock.
fn with_another_clock(port: u16, args: &str) -> Value {
    let script = "mount --bind /etc/hostname /proc/sys/kernel/random/boot_id; exec \"$0\" \"$@\"";
    let client = Peer::Ours.command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]);
    command.arg(client.get_program()).args(client.get_args());
    command.args(["-J", "-c", "127.0.0.1", "-p", &port.to_string()]);
    command.args(words(args));
    let end = Running::start(command).finish(LIMIT);
    assert!(end.succeeded(), "{end}");
    document(&end)
}

/// Over TCP, a path that is 10 ms long one way and 30 ms the other: known exactly with one clock, and otherwise to within
/// the error that is reported.
#[test]
fn each_way_of_a_tcp_path_is_measured_to_within_the_reported_error() {
    const MILLI: f64 = 1000.0;
    let [up, down] = [10, 30].map(Duration::from_millis);
    let rows = ["one clock", "two clocks"].map(str::to_owned);
    parallel::each(&rows, 2, |clocks| {
        priority::raise();
        let server = Server::start(Peer::Ours, &["-1"]);
        let path = Proxy::delays(server.port(), up, down);
        // Fewer probes than would wait for each other.
        let args = "-b 1M -t 2 --probe=20";
        let document = if clocks == "one clock" {
            let client = start_client(Peer::Ours, path.port(), &format!("-J {args}"));
            document(&client.finish(LIMIT))
        } else {
            with_another_clock(path.port(), args)
        };
        server.finish(LIMIT);
        let least = |key: &str| float(&document, &format!("/end/load/loaded/{key}/min"));
        let error = float(&document, "/end/clock/error_us").ok_or("no error bound")?;
        for (key, truth) in [("up_us", 10.0), ("down_us", 30.0)] {
            let measured = least(key).ok_or("no delay")? / MILLI;
            let error = error / MILLI;
            // What a sleep and two more sockets take; a busy machine delays some probes, and not all of them.
            let possible = truth - error - 0.01..truth + error + 8.0;
            if !possible.contains(&measured) {
                return Err(format!("{key}: {measured} ms, and {possible:?} is right"));
            }
        }
        let exact = json::at(&document, "/end/clock/exact");
        assert_eq!(exact, &Value::Bool(clocks == "one clock"), "{document:#}");
        // Half of the shortest round trip, or nothing.
        let bound = if clocks == "one clock" {
            0.0..=0.0
        } else {
            10.0..=40.0
        };
        if bound.contains(&(error / MILLI)) {
            Ok(())
        } else {
            Err(format!("an error of {error} us"))
        }
    });
}

/// Where the two clocks are not one, which the client here denies, the offset is estimated.
#[test]
fn clocks_that_are_not_known_to_be_one_are_related_by_the_probes() {
    let namespace = Namespace::new();
    let document = namespace.inside(|| {
        let server = Server::start(Peer::Ours, &["-1"]);
        with_another_clock(server.port(), "-u -b 1M -t 3 --one-way --probe")
    });
    let clock = |key: &str| float(&document, &format!("/end/clock/{key}")).unwrap();
    let exact = json::at(&document, "/end/clock/exact");
    assert_eq!(exact, &Value::Bool(false), "{document:#}");
    assert!(
        clock("offset_us").abs() <= clock("error_us"),
        "{document:#}"
    );
    let delay = float(&document, "/end/one_way/0/delay_us/min").unwrap();
    let round_trip = float(&document, "/end/load/loaded/latency_us/max").unwrap();
    assert!(
        delay <= round_trip + 2.0 * clock("error_us"),
        "{document:#}"
    );
}

#[test]
fn probes_go_beside_every_kind_of_test() {
    let rows = [
        "--probe=200 -t 1",
        "--probe -t 1 -P 20 -O 1",
        "--probe -t 1 -R --probe-dscp ef",
        "--probe -t 1 --bidir -b 10M",
        "--probe -u -t 1 --bidir --one-way",
        "--probe -n 1M",
    ]
    .map(str::to_owned);
    parallel::each(&rows, 3, |args| {
        let server = Server::start(Peer::Ours, &["-1"]);
        let client = start_client(Peer::Ours, server.port(), &format!("-J {args}")).finish(LIMIT);
        server.finish(LIMIT);
        let document = json::parse(&client.stdout).map_err(|error| format!("{error}{client}"))?;
        let sent = |period: &str| int(&document, &format!("/end/load/{period}/sent"));
        for period in ["idle", "after"] {
            let latency = format!("/end/load/{period}/latency_us/min");
            if sent(period) < Some(1) || float(&document, &latency).is_none() {
                return Err(format!("{period}: {client}"));
            }
        }
        let loads = list(&document, "/intervals").iter();
        let answered = loads.filter_map(|interval| int(interval, "/load/answered"));
        let answered: i64 = answered.sum();
        // An amount is sent before a probe is due.
        let least = i64::from(!args.contains("-n "));
        if answered < least || Some(answered) > sent("loaded") {
            return Err(format!("{answered} answers in all intervals: {client}"));
        }
        let tos = if args.contains("ef") { 184 } else { 0 };
        assert_eq!(int(&document, "/end/load/tos"), Some(tos), "{client}");
        let ways = list(&document, "/end/one_way").len();
        let wanted = if args.contains("--one-way") { 2 } else { 0 };
        assert_eq!(ways, wanted, "{client}");
        Ok(())
    });
}

#[test]
fn each_interval_shows_the_latency_of_the_loaded_path() {
    let server = Server::start(Peer::Ours, &["-1"]);
    let args = "-t 2 -O 1 -b 10M --probe=100";
    let client = start_client(Peer::Ours, server.port(), args).finish(LIMIT);
    server.finish(LIMIT);
    let lines = client.stdout.lines();
    let lines: Vec<&str> = lines.filter(|line| line.starts_with("[RTT]")).collect();
    // The omitted second has none. There are two others, or one that stands for both if it is late.
    let intervals = client.stdout.split("- - - -").next().unwrap_or_default();
    let counted =
        (intervals.lines()).filter(|line| line.contains("bits/sec") && !line.contains("(omitted)"));
    assert_eq!(lines.len(), counted.count(), "{client}");
    assert!(!lines.is_empty(), "{client}");
    for line in lines {
        assert!(
            line.contains(" probes  p50 ") && line.contains("  max "),
            "{client}"
        );
    }
}

#[test]
fn what_iperf3_cannot_answer_is_refused_before_a_data_connection_is_opened() {
    let server = Server::start(Peer::New, &[]);
    for (args, message) in [
        (
            "-u --probe -t 1",
            "--probe over UDP needs iperf at both ends",
        ),
        ("-u --one-way -t 1", "--one-way needs iperf at both ends"),
    ] {
        let client = start_client(Peer::Ours, server.port(), args).finish(LIMIT);
        assert!(client.stderr.contains(message), "{client}");
        assert!(!client.stdout.contains("connected to"), "{client}");
    }
    server.stop();
}

/// The probes of one client are on a port where another opens streams.
#[test]
fn a_server_of_many_tests_answers_the_probes_of_each() {
    let server = Server::start(Peer::Ours, &["--tests", "4"]);
    let clients = ["--probe -t 1", "--probe -R -t 1", "--probe=100 -t 1"];
    let clients =
        clients.map(|args| start_client(Peer::Ours, server.port(), &format!("-J {args}")));
    for client in clients {
        let end = client.finish(LIMIT);
        let document = document(&end);
        let lost = int(&document, "/end/load/loaded/lost");
        assert_eq!((end.code(), lost), (Some(0), Some(0)), "{end}");
    }
    server.stop();
}
