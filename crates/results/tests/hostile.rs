//! Unusable inputs: cut, mixed, mislabelled, binary. They give records or an error, never a panic.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::LazyLock;

use iperf_results::{ReadOptions, Tool, definition, read_bytes};
use proptest::prelude::*;

/// The samples' names and bytes.
static SAMPLES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/samples");
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    };
    paths.iter().map(read).collect()
});

/// Reads `bytes` by content and as each tool's, and checks what holds of every record.
fn read_all_ways(bytes: &[u8]) {
    let tools = std::iter::once(None).chain(Tool::ALL.into_iter().map(Some));
    for tool in tools {
        let options = ReadOptions {
            tool,
            bytes: Some(1 << 30),
        };
        match read_bytes("hostile", bytes, &options) {
            Ok(records) => {
                for record in records {
                    assert!(
                        record.metrics.iter().all(|metric| metric.value.is_finite()),
                        "{record:?}"
                    );
                    assert!(
                        record
                            .metrics
                            .iter()
                            .all(|metric| definition(&metric.name).is_some())
                    );
                }
            }
            Err(error) => assert!(error.to_string().starts_with("hostile:"), "{error}"),
        }
    }
}

#[test]
fn a_sample_cut_anywhere_is_read_or_refused() {
    for (_, bytes) in SAMPLES.iter() {
        for part in 0..8 {
            read_all_ways(&bytes[..bytes.len() * part / 8]);
        }
    }
}

#[test]
fn a_sample_read_as_another_tools_is_read_or_refused() {
    for (_, bytes) in SAMPLES.iter() {
        read_all_ways(bytes);
    }
}

#[test]
fn two_runs_in_one_file_are_two_records() {
    let tools = [
        "uperf-tcp-rr-a",
        "netperf-tcp-rr",
        "neper-tcp-rr",
        "sockperf-pp-tcp",
        "vsock_perf-sender",
        "ntttcp-tcp",
        "nuttcp-tcp",
    ];
    for tool in tools {
        let (_, bytes) = SAMPLES
            .iter()
            .find(|(name, _)| *name == format!("{tool}.txt"))
            .unwrap();
        let twice = [&bytes[..], &bytes[..]].concat();
        let records = read_bytes(tool, &twice, &ReadOptions::default()).unwrap();
        assert_eq!(records.len(), 2, "{tool}");
        assert_eq!(records[0].metrics, records[1].metrics, "{tool}");
        assert!(records[1].source.line > records[0].source.line, "{tool}");
    }
}

#[test]
fn a_run_that_was_cut_off_before_its_figures_is_refused() {
    for (name, text) in [
        (
            "uperf",
            "Starting 1 threads running profile:x ...  0.00 seconds\n\rTxn1  1GB / 1.00(s) = 8Gb/s 1op/s",
        ),
        ("vsock_perf", "Run as sender\nSend 1 bytes\n"),
        (
            "sockperf",
            "sockperf: == version #3.7 ==\nsockperf: Starting test...\n",
        ),
        (
            "nuttcp",
            " 1566.6250 MB /   1.00 sec = 13136.2201 Mbps     0 retrans\n",
        ),
        (
            "iperf2",
            "Client connecting to h, TCP port 5001\n[  1] local a port 1 connected with b port 2\n",
        ),
        (
            "netperf",
            "MIGRATED TCP STREAM TEST from 0.0.0.0 () port 0 AF_INET to h () port 0 AF_INET\n",
        ),
        ("neper", "VERSION=1.1.0\nclient=1\nthroughput_opt=Mb\n"),
        ("qperf", "tcp_bw:\n"),
        (
            "ntttcp",
            "NTTTCP for Linux 1.4.3\n22:01:26 INFO: 2 threads created\n",
        ),
    ] {
        let error = read_bytes(name, text.as_bytes(), &ReadOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("{name}:1: refused: ")),
            "{error}"
        );
    }
}

#[test]
fn a_table_of_seconds_needs_the_bytes_that_were_moved() {
    let table =
        b"| pages | 8 | 32 |\n|--|--|--|\n| zero-copy | 24 | 10.6 |\n| copy | 13 | 16.4 |\n";
    let error = read_bytes("t", table, &ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("--bytes"), "{error}");
    let options = ReadOptions {
        tool: None,
        bytes: Some(4_000_000_000),
    };
    let records = read_bytes("t", table, &options).unwrap();
    let rates: Vec<f64> = records
        .iter()
        .map(|record| record.get("throughput").unwrap())
        .collect();
    assert_eq!(rates.len(), 4);
    assert!((rates[1] - 4e9 * 8.0 / 10.6).abs() < 1.0, "{rates:?}");
    assert_eq!(records[2].parameters.other["row"], "copy");
    let csv = b"size,8,32\ncopy,13,x\n";
    let error = read_bytes(
        "t.csv",
        csv,
        &ReadOptions {
            tool: Some(Tool::Table),
            ..options
        },
    )
    .unwrap_err()
    .to_string();
    assert_eq!(error, "t.csv:2: cell \"x\" is no number of seconds");
}

/// How many inputs are made up: a few seconds of them, or `PROPTEST_CASES` for a longer run.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        read_all_ways(&bytes);
    }

    #[test]
    fn a_damaged_sample_is_read_or_refused(
        which in any::<proptest::sample::Index>(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0_u8..4), 1..20),
    ) {
        let mut bytes = which.get(&SAMPLES).1.clone();
        bytes.truncate(20_000);
        for (at, byte, how) in damage {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
                _ => bytes[at] = b"0123456789-./=,:"[usize::from(byte) % 16],
            }
        }
        read_all_ways(&bytes);
    }

    #[test]
    fn parts_of_two_samples_are_read_or_refused(
        first in any::<proptest::sample::Index>(),
        second in any::<proptest::sample::Index>(),
        end in any::<proptest::sample::Index>(),
        begin in any::<proptest::sample::Index>(),
    ) {
        let (first, second) = (&first.get(&SAMPLES).1, &second.get(&SAMPLES).1);
        let (end, begin) = (end.index(first.len() + 1), begin.index(second.len() + 1));
        let mut bytes = [&first[..end], &second[begin..]].concat();
        bytes.truncate(20_000);
        read_all_ways(&bytes);
    }
}
