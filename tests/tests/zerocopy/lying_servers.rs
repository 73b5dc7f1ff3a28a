//! Servers that grant nonsense or send a report that can't be true: a client ends with an error or ignores it.

use std::fmt;

use iperf_harness::json::{self, text};
use iperf_harness::pair::words;
use iperf_harness::process::limit_address_space;
use iperf_harness::wire::{
    CREATE_STREAMS, DISPLAY_RESULTS, RESULTS, RawServer, SERVER_ERROR, Stage, framed,
};
use iperf_harness::{HANG, Peer, Problems, Running, parallel};
use serde_json::Value;

/// The byte that announces a server's grants.
pub(super) const GRANTED: u8 = 64;

const ADDRESS_SPACE_KIB: u64 = 3 * 1024 * 1024;

/// A server that lies, and the arguments of the client that meets it.
#[derive(Clone)]
struct LyingServer {
    name: &'static str,
    args: &'static str,
    act: fn(&mut Stage),
    /// A part of the error.
    error: &'static str,
}

impl fmt::Display for LyingServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn lying(name: &'static str, act: fn(&mut Stage), error: &'static str) -> LyingServer {
    LyingServer {
        name,
        args: "-t 1 -b 10M --verify",
        act,
        error,
    }
}

/// Grants, in a message of these bytes, and waits for the client to end.
fn grants(stage: &mut Stage, message: &[u8]) {
    stage.take_params();
    stage.control.send(&[GRANTED]);
    stage.control.send(message);
    stage.stall();
}

