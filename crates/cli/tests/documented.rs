//! The commands in docs/results.md and docs/ci.md, run as they are written there.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::Command;

/// The commands of a page: lines of its code blocks that run a subcommand, with the exit code that they announce.
fn commands(page: &str) -> Vec<(String, i32)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        }
        let line = line.trim().trim_start_matches("- ");
        if inside && (line.starts_with("iperf report ") || line.starts_with("iperf compare ")) {
            let code = line
                .split_once("# exit ")
                .map_or(0, |(_, code)| code.trim().parse().unwrap());
            commands.push((line.to_owned(), code));
        }
    }
    commands
}

/// Runs of nuttcp with these rates around 1000 Mbit/s.
fn write_runs(directory: &Path, factor: f64) {
    std::fs::create_dir(directory).unwrap();
    for run in 0..8_u32 {
        let rate = factor * (1000.0 + f64::from(run * 7 % 11));
        let text = format!(
            "{} MB / 2.00 sec = {rate} Mbps 6 %TX 9 %RX 0 retrans 0.07 msRTT\n",
            rate / 4.0
        );
        std::fs::write(directory.join(format!("{run}.txt")), text).unwrap();
    }
}

/// A directory with the files that the pages name.
fn scene() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/tests/data/samples");
    for (sample, name) in [
        ("iperf-rs-vsock-json.json", "ours.json"),
        ("iperf-vsock-json.json", "iperf-vsock.json"),
        ("uperf-vsock-stream-a.txt", "uperf.txt"),
        ("iperf-rs-vsock-json.json", "base.json"),
        ("iperf-rs-vsock-json.json", "new.json"),
    ] {
        std::fs::copy(samples.join(sample), directory.path().join(name)).unwrap();
    }
    let table =
        "| pages | 8 | 32 |\n|---|---|---|\n| zero-copy | 24 | 10.6 |\n| copy | 13 | 16.4 |\n";
    std::fs::write(directory.path().join("table.md"), table).unwrap();
    for (name, factor) in [
        ("base", 1.0),
        ("new", 1.001),
        ("slower", 0.8),
        ("results", 1.0),
    ] {
        write_runs(&directory.path().join(name), factor);
    }
    std::fs::create_dir(directory.path().join("textfile")).unwrap();
    directory
}

#[test]
fn the_commands_of_the_pages_do_what_the_pages_say() {
    let scene = scene();
    let program = Path::new(env!("CARGO_BIN_EXE_iperf")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(program.to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    for (page, least) in [("results.md", 11), ("ci.md", 8)] {
        let commands = commands(page);
        assert!(
            commands.len() >= least,
            "{page} has {} commands",
            commands.len()
        );
        for (command, code) in commands {
            let output = Command::new("sh")
                .args(["-c", &command])
                .env("PATH", &path)
                .env_remove("GITHUB_STEP_SUMMARY")
                .current_dir(scene.path())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(code),
                "{page}: {command}\n{said}"
            );
        }
    }
    for file in [
        "results.csv",
        "report.html",
        "junit.xml",
        "metrics.txt",
        "throughput.json",
        "textfile/iperf.prom",
        "bmf.json",
    ] {
        assert!(
            std::fs::metadata(scene.path().join(file)).unwrap().len() > 0,
            "{file}"
        );
    }
}
