//! Servers that grant nonsense, and servers whose report can't be true: a client ends with an error or ignores it.

use std::fmt;

use iperf_harness::json::{self, text};
use iperf_harness::pair::words;
use iperf_harness::process::limit_address_space;
use iperf_harness::wire::{
    CREATE_STREAMS, DISPLAY_RESULTS, RESULTS, RawServer, SERVER_ERROR, Stage, framed,
};
use iperf_harness::{HANG, Peer, Problems, Running, parallel};
use serde_json::Value;

/// The byte with which a server tells what it grants.
pub(super) const GRANTED: u8 = 64;

const ADDRESS_SPACE_KIB: u64 = 3 * 1024 * 1024;

/// A server that lies, and the arguments of the client that meets it.
#[derive(Clone)]
struct Liar {
    name: &'static str,
    args: &'static str,
    act: fn(&mut Stage),
    /// A part of the error.
    says: &'static str,
}

impl fmt::Display for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn liar(name: &'static str, act: fn(&mut Stage), says: &'static str) -> Liar {
    Liar {
        name,
        args: "-t 1 -b 10M --verify",
        act,
        says,
    }
}

/// Grants, in a message of these bytes, and waits for the client to end.
fn grants(stage: &mut Stage, message: &[u8]) {
    stage.take_params();
    stage.control.send(&[GRANTED]);
    stage.control.send(message);
    stage.stall();
}

