//! The commands in README.md and docs/: those of results.md, ci.md and measure.md run as they are written there, and all
//! options of the others are valid.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::{Command, Stdio};

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

/// The command lines of a page that run tests: lines of its code blocks, and of migrate.md what stands in the last column.
/// What a shell would have to expand is left out.
fn test_commands(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let (mut inside, mut found) = (false, Vec::new());
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = language == "sh";
        } else if inside {
            found.push(line.trim());
        } else if let Some(cells) = line
            .strip_prefix("| ")
            .filter(|_| page.ends_with("migrate.md"))
        {
            let last = cells
                .trim_end_matches(" |")
                .rsplit(" | ")
                .next()
                .unwrap_or_default();
            found.extend(last.split('`').skip(1).step_by(2));
        }
    }
    let commands = found.into_iter().filter(|line| line.starts_with("iperf "));
    let plain = commands.map(|line| line.split([';', '>', '&', '|']).next().unwrap_or(line));
    let plain = plain.map(|line| line.split(" # ").next().unwrap_or(line).trim().to_owned());
    let shell = ['\'', '"', '$', '\\', '…'];
    plain.filter(|line| !line.contains(shell)).collect()
}

#[test]
fn the_command_lines_of_all_pages_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = std::fs::read_dir(root.join("docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut tested = 0;
    for page in pages.chain([root.join("README.md")]) {
        for command in test_commands(&page) {
            let words = command
                .split_whitespace()
                .skip(1)
                .map(std::ffi::OsString::from);
            let mut words: Vec<_> = words.collect();
            // The file that the package installs.
            for word in words
                .iter_mut()
                .filter(|word| *word == "/etc/iperf-rs.conf")
            {
                *word = root.join("packaging/systemd/iperf-rs.conf").into();
            }
            let first = words
                .first()
                .and_then(|word| word.to_str())
                .unwrap_or_default();
            // Subcommands have tests of their own, and files with keys are not there.
            if !first.starts_with('-') || command.contains("--rsa-") {
                continue;
            }
            tested += 1;
            if let Err(error) = iperf_cli::parse(words) {
                panic!("{}: {command}: {error}", page.display());
            }
        }
    }
    assert!(tested > 40, "{tested} commands");
}

#[test]
fn the_loopback_tests_of_the_pages_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let commands = test_commands(&docs.join("measure.md"));
    let loopback = commands
        .iter()
        .filter(|line| line.starts_with("iperf --loopback"));
    let running: Vec<_> = loopback
        .map(|command| {
            let words = command.split_whitespace().skip(1);
            let mut program = Command::new(env!("CARGO_BIN_EXE_iperf"));
            program.args(words).current_dir(directory.path());
            (
                command,
                program
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap(),
            )
        })
        .collect();
    assert!(running.len() > 10, "{running:?}");
    for (command, program) in running {
        let output = program.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        assert!(!output.stdout.is_empty(), "{command}");
    }
    assert!(directory.path().join("result.html").is_file());
}
