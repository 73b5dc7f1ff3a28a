//! Where the lines of a report go, and how they begin and end.

use std::io;
use std::time::Duration;

use iperf_model::{Event, FailureKind, Limit, ServerOutput, Transport};
use iperf_report::{Format, Output, Writer, null_sink, open_log, sink};
use serde_json::Value;

use crate::case::{Case, failed, lines_of};
use crate::support::{options, render};

#[test]
fn verbose_lines_follow_the_options() {
    let mut case = Case::new(Transport::Tcp, true);
    case.config.socket.mss = Some(1400);
    case.config.limit = Limit::Blocks(12);
    case.config.omit = 2;
    case.config.socket.tos = 16;
    let mut options = case.options();
    options.verbose = true;
    let mut events = case.started();
    if let Some(Event::TestStarted(started)) = events.last_mut() {
        started.interval = None;
    }
    events.push(Event::OmitFinished);
    events.push(Event::TestFinished);
    let lines = lines_of(options.clone(), &events);
    assert_eq!(
        lines[5..],
        [
            "      TCP MSS: 1400",
            "[  4] local 3 port 4294967295 connected to 2 port 5201",
            "Starting Test: protocol: TCP, 1 streams, 131072 byte blocks, omitting 2 seconds, 12 blocks to send, tos 16",
            "Finished omit period, starting real test",
        ]
    );
    case.config.limit = Limit::Endless;
    let mut events = case.started();
    events.push(Event::OmitFinished);
    let lines = lines_of(options, &events);
    assert!(
        lines
            .last()
            .unwrap()
            .ends_with("omitting 2 seconds, 0 second test, tos 16")
    );
}

#[test]
fn a_servers_output_is_one_block_with_one_prefix() {
    let mut case = Case::new(Transport::Tcp, true);
    case.config.title = Some("T".into());
    let events = |output| {
        [
            case.began(),
            Event::ServerOutput(output),
            case.summary(None, None),
            Event::TestFinished,
        ]
    };
    let tail = |output| -> String {
        let written = render(Format::Text, case.options(), &events(output));
        written.out.split_once(" receiver\n").unwrap().1.to_owned()
    };
    assert_eq!(
        tail(ServerOutput::Text("a\nb\n".into())),
        "T:  \nServer output:\na\nb\n\nT:  \nT:  iperf Done.\n"
    );
    assert_eq!(
        tail(ServerOutput::Json("{\"a\":[],\"b\":0.1}".into())),
        "T:  \nServer JSON output:\n{\n\t\"a\":\t[],\n\t\"b\":\t0.1\n}\nT:  \nT:  iperf Done.\n"
    );
    let broken = || ServerOutput::Json("{broken".into());
    assert!(tail(broken()).starts_with("T:  \nServer JSON output:\n{broken\n"));
    assert_eq!(
        case.document(&events(broken()))["server_output_text"],
        "{broken"
    );
}

#[test]
fn a_stream_of_json_ends_in_one_order() {
    let case = Case::new(Transport::Tcp, true);
    let mut events = case.started();
    events.push(Event::ServerOutput(ServerOutput::Text("text".into())));
    events.push(case.summary(None, None));
    events.push(Event::Warning("odd".into()));
    events.push(failed(FailureKind::Error, "late"));
    events.push(Event::TestFinished);
    let written = render(Format::JsonStream, case.options(), &events);
    let names: Vec<_> = written
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(names, ["start", "error", "server_output_text", "end"]);
    assert_eq!(written.err, "warning: odd\n");
}

#[test]
fn a_log_file_takes_everything_but_breaks_no_json() {
    let directory = tempfile::tempdir().unwrap();
    let events = [
        Event::Warning("odd".into()),
        failed(FailureKind::Error, "no route"),
    ];
    for (format, expected) in [
        (
            Format::Text,
            "before\nwarning: odd\niperf3: error - no route\n",
        ),
        (Format::Json, "before\n"),
    ] {
        let path = directory.path().join(format!("{format:?}"));
        std::fs::write(&path, "before\n").unwrap();
        let file = Box::new(open_log(&path).unwrap());
        let writer = Writer::start("iperf3", "the log file", file, Box::new(io::sink())).unwrap();
        let hang = Duration::from_secs(60);
        let mut sink = sink(format, options(true), Output::log(writer.clone()));
        for event in &events {
            sink.event(event).unwrap();
        }
        assert!(writer.wait(hang));
        // Written out after each event, while the sink still lives.
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        sink.event(&Event::TestFinished).unwrap();
        assert!(writer.wait(hang));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(expected));
        assert_eq!(text.ends_with("}\n"), format == Format::Json);
    }
}

#[test]
fn the_null_sink_accepts_any_event() {
    let mut sink = null_sink();
    for event in Case::new(Transport::Tcp, true).started() {
        sink.event(&event).unwrap();
    }
    assert_eq!(sink.server_output(), None);
}

#[test]
fn verbose_summaries_of_several_streams_end_with_jains_index() {
    for (is_client, expected) in [
        (
            true,
            "[SUM] fairness (Jain's index): 0.8000 sent, 1.0000 received",
        ),
        (false, "[SUM] fairness (Jain's index): 1.0000 received"),
    ] {
        let mut case = Case::new(Transport::Tcp, is_client);
        let lines = |case: &Case, bytes: &[(u64, u64)], verbose| {
            let mut options = case.options();
            options.verbose = verbose;
            let mut events = case.started();
            events.push(case.summary_of_bytes(bytes));
            lines_of(options, &events)
                .into_iter()
                .filter(|line| line.contains("Jain"))
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&case, &[(2, 2)], true), [""; 0], "one stream");
        case.config.streams = 2;
        assert_eq!(lines(&case, &[(2, 4), (6, 4)], true), [expected]);
        assert_eq!(lines(&case, &[(2, 4), (6, 4)], false), [""; 0]);
        assert_eq!(
            lines(&case, &[(0, 0), (0, 0)], true),
            [""; 0],
            "nothing moved"
        );
    }
}
