//! Documents of every program that prints them are read, and printed again they are the same bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use iperf_report::document::{Document, Line};
use support::{sample, samples, without_repeated_rate};

fn other(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/documents");
    fs::read_to_string(directory.join(name)).unwrap()
}

/// Every document: those of iperf3 3.22, and in a directory of their own those of 3.9, 3.12, the vsock fork and ours.
fn documents() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/documents");
    let others = fs::read_dir(directory).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = other(&name);
        (name, text)
    });
    let samples = samples(".json").into_iter().map(|name| {
        let text = sample(&name);
        (name, text)
    });
    let mut all: Vec<_> = samples.chain(others).collect();
    all.sort();
    all
}

/// The lines of a document without those whose key stood in the same object before, and whether there were any.
fn without_repetitions(text: &str) -> (Vec<&str>, bool) {
    let mut seen: Vec<BTreeSet<&str>> = Vec::new();
    let (mut kept, mut repeated) = (Vec::new(), false);
    for line in text.lines() {
        let depth = line.len() - line.trim_start_matches('\t').len();
        seen.truncate(depth + 1);
        seen.resize(depth + 1, BTreeSet::new());
        let key = line.trim_start().split_once(":\t").map(|(key, _)| key);
        match key {
            Some(key) if !seen[depth].insert(key) => repeated = true,
            _ => kept.push(line),
        }
    }
    kept.sort_unstable();
    (kept, repeated)
}

#[test]
fn each_document_is_printed_as_it_was_read() {
    let documents = documents();
    assert!(documents.len() > 60, "{}", documents.len());
    let mut changed = 0;
    for (name, text) in documents {
        // This version has one name for two sums; the test after this one is about it.
        if name == "tcp-bidir-p2-39v.json" {
            continue;
        }
        let document = Document::from_json(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let printed = document.to_json().unwrap();
        let (lines, repeated) = without_repetitions(&text);
        // Servers of the vsock fork print their buffers where others do not.
        if repeated || (name.starts_with("server-") && name.ends_with("-39v.json")) {
            changed += 1;
            assert_eq!(without_repetitions(&printed), (lines, false), "{name}");
        } else {
            assert_eq!(printed, text, "{name}");
        }
    }
    assert!(changed < 20, "{changed}");
}

#[test]
fn a_second_sum_of_3_9_is_that_of_the_reverse_direction() {
    let text = other("tcp-bidir-p2-39v.json");
    let document = Document::from_json(&text).unwrap();
    assert_eq!(document.intervals.len(), 2);
    for interval in &document.intervals {
        let (sum, reverse) = (interval.sum.as_ref(), interval.sum_bidir_reverse.as_ref());
        let bytes = |sender: bool| -> u64 {
            let streams = interval.streams.iter();
            streams
                .filter(|s| s.sender == Some(sender))
                .map(|s| s.bytes)
                .sum()
        };
        assert_eq!(sum.unwrap().bytes, bytes(true));
        assert_eq!(reverse.unwrap().bytes, bytes(false));
    }
    let end = &document.end;
    let sums = [
        (&end.sum_sent, &end.sum_sent_bidir_reverse),
        (&end.sum_received, &end.sum_received_bidir_reverse),
    ];
    for (sum, reverse) in sums {
        assert_eq!(sum.as_ref().unwrap().sender, Some(true));
        assert_eq!(reverse.as_ref().unwrap().sender, Some(false));
    }
    let printed = document.to_json().unwrap();
    assert_eq!(Document::from_json(&printed).unwrap(), document);
}

#[test]
fn each_line_is_printed_as_it_was_read() {
    let names = samples(".jsonl");
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        let text = without_repeated_rate(&sample(&name));
        let lines = text.lines().take_while(|line| line.starts_with("{\""));
        for line in lines {
            let read = Line::from_json(line).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(read.to_json().unwrap(), line, "{name}");
        }
    }
}

#[test]
fn a_line_about_dropped_ones_is_read() {
    let line = r#"{"event":"dropped","data":{"reports":3,"reason":"why"}}"#;
    let read = Line::from_json(line).unwrap();
    assert_eq!(read.to_json().unwrap(), line);
    let text = format!("{line}\n{{\"event\":\"end\",\"data\":{{}}}}\n");
    assert_eq!(
        Document::from_json_lines(&text).unwrap(),
        Document::default()
    );
}