/// Ends the test with an error code and this message.
fn fails(stage: &mut Stage, message: &[u8]) {
    stage.take_params();
    stage.control.send(&[GRANTED]);
    stage.control.send_json(r#"{"version":"x","verify":true}"#);
    stage
        .control
        .send(&[SERVER_ERROR, 0, 0, 0, 202, 0, 0, 0, 0]);
    stage.control.send(message);
}

/// Servers with wrong grants.
fn lying_servers() -> Vec<LyingServer> {
    let unreadable = "unable to read which extensions the server grants";
    vec![
        lying("grants no JSON", |s| grants(s, &framed("}{")), unreadable),
        lying("grants nothing at all", |s| grants(s, &[0; 4]), unreadable),
        lying("grants 4 GiB", |s| grants(s, &[0xff; 100_000]), unreadable),
        lying(
            "grants more than there can be",
            |s| grants(s, &framed(&format!("\"{}\"", " ".repeat(8192)))),
            unreadable,
        ),
        lying(
            "grants what nests",
            |s| grants(s, &framed(&"[".repeat(8000))),
            unreadable,
        ),
        lying(
            "grants an array",
            |s| {
                grants(s, &[&framed("[true]")[..], &[CREATE_STREAMS]].concat());
            },
            "--verify",
        ),
        lying(
            "grants strings",
            |s| {
                let message = framed(r#"{"version":7,"verify":"true"}"#);
                grants(s, &[&message[..], &[CREATE_STREAMS]].concat());
            },
            "--verify",
        ),
        lying(
            "grants nothing",
            |s| {
                grants(s, &[&framed("{}")[..], &[CREATE_STREAMS]].concat());
            },
            "--verify",
        ),
    ]
}

/// Servers that grant when they should not.
fn unexpected_grants() -> Vec<LyingServer> {
    vec![
        lying(
            "does not answer",
            |s| {
                s.take_params();
                s.control.send(&[CREATE_STREAMS]);
                s.stall();
            },
            "--verify needs iperf at both ends",
        ),
        lying(
            "grants twice",
            |s| {
                let once = framed(r#"{"version":"x","verify":true}"#);
                grants(s, &[&once[..], &[GRANTED], &once].concat());
            },
            "error - ",
        ),
        lying(
            "grants without end",
            |s| {
                let once = framed(r#"{"version":"x","verify":true}"#);
                let many = [&[GRANTED][..], &once].concat().repeat(10_000);
                grants(s, &[&once[..], &many].concat());
            },
            "error - ",
        ),
        lying(
            "grants before the request",
            |s| {
                s.control.send(&[GRANTED]);
                s.control.send_json("{}");
                s.stall();
            },
            "error - ",
        ),
        lying(
            "grants in the test",
            |s| {
                s.take_params();
                s.control.send(&[GRANTED]);
                s.control.send_json(r#"{"version":"x","verify":true}"#);
                s.take_stream();
                s.control.send(&[1, 2, GRANTED]);
                s.control.send_json("{}");
                s.stall();
            },
            "error - ",
        ),
        LyingServer {
            name: "grants what was not requested",
            args: "-t 1 -b 10M",
            ..lying("", |s| grants(s, &framed("{}")), "error - ")
        },
    ]
}

/// Servers that fail and send a reason.
fn failing_servers() -> Vec<LyingServer> {
    vec![
        lying("fails and sends nothing", |s| fails(s, b""), "error - "),
        lying(
            "fails and sends no JSON",
            |s| fails(s, &framed("}{")),
            "error - ",
        ),
        lying(
            "fails and sends 4 GiB",
            |s| fails(s, &[0xff; 70_000]),
            "error - ",
        ),
        lying(
            "fails with an empty reason",
            |s| {
                fails(s, &framed(r#"{"error":""}"#));
            },
            "error - ",
        ),
        lying(
            "fails with a number",
            |s| fails(s, &framed(r#"{"error":5}"#)),
            "error - ",
        ),
        lying(
            "fails in colour",
            |s| {
                fails(s, &framed(r#"{"error":"\u001b[31mred\u0007\n\u0000"}"#));
            },
            "[31mred",
        ),
        lying(
            "fails at length",
            |s| {
                fails(
                    s,
                    &framed(&format!(r#"{{"error":"{}"}}"#, "long ".repeat(1600))),
                );
            },
            "long long",
        ),
        lying(
            "fails and stalls",
            |s| {
                fails(s, b"\0\0\0\x50{\"error\":\"w");
                s.stall();
            },
            "error - ",
        ),
    ]
}

#[test]
fn a_server_that_lies_about_extensions_ends_its_client_with_an_error() {
    let lying_servers = [lying_servers(), unexpected_grants(), failing_servers()].concat();
    parallel::each(&lying_servers, lying_servers.len(), |lying| {
        let server = RawServer::start(lying.act);
        let mut command = Peer::Ours.command();
        command
            .args(["-c", "127.0.0.1", "-p", &server.port().to_string()])
            .args(words(lying.args));
        let client = limit_address_space(&command, ADDRESS_SPACE_KIB);
        let end = Running::start(client).finish(HANG);
        let mut f = Problems::new();
        f.holds("the client ends by itself", !end.timed_out);
        f.equal("exit code", end.code(), Some(1));
        f.holds(
            format!("it reports {:?}", lying.error),
            end.stderr.contains(lying.error),
        );
        f.equal("lines", end.stderr.lines().count(), 1);
        f.holds("of no great length", end.stderr.len() < 1500);
        let odd = |c: char| c.is_control() && c != '\n';
        f.holds("nothing that a terminal obeys", !end.stderr.contains(odd));
        f.into_result(end)
    });
}

/// What a server reports in its results about how bytes were moved.
struct FalseReport {
    name: &'static str,
    zerocopy: &'static str,
    /// Whether it is believed, that is, shown.
    shown: bool,
}

impl fmt::Display for FalseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[test]
fn a_report_that_cannot_be_true_does_no_harm() {
    const MAX: &str = r#"{"requested":"mmap","used":"mmap","calls":9223372036854775807,"bytes_not_copied":9223372036854775807,"bytes_copied":9223372036854775807,"mappings":9223372036854775807,"completions":9223372036854775807,"completions_copied":9223372036854775807,"cpu":1e308}"#;
    let reports = [
        FalseReport {
            name: "a number",
            zerocopy: "7",
            shown: false,
        },
        FalseReport {
            name: "an array",
            zerocopy: "[[[[]]]]",
            shown: false,
        },
        FalseReport {
            name: "nothing",
            zerocopy: "{}",
            shown: false,
        },
        FalseReport {
            name: "unknown modes",
            zerocopy: r#"{"requested":"mmap","used":"telepathy"}"#,
            shown: false,
        },
        FalseReport {
            name: "wrong types",
            zerocopy: r#"{"requested":"mmap","used":"mmap","calls":"x","bytes_not_copied":[],"cpu":{},"reason":5}"#,
            shown: true,
        },
        FalseReport {
            name: "below zero",
            zerocopy: r#"{"requested":"mmap","used":"copy","calls":-1,"bytes_not_copied":-5,"bytes_copied":-9223372036854775808,"cpu":-1}"#,
            shown: true,
        },
        FalseReport {
            name: "as much as there can be",
            zerocopy: MAX,
            shown: true,
        },
        FalseReport {
            name: "in colour",
            zerocopy: r#"{"requested":"mmap","used":"mmap","reason":"\u001b[31m\n\u0000red"}"#,
            shown: true,
        },
    ];
    for format in ["-J", "", "--json-stream"] {
        parallel::each(&reports, reports.len(), |report| {
            let zerocopy = report.zerocopy;
            let server = RawServer::start(move |stage| {
                stage.take_results();
                let own = format!("\"id\":1,\"zerocopy\":{zerocopy}");
                stage.control.send_json(&RESULTS.replace("\"id\":1", &own));
                stage.control.send(&[DISPLAY_RESULTS]);
                stage.stall();
            });
            let mut command = Peer::Ours.command();
            let port = server.port().to_string();
            command.args(["-c", "127.0.0.1", "-p", &port, "-t", "1", "-b", "10M", "-Z"]);
            command.args(words(format));
            let end = Running::start(command).finish(HANG);
            let mut f = Problems::new();
            f.holds("the client succeeds", end.succeeded());
            let odd = |c: char| c.is_control() && c != '\n' && c != '\t';
            f.holds("nothing that a terminal obeys", !end.stdout.contains(odd));
            if format == "-J" {
                let document = end.document();
                let shown = text(&document, "/end/sum_received/zerocopy/requested");
                f.equal("what is shown", shown, report.shown.then_some("mmap"));
                let own = json::at(&document, "/end/sum_sent/zerocopy/used");
                f.equal("the own end", own, &Value::from("splice"));
            }
            f.into_result(end)
        });
    }
}
