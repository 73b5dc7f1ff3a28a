//! Request/response tests of this program, in every form that results have. The documents are real ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use iperf_results::compare::{Comparison, Settings, Side};
use iperf_results::format::{Format, comparison, report};
use iperf_results::stats::Verdict::{Better, Same, Worse};
use iperf_results::{ReadOptions, Record, read_bytes};
use serde_json::{Value, json};

const NAMES: [&str; 4] = ["tcp", "udp", "p4", "rate"];

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exchanges");
    folder.join(format!("{name}.json"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn read(name: &str, bytes: &str) -> Vec<Record> {
    read_bytes(name, bytes.as_bytes(), &ReadOptions::default()).unwrap()
}

fn record(name: &str) -> Record {
    read(name, &text(name)).remove(0)
}

fn near(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * b.abs()
}

#[test]
fn figures_are_those_of_the_document() {
    for name in NAMES {
        let document: Value = serde_json::from_str(&text(name)).unwrap();
        let rr = &document["end"]["rr"];
        let record = record(name);
        let rate = record.get("transactions").unwrap();
        assert!(
            near(rate, rr["transactions_per_second"].as_f64().unwrap(), 1e-9),
            "{name}"
        );
        assert_eq!(record.get("throughput"), None, "{name}: bytes say nothing");
        let which = if name == "rate" {
            "response_latency_us"
        } else {
            "latency_us"
        };
        for figure in ["min", "mean", "p50", "p99", "max"] {
            let micros = rr[which][figure].as_f64();
            let seconds = record.get(&format!("latency.{figure}"));
            match (seconds, micros) {
                (Some(seconds), Some(micros)) => {
                    assert!(near(seconds * 1e6, micros, 1e-9), "{name} {figure}");
                }
                (seconds, micros) => assert_eq!(seconds, micros, "{name} {figure}"),
            }
        }
        let intervals = document["intervals"].as_array().unwrap().len();
        assert_eq!(record.samples.len(), intervals, "{name}");
    }
}

#[test]
fn every_format_has_rates_and_percentiles() {
    let records: Vec<Record> = NAMES.map(record).into();
    for (format, wanted) in [
        (Format::Text, ["transactions", "latency.p99"]),
        (Format::Markdown, ["transactions", "latency.p99"]),
        (Format::Csv, ["transactions", "latency.p99"]),
        (Format::Json, ["\"transactions\"", "\"latency.p99\""]),
        (Format::Html, ["transactions", "latency.p99"]),
        (
            Format::OpenMetrics,
            ["iperf_transactions_per_second{", "figure=\"p99\""],
        ),
        (
            Format::Prometheus,
            ["iperf_transactions_per_second{", "figure=\"p99\""],
        ),
        (Format::Influx, ["transactions=", "latency_p99="]),
        (
            Format::Bencher,
            ["transactions-per-second", "latency-p99-seconds"],
        ),
        (Format::Netperf, ["TRANSACTION_RATE=", "P99_LATENCY="]),
        (Format::Neper, ["num_transactions=", "latency_p99="]),
    ] {
        let text = report(format, &records, &[]).unwrap();
        for wanted in wanted {
            let found = text.matches(wanted).count();
            assert!(found > 0, "{format:?} has no {wanted}:\n{text}");
        }
    }
    let bigger = report(Format::GithubActionBenchmark, &records, &[]).unwrap();
    assert!(
        bigger.contains("- transactions") && !bigger.contains("latency"),
        "{bigger}"
    );
    let smaller = report(Format::GithubActionBenchmarkSmaller, &records, &[]).unwrap();
    assert!(smaller.contains("- latency.p99") && !smaller.contains("- transactions"));
}

#[test]
fn the_names_of_netperf_and_neper_are_read_back_to_the_same_figures() {
    let records: Vec<Record> = NAMES.map(record).into();
    for (format, tool, percentile) in [
        (Format::Netperf, "netperf", 0.05),
        (Format::Neper, "neper", 1e-3),
    ] {
        let text = report(format, &records, &[]).unwrap();
        let back = read(tool, &text);
        assert_eq!(back.len(), records.len(), "{text}");
        for (back, record) in back.iter().zip(&records) {
            assert_eq!(back.tool.name(), tool);
            assert_eq!(back.parameters.kind, record.parameters.kind);
            assert_eq!(
                back.parameters.transport, record.parameters.transport,
                "{text}"
            );
            assert_eq!(back.parameters.block, record.parameters.block);
            assert_eq!(back.parameters.response, record.parameters.response);
            let same = |name: &str, share: f64| {
                let (a, b) = (back.get(name).unwrap(), record.get(name).unwrap());
                assert!(near(a, b, share), "{tool}: {name} {a} {b}\n{text}");
            };
            same("transactions", 1e-3);
            same("seconds", 0.02);
            same("latency.p50", percentile);
            same("latency.max", percentile);
        }
    }
}

#[test]
fn neper_prints_the_congestion_control_that_was_used() {
    let printed = |text: &str| {
        let report = report(Format::Neper, &read("run", text), &[]).unwrap();
        let line = |line: &&str| line.starts_with("congestion_control");
        report.lines().find(line).map(ToOwned::to_owned)
    };
    assert_eq!(printed(&text("tcp")).unwrap(), "congestion_control=bbr");
    assert_eq!(printed(&text("udp")), None);
    // As neper prints it if it was not asked for any.
    let mut document: Value = serde_json::from_str(&text("tcp")).unwrap();
    document["end"]["sender_tcp_congestion"].take();
    let unknown = printed(&document.to_string());
    assert_eq!(unknown.unwrap(), "congestion_control=");
}

#[test]
fn a_percentile_of_too_few_samples_is_not_measured() {
    let mut document: Value = serde_json::from_str(&text("tcp")).unwrap();
    document["end"]["rr"]["latency_us"]["p99"] = Value::Null;
    let records = read("few", &document.to_string());
    let netperf = report(Format::Netperf, &records, &[]).unwrap();
    assert!(netperf.contains("P99_LATENCY=-1\n"), "{netperf}");
    let neper = report(Format::Neper, &records, &[]).unwrap();
    assert!(!neper.contains("latency_p99="), "{neper}");
}

/// Ten runs whose rates and latencies are scaled.
fn side(name: &str, rate: f64, latency: f64) -> Side {
    let document: Value = serde_json::from_str(&text("tcp")).unwrap();
    let runs = (0..10).map(|run| {
        let noise = 1.0 + 0.001 * f64::from(run % 5);
        let mut document = document.clone();
        let rr = &mut document["end"]["rr"];
        let scale = |value: &mut Value, factor: f64| {
            if let Some(number) = value.as_f64() {
                *value = json!(number * factor);
            }
        };
        scale(&mut rr["transactions_per_second"], rate * noise);
        for (_, value) in rr["latency_us"].as_object_mut().unwrap() {
            scale(value, latency * noise);
        }
        document.to_string() + "\n"
    });
    let text: String = runs.collect();
    Side {
        name: name.to_owned(),
        records: read(name, &text),
    }
}

#[test]
fn more_transactions_are_better_and_more_latency_is_worse() {
    let verdicts = |rate, latency| {
        let sides = [side("base", 1.0, 1.0), side("new", rate, latency)];
        let compared = Comparison::new(&sides, &Settings::default());
        assert!(!comparison(Format::Junit, &sides, &compared).is_empty());
        let metrics = &compared.tests[0].metrics;
        ["transactions", "latency.p50", "latency.p99"].map(|name| {
            let metric = metrics.iter().find(|metric| metric.name == name);
            metric.unwrap().verdict.unwrap()
        })
    };
    assert_eq!(verdicts(1.0, 1.0), [Same, Same, Same]);
    assert_eq!(verdicts(0.5, 2.0), [Worse, Worse, Worse]);
    assert_eq!(verdicts(2.0, 0.5), [Better, Better, Better]);
}

/// A file of `bench --save` with these runs: pair, side, an error, and the output.
fn saved(runs: &[(u64, &str, Option<&str>, &str)]) -> String {
    let mut text = json!({"iperf_bench": 1, "sides": [
        {"name": "A", "command": "iperf", "server": null}, {"name": "B", "command": "iperf", "server": null}],
        "order": "abba", "seed": 1})
    .to_string();
    text.push('\n');
    for (pair, side, error, output) in runs {
        let run = json!({"pair": pair, "side": side, "command": "iperf", "started": 1.0, "seconds": 1.0,
            "exit_code": 0, "error": error, "records": [], "output": output, "stderr": ""});
        text.push_str(&run.to_string());
        text.push('\n');
    }
    text
}

#[test]
fn the_runs_that_a_bench_saved_are_read_from_its_file() {
    let (tcp, udp) = (text("tcp"), text("udp"));
    let file = saved(&[
        (1, "A", None, &tcp),
        (1, "B", None, &udp),
        (2, "B", Some("ended with exit code 1"), ""),
        (2, "A", None, &tcp),
    ]);
    let records = read("runs.jsonl", &(file.clone() + "{\"pair\":3,\"side"));
    let runs: Vec<_> = records.iter().map(|r| (&*r.source.file, r.pair)).collect();
    let wanted = [
        ("runs.jsonl: A, round 1", Some(1)),
        ("runs.jsonl: B, round 1", Some(1)),
        ("runs.jsonl: A, round 2", Some(2)),
    ];
    assert_eq!(runs, wanted);
    assert_eq!(
        records[1].get("transactions"),
        record("udp").get("transactions")
    );
    assert!(
        records[0]
            .notes
            .contains(&"1 run of its bench failed".to_owned())
    );
    let as_iperf = ReadOptions {
        tool: Some("iperf".parse().unwrap()),
        ..ReadOptions::default()
    };
    assert_eq!(
        read_bytes("f", file.as_bytes(), &as_iperf).unwrap().len(),
        3
    );
}

#[test]
fn a_broken_file_of_a_bench_is_refused_with_its_line() {
    let tcp = text("tcp");
    let nested = saved(&[(1, "A", None, &tcp)]);
    for (file, reason) in [
        (saved(&[]), "no run with a result"),
        (saved(&[(1, "A", Some("why"), "")]), "1 failed"),
        (
            saved(&[(1, "A", None, "hello")]),
            "f:2: the output of A in round 1",
        ),
        (saved(&[(1, "A", None, &nested)]), "is a file of bench runs"),
        (
            saved(&[(1, "A", None, &tcp)]) + "{}\n",
            "f:3: missing field",
        ),
        ("{\"iperf_bench\":2}\n{}\n".to_owned(), "format 2, not 1"),
    ] {
        let error = read_bytes("f", file.as_bytes(), &ReadOptions::default()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}
