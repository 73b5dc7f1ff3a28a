//! Documents and lines of iperf3, from the events that their runs had: the same bytes again.
//!
//! Lines may differ only where an event cannot express what iperf3 printed:
//! - iperf3 samples streams one after another, some microseconds apart; here they share one moment.
//! - The first interval after an omitted period is some microseconds longer there than its end minus its start.
//! - In bidirectional tests iperf3 shows counters of streams on which it only receives; here they are 0.
//! - A server of a test with a rate writes `target_bitrate` twice; here it is written once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use iperf_model::ServerOutput;
use iperf_report::Format;
use serde_json::Value;
use support::{
    from_json, is_client, options, render, sample, samples, without_fairness, without_repeated_rate,
};

#[test]
fn documents_have_the_same_bytes() {
    let names = samples(".json");
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let expected = without_repeated_rate(&sample(&name));
        let document: Value = serde_json::from_str(&expected).unwrap();
        let is_client = is_client(&name);
        let events = from_json::events(&document, is_client);
        let written = render(Format::Json, options(is_client), &events);
        compare(&name, &without_fairness(&written.out), &expected);
        assert_eq!(written.err, "", "{name}");
    }
}

#[test]
fn streams_have_the_same_bytes() {
    let names = samples(".jsonl");
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        let expected = without_repeated_rate(&sample(&name));
        let is_client = is_client(&name);
        let events = from_json::events(&from_json::document_of_lines(&expected), is_client);
        let mut options = options(is_client);
        options.json_full = name.contains("-full-");
        let written = render(Format::JsonStream, options, &events);
        compare(&name, &without_fairness(&written.out), &expected);
        assert_eq!(written.err, "", "{name}");
    }
}

#[test]
fn a_server_returns_its_document() {
    let expected = sample("tcp-title-extra-server-json-322.json");
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let mut server = sample("server-tcp-title-extra-server-json-322.json");
    server = server.replacen(
        "\t\"title\"",
        "\t\"server_output_text\":\t\"\",\n\t\"title\"",
        1,
    );
    let server: Value = serde_json::from_str(&server).unwrap();
    let events = from_json::events(&server, false);
    for format in [Format::Json, Format::JsonStream] {
        let written = render(format, options(false), &events);
        let Some(ServerOutput::Json(returned)) = written.server_output else {
            panic!("{:?}", written.server_output);
        };
        let returned: Value = serde_json::from_str(&returned).unwrap();
        // The order of members is compared with the document itself.
        assert_eq!(returned, expected["server_output_json"]);
    }
}

#[test]
fn a_server_that_was_not_asked_returns_nothing() {
    let document: Value = serde_json::from_str(&sample("server-tcp-322.json")).unwrap();
    let events = from_json::events(&document, false);
    for format in [Format::Json, Format::JsonStream, Format::Text] {
        assert_eq!(render(format, options(false), &events).server_output, None);
    }
}

/// Compares line by line, and lines of compact JSON member by member.
fn compare(name: &str, actual: &str, expected: &str) {
    // Samples that events can express completely must agree to the byte.
    let loose = ["omit", "-p2-", "bidir", "many"];
    if !loose.iter().any(|part| name.contains(part)) {
        let lines = actual.lines().zip(expected.lines()).enumerate();
        for (number, (actual, expected)) in lines {
            assert_eq!(actual, expected, "{name}, line {}", number + 1);
        }
        assert!(actual == expected, "{name}: another length");
        return;
    }
    let separator = if name.contains("-json-stream-") {
        ','
    } else {
        '\n'
    };
    let split = |text: &str| -> Vec<String> { text.split(separator).map(str::to_owned).collect() };
    let (actual, expected) = (split(actual), split(expected));
    assert_eq!(actual.len(), expected.len(), "{name}");
    for (actual, expected) in actual.iter().zip(&expected) {
        assert!(
            actual == expected || may_differ(actual, expected),
            "{name}: {actual} instead of {expected}"
        );
    }
}

fn may_differ(actual: &str, expected: &str) -> bool {
    let parts = |line: &str| -> Option<(String, f64)> {
        let (key, value) = line.trim_end_matches(',').rsplit_once(':')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    let (Some((key, actual)), Some((same_key, expected))) = (parts(actual), parts(expected)) else {
        return false;
    };
    if key != same_key {
        return false;
    }
    match key.trim().trim_matches('"') {
        "start" | "end" | "seconds" => (actual - expected).abs() < 1e-3,
        "bits_per_second" => (actual / expected - 1.0).abs() < 0.2,
        "reorder" | "max_snd_cwnd" | "max_snd_wnd" | "max_rtt" | "min_rtt" | "mean_rtt" => {
            actual == 0.0
        }
        _ => false,
    }
}
