//! Tests over the Unix sockets of a VMM: all modes run to an orderly end, in which nobody sees a reset.

use std::fmt;
use std::time::Duration;

use iperf_tests::vmm::{HalfClose, Vmm};
use iperf_tests::{Findings, Finished, json, parallel};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);
const PORT: u32 = 1_910_445_938;

/// A way to run a test.
struct Case {
    args: &'static str,
    half_close: HalfClose,
    pause: Duration,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            args,
            half_close,
            pause,
        } = self;
        write!(f, "{args}, half-closes {half_close:?}, pauses of {pause:?}")
    }
}

const MODES: [&str; 8] = [
    "-t 1",
    "-t 1 -R",
    "-t 1 --bidir -P 2",
    "-n 4M",
    "-n 4M -R",
    "-k 20 -l 9000",
    "-t 1 -P 4 -b 20M -O 1",
    "-t 1 -Z",
];

fn document(end: &Finished) -> Value {
    serde_json::from_str(&end.stdout).unwrap_or_default()
}

fn bytes(document: &Value, sum: &str) -> Option<i64> {
    json::int(document, &format!("/end/{sum}/bytes"))
}

#[test]
fn a_test_ends_without_a_reset() {
    let mut cases = Vec::new();
    for args in MODES {
        for half_close in [HalfClose::Passed, HalfClose::KeptBack] {
            for pause in [Duration::ZERO, Duration::from_millis(3)] {
                cases.push(Case {
                    args,
                    half_close,
                    pause,
                });
            }
        }
    }
    parallel::each(&cases, 4, |case| {
        let vmm = Vmm::start(case.half_close, case.pause);
        let server = vmm.serve(PORT, "-1 -J");
        let client = vmm.client(PORT, &format!("{} -J", case.args)).finish(LIMIT);
        let server = server.finish(LIMIT);
        let file = vmm.server_file(PORT);

        let mut f = Findings::new();
        f.holds("the client succeeds", client.succeeded());
        f.holds("the server succeeds", server.succeeded());
        f.holds("the server's socket file is gone", !file.exists());
        f.equal("complaints of the VMM", vmm.finish(), Vec::new());
        let seconds = if case.args.contains("-O") { 2 } else { 1 };
        f.holds(
            "the end takes no longer than a peer that never closes may",
            client.took < Duration::from_secs(seconds) + Duration::from_secs(4),
        );
        let (theirs, ours) = (document(&server), document(&client));
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
