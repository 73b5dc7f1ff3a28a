//! Request/response tests over what this machine's kernel may not have: vsock within a guest, to it and from it, as streams
//! and as messages, and SCTP.

use std::sync::atomic::{AtomicU32, Ordering};

use iperf_harness::json::{at, float, text};
use iperf_harness::{Peer, Problems, parallel};
use iperf_lab::{Backend, Kernel, Machine, Place};

use super::encounter::Route;
use super::modes::{to_guest, to_host};

/// What is requested on a route. A number of transactions is met exactly.
const STREAMS: [&str; 4] = [
    "--rr -n 200",
    "--rr=100,5000 -t 1 -R -P 2",
    "--rr -n 200 --pipeline 8",
    "--rr -t 1 --rate 50",
];
const MESSAGES: [&str; 3] = [
    "--seqpacket --rr -n 200",
    "--seqpacket --rr=1000,5000 -t 1 -R",
    "--seqpacket --rr -n 200 --pipeline 8 -P 2",
];
const SCTP: [&str; 3] = [
    "--sctp --rr -n 200",
    "--sctp --rr=1000,5000 -t 1 -R",
    "--sctp --rr -n 200 --pipeline 8 -P 2",
];
/// Both run through a VMM at the host's end.
const THROUGH_A_VMM: [&str; 2] = ["--rr -n 200", "--rr=1000 -t 1 -R"];

/// Runs a test, and looks at what either end reports about it.
fn exchange(route: &Route<'_>, args: &str) -> Result<(), String> {
    static PORT: AtomicU32 = AtomicU32::new(9000);
    let port = PORT.fetch_add(1, Ordering::Relaxed);
    let ends = route.meet_of(
        (Peer::Ours, &format!("-J {args}")),
        (Peer::Ours, "-J"),
        port,
    );
    let mut f = Problems::new();
    let (client, server) = (ends.document(&mut f, true), ends.document(&mut f, false));
    let rr = |key: &str| at(&client, &format!("/end/rr/{key}"));
    let count = rr("transactions").as_u64().unwrap_or(0);
    f.holds("there are transactions", count >= 20);
    if args.contains("-n 200") {
        f.equal("transactions", count, 200);
    }
    let latency = |key: &str| float(&client, &format!("/end/rr/latency_us/{key}"));
    f.holds("no time is 0", latency("min") > Some(0.0));
    f.holds(
        "order",
        latency("min") <= latency("p50") && latency("p50") <= latency("max"),
    );
    let data = text(&client, "/end/rr/histogram/data").unwrap_or_default();
    let known = iperf_model::Latencies::from_base64(data);
    let counted = known.map(|latencies| latencies.count());
    f.equal("the histogram's count", counted, Some(count));
    f.equal(
        "the server's mode",
        text(&server, "/end/rr/mode"),
        Some("rr"),
    );
    f.into_result(&ends)
}

#[test]
fn requests_are_answered_over_vsock_and_sctp() {
    let backend = Backend::start(1);
    let guest = backend.guest(0);
    let vm = Machine::new(Kernel::New).load("sctp").vsock(guest).boot();
    let within = Route::new(Place::In(&vm), "1 --vsock", Place::In(&vm), "--vsock");
    let over_ip = Route::new(Place::In(&vm), "127.0.0.1", Place::In(&vm), "");
    let rows = [
        (&within, &STREAMS[..]),
        (&within, &MESSAGES[..]),
        (&over_ip, &SCTP[..]),
        (&to_guest(&vm, guest), &THROUGH_A_VMM[..]),
        (&to_host(&vm, guest), &THROUGH_A_VMM[..]),
    ];
    for (route, tests) in rows {
        parallel::each(tests, 1, |args| exchange(route, args));
    }
}
