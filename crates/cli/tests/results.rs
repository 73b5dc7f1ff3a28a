//! `iperf report` and `iperf compare` as programs: exit codes, files, and that iperf3's command line is as it was.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn iperf(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iperf"));
    command
        .args(words)
        .env_remove("GITHUB_STEP_SUMMARY")
        .current_dir(samples());
    command.output().unwrap()
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/tests/data/samples")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file of runs with these rates in Mbit/s.
fn runs(directory: &Path, name: &str, factor: f64) -> String {
    let line = |at: u32| {
        let rate = factor * (1000.0 + f64::from(at * 7 % 11));
        format!(
            "{} MB / 2.00 sec = {rate} Mbps 6 %TX 9 %RX 0 retrans 0.07 msRTT\n",
            rate / 4.0
        )
    };
    let path = directory.join(name);
    std::fs::write(&path, (0..10).map(line).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn one_table_shows_three_tools_and_what_is_not_comparable() {
    let output = iperf(&[
        "report",
        "iperf-rs-vsock-json.json",
        "iperf-vsock-json.json",
        "vsock_perf-receiver.txt",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for part in [
        "44.0 Mbit/s",
        "26.6 Mbit/s",
        "104 Mbit/s",
        "block 131072 instead of 65536",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn one_table_compares_ours_with_iperf_vsock_and_uperf() {
    let output = iperf(&[
        "compare",
        "iperf-vsock-json.json",
        "iperf-rs-vsock-json.json",
        "uperf-vsock-stream-a.txt",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for part in ["+65.4 %", "-3.2 %", "inconclusive", "about 6 runs a side"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(stderr(&output).contains("warning: inconclusive"));
}

#[test]
fn the_exit_code_is_the_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let (base, same, slow) = (
        runs(directory.path(), "base", 1.0),
        runs(directory.path(), "same", 1.001),
        runs(directory.path(), "slow", 0.8),
    );
    for (words, code) in [
        (vec![base.as_str(), &same], 0),
        (vec![&slow, &base], 0),
        (vec![&base, &slow], 1),
        (vec!["--base", &base, "--new", &slow], 1),
        (vec!["--margin", "throughput=30%", &base, &slow], 0),
        (vec!["--require", "throughput>=2G", &base, &same], 1),
        (vec![&base], 2),
        (vec![&base, "/nonexistent"], 2),
        (vec!["--margin", "speed=1%", &base, &slow], 2),
        (vec!["nuttcp-tcp.txt", "nuttcp-tcp-r.txt"], 0),
        (
            vec!["--strict-verdict", "nuttcp-tcp.txt", "nuttcp-tcp-r.txt"],
            3,
        ),
        (vec!["netperf-tcp-rr.txt", "netperf-udp-rr.txt"], 4),
        (vec!["uperf-mixed-rand-error.txt", "uperf-mixed-a.txt"], 2),
    ] {
        let all: Vec<&str> = std::iter::once("compare")
            .chain(words.iter().copied())
            .collect();
        let output = iperf(&all);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}\n{}{}",
            stdout(&output),
            stderr(&output)
        );
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_shown() {
    let output = iperf(&["report", "uperf-mixed-rand-error.txt", "nuttcp-tcp.txt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout(&output).contains("13.2 Gbit/s"));
    let error = stderr(&output);
    assert!(
        error.starts_with("iperf: uperf-mixed-rand-error.txt:4: refused: the run failed"),
        "{error}"
    );
}

#[test]
fn an_output_file_appears_whole_and_stdout_stays_empty() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("iperf.prom");
    let output = iperf(&[
        "report",
        "nuttcp-tcp.txt",
        "--format",
        "prometheus",
        "--output",
        path.to_str().unwrap(),
    ]);
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), "")
    );
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .contains("iperf_received_bytes_per_second{")
    );
}

#[test]
fn a_runner_of_github_gets_summary_and_annotations() {
    let directory = tempfile::tempdir().unwrap();
    let (base, slow) = (
        runs(directory.path(), "base", 1.0),
        runs(directory.path(), "slow", 0.8),
    );
    let summary = directory.path().join("summary.md");
    std::fs::write(&summary, "before\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_iperf"))
        .args(["compare", &base, &slow, "--format", "github"])
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).starts_with("::error title=throughput"),
        "{}",
        stdout(&output)
    );
    assert!(
        std::fs::read_to_string(&summary)
            .unwrap()
            .starts_with("before\n### iperf compare: Worse")
    );
}

#[test]
fn stdin_and_directories_are_inputs() {
    let directory = tempfile::tempdir().unwrap();
    runs(directory.path(), "a", 1.0);
    runs(directory.path(), "b", 1.0);
    let output = iperf(&[
        "report",
        directory.path().to_str().unwrap(),
        "--format",
        "csv",
    ]);
    assert_eq!(
        stdout(&output).lines().count(),
        1 + 20,
        "{}",
        stderr(&output)
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_iperf"));
    let file = std::fs::File::open(samples().join("qperf-tcp.txt")).unwrap();
    let output = child.args(["report", "-"]).stdin(file).output().unwrap();
    assert!(
        stdout(&output).contains("3.48 Gbit/s"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_test_writes_page_metrics_and_lines_beside_its_output() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (page, metrics, lines) = (path("page.html"), path("iperf.prom"), path("lines.txt"));
    for _ in 0..2 {
        let words = [
            "--loopback",
            "-n",
            "1M",
            "-J",
            "--html",
            &page,
            "--metrics-file",
            &metrics,
            "--influx",
            &lines,
        ];
        let output = iperf(&words);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rate = document["end"]["sum_received"]["bits_per_second"]
            .as_f64()
            .unwrap();
        let text = std::fs::read_to_string(&metrics).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("iperf_received_bytes_per_second{"))
            .unwrap();
        let written: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(
            (written * 8.0 / rate - 1.0).abs() < 1e-6,
            "{line} and {rate}"
        );
    }
    assert!(std::fs::read_to_string(&page).unwrap().contains("<circle"));
    let lines = std::fs::read_to_string(&lines).unwrap();
    assert_eq!(
        lines
            .lines()
            .filter(|line| line.starts_with("iperf,"))
            .count(),
        2,
        "{lines}"
    );
}

#[test]
fn a_file_in_a_missing_folder_is_refused_before_the_test() {
    for option in ["--html", "--metrics-file", "--influx"] {
        let output = iperf(&["--loopback", "-n", "1M", option, "/nowhere/file"]);
        assert_eq!(
            (output.status.code(), stdout(&output)),
            (Some(1), String::new())
        );
        let expected =
            format!("iperf: error - {option} /nowhere/file: No such file or directory\n");
        assert_eq!(stderr(&output), expected);
    }
}

#[test]
fn a_fifo_or_directory_is_refused_before_the_test() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    for (path, what) in [
        (fifo.as_path(), "a FIFO"),
        (directory.path(), "a directory"),
    ] {
        let path = path.to_str().unwrap();
        for option in ["--html", "--metrics-file", "--influx"] {
            for role in ["-s", "--loopback"] {
                let output = iperf(&[role, option, path]);
                assert_eq!(
                    (output.status.code(), stdout(&output)),
                    (Some(1), String::new())
                );
                let expected =
                    format!("iperf: error - {option} {path}: is {what}, and not a file\n");
                assert_eq!(stderr(&output), expected);
            }
        }
    }
    let fifo = fifo.to_str().unwrap();
    let output = iperf(&["report", "nuttcp-tcp.txt", "--output", fifo]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        format!("iperf: --output {fifo}: is a FIFO that no process reads\n")
    );
}

/// The samples of `iperf_success`, with their labels.
fn success(metrics: &str) -> Vec<&str> {
    let lines = metrics.lines();
    lines
        .filter(|line| line.starts_with("iperf_success"))
        .collect()
}

#[test]
fn a_dashboard_sees_that_a_test_failed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (page, metrics, lines) = (path("page.html"), path("iperf.prom"), path("lines.txt"));
    let files = [
        "--html",
        &page,
        "--metrics-file",
        &metrics,
        "--influx",
        &lines,
    ];
    let client = ["-c", "127.0.0.1", "-p", "1", "-T", "nightly"];
    let output = iperf(&[&client[..], &files].concat());
    assert_eq!(output.status.code(), Some(1));
    let text = std::fs::read_to_string(&metrics).unwrap();
    let expected = "iperf_success{run=\"nightly\",target=\"127.0.0.1\",port=\"1\"} 0";
    assert_eq!(success(&text), [expected]);
    let text = std::fs::read_to_string(&lines).unwrap();
    assert_eq!(text, "iperf,run=nightly,target=127.0.0.1 success=0i\n");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(
        text.contains("failed") && text.contains("Connection refused"),
        "{text}"
    );
    // A success has the same labels.
    let output = iperf(&[&["--loopback", "-n", "1M", "-T", "nightly"][..], &files].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = std::fs::read_to_string(&metrics).unwrap();
    let expected = "iperf_success{run=\"nightly\",target=\"127.0.0.1\"} 1";
    assert_eq!(success(&text), [expected]);
    // So does the report of a failed run, which still exits with 2.
    let output = iperf(&[
        "report",
        "uperf-mixed-rand-error.txt",
        "nuttcp-tcp.txt",
        "--format",
        "prometheus",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        success(&stdout(&output)),
        [
            "iperf_success{run=\"nuttcp-tcp.txt\"} 1",
            "iperf_success{run=\"uperf-mixed-rand-error.txt\"} 0"
        ]
    );
}

#[test]
fn the_spread_of_a_run_is_shown_as_its_own() {
    let text = stdout(&iperf(&["report", "iperf-vsock-json.json"]));
    assert!(
        text.contains("within the run") && text.contains("(n=3)"),
        "{text}"
    );
    // One sum of all is no spread.
    let text = stdout(&iperf(&["report", "nuttcp-tcp-r.txt"]));
    assert!(!text.contains("within the run"), "{text}");
}
