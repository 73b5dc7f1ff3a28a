//! Tests over the Unix sockets of a VMM: all modes end gracefully, without a reset at either end.

use std::fmt;
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::proxy::{HalfClose, Vmm};
use iperf_harness::{Case, HANG, Peer, Problems, Running, json, parallel};
use serde_json::Value;

const PORT: u32 = 1_910_445_938;

/// A way to run a test.
struct VsockCase {
    args: &'static str,
    half_close: HalfClose,
    pause: Duration,
}

impl fmt::Display for VsockCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            args,
            half_close,
            pause,
        } = self;
        write!(f, "{args}, half-closes {half_close:?}, pauses of {pause:?}")
    }
}

const MODES: [&str; 10] = [
    "-t 1",
    "-t 1 -R",
    "-t 1 --bidir -P 2",
    "-n 4M",
    "-n 4M -R",
    "-k 20 -l 9000",
    "-t 1 -P 4 -b 20M -O 1",
    "-t 1 -Z",
    "-t 1 --rr -P 2",
    "-t 1 --rr=10,2000 -R --pipeline 4",
];

fn bytes(document: &Value, sum: &str) -> Option<i64> {
    json::int(document, &format!("/end/{sum}/bytes"))
}

#[test]
fn a_test_ends_without_a_reset() {
    let mut cases = Vec::new();
    for args in MODES {
        for half_close in [HalfClose::Passed, HalfClose::KeptBack] {
            for pause in [Duration::ZERO, Duration::from_millis(3)] {
                cases.push(VsockCase {
                    args,
                    half_close,
                    pause,
                });
            }
        }
    }
    parallel::each(&cases, 4, |case| {
        let vmm = Vmm::start(case.half_close, case.pause);
        let (client, server) = vmm.run(PORT, case.args);
        let file = vmm.server_file(PORT);

        let mut f = Problems::new();
        f.holds("the client succeeds", client.succeeded());
        f.holds("the server succeeds", server.succeeded());
        f.holds("the server's socket file is gone", !file.exists());
        f.equal("complaints of the VMM", vmm.finish(), Vec::new());
        let seconds = if case.args.contains("-O") { 2 } else { 1 };
        f.holds(
            "the end takes no longer than a peer that never closes may",
            client.took < Duration::from_secs(seconds) + Duration::from_secs(20),
        );
        let (theirs, ours) = (server.document(), client.document());
        f.holds(
            "something was received",
            bytes(&ours, "sum_received") > Some(0),
        );
        f.equal("the server's error", json::text(&theirs, "/error"), None);
        f.equal("the client's error", json::text(&ours, "/error"), None);
        if case.args.contains("-n") {
            f.equal("sent", bytes(&ours, "sum_sent"), Some(4 << 20));
        }
        f.into_result(format!("{client}{server}"))
    });
}

/// A VMM takes what a client sends and delivers it later than the end of the test on the control connection. Whatever has
/// an end of its own is received in full nevertheless.
#[test]
fn what_has_an_end_arrives_before_the_test_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("three");
    std::fs::write(&file, "abc").unwrap();
    let file = format!("-F {}", file.display());
    // The least that is sent, in bytes.
    let ways = [
        (file.clone(), 3_i64),
        // As with iperf3, the first stream that has sent its file ends the test.
        (format!("{file} -P 2"), 3),
        ("-n 3 -l 3".to_owned(), 3),
        ("-k 3 -l 500".to_owned(), 1500),
        ("-n 100K -P 2".to_owned(), 102_400),
        ("-k 2 -l 1000 --bidir".to_owned(), 2000),
        ("-k 2 -l 1000 -R".to_owned(), 2000),
    ];
    let ways = ways.map(|(args, least)| Case::ours(&args, least));
    parallel::each(&ways, ways.len(), |late| {
        let vmm = Vmm::start_late(Duration::from_millis(200));
        let (client, server) = vmm.run(PORT, &late.args);
        let mut f = Problems::new();
        let (theirs, ours) = (server.document(), client.document());
        f.holds("both succeed", client.succeeded() && server.succeeded());
        f.holds(
            "all is sent",
            bytes(&ours, "sum_sent") >= Some(late.expected),
        );
        let mut ends = vec![&ours];
        if !late.args.contains("-R") && !late.args.contains("--bidir") {
            ends.push(&theirs);
        }
        for end in ends {
            f.equal(
                "received",
                bytes(end, "sum_received"),
                bytes(&ours, "sum_sent"),
            );
        }
        f.into_result(format!("{client}{server}"))
    });
}

/// As in Firecracker's performance tests: a daemon for one test, with a socket that must exist when its command returns,
/// and exactly the requested number of omitted intervals, which they skip by counting.
#[test]
fn a_daemon_runs_one_test_with_as_many_omitted_intervals_as_requested() {
    let ways = ["--len 64K", "--len 64K -R", "--len 1024K", "--len 1024K -R"];
    parallel::each(&ways, ways.len(), |way| {
        let vmm = Vmm::start(HalfClose::KeptBack, Duration::ZERO);
        let mut command = Peer::Ours.command();
        // The time-out ends a daemon without clients.
        command
            .args(["-sD", "-p", "5201", "-1", "--affinity", "0", "--vsock"])
            .args(["--idle-timeout", "30", "-B"])
            .arg(vmm.server_path());
        let parent = Running::start(command).finish(HANG);
        let mut f = Problems::new();
        f.holds("the daemon starts", parent.succeeded());
        let file = vmm.server_file(5201);
        f.holds("its socket is there", file.exists());
        let args = format!("--time 2 --json --omit 3 --affinity 0 {way}");
        let client = vmm.client(5201, &args).finish(HANG);
        f.holds("the client succeeds", client.succeeded());
        let document = client.document();
        let intervals = json::list(&document, "/intervals");
        let is_omitted =
            |interval: &Value| json::at(interval, "/sum/omitted").as_bool() == Some(true);
        let count = intervals.iter().take_while(|one| is_omitted(one)).count();
        let (first, rest) = intervals.split_at(count);
        // A starved program reports late, and then one interval for several.
        f.holds(
            format!("{count} omitted intervals"),
            count <= 3 && json::seconds(first) >= 3.0,
        );
        f.holds(
            "two more",
            json::seconds(rest) >= 2.0 && !rest.iter().any(is_omitted),
        );
        let gone = wait_for(HANG, || (!file.exists()).then_some(()));
        f.holds("the socket goes with the daemon", gone.is_some());
        f.equal("complaints of the VMM", vmm.finish(), Vec::new());
        f.into_result(format!("{parent}{client}"))
    });
}