#[test]
fn lines_amount_to_the_document() {
    let text = sample("tcp-json-stream-full-322.jsonl");
    let whole = &text[text.find("\n{\n").unwrap()..];
    let document = Document::from_json(whole).unwrap();
    assert_eq!(document.intervals.len(), 2);
    assert_eq!(Document::from_json_lines(&text).unwrap(), document);
}

#[test]
fn lines_of_a_failed_test_and_of_a_server_are_kept() {
    let failed = Document::from_json_lines(&sample("error-refused-json-stream-322.jsonl")).unwrap();
    let error = failed.error.unwrap();
    assert!(error.starts_with("unable to connect to server"), "{error}");
    let text = sample("tcp-json-stream-server-output-322.jsonl");
    let server = Document::from_json_lines(&text)
        .unwrap()
        .server_document()
        .unwrap();
    assert_eq!(server.end.sum_received.unwrap().sender, Some(false));
    assert!(server.start.accepted_connection.is_some());
}

#[test]
fn what_older_versions_write_differently_is_understood() {
    let text = r#"{
        "later": {"any": [1, null]},
        "start": {"test_start": {"tos": 0.0, "bytes": 1e+19, "blocks": null}},
        "intervals": [{"streams": [
            {"lost_packets": 18446744073709551615, "snd_wnd": -1, "start": -1e-06, "lost_percent": null},
            {"lost_packets": -2, "retransmits": 18446744073709551615}
        ]}],
        "end": {"sum": {"bits_per_second": null}},
        "error": "SERVER ERROR - why",
        "error": "why"
    }"#;
    let document = Document::from_json(text).unwrap();
    let test = document.start.test_start.unwrap();
    assert_eq!((test.bytes, test.blocks), (10_000_000_000_000_000_000, 0));
    let [first, second] = &document.intervals[0].streams[..] else {
        panic!("{:?}", document.intervals);
    };
    assert_eq!((first.lost_packets, first.snd_wnd), (Some(-1), None));
    assert_eq!(
        (first.start.to_bits(), first.lost_percent),
        ((-1e-6_f64).to_bits(), None)
    );
    assert_eq!(second.lost_packets, Some(-2));
    assert_eq!(second.retransmits, Some(u64::MAX));
    assert_eq!(document.end.sum.unwrap().bits_per_second.to_bits(), 0);
    assert_eq!(document.error.as_deref(), Some("why"));
}

/// The members that 3.0 has: it reports neither the direction nor the type of service.
const OF_3_0: &str = r#"{
	"start":	{
		"connected":	[{
				"socket":	4,
				"local_host":	"10.0.0.1",
				"local_port":	44582,
				"remote_host":	"10.0.0.2",
				"remote_port":	5201
			}],
		"version":	"iperf 3.0.11",
		"system_info":	"Linux host 3.16.0\n",
		"timestamp":	{
			"time":	"Thu, 19 Mar 2015 14:31:13 GMT",
			"timesecs":	1426775473
		},
		"connecting_to":	{
			"host":	"10.0.0.2",
			"port":	5201
		},
		"cookie":	"host.1426775473.000000.000000000000000",
		"tcp_mss_default":	1448,
		"test_start":	{
			"protocol":	"TCP",
			"num_streams":	1,
			"blksize":	131072,
			"omit":	0,
			"duration":	1,
			"bytes":	0,
			"blocks":	0,
			"reverse":	0
		}
	},
	"intervals":	[{
			"streams":	[{
					"socket":	4,
					"start":	0,
					"end":	1.000154,
					"seconds":	1.000154,
					"bytes":	192509440,
					"bits_per_second":	1539838356.55681,
					"retransmits":	712,
					"snd_cwnd":	473088,
					"omitted":	false
				}],
			"sum":	{
				"start":	0,
				"end":	1.000154,
				"seconds":	1.000154,
				"bytes":	192509440,
				"bits_per_second":	1539838356.55681,
				"retransmits":	712,
				"omitted":	false
			}
		}],
	"end":	{
		"streams":	[{
				"sender":	{
					"socket":	4,
					"start":	0,
					"end":	1.000154,
					"seconds":	1.000154,
					"bytes":	192509440,
					"bits_per_second":	1539838356.55681,
					"retransmits":	712
				},
				"receiver":	{
					"socket":	4,
					"start":	0,
					"end":	1.000154,
					"seconds":	1.000154,
					"bytes":	191000000,
					"bits_per_second":	1527764724.23247
				}
			}],
		"sum_sent":	{
			"start":	0,
			"end":	1.000154,
			"seconds":	1.000154,
			"bytes":	192509440,
			"bits_per_second":	1539838356.55681,
			"retransmits":	712
		},
		"sum_received":	{
			"start":	0,
			"end":	1.000154,
			"seconds":	1.000154,
			"bytes":	191000000,
			"bits_per_second":	1527764724.23247
		},
		"cpu_utilization_percent":	{
			"host_total":	2.5,
			"host_user":	0.5,
			"host_system":	2,
			"remote_total":	1.5,
			"remote_user":	0.25,
			"remote_system":	1.25
		}
	}
}
"#;

