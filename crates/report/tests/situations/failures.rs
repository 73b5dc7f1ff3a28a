//! Tests that fail, and several tests on one sink.

use iperf_model::{Event, FailureKind, ServerOutput, Transport};
use iperf_report::Format;
use serde_json::Value;

use crate::case::{Case, bytes, failed, keys, listening};
use crate::support::{options, render};

#[test]
fn a_text_client_that_fails_early_reports_it_on_stderr_only() {
    let events = [failed(FailureKind::Error, "no route"), Event::TestFinished];
    let written = render(Format::Text, options(true), &events);
    assert_eq!(written.out, "");
    assert_eq!(written.err, "iperf3: error - no route\n");
}

#[test]
fn an_interrupted_client_is_not_done() {
    let case = Case::new(Transport::Tcp, true);
    let mut events = case.started();
    events.push(case.interval(1 << 20, None));
    events.push(case.summary(Some(bytes(1 << 20)), None));
    events.push(failed(FailureKind::Interrupt, "stopped"));
    events.push(Event::TestFinished);
    let written = render(Format::Text, case.options(), &events);
    assert_eq!(written.err, "iperf3: interrupt - stopped\n");
    let lines: Vec<_> = written.out.lines().rev().take(2).collect();
    assert_eq!(
        lines,
        [
            "[  4]   0.00-1.00   sec  0.00 Bytes  0.00 bits/sec                  receiver",
            "[  4]   0.00-1.00   sec  1.00 MBytes  8.39 Mbits/sec                  sender",
        ]
    );
    let document = case.document(&events);
    assert_eq!(document["error"], "interrupt - stopped");
    assert_eq!(document["end"]["sum_received"]["bits_per_second"], 0);
    assert_eq!(keys(&document), ["start", "intervals", "end", "error"]);
}

#[test]
fn failures_on_a_server_have_a_prefix_in_json() {
    for (kind, text) in [
        (FailureKind::Error, "error - gone"),
        (FailureKind::Interrupt, "interrupt - gone"),
    ] {
        let events = [listening(1), failed(kind, "gone"), Event::TestFinished];
        let written = render(Format::Json, options(false), &events);
        let document: Value = serde_json::from_str(&written.out).unwrap();
        assert_eq!(document["error"], text);
        let written = render(Format::JsonStream, options(false), &events);
        let expected = format!(
            "{{\"event\":\"error\",\"data\":\"{text}\"}}\n{{\"event\":\"end\",\"data\":{{}}}}\n"
        );
        assert_eq!(written.out, expected);
    }
}

#[test]
fn a_server_without_a_client_writes_no_document() {
    let events = [listening(1), Event::TestFinished];
    for format in [Format::Json, Format::JsonStream] {
        assert_eq!(render(format, options(false), &events).out, "");
    }
}

#[test]
fn each_test_of_a_server_starts_afresh() {
    let mut case = Case::new(Transport::Tcp, false);
    let mut events = vec![listening(1)];
    case.config.title = Some("first".into());
    case.config.get_server_output = true;
    events.extend(case.started());
    events.push(case.interval(1 << 20, None));
    events.push(failed(FailureKind::Error, "gone"));
    events.push(Event::TestFinished);
    case.config.title = None;
    events.push(listening(2));
    events.extend(case.started());
    events.push(case.interval(2 << 20, None));
    events.push(Event::TestFinished);

    let written = render(Format::Json, case.options(), &events);
    let mut documents = serde_json::Deserializer::from_str(&written.out).into_iter::<Value>();
    let first = documents.next().unwrap().unwrap();
    let second = documents.next().unwrap().unwrap();
    assert!(documents.next().is_none());
    assert_eq!(
        keys(&first),
        ["start", "intervals", "end", "error", "title"]
    );
    assert_eq!(keys(&second), ["start", "intervals", "end"]);
    assert_eq!(second["start"]["connected"].as_array().unwrap().len(), 1);
    assert_eq!(second["intervals"].as_array().unwrap().len(), 1);

    let mut verbose = case.options();
    verbose.verbose = true;
    let written = render(Format::Text, verbose, &events);
    assert_eq!(
        written
            .out
            .matches("Server listening on 5201 (test #")
            .count(),
        2
    );
    assert_eq!(written.out.matches("iperf 3.22\n").count(), 2);
    assert_eq!(written.out.matches("[ ID] Interval").count(), 2);
    let Some(ServerOutput::Text(text)) = written.server_output else {
        panic!("{:?}", written.server_output);
    };
    assert_eq!(text.matches("Accepted connection").count(), 1);
    assert!(
        text.contains("2.00 MBytes") && !text.contains("1.00 MBytes"),
        "{text}"
    );
}
