//! A real Prometheus scrapes a server and an exporter, and evaluates the queries of `deploy/`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use iperf_harness::http::{encoded, get};
use iperf_harness::port::Port;
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Problems, Running, json};
use serde_json::Value;

use crate::{deployed, exporter, metrics};

/// Queries Prometheus.
fn ask(port: u16, path: &str) -> Option<Value> {
    let (_, body) = get(port, path, &[])?;
    json::parse(&body).ok()
}

/// How many series a query finds; an error if it is none.
fn found(port: u16, query: &str) -> Result<usize, String> {
    let answer =
        ask(port, &format!("/api/v1/query?query={}", encoded(query))).ok_or("no answer")?;
    match answer.pointer("/data/result").and_then(Value::as_array) {
        Some(result) => Ok(result.len()),
        None => Err(answer.to_string()),
    }
}

/// The queries of the dashboard, with its variables filled in.
fn queries() -> Vec<String> {
    let text = fs::read_to_string(deployed("grafana/iperf.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .filter_map(|target| target["expr"].as_str())
        .map(|query| {
            query
                .replace("$target", ".*")
                .replace("$__rate_interval", "30s")
        })
        .collect()
}

#[test]
fn a_real_prometheus_scrapes_both_and_answers_the_queries_of_the_dashboard() {
    let (server, shown) = metrics::start(&["--tests", "4"]);
    let (_exporter, probed) = exporter::start(&[]);
    let dir = tempfile::tempdir().expect("a directory");
    let config = format!(
        "global: {{scrape_interval: 1s}}
rule_files: ['{rules}']
scrape_configs:
  - job_name: iperf-server
    static_configs: [{{targets: ['127.0.0.1:{shown}']}}]
  - job_name: iperf-tcp
    metrics_path: /probe
    scrape_interval: 5s
    scrape_timeout: 5s
    params: {{target: ['127.0.0.1'], port: ['{port}'], period: [1s], bitrate: [10M]}}
    static_configs: [{{targets: ['127.0.0.1:{probed}']}}]
  - job_name: iperf-udp
    metrics_path: /probe
    scrape_interval: 5s
    scrape_timeout: 5s
    params: {{target: ['localhost'], port: ['{port}'], period: [1s], bitrate: [1M], udp_mode: ['true']}}
    static_configs: [{{targets: ['127.0.0.1:{probed}']}}]
",
        rules = deployed("prometheus/iperf-alerts.yml").display(),
        shown = shown.number(),
        probed = probed.number(),
        port = server.port(),
    );
    let file = dir.path().join("prometheus.yml");
    fs::write(&file, config).expect("the configuration");
    let port = Port::reserve();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.path().join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{}", port.number()));
    let prometheus = Running::start(command);
    let port = port.number();

    let mut f = Problems::new();
    let ready = |query: &str, least: usize| {
        wait_for(HANG, || {
            std::thread::sleep(Duration::from_millis(100));
            (found(port, query).ok()? >= least).then_some(())
        })
        .is_some()
    };
    f.holds("three targets are up", ready("up == 1", 3));
    f.holds("both probes succeed", ready("iperf3_up == 1", 2));
    f.holds(
        "tests are counted twice",
        ready("increase(iperf_server_tests_total[30s]) > 0", 1),
    );
    // Each panel shows something: these tests are what it is about.
    for query in queries() {
        f.holds(
            format!("{query}: {:?}", found(port, &query)),
            ready(&query, 1),
        );
    }
    let rules = ask(port, "/api/v1/rules").unwrap_or_default();
    let rules = rules
        .pointer("/data/groups/0/rules")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    f.equal("rules", rules.len(), 6);
    for rule in &rules {
        f.holds(format!("{rule}"), rule["health"] != "err");
    }
    f.assert_none(prometheus.stderr_so_far());
}

#[test]
fn the_alerts_fire_when_they_should() {
    let mut command = Command::new("promtool");
    command
        .args(["test", "rules", "iperf-alerts-test.yml"])
        .current_dir(deployed("prometheus"));
    let end = Running::start(command).finish(HANG);
    assert!(end.succeeded(), "{end}");
    let mut command = Command::new("promtool");
    command
        .args(["check", "config", "prometheus.yml"])
        .current_dir(deployed("prometheus"));
    let end = Running::start(command).finish(HANG);
    assert!(end.succeeded(), "{end}");
}
