//! `iperf exporter`: probes with iperf3 servers and ours.

use std::time::{Duration, Instant};

use iperf_harness::http::get;
use iperf_harness::port::Port;
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems, Running, Server, parallel, procfs};

/// An exporter that listens.
pub(crate) fn start(options: &[&str]) -> (Running, Port) {
    let port = Port::reserve();
    let mut command = Peer::Ours.command();
    command.args([
        "exporter",
        "--listen",
        &format!("127.0.0.1:{}", port.number()),
    ]);
    command.args(options);
    let exporter = Running::start(command);
    wait_for(HANG, || {
        procfs::listens(exporter.id(), port.number()).then_some(())
    })
    .expect("the exporter listens");
    (exporter, port)
}

fn probe(port: &Port, query: &str) -> String {
    let (status, body) = get(port.number(), &format!("/probe?{query}"), &[]).expect("an answer");
    assert_eq!(status, 200, "{query}: {body}");
    body
}

#[test]
fn probes_have_the_names_of_existing_exporters_and_base_units() {
    let (_exporter, port) = start(&[]);
    let servers = [Peer::Ours, Peer::New, Peer::Old].map(|peer| Server::start(peer, &[]));
    parallel::each(&["", "&reverse_mode=true"], 1, |mode| {
        let mut f = Problems::new();
        for server in &servers {
            let target = format!(
                "target=127.0.0.1&port={}&period=1s&bitrate=10M{mode}",
                server.port()
            );
            let page = probe(&port, &target);
            let labels = format!("{{target=\"127.0.0.1\",port=\"{}\"}} ", server.port());
            f.holds("up", page.contains(&format!("\niperf3_up{labels}1\n")));
            for name in [
                "iperf3_sent_seconds",
                "iperf3_sent_bytes",
                "iperf3_received_seconds",
                "iperf3_received_bytes",
                "iperf3_retransmits",
                "iperf_sent_bytes_per_second",
                "iperf_received_bytes_per_second",
                "iperf_probe_duration_seconds",
            ] {
                f.holds(name, page.contains(&format!("\n{name}{labels}")));
            }
            let page = probe(&port, &(target + "&udp_mode=true"));
            for name in [
                "iperf3_sent_packets",
                "iperf3_sent_jitter_ms",
                "iperf3_sent_lost_packets",
                "iperf3_sent_lost_percent",
                "iperf3_received_packets",
                "iperf3_received_jitter_ms",
                "iperf3_received_lost_packets",
                "iperf3_received_lost_percent",
                "iperf_jitter_seconds",
                "iperf_loss_ratio",
            ] {
                f.holds(name, page.contains(&format!("\n{name}{labels}")));
            }
        }
        f.into_result("")
    });
}

#[test]
fn two_probes_of_a_target_run_one_after_the_other() {
    let (_exporter, port) = start(&[]);
    let server = Server::start(Peer::New, &[]);
    let query = format!(
        "target=127.0.0.1&port={}&period=1s&bitrate=1M",
        server.port()
    );
    parallel::each(&["first", "second", "third"], 3, |_| {
        let page = probe(&port, &query);
        let up = page
            .lines()
            .any(|line| line.starts_with("iperf3_up{") && line.ends_with(" 1"));
        if up { Ok(()) } else { Err(page) }
    });
}

#[test]
fn a_probe_ends_before_prometheus_stops_waiting() {
    let (exporter, port) = start(&[]);
    let server = Server::start(Peer::Ours, &[]);
    let path = format!(
        "/probe?target=127.0.0.1&port={}&period=50s&bitrate=1M",
        server.port()
    );
    let started = Instant::now();
    let (status, page) = get(
        port.number(),
        &path,
        &[("X-Prometheus-Scrape-Timeout-Seconds", "2")],
    )
    .expect("an answer");
    let mut f = Problems::new();
    f.equal("status", status, 200);
    f.holds(
        "not up",
        page.lines()
            .any(|line| line.starts_with("iperf3_up{") && line.ends_with(" 0")),
    );
    f.holds(
        "long before the test would end",
        started.elapsed() < Duration::from_secs(40),
    );
    f.holds(
        "it reports why",
        exporter.stderr_so_far().contains("the time limit is over"),
    );
    // The server is free again.
    let free = iperf_harness::service::serves(server.port(), Peer::Ours, HANG);
    f.holds(format!("{free:?}"), free.is_ok());
    f.assert_none(page);
}

#[test]
fn targets_must_be_allowed() {
    let mut f = Problems::new();
    let mut command = Peer::Ours.command();
    command.args(["exporter", "--listen", "0.0.0.0:0"]);
    let end = Running::start(command).finish(HANG);
    f.equal("exit code without a list", end.code(), Some(2));
    f.holds("it names the option", end.stderr.contains("--allow"));
    let (_exporter, port) = start(&["--allow", "10.0.0.0/8", "--allow", "*.example"]);
    for (path, status) in [
        ("/probe?target=127.0.0.1", 403),
        ("/probe?target=example", 403),
        ("/probe", 400),
        ("/probe?target=a.example&port=0", 400),
        ("/nothing", 404),
        ("/health", 200),
        ("/metrics", 200),
    ] {
        f.equal(
            path,
            get(port.number(), path, &[]).map(|(status, _)| status),
            Some(status),
        );
    }
    f.assert_none("");
}
