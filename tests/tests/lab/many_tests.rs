//! A server with `--tests` and several clients at once, over what this machine's kernel may not have: SCTP, vsock within a
//! guest, to it and from it, as streams and as messages.
//!
//! Clients start at once, on both sides of the device. An emulated machine takes seconds to start a program, so their tests
//! last until all run.

use std::collections::HashMap;
use std::time::Duration;

use iperf_harness::json::{self, int, text};
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems};
use iperf_lab::{Backend, Kernel, Machine, Place, Program};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::encounter::Route;
use super::modes::{to_guest, to_host};

const MEGABYTE: i64 = 1 << 20;
/// Seconds of a test that still runs when all others have begun, and the short ones beside it have ended. Where that takes
/// longer, all of it is done again.
const LONG: [u32; 3] = [40, 120, 300];

/// Runs `crowds` until its long tests last long enough. It gets their seconds and a port of its own, which is the first of ten.
fn with_enough_time(crowds: impl Fn(u32, u32) -> Result<(), String>) {
    let mut ended = Vec::new();
    for (seconds, port) in LONG.into_iter().zip((5300..).step_by(10)) {
        match crowds(seconds, port) {
            Ok(()) => return,
            Err(name) => ended.push(name),
        }
    }
    panic!("not all tests ran at once, however long they were: {ended:?} ended before");
}

/// A server, the tests that run on it, and the documents of those that have ended.
struct Crowd {
    port: u32,
    /// Of a long test.
    seconds: u32,
    server: Program,
    running: Vec<(String, Program)>,
    ended: Vec<(String, Value)>,
    problems: Problems,
}

impl Crowd {
    fn start(route: &Route<'_>, port: u32, seconds: u32) -> Self {
        Self {
            port,
            seconds,
            server: route.serve(Peer::Ours, port, "--tests 16 -J"),
            running: Vec::new(),
            ended: Vec::new(),
            problems: Problems::new(),
        }
    }

