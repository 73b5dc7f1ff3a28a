//! Request/response tests and probes over what this machine's kernel may not have: vsock within a guest, to it and from it,
//! as streams and as messages, and SCTP.

use std::sync::atomic::{AtomicU32, Ordering};

use iperf_harness::json::{self, at, float, int, text};
use iperf_harness::{Peer, Problems, parallel};
use iperf_lab::{Backend, Kernel, Machine, Place};

use super::encounter::{BothEnds, Route, longer};
use super::modes::{to_guest, to_host};

/// What is requested on a route. A number of transactions is met exactly.
const STREAMS: [&str; 6] = [
    "--rr -n 200",
    "--rr=100,5000 -t 1 -R -P 2",
    "--rr -n 200 --pipeline 8",
    "--rr -t 1 --rate 50",
    "--crr -n 200",
    "--crr=100,5000 -t 1 -P 2",
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
/// These run through a VMM at the host's end.
const THROUGH_A_VMM: [&str; 2] = ["--rr -n 200", "--rr=1000 -t 1 -R"];
const CONNECTED_BY_A_VMM: [&str; 1] = ["--crr -n 200"];

/// What goes beside probes: they are sent over vsock as a stream, and beside SCTP over TCP.
const PROBED: [&str; 2] = ["--probe -b 1M -t 1", "--probe -b 1M -t 1 -R"];
const PROBED_MESSAGES: [&str; 1] = ["--seqpacket --probe -b 1M -t 1"];
const PROBED_SCTP: [&str; 1] = ["--sctp --probe -b 1M -t 1"];

fn run(route: &Route<'_>, args: &str) -> BothEnds {
    static PORT: AtomicU32 = AtomicU32::new(9000);
    let port = PORT.fetch_add(1, Ordering::Relaxed);
    let client = format!("-J {args}");
    route.meet_of((Peer::Ours, &client), (Peer::Ours, "-J"), port)
}

/// The transactions of a test.
fn transactions(ends: &BothEnds) -> Option<u64> {
    let client = json::parse(&ends.client.stdout).ok()?;
    at(&client, "/end/rr/transactions").as_u64()
}

/// Runs a test, and runs it longer if that was not enough.
fn run_until(route: &Route<'_>, args: &str, is_enough: impl Fn(&BothEnds) -> bool) -> BothEnds {
    let mut ends = run(route, args);
    for args in longer(args) {
        if is_enough(&ends) {
            break;
        }
        ends = run(route, &args);
    }
    ends
}

/// Runs a test, and looks at what either end reports about it.
fn exchange(route: &Route<'_>, args: &str) -> Result<(), String> {
    const LEAST: u64 = 20;
    let ends = run_until(route, args, |ends| {
        transactions(ends).is_none_or(|count| count >= LEAST)
    });
    let mut f = Problems::new();
    let (client, server) = (ends.document(&mut f, true), ends.document(&mut f, false));
    let rr = |key: &str| at(&client, &format!("/end/rr/{key}"));
    let count = rr("transactions").as_u64().unwrap_or(0);
    f.holds("there are transactions", count >= LEAST);
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
    let reconnects = args.contains("--crr");
    let mode = if reconnects { "crr" } else { "rr" };
    f.equal(
        "the server's mode",
        text(&server, "/end/rr/mode"),
        Some(mode),
    );
    let connect = float(&client, "/end/rr/connect_us/min");
    f.holds("connecting takes time", connect > Some(0.0) || !reconnects);
    f.into_result(&ends)
}

const PERIODS: [&str; 3] = ["idle", "loaded", "after"];

/// Whether probes were answered in each period.
fn are_answered(ends: &BothEnds) -> bool {
    let client = json::parse(&ends.client.stdout).unwrap_or_default();
    let least = |period| float(&client, &format!("/end/load/{period}/latency_us/min"));
    PERIODS.into_iter().all(|period| least(period).is_some())
}

/// Runs a test with probes beside it.
fn probe(route: &Route<'_>, args: &str) -> Result<(), String> {
    let ends = run_until(route, args, are_answered);
    let mut f = Problems::new();
    let client = ends.document(&mut f, true);
    for period in PERIODS {
        let sent = int(&client, &format!("/end/load/{period}/sent"));
        f.holds(period, sent > Some(0));
        for way in ["latency_us", "up_us", "down_us"] {
            let least = float(&client, &format!("/end/load/{period}/{way}/min"));
            f.holds(format!("{period} {way}"), least.is_some());
        }
    }
    f.holds(
        "an error bound",
        float(&client, "/end/clock/error_us").is_some(),
    );
    f.into_result(&ends)
}

/// A server that listens where a VMM connects cannot listen on another port for the transactions.
fn is_declined(route: &Route<'_>, args: &str) -> Result<(), String> {
    let ends = run(route, args);
    let message = "the server does not grant --crr for this test";
    if ends.client.stdout.contains(message) {
        Ok(())
    } else {
        Err(ends.to_string())
    }
}

#[test]
fn requests_and_probes_are_answered_over_vsock_and_sctp() {
    let backend = Backend::start(1);
    let guest = backend.guest(0);
    let vm = Machine::new(Kernel::New).load("sctp").vsock(guest).boot();
    let within = Route::new(Place::In(&vm), "1 --vsock", Place::In(&vm), "--vsock");
    let over_ip = Route::new(Place::In(&vm), "127.0.0.1", Place::In(&vm), "");
    let (to_guest, to_host) = (to_guest(&vm, guest), to_host(&vm, guest));
    let rows = [
        (&within, &STREAMS[..]),
        (&within, &MESSAGES[..]),
        (&over_ip, &SCTP[..]),
        (&to_guest, &THROUGH_A_VMM[..]),
        (&to_guest, &CONNECTED_BY_A_VMM[..]),
        (&to_host, &THROUGH_A_VMM[..]),
    ];
    for (route, tests) in rows {
        parallel::each(tests, 1, |args| exchange(route, args));
    }
    is_declined(&to_host, "--crr -n 200").unwrap();
    let rows = [
        (&within, &PROBED[..1]),
        (&within, &PROBED_MESSAGES[..]),
        (&over_ip, &PROBED_SCTP[..]),
        (&to_guest, &PROBED[..]),
        (&to_host, &PROBED[..]),
    ];
    for (route, tests) in rows {
        parallel::each(tests, 1, |args| probe(route, args));
    }
}
