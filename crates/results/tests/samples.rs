//! Every sample is read to the figures in `data/expected.txt`, or refused for the reason there.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use iperf_results::{ReadError, ReadOptions, Record, definition, read_all};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The lines of a file's runs.
fn expected() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(data().join("expected.txt")).unwrap();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (file, run) = line.split_once(": ").unwrap();
        expected
            .entry(file.to_owned())
            .or_default()
            .push(run.to_owned());
    }
    expected
}

#[test]
fn every_sample_is_read_to_its_figures_or_refused_for_the_right_reason() {
    let expected = expected();
    let mut faults = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(data().join("samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(runs) = expected.get(name) else {
            faults.push(format!("{name}: nothing expected"));
            continue;
        };
        match (read_file(path), runs[0].strip_prefix("refused ")) {
            (Ok(records), None) => compare(name, &records, runs, &mut faults),
            (Err(error), Some(reason)) if error.to_string().contains(reason) => {}
            (Err(error), Some(reason)) => {
                faults.push(format!("{name}: refused, but not with {reason:?}: {error}"));
            }
            (Err(error), None) => faults.push(format!("{name}: refused: {error}")),
            (Ok(_), Some(reason)) => {
                faults.push(format!("{name}: read, and not refused with {reason:?}"));
            }
        }
    }
    assert_eq!(
        expected.len(),
        files.len(),
        "files that are expected, and that there are"
    );
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

fn compare(name: &str, records: &[Record], runs: &[String], faults: &mut Vec<String>) {
    if records.len() != runs.len() {
        faults.push(format!(
            "{name}: {} runs instead of {}",
            records.len(),
            runs.len()
        ));
        return;
    }
    for (record, run) in records.iter().zip(runs) {
        for figure in run.split(' ') {
            let (metric, value) = figure.split_once('=').unwrap();
            let value: f64 = value.parse().unwrap();
            assert!(definition(metric).is_some(), "{name}: no metric {metric}");
            match record.get(metric) {
                Some(read) if (read - value).abs() <= 1e-5 * value.abs() => {}
                other => faults.push(format!("{name}: {metric} is {other:?} instead of {value}")),
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<Record>, ReadError> {
    let (records, mut errors) = read_all(&[path.to_owned()], &ReadOptions::default());
    errors.pop().map_or(Ok(records), Err)
}

/// Samples of iperf3 3.9 to 3.22 in the crate that writes such documents.
#[test]
fn every_result_of_iperf3_is_read_and_every_failed_one_refused() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../report/tests/data/samples");
    let mut read = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let result = read_file(&path);
        if name == "index.json" {
            continue;
        }
        if name.starts_with("error-") {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("the run failed"), "{name}: {error}");
            continue;
        }
        let records = result.unwrap();
        assert_eq!(records.len(), 1, "{name}");
        let record = &records[0];
        let rate = record
            .get("throughput")
            .or_else(|| record.get("throughput.sent"));
        assert!(rate.is_some_and(|rate| rate > 0.0), "{name}: {record:?}");
        if let Some(received) = received(&path) {
            let rate = rate.unwrap();
            assert!(
                (rate - received).abs() < 1e-6 * received,
                "{name}: {rate} instead of {received}"
            );
        }
        read += 1;
    }
    assert!(read > 60, "{read}");
}

/// The received rate in a document of TCP, looked up by its keys.
fn received(path: &Path) -> Option<f64> {
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).ok()?;
    let sum = &document["end"]["sum_received"];
    (sum["bytes"].as_u64()? > 0).then(|| sum["bits_per_second"].as_f64())?
}
