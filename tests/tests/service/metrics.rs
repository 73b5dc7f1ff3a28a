//! `--metrics`: what a server shows while it serves.

use std::io::Write;
use std::process::{Command, Stdio};

use iperf_harness::http::get;
use iperf_harness::pair::{run_client, start_client};
use iperf_harness::port::Port;
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems, Server, json};

/// A server with metrics on a port of its own.
pub(crate) fn start(options: &[&str]) -> (Server, Port) {
    let port = Port::reserve();
    let address = format!("127.0.0.1:{}", port.number());
    let server = Server::start(Peer::Ours, &[&["--metrics", &address], options].concat());
    (server, port)
}

/// The value of a sample.
fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn page(port: &Port) -> String {
    get(port.number(), "/metrics", &[]).expect("a page").1
}

#[test]
fn tests_are_counted_while_they_run_and_when_they_are_over() {
    let (server, port) = start(&["--tests", "2"]);
    let long = start_client(Peer::New, server.port(), "-t 12 -b 20M");
    let running = "iperf_server_tests_running";
    wait_for(HANG, || {
        (sample(&page(&port), running) == Some(1.0)).then_some(())
    })
    .expect("a running test");
    let counted = wait_for(HANG, || {
        (sample(&page(&port), "iperf_server_received_bytes_total") > Some(1e6)).then_some(())
    });
    counted.expect("bytes of a running test");
    let small = run_client(Peer::Ours, server.port(), "-n 1M -R -J");
    let sent = json::int(&small.document(), "/end/sum_sent/bytes");
    let kept = start_client(Peer::Old, server.port(), "-t 6 -b 1M");
    wait_for(HANG, || {
        (sample(&page(&port), running) == Some(2.0)).then_some(())
    })
    .expect("two tests");
    let refused = run_client(Peer::Ours, server.port(), "-n 1M");
    let ends = [long.finish(HANG), kept.finish(HANG)];
    wait_for(HANG, || {
        (sample(&page(&port), running) == Some(0.0)).then_some(())
    })
    .expect("no test");

    let page = page(&port);
    let mut f = Problems::new();
    f.holds(
        "the tests succeed",
        ends.iter().all(iperf_harness::Finished::succeeded),
    );
    f.equal("exit code of the refused client", refused.code(), Some(1));
    for (name, value) in [
        ("iperf_server_tests_total{outcome=\"completed\"}", 3.0),
        ("iperf_server_tests_total{outcome=\"failed\"}", 0.0),
        ("iperf_server_refused_clients_total", 1.0),
        ("iperf_server_handshakes_total", 3.0),
        ("iperf_server_ready", 1.0),
    ] {
        f.equal(name, sample(&page, name), Some(value));
    }
    f.equal(
        "bytes sent",
        sample(&page, "iperf_server_sent_bytes_total"),
        sent.map(|sent| sent as f64),
    );
    let last = "iperf_server_last_test_bytes_per_second{transport=\"tcp\",direction=\"forward\",way=\"received\"}";
    f.holds("the last rate", sample(&page, last) > Some(1e4));
    f.assert_none(page);
}

#[test]
fn both_formats_are_valid_and_chosen_by_accept() {
    let (server, port) = start(&[]);
    let client = run_client(Peer::Ours, server.port(), "-u -t 1 -b 1M");
    let mut f = Problems::new();
    f.holds("the client succeeds", client.succeeded());
    let plain = page(&port);
    let open = get(
        port.number(),
        "/metrics",
        &[("Accept", "application/openmetrics-text")],
    )
    .expect("a page")
    .1;
    f.holds(
        "the end of OpenMetrics",
        open.ends_with("\n# EOF\n") && !plain.contains("# EOF"),
    );
    f.holds(
        "a counter of OpenMetrics",
        open.contains("# TYPE iperf_server_tests counter\n"),
    );
    f.holds(
        "a counter of Prometheus",
        plain.contains("# TYPE iperf_server_tests_total counter\n"),
    );
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool of the package prometheus");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(plain.as_bytes()).expect("promtool reads");
    drop(stdin);
    let checked = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    f.equal("complaints of promtool", said.as_str(), "");
    for (path, status) in [
        ("/health", 200),
        ("/ready", 200),
        ("/", 200),
        ("/none", 404),
    ] {
        f.equal(
            path,
            get(port.number(), path, &[]).map(|(status, _)| status),
            Some(status),
        );
    }
    f.assert_none(plain);
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let (_server, port) = start(&[]);
    let mut command = Peer::Ours.command();
    let address = format!("127.0.0.1:{}", port.number());
    command.args(["-s", "-p", "0", "--metrics", &address]);
    let end = iperf_harness::Running::start(command).finish(HANG);
    assert_eq!(end.code(), Some(1), "{end}");
}
