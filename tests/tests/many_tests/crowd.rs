//! Many clients of three kinds at once, in all modes. Stalled and dying ones do not matter to the others.

use std::collections::HashMap;
use std::time::Duration;

use iperf_harness::json::{self, int, text};
use iperf_harness::netns::Namespace;
use iperf_harness::pair::start_client;
use iperf_harness::process::wait_for;
use iperf_harness::proxy::{HalfClose, Vmm};
use iperf_harness::wire::{PARAMS, Raw, RawClient};
use iperf_harness::{HANG, Peer, Problems, Running, Server};
use serde_json::Value;

use super::counters::Counters;

/// Bytes between a sender that has counted them and a receiver that has not: what their sockets can hold.
const IN_FLIGHT: i64 = 16 << 20;

const TCP: [&str; 7] = [
    "-t 2 -b 20M",
    "-t 2 -b 20M -R",
    "-n 4M -P 2",
    "-n 4M -R -P 3",
    "-t 2 -b 10M --bidir",
    "-t 2 -b 10M -P 4",
    "-t 1 -b 10M -O 1",
];
const UDP: [&str; 4] = [
    "-u -t 2 -b 2M",
    "-u -t 2 -b 2M -R",
    "-u -t 2 -b 1M -P 3",
    "-u -t 2 -b 1M --bidir",
];

struct Client {
    peer: Peer,
    args: &'static str,
    process: Running,
}

/// Starts every mode with every program.
fn crowd(port: u16) -> Vec<Client> {
    let mut clients = Vec::new();
    for peer in [Peer::Old, Peer::Ours, Peer::New] {
        for args in TCP.into_iter().chain(UDP) {
            // The log tells of hellos that are repeated.
            let log = if peer == Peer::Ours && args.contains("-u") {
                "-d"
            } else {
                ""
            };
            let process = start_client(peer, port, &format!("{args} -J {log}"));
            clients.push(Client {
                peer,
                args,
                process,
            });
        }
    }
    clients
}

fn sum(document: &Value, name: &str) -> Option<i64> {
    int(document, &format!("/end/{name}/bytes"))
}

/// What is wrong with a test, by the documents of both ends.
fn check(client: &Client, ours: &Value, server: Option<&Value>, f: &mut Problems) {
    let Client { peer, args, .. } = client;
    let Some(server) = server else {
        return f.holds(format!("{peer} {args} has a document of the server"), false);
    };
    let udp = args.contains("-u");
    let (mine, theirs) = ("sum_sent", "sum_received");
    let (Some(sent), Some(received)) = (sum(ours, mine), sum(ours, theirs)) else {
        return f.holds(format!("{peer} {args} has sums"), false);
    };
    // Each end stops omitting by its own clock: what is in flight at that moment may count at the receiver alone.
    let counted_early = if args.contains("-O") { IN_FLIGHT } else { 0 };
    f.holds(
        format!("{peer} {args}: {sent} sent, {received} received"),
        received > 0 && (udp || (-counted_early..=IN_FLIGHT).contains(&(sent - received))),
    );
    // The receiver of each direction counts what arrives, and both ends print its count.
    let reverse = args.contains("-R");
    let at_server = if reverse { mine } else { theirs };
    if !udp {
        f.equal(
            format!("{peer} {args}: {at_server} at both ends"),
            sum(server, at_server),
            sum(ours, at_server),
        );
    }
    if *peer == Peer::Ours && args.contains("-n") {
        f.equal(format!("{args}: received of what was sent"), received, sent);
    }
    if udp {
        let packets = int(ours, "/end/sum/packets").unwrap_or_default();
        f.holds(format!("{peer} {args}: {packets} datagrams"), packets > 0);
    }
}

