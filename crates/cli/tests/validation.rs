//! Command lines are accepted or refused as iperf3 3.22 recorded it, and every difference is one that is listed.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use iperf_cli::{Invocation, UsageError, parse};
use iperf_harness::differences::{DIFFERENCES, Difference, Outcome};
use serde_json::Value;

/// What the recorded iperf3 did with a command line.
#[derive(Debug, PartialEq, Eq)]
enum Recorded {
    /// It was refused with this text.
    Refused(String),
    /// It was accepted, with this message; what followed does not concern the command line.
    Accepted(Vec<String>),
}

/// The command lines, shortened as the table of differences has them, and what iperf3 did.
fn recorded() -> Vec<(String, Recorded)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cli-validation.json");
    let entries: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    entries
        .iter()
        .filter(|entry| entry["version"] == "3.22")
        .map(|entry| {
            let args = entry["args"].as_str().unwrap();
            let args = args
                .replace("-c 127.0.0.1 -p 15990", "-c host")
                .replace("-s -p 15990", "-s");
            (args, fate(entry["message"].as_str().unwrap()))
        })
        .collect()
}

fn fate(message: &str) -> Recorded {
    if let Some(warning) = message.strip_prefix("warning: ") {
        return Recorded::Accepted(vec![warning.to_owned()]);
    }
    match message.strip_prefix("iperf3: ") {
        // The test failed, not the command line.
        Some(text) if text.starts_with("error - ") => Recorded::Accepted(Vec::new()),
        Some(text) => Recorded::Refused(text.to_owned()),
        None => {
            assert!(message.starts_with(['(', '{']), "what is {message}?");
            Recorded::Accepted(Vec::new())
        }
    }
}

/// Reads a command line; the files that it may name exist, but for those called nope.
fn read(args: &str) -> Result<Invocation, UsageError> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let word = |word: &str| -> OsString {
        if ["pub.pem", "priv.pem", "users.csv"].contains(&word) {
            let path = folder.join(word);
            fs::write(&path, "").unwrap();
            path.into()
        } else {
            word.into()
        }
    };
    parse(args.split_whitespace().map(word))
}

fn differences() -> HashMap<&'static str, &'static Difference> {
    let each = |difference: &'static Difference| {
        difference.args.iter().map(move |args| (*args, difference))
    };
    DIFFERENCES.iter().flat_map(each).collect()
}

#[test]
fn every_recorded_command_line_has_the_same_fate_or_a_listed_one() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 121);
    let listed = differences();
    for (args, theirs) in recorded {
        let ours = match read(&args) {
            Ok(invocation) => Recorded::Accepted(invocation.warnings),
            Err(error) => Recorded::Refused(error.to_string()),
        };
        match listed.get(args.as_str()) {
            None => assert_eq!(ours, theirs, "{args}"),
            Some(difference) => {
                let claimed = match (difference.iperf3, &theirs) {
                    (Outcome::Refused(claim), Recorded::Refused(text)) => claim == text,
                    (Outcome::Accepted(_), Recorded::Accepted(_)) => true,
                    _ => false,
                };
                assert!(claimed, "{args}: iperf3 did {theirs:?}");
            }
        }
    }
}

#[test]
fn every_listed_difference_is_one() {
    let listed = differences();
    assert_eq!(
        listed.len(),
        DIFFERENCES.iter().map(|d| d.args.len()).sum::<usize>()
    );
    for (args, difference) in listed {
        assert_ne!(difference.here, difference.iperf3, "{args}");
        match (difference.here, read(args)) {
            (Outcome::Refused(text), Err(error)) => assert_eq!(error.to_string(), text, "{args}"),
            (Outcome::Accepted(_), Ok(_)) => {}
            (here, ours) => panic!("{args}: {here:?} is claimed, but {ours:?}"),
        }
    }
}
