//! The programs that read what is printed for them accept it: Prometheus, node_exporter, InfluxDB, jq, and readers of
//! JUnit XML. `tests/run` installs them.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "support/consumer.rs"]
mod consumer;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use consumer::{Service, free_port};

/// Results of several tools and kinds.
const RUNS: [&str; 5] = [
    "nuttcp-udp.txt",
    "neper-tcp-rr.txt",
    "netperf-tcp-rr-cpu.txt",
    "iperf-vsock-json.json",
    "nuttcp-tcp.txt",
];

fn run(words: &[&str]) -> Output {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/tests/data/samples");
    Command::new(env!("CARGO_BIN_EXE_iperf"))
        .args(words)
        .current_dir(samples)
        .output()
        .unwrap()
}

fn iperf(words: &[&str]) -> Vec<u8> {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    output.stdout
}

fn report(format: &str) -> Vec<u8> {
    iperf(&[&["report", "--format", format][..], &RUNS].concat())
}

/// Runs a program with `input` on its stdin.
fn feed(program: &str, words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn promtool_finds_no_fault_in_any_metrics() {
    let compare = |format| {
        let words = [
            "compare",
            "--format",
            format,
            "nuttcp-tcp.txt",
            "nuttcp-tcp-r.txt",
        ];
        iperf(&words)
    };
    // A failed run among good ones; the exit code is 2.
    let failed = |format| {
        let words = [
            "report",
            "--format",
            format,
            "uperf-mixed-rand-error.txt",
            "nuttcp-tcp.txt",
        ];
        run(&words).stdout
    };
    for format in ["prometheus", "openmetrics"] {
        for text in [report(format), compare(format), failed(format)] {
            assert!(!text.is_empty());
            let output = feed("promtool", &["check", "metrics"], &text);
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{format}: {output:?}"
            );
        }
    }
}

#[test]
fn node_exporter_serves_the_files_of_several_tests() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let good = [
        "--loopback",
        "-n",
        "1M",
        "-J",
        "--metrics-file",
        &file("good.prom"),
    ];
    assert!(run(&good).status.success());
    let failing = [
        "-c",
        "127.0.0.1",
        "-p",
        "1",
        "--metrics-file",
        &file("failing.prom"),
    ];
    assert_eq!(run(&failing).status.code(), Some(1));
    fs::write(directory.path().join("report.prom"), report("prometheus")).unwrap();
    let port = free_port();
    let mut command = Command::new("prometheus-node-exporter");
    command
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg("--collector.textfile.directory")
        .arg(directory.path());
    let exporter = Service::start(command, port);
    let (status, metrics) = exporter.get("/metrics");
    assert_eq!(status, 200, "{metrics}");
    for line in [
        "node_textfile_scrape_error 0",
        "iperf_success{port=\"1\",run=\"test\",target=\"127.0.0.1\"} 0",
        "iperf_success{run=\"test\",target=\"127.0.0.1\"} 1",
        // Labels that others of the file have are empty here, which is the same as none.
        "iperf_success{port=\"\",run=\"nuttcp-tcp.txt\",target=\"\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in\n{metrics}"
        );
    }
    assert!(metrics.contains("iperf_received_bytes_per_second{direction=\"forward\""));
}

/// An InfluxDB 1.x with everything in `directory`.
fn influxdb(directory: &Path) -> Service {
    let (http, rpc) = (free_port(), free_port());
    let folder = |name: &str| directory.join(name).display().to_string();
    let (meta, data, wal) = (folder("meta"), folder("data"), folder("wal"));
    let config = format!(
        "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n[meta]\ndir = \"{meta}\"\n\
         [data]\ndir = \"{data}\"\nwal-dir = \"{wal}\"\n[monitor]\nstore-enabled = false\n\
         [http]\nbind-address = \"127.0.0.1:{http}\"\n"
    );
    let path = directory.join("influxdb.conf");
    fs::write(&path, config).unwrap();
    let mut command = Command::new("influxd");
    command.args(["run", "-config"]).arg(path);
    Service::start(command, http)
}

