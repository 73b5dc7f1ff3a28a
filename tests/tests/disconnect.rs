//! One end goes away in the middle of a test, politely or not; the other end reports it, and a server keeps serving.

use iperf_harness::pair::start_client;
use iperf_harness::process::wait_for;
use iperf_harness::service::serves;
use iperf_harness::wire::{CREATE_STREAMS, PARAMS, RawClient, Reply, SERVER_TERMINATE};
use iperf_harness::{Case, Finished, HANG, Peer, Problems, Server, json, parallel};
use nix::sys::signal::Signal;

const SIGNALS: [Signal; 4] = [
    Signal::SIGKILL,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
];

/// How a program names the signal that ended it.
fn described(signal: Signal) -> &'static str {
    match signal {
        Signal::SIGINT => "Interrupt(2)",
        Signal::SIGTERM => "Terminated(15)",
        _ => "Hangup(1)",
    }
}

/// Each way of going.
fn cases(pairs: &[(Peer, Peer)]) -> Vec<Case<Signal>> {
    let mut cases = Vec::new();
    for &(client, server) in pairs {
        for signal in SIGNALS {
            for args in [
                "-t 600 -b 10M",
                "-t 600 -b 10M -J",
                "-t 600 -b 10M -R",
                "-t 600 --bidir -P 2 -b 5M",
            ] {
                cases.push(Case::new(client, server, args, signal));
            }
        }
    }
    cases
}

/// Waits for the middle of a test: the first interval is in the output of an end that writes text and flushes it.
fn wait_for_an_interval(output: impl Fn() -> String) {
    let seen = wait_for(HANG, || output().contains("bits/sec").then_some(()));
    assert!(seen.is_some(), "no interval:\n{}", output());
}

fn error_of(end: &Finished) -> String {
    let document = end.document();
    json::text(&document, "/error").unwrap_or("").to_owned()
}

/// In text mode the message is on standard error, in JSON mode in the document.
fn message_is(f: &mut Problems, end: &Finished, is_json: bool, prefix: &str, message: &str) {
    if is_json {
        let prefix = prefix.strip_prefix("error - ").unwrap_or(prefix);
        f.equal("error", error_of(end), format!("{prefix}{message}"));
        f.equal("stderr", end.stderr.as_str(), "");
    } else {
        let name = Peer::Ours.program_name();
        f.equal(
            "stderr",
            end.stderr.as_str(),
            &format!("{name}: {prefix}{message}\n"),
        );
    }
}

#[test]
fn our_client_notices_that_its_server_is_gone() {
    let pairs = [Peer::Ours, Peer::New, Peer::Old].map(|server| (Peer::Ours, server));
    parallel::each(&cases(&pairs), 12, |case| {
        let server = Server::start(case.server, &["--forceflush"]);
        let client = start_client(Peer::Ours, server.port(), &case.args);
        wait_for_an_interval(|| server.process.stdout_so_far());
        server.process.signal(case.expected);
        let server = server.finish(HANG);
        let client = client.finish(HANG);

        let mut f = Problems::new();
        f.equal("the client's exit code", client.code(), Some(1));
        f.holds("the client ends by itself", !client.timed_out);
        let message = if case.expected == Signal::SIGKILL {
            "control socket has closed unexpectedly"
        } else {
            "the server has terminated"
        };
        message_is(
            &mut f,
            &client,
            case.args.contains("-J"),
            "error - ",
            message,
        );
        if case.expected != Signal::SIGKILL && !case.args.contains("-J") {
            f.holds(
                "the client prints a summary",
                client.stdout.contains("sender\n"),
            );
        }
        if case.server == Peer::Ours && case.expected != Signal::SIGKILL {
            f.equal("the server's exit code", server.code(), Some(0));
            let why = format!(
                "the server has terminated by signal {}",
                described(case.expected)
            );
            message_is(&mut f, &server, false, "interrupt - ", &why);
        }
        f.into_result(format!("{client}{server}"))
    });
}

