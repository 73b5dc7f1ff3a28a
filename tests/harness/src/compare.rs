//! Compares two outputs of the same command: text line by line, documents by shape, events one by one.

use serde_json::Value;

use crate::problems::Problems;
use crate::{json, shape, text};

/// Members of our documents that iperf3 does not have.
const OURS_ALONE: [&str; 11] = [
    "checksum_errors",
    "duplicates",
    "environment",
    "jain_index",
    "limits",
    "socket_drops",
    "moved_by",
    "rcv_lowat",
    "rcv_nap_us",
    "vsock",
    "zerocopy",
];

/// What only our lines contain.
const OUR_LINES: [&str; 7] = [
    " of them dropped in the receiver's socket",
    " datagrams with a bad checksum reached the receiver's machine",
    " datagrams received twice",
    "[SUM] fairness (Jain's index): ",
    "limited by: ",
    "limited client to server by: ",
    "limited server to client by: ",
];

/// Compares one output with iperf3's. What kind of output it is shows in its first bytes.
///
/// `got_is_ours`: the document must be laid out as iperf3 does it, and, what it does not do, without a key that
/// comes twice.
pub fn compare(f: &mut Problems, end: &str, got: &str, want: &str, got_is_ours: bool) {
    if want.starts_with("{\"event\"") {
        compare_events(f, end, got, want, got_is_ours);
    } else if want.starts_with('{') {
        compare_documents(f, end, got, want, got_is_ours);
    } else {
        compare_text(f, end, got, want);
    }
}

fn compare_text(f: &mut Problems, end: &str, got: &str, want: &str) {
    let (got, want) = (inner_document(&without_ours(got)), inner_document(want));
    let (got_lines, want_lines) = (text::mask(&got.0), text::mask(&want.0));
    for (number, pair) in zip_longest(&got_lines, &want_lines).enumerate() {
        if pair.0 != pair.1 {
            f.add(format!(
                "{end}, line {number}:\n    got  {:?}\n    want {:?}",
                pair.0.map_or("", String::as_str),
                pair.1.map_or("", String::as_str)
            ));
            break;
        }
    }
    if let (Some(got), Some(want)) = (got.1, want.1) {
        let shape = |document: &Value| shape::lines(document, &OURS_ALONE);
        for difference in shape::differences(&shape(&got), &shape(&want)) {
            f.add(format!("{end}, server output: {difference}"));
        }
    }
}

fn without_ours(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !OUR_LINES.iter().any(|ours| line.contains(ours)));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Takes the document out of a text with `Server JSON output:`.
fn inner_document(text: &str) -> (String, Option<Value>) {
    let Some((before, rest)) = text.split_once("Server JSON output:\n") else {
        return (text.to_owned(), None);
    };
    // The closing brace of the document is the first one that begins a line.
    let end = rest.find("\n}").map_or(rest.len(), |at| at + 2);
    let (document, after) = rest.split_at(end);
    let document = json::parse(document).ok();
    (
        format!("{before}Server JSON output:\n<document>{after}"),
        document,
    )
}

fn compare_documents(f: &mut Problems, end: &str, got: &str, want: &str, got_is_ours: bool) {
    let (Ok(got_value), Ok(want_value)) = (json::parse(got), json::parse(want)) else {
        return f.add(format!("{end}: the output is no JSON document"));
    };
    let got_lines = shape::lines(&got_value, &OURS_ALONE);
    let want_lines = shape::lines(&want_value, &OURS_ALONE);
    for difference in shape::differences(&got_lines, &want_lines) {
        f.add(format!("{end}: {difference}"));
    }
    if got_is_ours {
        let laid_out = shape::layout(&got_value) == shape::without_numbers(got);
        f.holds(
            format!("{end}: the layout is iperf3's, and no key comes twice"),
            laid_out,
        );
    }
    f.equal(
        format!("{end}: a whole number with a point"),
        shape::dotted_whole_number(got),
        None,
    );
}

fn compare_events(f: &mut Problems, end: &str, got: &str, want: &str, got_is_ours: bool) {
    let (got_events, got_rest) = split_events(got);
    let (want_events, want_rest) = split_events(want);
    for (got, want) in zip_longest(&got_events, &want_events) {
        let (got, want) = (
            got.cloned().unwrap_or_default(),
            want.cloned().unwrap_or_default(),
        );
        for difference in shape::differences(&got, &want) {
            f.add(format!("{end}: {difference}"));
        }
    }
    if want_rest.is_empty() {
        f.equal(
            format!("{end}: what follows the events"),
            got_rest.as_str(),
            "",
        );
    } else {
        compare_documents(f, end, &got_rest, &want_rest, got_is_ours);
    }
}

/// The shapes of the events, repeated ones left out, and what follows the last.
fn split_events(text: &str) -> (Vec<Vec<String>>, String) {
    let events = text
        .lines()
        .take_while(|line| line.starts_with("{\"event\":"));
    let mut shapes: Vec<Vec<String>> = Vec::new();
    let mut length = 0;
    for line in events {
        length += line.len() + 1;
        let value = json::parse(line).unwrap_or(Value::Null);
        let mut shape = vec![format!(
            "event {}",
            json::text(&value, "/event").unwrap_or("?")
        )];
        shape.extend(shape::lines(&value, &OURS_ALONE));
        if shapes.last() != Some(&shape) {
            shapes.push(shape);
        }
    }
    (shapes, text.get(length..).unwrap_or("").to_owned())
}

fn zip_longest<'a, T>(
    a: &'a [T],
    b: &'a [T],
) -> impl Iterator<Item = (Option<&'a T>, Option<&'a T>)> {
    (0..a.len().max(b.len())).map(|index| (a.get(index), b.get(index)))
}