    /// Starts long tests at once, and waits until each of them runs.
    fn join(&mut self, clients: &[(&Route<'_>, Peer, &str)]) {
        let begun: Vec<_> = clients
            .iter()
            .map(|(route, peer, options)| {
                let args = format!("-t {} -b 1M {options}", self.seconds);
                let wait = if *peer == Peer::Ours { "--wait 60" } else { "" };
                let stream = format!("{args} {wait} --json-stream --forceflush");
                let client = route.start_client(*peer, self.port, &stream);
                (format!("{peer} {args}"), client)
            })
            .collect();
        for (name, client) in begun {
            let runs = || client.stdout_so_far().contains("interval").then_some(());
            self.problems
                .holds(format!("{name} runs"), wait_for(HANG, runs).is_some());
            self.running.push((name, client));
        }
    }

    /// Runs tests of a megabyte at once, beside those that run.
    fn beside(&mut self, clients: &[(&Route<'_>, &str)]) {
        let begun: Vec<_> = clients
            .iter()
            .map(|(route, options)| {
                let args = format!("-n 1M -J --wait 60 {options}");
                let client = route.start_client(Peer::Ours, self.port, &args);
                (args, client)
            })
            .collect();
        for (args, client) in begun {
            let end = client.finish(HANG);
            let problems = &mut self.problems;
            problems.holds(format!("{args} succeeds: {end}"), end.succeeded());
            let document = json::parse(&end.stdout).unwrap_or_default();
            let [sent, received] =
                ["sum_sent", "sum_received"].map(|sum| bytes(&document, sum).unwrap_or_default());
            problems.equal(format!("{args}: received of what was sent"), received, sent);
            problems.holds(format!("{args}: all of it"), received >= MEGABYTE);
            self.ended.push((args, document));
        }
    }

    /// Waits for the long tests, ends the server, and compares what both ends report. If a long test has ended by now, its
    /// name is the error.
    fn finish(self) -> Result<(), String> {
        let Self {
            seconds,
            server,
            running,
            mut ended,
            problems: mut f,
            ..
        } = self;
        let mut running = running;
        if let Some(at) = running
            .iter_mut()
            .position(|(_, client)| !client.is_alive())
        {
            let (name, client) = running.swap_remove(at);
            let end = client.finish(HANG);
            assert!(end.succeeded(), "{name}: {end}");
            return Err(name);
        }
        let rest = Duration::from_secs(seconds.into()) + HANG;
        for (name, client) in running {
            let end = client.finish(rest);
            f.holds(format!("{name} succeeds: {end}"), end.succeeded());
            ended.push((name, of_json_stream(&end.stdout)));
        }
        let with_cookies = |stdout: &str| -> HashMap<String, Value> {
            let documents = json::documents(stdout).into_iter();
            documents
                .filter_map(|one| Some((text(&one, "/start/cookie")?.to_owned(), one)))
                .collect()
        };
        // The last test's document may be under way.
        wait_for(HANG, || {
            (with_cookies(&server.stdout_so_far()).len() >= ended.len()).then_some(())
        });
        server.signal(Signal::SIGTERM);
        let server = server.finish(HANG);
        let of_server = with_cookies(&server.stdout);
        f.equal("documents of tests", of_server.len(), ended.len());
        for (name, document) in &ended {
            let cookie = text(document, "/start/cookie").unwrap_or_default();
            match of_server.get(cookie) {
                Some(server) => check(name, document, server, &mut f),
                None => f.add(format!("{name} has no document of the server")),
            }
        }
        f.assert_none(server.stderr);
        Ok(())
    }
}

fn bytes(document: &Value, sum: &str) -> Option<i64> {
    int(document, &format!("/end/{sum}/bytes"))
}

/// The events of a test as a document.
fn of_json_stream(stdout: &str) -> Value {
    let mut document = serde_json::json!({});
    for line in stdout.lines().filter_map(|line| json::parse(line).ok()) {
        if let Some(event @ ("start" | "end" | "error")) = text(&line, "/event") {
            document[event] = line["data"].clone();
        }
    }
    document
}

/// Each end reports what it has counted itself: the server what it received, or what it sent.
fn check(name: &str, client: &Value, server: &Value, f: &mut Problems) {
    let directions: &[&str] = if name.contains("--bidir") {
        &["", "_bidir_reverse"]
    } else {
        &[""]
    };
    for direction in directions {
        let [sent, received] = ["sent", "received"].map(|sum| format!("sum_{sum}{direction}"));
        let (by_sender, by_receiver) = (bytes(client, &sent), bytes(client, &received));
        f.holds(
            format!("{name}: {by_sender:?} sent, {by_receiver:?} received{direction}"),
            by_receiver > Some(0) && by_receiver <= by_sender,
        );
        let server_sends = name.contains("-R") || !direction.is_empty();
        let at_server = if server_sends { &sent } else { &received };
        f.equal(
            format!("{name}: {at_server} at both ends"),
            bytes(server, at_server),
            bytes(client, at_server),
        );
    }
}

#[test]
fn many_tests_at_once_over_sctp() {
    let vm = Machine::new(Kernel::New).load("sctp").boot();
    let route = Route::new(Place::In(&vm), "127.0.0.1", Place::In(&vm), "");
    with_enough_time(|seconds, port| {
        let mut crowd = Crowd::start(&route, port, seconds);
        // This one waits for the server, as iperf3 can't.
        crowd.join(&[(&route, Peer::Ours, "--sctp -P 2")]);
        crowd.join(&[
            (&route, Peer::New, "--sctp"),
            (&route, Peer::Ours, "--sctp -R"),
            (&route, Peer::New, "-R"),
        ]);
        crowd.beside(&[(&route, "--sctp"), (&route, "--sctp -R -P 2")]);
        crowd.finish()
    });
}

#[test]
fn many_tests_at_once_over_vsock() {
    let backend = Backend::start(1);
    let guest = backend.guest(0);
    let vm = Machine::new(Kernel::New).vsock(guest).boot();
    let within = Route::new(Place::In(&vm), "1 --vsock", Place::In(&vm), "--vsock");
    let from_host = to_guest(&vm, guest);
    let to_host = to_host(&vm, guest);
    with_enough_time(|seconds, port| {
        // The guest's server serves clients in the guest and on the host, over streams and messages.
        let mut crowd = Crowd::start(&within, port, seconds);
        crowd.join(&[
            (&within, Peer::Ours, "-P 2"),
            (&within, Peer::Ours, "-R"),
            (&within, Peer::Ours, "--seqpacket -l 4K --bidir"),
            (&from_host, Peer::Ours, "--bidir"),
            (&from_host, Peer::Ours, ""),
        ]);
        crowd.beside(&[
            (&within, "--seqpacket -l 4K -R -P 2"),
            (&within, ""),
            (&from_host, "-R -P 2"),
        ]);
        // And beside it the host's server those in the guest.
        let mut hosts = Crowd::start(&to_host, port + 1, seconds);
        hosts.join(&[(&to_host, Peer::Ours, "-P 2"), (&to_host, Peer::Ours, "-R")]);
        hosts.beside(&[(&to_host, ""), (&to_host, "-R")]);
        crowd.finish()?;
        hosts.finish()
    });
}