#[test]
fn a_document_of_3_0_gets_no_members_that_it_lacks() {
    let document = Document::from_json(OF_3_0).unwrap();
    assert_eq!(document.to_json().unwrap(), OF_3_0);
    assert_eq!(document.intervals[0].streams[0].sender, None);
}

/// Other programs print the same members in an order of their own, and as other kinds of numbers.
#[test]
fn the_order_of_members_does_not_matter() {
    let text = r#"{"end":{"sum_received":{"sender":false,"seconds":1,"bytes":5.0},"sum_sent":{},
        "sum":{"packets":-1},"streams":[{"udp":{"out_of_order":0,"socket":1}}]},"intervals":[{"sum":
        {"sender":true},"streams":[{"reorder":1,"retransmits":-1,"sender":true}]}],
        "start":{"test_start":{"protocol":"UDP"},"connected":[]}}"#;
    let document = Document::from_json(text).unwrap();
    assert_eq!(document.end.sum_received.unwrap().bytes, 5);
    assert_eq!(document.end.sum.unwrap().packets, None);
    assert_eq!(document.end.streams[0].udp.as_ref().unwrap().socket, 1);
    let row = &document.intervals[0].streams[0];
    assert_eq!((row.reorder, row.retransmits), (Some(1), None));
}

#[test]
fn an_error_has_the_place_and_what_is_wrong() {
    for (text, error) in [
        (
            "",
            "not an iperf3 result: EOF while parsing a value at line 1 column 0",
        ),
        (
            "iperf3: error",
            "not an iperf3 result: expected value at line 1 column 1",
        ),
        ("[{}]", "not an iperf3 result: an array, not an object"),
        (
            "{}",
            "not an iperf3 result: missing field `start` at line 1 column 2",
        ),
        (
            r#"{"start": {"cookie": 1}}"#,
            "not an iperf3 result: invalid type: integer `1`, expected a string at line 1 column 22",
        ),
        (
            r#"{"start": {"version": "a", "version": "b"}, "intervals": 7}"#,
            "not an iperf3 result: invalid type: integer `7`, expected a sequence",
        ),
    ] {
        assert_eq!(Document::from_json(text).unwrap_err().to_string(), error);
    }
    for (text, error) in [
        ("", "not an iperf3 result: no line of JSON"),
        (
            "{\"event\":\"error\",\"data\":\"why\"}\n{\"event\":\"start\",\"data\":[]",
            "not an iperf3 result: line 2: ",
        ),
        (
            r#"{"event":"begin","data":1}"#,
            "not an iperf3 result: line 1: unknown variant `begin`",
        ),
    ] {
        let read = Document::from_json_lines(text).unwrap_err().to_string();
        assert!(read.starts_with(error), "{read}");
    }
}

#[test]
fn nonsense_is_an_error_and_no_panic() {
    let text = sample("udp-322.json");
    for end in (0..text.trim_end().len()).step_by(3) {
        assert!(Document::from_json(&text[..end]).is_err(), "{end}");
    }
    // Any one character of it as another one: some of these are documents still.
    let mut bytes = text.into_bytes();
    for at in (0..bytes.len()).step_by(7) {
        for other in *b"\"9-[{}]:,n.e\\" {
            let byte = std::mem::replace(&mut bytes[at], other);
            if let Ok(document) = Document::from_json(std::str::from_utf8(&bytes).unwrap()) {
                document.to_json().unwrap();
            }
            bytes[at] = byte;
        }
    }
    for deep in ["[", "{\"start\":", "{\"start\":{},\"a\":["] {
        assert!(Document::from_json(&deep.repeat(100_000)).is_err());
    }
}