#[test]
fn our_server_notices_that_its_client_is_gone() {
    let pairs = [Peer::Ours, Peer::New, Peer::Old].map(|client| (client, Peer::Ours));
    parallel::each(&cases(&pairs), 12, |case| {
        let mut server = Server::start(Peer::Ours, &["--forceflush"]);
        let client = start_client(case.client, server.port(), &case.args);
        wait_for_an_interval(|| server.process.stdout_so_far());
        client.signal(case.expected);
        let client = client.finish(HANG);

        let message = format!(
            "{}: {}\n",
            Peer::Ours.program_name(),
            leaving(case.expected)
        );
        let mut f = Problems::new();
        let said = wait_for(HANG, || {
            (server.process.stderr_so_far() == message).then_some(())
        });
        f.holds(format!("the server reports: {message}"), said.is_some());
        if case.client == Peer::Ours && case.expected != Signal::SIGKILL {
            f.equal("the client's exit code", client.code(), Some(0));
            let why = format!(
                "the client has terminated by signal {}",
                described(case.expected)
            );
            message_is(
                &mut f,
                &client,
                case.args.contains("-J"),
                "interrupt - ",
                &why,
            );
        }
        for next in [Peer::Ours, Peer::New, Peer::Old] {
            if let Err(report) = serves(server.port(), next, HANG) {
                f.add(report);
            }
        }
        f.holds("the server lives", server.process.is_alive());
        let server = server.stop();
        f.into_result(format!("{client}{server}"))
    });
}

/// How a server calls the end of a client.
fn leaving(signal: Signal) -> &'static str {
    match signal {
        Signal::SIGKILL => "the client has unexpectedly closed the connection",
        _ => "the client has terminated",
    }
}

/// The `error` of a document, or the data of the line `error` of a stream.
fn reported_error(output: &str) -> Option<String> {
    let lines = json::documents(output);
    let data = lines
        .iter()
        .find(|line| json::text(line, "/event") == Some("error"));
    data.and_then(|line| json::text(line, "/data"))
        .or_else(|| json::text(lines.first()?, "/error"))
        .map(str::to_owned)
}

/// What 3.22 reports then.
const LATE_QUESTION: &str = "getsockopt - Bad file descriptor";

/// 3.22 is held to the same.
#[test]
fn a_client_that_leaves_is_reported_without_a_prefix_in_json_as_well() {
    let mut cases = Vec::new();
    for server in [Peer::Ours, Peer::New] {
        for client in [Peer::Ours, Peer::New, Peer::Old] {
            for format in ["-J", "--json-stream"] {
                for signal in [Signal::SIGTERM, Signal::SIGKILL] {
                    cases.push(Case::new(client, server, format, signal));
                }
            }
        }
    }
    parallel::each(&cases, 12, |case| {
        let server = Server::start(case.server, &["-1", &case.args]);
        let client = start_client(case.client, server.port(), "-t 600 -b 10M --forceflush");
        wait_for_an_interval(|| client.stdout_so_far());
        client.signal(case.expected);
        let client = client.finish(HANG);
        let error = wait_for(HANG, || reported_error(&server.process.stdout_so_far()));
        let server = server.finish(HANG);
        let mut f = Problems::new();
        // When an interval ends in the moment in which the client leaves, a real server reads the state of a socket that it has closed.
        let late = case.server == Peer::New && error.as_deref() == Some(LATE_QUESTION);
        if !late {
            f.equal("error", error.as_deref(), Some(leaving(case.expected)));
        }
        f.equal("stderr", server.stderr.as_str(), "");
        f.into_result(format!("{client}{server}"))
    });
}

/// A server that writes JSON closes the document of a failed test and writes the next one's.
#[test]
fn our_json_server_reports_a_lost_client() {
    let server = Server::start(Peer::Ours, &["-J"]);
    let client = start_client(Peer::Ours, server.port(), "-t 600 -b 10M --forceflush");
    wait_for_an_interval(|| client.stdout_so_far());
    drop(client);
    serves(server.port(), Peer::Ours, HANG).unwrap();
    let documents = wait_for(HANG, || {
        let documents = server.documents();
        (documents.len() >= 2).then_some(documents)
    });
    let documents = documents.unwrap_or_else(|| panic!("{}", server.process.stdout_so_far()));
    let error = json::text(&documents[0], "/error").unwrap_or("");
    assert!(
        error.contains("the client has unexpectedly closed the connection"),
        "{error:?}"
    );
    assert_eq!(json::text(&documents[1], "/error"), None);
    assert!(json::int(&documents[1], "/end/sum_received/bytes") > Some(0));
}

/// A server that is stopped tells clients whose tests have not begun yet, too.
#[test]
fn a_client_in_its_handshake_learns_that_the_server_ends() {
    for before in [1, 2] {
        let server = Server::start(Peer::Ours, &[]);
        let mut client = RawClient::up_to_params(server.port());
        if before == 2 {
            client.control.send_json(PARAMS);
            client.control.expect(CREATE_STREAMS);
        }
        let server = server.stop();
        assert_eq!(client.control.reply(HANG), Reply::State(SERVER_TERMINATE));
        assert_eq!(client.control.reply(HANG), Reply::Closed);
        let ends = server.stderr.matches("the server has terminated").count();
        assert_eq!((server.code(), ends), (Some(0), 1), "{server}");
    }
}