/// Gives up the test with a code, and says this of it.
fn gives_up(stage: &mut Stage, message: &[u8]) {
    stage.take_params();
    stage.control.send(&[GRANTED]);
    stage.control.send_json(r#"{"version":"x","verify":true}"#);
    stage
        .control
        .send(&[SERVER_ERROR, 0, 0, 0, 202, 0, 0, 0, 0]);
    stage.control.send(message);
}

/// Servers whose word on what they grant is wrong.
fn liars() -> Vec<Liar> {
    let unreadable = "unable to read which extensions the server grants";
    vec![
        liar("grants no JSON", |s| grants(s, &framed("}{")), unreadable),
        liar("grants nothing at all", |s| grants(s, &[0; 4]), unreadable),
        liar("grants 4 GiB", |s| grants(s, &[0xff; 100_000]), unreadable),
        liar(
            "grants more than there can be",
            |s| grants(s, &framed(&format!("\"{}\"", " ".repeat(8192)))),
            unreadable,
        ),
        liar(
            "grants what nests",
            |s| grants(s, &framed(&"[".repeat(8000))),
            unreadable,
        ),
        liar(
            "grants an array",
            |s| {
                grants(s, &[&framed("[true]")[..], &[CREATE_STREAMS]].concat());
            },
            "--verify",
        ),
        liar(
            "grants strings",
            |s| {
                let message = framed(r#"{"version":7,"verify":"true"}"#);
                grants(s, &[&message[..], &[CREATE_STREAMS]].concat());
            },
            "--verify",
        ),
        liar(
            "grants nothing",
            |s| {
                grants(s, &[&framed("{}")[..], &[CREATE_STREAMS]].concat());
            },
            "--verify",
        ),
    ]
}

/// Servers that grant when they should not.
fn untimely_liars() -> Vec<Liar> {
    vec![
        liar(
            "does not answer",
            |s| {
                s.take_params();
                s.control.send(&[CREATE_STREAMS]);
                s.stall();
            },
            "--verify needs iperf at both ends",
        ),
        liar(
            "grants twice",
            |s| {
                let once = framed(r#"{"version":"x","verify":true}"#);
                grants(s, &[&once[..], &[GRANTED], &once].concat());
            },
            "error - ",
        ),
        liar(
            "grants without end",
            |s| {
                let once = framed(r#"{"version":"x","verify":true}"#);
                let many = [&[GRANTED][..], &once].concat().repeat(10_000);
                grants(s, &[&once[..], &many].concat());
            },
            "error - ",
        ),
        liar(
            "grants before it is asked",
            |s| {
                s.control.send(&[GRANTED]);
                s.control.send_json("{}");
                s.stall();
            },
            "error - ",
        ),
        liar(
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
        Liar {
            name: "grants what nobody asked for",
            args: "-t 1 -b 10M",
            ..liar("", |s| grants(s, &framed("{}")), "error - ")
        },
    ]
}

/// Servers that give up and have something to say about it.
fn quitters() -> Vec<Liar> {
    vec![
        liar(
            "gives up and says nothing",
            |s| gives_up(s, b""),
            "error - ",
        ),
        liar(
            "gives up and says no JSON",
            |s| gives_up(s, &framed("}{")),
            "error - ",
        ),
        liar(
            "gives up and says 4 GiB",
            |s| gives_up(s, &[0xff; 70_000]),
            "error - ",
        ),
        liar(
            "gives up with an empty reason",
            |s| {
                gives_up(s, &framed(r#"{"error":""}"#));
            },
            "error - ",
        ),
        liar(
            "gives up with a number",
            |s| gives_up(s, &framed(r#"{"error":5}"#)),
            "error - ",
        ),
        liar(
            "gives up in colour",
            |s| {
                gives_up(s, &framed(r#"{"error":"\u001b[31mred\u0007\n\u0000"}"#));
            },
            "[31mred",
        ),
        liar(
            "gives up at length",
            |s| {
                gives_up(
                    s,
                    &framed(&format!(r#"{{"error":"{}"}}"#, "long ".repeat(1600))),
                );
            },
            "long long",
        ),
        liar(
            "gives up and stalls",
            |s| {
                gives_up(s, b"\0\0\0\x50{\"error\":\"w");
                s.stall();
            },
            "error - ",
        ),
    ]
}

#[test]
fn a_server_that_lies_about_extensions_ends_its_client_with_an_error() {
    let liars = [liars(), untimely_liars(), quitters()].concat();
    parallel::each(&liars, liars.len(), |liar| {
        let server = RawServer::start(liar.act);
        let mut command = Peer::Ours.command();
        command
            .args(["-c", "127.0.0.1", "-p", &server.port().to_string()])
            .args(words(liar.args));
        let client = limit_address_space(&command, ADDRESS_SPACE_KIB);
        let end = Running::start(client).finish(HANG);
        let mut f = Problems::new();
        f.holds("the client ends by itself", !end.timed_out);
        f.equal("exit code", end.code(), Some(1));
        f.holds(
            format!("it says {:?}", liar.says),
            end.stderr.contains(liar.says),
        );
        f.equal("lines", end.stderr.lines().count(), 1);
        f.holds("of no great length", end.stderr.len() < 1500);
        let odd = |c: char| c.is_control() && c != '\n';
        f.holds("nothing that a terminal obeys", !end.stderr.contains(odd));
        f.into_result(end)
    });
}

/// What a server says in its results of how bytes went through.
struct Tale {
    name: &'static str,
    zerocopy: &'static str,
    /// Whether it is believed, that is, shown.
    shown: bool,
}

impl fmt::Display for Tale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[test]
fn a_report_that_cannot_be_true_harms_nobody() {
    const MAX: &str = r#"{"requested":"mmap","used":"mmap","calls":9223372036854775807,"bytes_not_copied":9223372036854775807,"bytes_copied":9223372036854775807,"mappings":9223372036854775807,"completions":9223372036854775807,"completions_copied":9223372036854775807,"cpu":1e308}"#;
    let tales = [
        Tale {
            name: "a number",
            zerocopy: "7",
            shown: false,
        },
        Tale {
            name: "an array",
            zerocopy: "[[[[]]]]",
            shown: false,
        },
        Tale {
            name: "nothing",
            zerocopy: "{}",
            shown: false,
        },
        Tale {
            name: "unknown modes",
            zerocopy: r#"{"requested":"mmap","used":"telepathy"}"#,
            shown: false,
        },
        Tale {
            name: "wrong types",
            zerocopy: r#"{"requested":"mmap","used":"mmap","calls":"x","bytes_not_copied":[],"cpu":{},"reason":5}"#,
            shown: true,
        },
        Tale {
            name: "below zero",
            zerocopy: r#"{"requested":"mmap","used":"copy","calls":-1,"bytes_not_copied":-5,"bytes_copied":-9223372036854775808,"cpu":-1}"#,
            shown: true,
        },
        Tale {
            name: "as much as there can be",
            zerocopy: MAX,
            shown: true,
        },
        Tale {
            name: "in colour",
            zerocopy: r#"{"requested":"mmap","used":"mmap","reason":"\u001b[31m\n\u0000red"}"#,
            shown: true,
        },
    ];
    for format in ["-J", "", "--json-stream"] {
        parallel::each(&tales, tales.len(), |tale| {
            let zerocopy = tale.zerocopy;
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
                f.equal("what is shown", shown, tale.shown.then_some("mmap"));
                let own = json::at(&document, "/end/sum_sent/zerocopy/used");
                f.equal("the own end", own, &Value::from("splice"));
            }
            f.into_result(end)
        });
    }
}
