//! Text of iperf3, from events that fit it: the same lines again.
//!
//! The samples show rounded numbers, so a sum or a rate may differ in its last digit; everything else, blanks at the
//! end of lines included, has to be the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use iperf_model::{Event, ServerOutput};
use iperf_report::Format;
use support::from_text::{self, Run};
use support::{Written, render, sample, samples};

#[test]
fn text_has_the_same_lines() {
    let names = samples(".txt");
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        let (_, written, expected) = replay(&name, |_| ());
        compare(&name, &written.out, &expected);
        assert_eq!(written.err, "", "{name}");
        assert_eq!(written.server_output, None, "{name}");
    }
}

#[test]
fn a_server_returns_its_lines_since_the_connection_was_accepted() {
    for name in samples(".txt")
        .iter()
        .filter(|name| name.starts_with("server-"))
    {
        let (run, written, expected) = replay(name, |config| config.get_server_output = true);
        compare(name, &written.out, &expected);
        let Some(ServerOutput::Text(text)) = written.server_output else {
            panic!("{:?}", written.server_output);
        };
        let banner = 3 + if run.options.verbose { 2 } else { 0 };
        let lines: Vec<_> = written.out.split_inclusive('\n').skip(banner).collect();
        let returned: Vec<_> = text.split_inclusive('\n').collect();
        assert_eq!(returned.len(), lines.len(), "{name}");
        if run.options.timestamps.is_none() {
            assert_eq!(returned, lines, "{name}");
        }
    }
}

/// Renders the events behind a sample, without stamps on both sides.
fn replay(name: &str, change: impl FnOnce(&mut iperf_model::TestConfig)) -> (Run, Written, String) {
    let mut run = Run::of(name);
    change(&mut run.config);
    let without_stamp = |text: &str| -> String {
        let length = run.stamp_length();
        text.split_inclusive('\n')
            .map(|line| &line[length..])
            .collect()
    };
    let mut expected = without_stamp(&sample(name));
    // In a document within the text a repeated key is written once, at its first place.
    if let Some((_, from)) = expected.split_once("\t\t\"cookie\"") {
        let repeated = from
            .lines()
            .find(|line| line.contains("\"target_bitrate\""))
            .unwrap();
        let repeated = format!("{repeated}\n");
        let at = expected.rfind("\"fq_rate\"").unwrap() - 2 - repeated.len();
        expected.replace_range(at..at + repeated.len(), "");
    }
    let title = run.config.title.as_ref().filter(|_| run.options.is_client);
    let prefix = title.map(|title| format!("{title}:  ")).unwrap_or_default();
    let bare: String = expected
        .split_inclusive('\n')
        .map(|line| &line[prefix.len()..])
        .collect();
    let events: Vec<Event> = from_text::events(&run, &bare);
    let mut written = render(Format::Text, run.options.clone(), &events);
    written.out = without_stamp(&written.out);
    (run, written, expected)
}

fn compare(name: &str, actual: &str, expected: &str) {
    assert_eq!(
        actual.lines().count(),
        expected.lines().count(),
        "{name}:\n{actual}"
    );
    for (actual, expected) in actual.lines().zip(expected.lines()) {
        assert!(
            actual == expected || differs_by_rounding(actual, expected),
            "{name}:\n{actual}|\n{expected}|"
        );
    }
}

/// Whether two lines have the same shape, and numbers of transfer, rate and jitter that differ in the last digit only.
fn differs_by_rounding(actual: &str, expected: &str) -> bool {
    let shape = |line: &str| -> String {
        let digit = |c: char| if c.is_ascii_digit() { '0' } else { c };
        line.chars().map(digit).collect()
    };
    if !expected.contains(" sec  ") || shape(actual) != shape(expected) {
        return false;
    }
    let words = actual.split_whitespace().zip(expected.split_whitespace());
    let mut after = words.clone().skip(1).map(|(_, word)| word);
    words.clone().all(|(actual, expected)| {
        let unit = after.next().unwrap_or_default();
        let is_rounded = unit.contains("Byte") || unit.contains("bits/sec") || unit == "ms";
        let value = |word: &str| word.replace('.', "").parse::<i64>();
        match (value(actual), value(expected)) {
            (Ok(actual), Ok(expected)) if is_rounded => (actual - expected).abs() <= 1,
            _ => actual == expected,
        }
    })
}