#[test]
fn influxdb_stores_runs_intervals_and_failures() {
    let directory = tempfile::tempdir().unwrap();
    let lines = directory.path().join("lines.txt");
    let file = lines.to_str().unwrap();
    let test = [
        "--loopback",
        "-t",
        "1",
        "-b",
        "10M",
        "-i",
        "0.2",
        "-J",
        "--influx",
        file,
    ];
    let output = run(&test);
    assert!(output.status.success(), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rate = document["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .unwrap();
    assert_eq!(
        run(&["-c", "127.0.0.1", "-p", "1", "--influx", file])
            .status
            .code(),
        Some(1)
    );
    let influx = influxdb(directory.path());
    let create = influx.post("/query?q=CREATE%20DATABASE%20iperf", b"");
    assert_eq!(create.0, 200, "{create:?}");
    let texts = [fs::read(&lines).unwrap(), report("influx")];
    for text in &texts {
        // 204 is success; a line that is not understood is 400, with the others stored.
        let written = influx.post("/write?db=iperf", text);
        assert_eq!(written.0, 204, "{written:?}");
    }
    let value = |query: &str| {
        let (status, body) =
            influx.get(&format!("/query?db=iperf&q={}", query.replace(' ', "%20")));
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let value = &answer["results"][0]["series"][0]["values"][0][1];
        value.as_f64().unwrap_or_else(|| panic!("{query}: {body}"))
    };
    let stored = value("select throughput from iperf where tool='iperf'");
    assert!((stored / rate - 1.0).abs() < 1e-9, "{stored} and {rate}");
    assert!((value("select count(success) from iperf where success=0") - 1.0).abs() < 0.1);
    assert!((value("select count(success) from iperf where success=1") - 6.0).abs() < 0.1);
    let intervals = document["intervals"].as_array().unwrap().len() as f64;
    let count = value(
        "select count(throughput) from iperf_interval where \"stream\"='all' and tool='iperf'",
    );
    assert!((count - intervals).abs() < 0.1, "{count} of {intervals}");
}

/// What benchmark-action/github-action-benchmark's `extractCustomBenchmarkResult` takes: an array of objects, each with
/// a name and a unit that are texts, a value that is a number, and texts as range and extra. A name is a chart.
const GITHUB_ACTION: &str = r#"
    (type == "array") and (length > 0) and ([.[].name] | length == (unique | length))
    and all(.[]; (.name | type == "string" and length > 0) and (.unit | type == "string" and length > 0)
        and (.value | type == "number")
        and (.range | type == "string") and (.extra | type == "string")
        and ((keys - ["name", "unit", "value", "range", "extra"]) == []))
"#;

/// Bencher's metric format: benchmarks of at most 1024 characters, measures of at most 64, values with bounds.
const BENCHER: &str = r#"
    (type == "object") and (length > 0)
    and all(to_entries[]; (.key | length <= 1024) and (.value | type == "object" and length > 0)
        and all(.value | to_entries[]; (.key | length <= 64 and test("^[a-z0-9-]+$"))
            and (.value.value | type == "number")
            and all(.value[]; type == "number")
            and ((.value | keys) - ["value", "lower_value", "upper_value"] == [])))
"#;

/// Every figure of a report has its value, unit and direction.
const REPORT: &str = r#"
    (.records | length == 5)
    and all(.records[]; (.source.file | type == "string") and (.metrics | length > 0)
        and all(.metrics[]; (.value | type == "number") and (.unit | type == "string")
            and (.better | IN("higher", "lower", "neither"))))
"#;

/// A verdict for every gated metric, and an outcome.
const COMPARISON: &str = r#"
    (.outcome == "inconclusive") and (.tests[0].metrics | length > 0)
    and any(.tests[0].metrics[]; .gated and .verdict == "inconclusive")
"#;

#[test]
fn jq_finds_what_readers_of_json_look_for() {
    let compared = [
        "compare",
        "--format",
        "json",
        "nuttcp-tcp.txt",
        "nuttcp-tcp-r.txt",
    ];
    for (name, text, rules) in [
        ("bigger", report("github-action-benchmark"), GITHUB_ACTION),
        (
            "smaller",
            report("github-action-benchmark-smaller"),
            GITHUB_ACTION,
        ),
        ("bencher", report("bencher"), BENCHER),
        ("report", report("json"), REPORT),
        ("comparison", iperf(&compared), COMPARISON),
    ] {
        let output = feed("jq", &["--exit-status", rules], &text);
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success(), "{name}: {output:?}\n{text}");
    }
}

/// Runs of nuttcp around `rate` Mbit/s.
fn write_runs(path: &Path, rate: f64) -> String {
    let line = |at: u32| {
        let rate = rate + f64::from(at * 7 % 11);
        let megabytes = rate / 4.0;
        format!("{megabytes} MB / 2.00 sec = {rate} Mbps 6 %TX 9 %RX 0 retrans 0.07 msRTT\n")
    };
    fs::write(path, (0..10).map(line).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn junit_reports_of_every_outcome_follow_the_schema() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (base, slow) = (
        write_runs(&path("base <&>\u{1}"), 1000.0),
        write_runs(&path("slow"), 800.0),
    );
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/junit.xsd");
    let schema = schema.to_str().unwrap();
    for (words, code, expected) in [
        (vec![base.as_str(), &base], 0, "failures=\"0\""),
        (
            vec![&base, &slow, "--require", "loss<1%"],
            1,
            "<failure message",
        ),
        (
            vec!["nuttcp-tcp.txt", "nuttcp-tcp-r.txt"],
            0,
            "<skipped message",
        ),
        (
            vec!["netperf-tcp-rr.txt", "netperf-udp-rr.txt"],
            4,
            "<error message",
        ),
    ] {
        let output = run(&[&["compare", "--format", "junit"][..], &words].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(text.contains(expected), "{expected}: {text}");
        let checked = feed(
            "xmllint",
            &["--noout", "--schema", schema, "-"],
            &output.stdout,
        );
        assert!(checked.status.success(), "{checked:?}\n{text}");
    }
}