#[test]
fn thirty_three_clients_of_three_kinds_run_all_modes_at_once() {
    // Nothing else sends on the loopback interface of a namespace of one's own.
    let namespace = Namespace::new();
    let before = Counters::of(&namespace);
    let (documents, repeated) = namespace.inside(thirty_three_clients);
    let mut f = Problems::new();
    Counters::of(&namespace)
        .since(&before)
        .check(&documents, repeated, &mut f);
    f.assert_none("");
}

/// The tests whose documents the server has written.
fn by_cookie(documents: &[Value]) -> HashMap<&str, &Value> {
    let documents = documents.iter();
    documents
        .filter_map(|document| Some((text(document, "/start/cookie")?, document)))
        .collect()
}

/// Runs them, and returns the documents of all clients, and how many hellos were sent again.
fn thirty_three_clients() -> (Vec<Value>, usize) {
    let server = Server::start(Peer::Ours, &["--tests", "64", "-J"]);
    let port = server.port();
    // Some stall where it hurts, and some are gone where it hurts.
    let stalled = (
        Raw::connect(port),
        RawClient::up_to_params(port),
        RawClient::up_to_streams(port, PARAMS),
        RawClient::up_to_running(port, PARAMS, 1),
    );
    drop(RawClient::up_to_running(port, PARAMS, 1));
    drop(RawClient::up_to_streams(port, PARAMS));
    let clients = crowd(port);
    drop(RawClient::up_to_running(port, PARAMS, 1));

    let mut f = Problems::new();
    let (mut ended, mut repeated) = (Vec::new(), 0);
    for client in clients {
        let Client {
            peer,
            args,
            process,
        } = client;
        let end = process.finish(HANG);
        repeated += end.stderr.matches("no reply to the hello yet").count();
        let document = end.document();
        let error = text(&document, "/error").map(str::to_owned);
        f.holds(
            format!("{peer} {args} succeeds: {error:?} {}", end.stderr),
            end.succeeded() && error.is_none(),
        );
        ended.push((peer, args, document));
    }
    drop(stalled);
    // A client ends before its server has noticed.
    wait_for(HANG, || {
        let documents = server.documents();
        let written = by_cookie(&documents);
        let cookies = (ended.iter()).filter_map(|(_, _, document)| text(document, "/start/cookie"));
        (cookies.into_iter())
            .all(|cookie| written.contains_key(cookie))
            .then_some(())
    });
    let end = server.stop();
    let documents = json::documents(&end.stdout);
    let whole: usize = end.stdout.lines().filter(|line| *line == "{").count();
    f.equal("whole documents", documents.len(), whole);
    let by_cookie = by_cookie(&documents);
    for (peer, args, document) in &ended {
        let cookie = text(document, "/start/cookie").unwrap_or_default();
        let client = Client {
            peer: *peer,
            args,
            process: Running::start(std::process::Command::new("true")),
        };
        check(&client, document, by_cookie.get(cookie).copied(), &mut f);
    }
    f.assert_none(end.stderr);
    let documents = ended.into_iter().map(|(_, _, document)| document);
    (documents.collect(), repeated)
}

#[test]
fn the_guests_of_a_vmm_share_a_server() {
    const PORT: u32 = 5201;
    let vmm = Vmm::start(HalfClose::Passed, Duration::ZERO);
    let server = vmm.serve(PORT, "-J --tests 8");
    let clients: Vec<_> = [
        "-n 4M",
        "-n 4M -R",
        "-t 2 -b 20M --bidir",
        "-t 2 -b 20M -P 4",
    ]
    .map(|args| vmm.client(PORT, &format!("{args} -J --wait 20")))
    .into_iter()
    .map(|client| client.finish(HANG))
    .collect();
    let mut f = Problems::new();
    for end in clients {
        f.holds(format!("{end}"), end.succeeded());
    }
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let end = server.finish(HANG);
    // One more reports the signal.
    let documents = json::documents(&end.stdout);
    let tests = documents
        .iter()
        .filter(|document| text(document, "/start/cookie").is_some());
    f.equal("documents of tests", tests.count(), 4);
    f.assert_none(end);
}
