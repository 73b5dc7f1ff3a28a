//! The programs that read what `iperf report` and `iperf compare` write accept it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn iperf(words: &[&str]) -> Vec<u8> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/tests/data/samples");
    let output = Command::new(env!("CARGO_BIN_EXE_iperf"))
        .args(words)
        .current_dir(samples)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn promtool_finds_no_fault_in_metrics() {
    let runs = [
        "nuttcp-udp.txt",
        "neper-tcp-rr.txt",
        "netperf-tcp-rr-cpu.txt",
        "iperf-vsock-json.json",
        "nuttcp-tcp.txt",
    ];
    let mut report = vec!["report", "--format", "prometheus"];
    report.extend(runs);
    for words in [
        report,
        vec![
            "compare",
            "--format",
            "openmetrics",
            "nuttcp-tcp.txt",
            "nuttcp-tcp-r.txt",
        ],
    ] {
        let text = iperf(&words);
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool runs; tests/run installs it");
        promtool.stdin.take().unwrap().write_all(&text).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{words:?}: {said}"
        );
    }
}
