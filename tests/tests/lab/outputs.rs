//! Text, JSON lines and a daemon over vsock.

use iperf_harness::json::{at, float, text};
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer};
use iperf_lab::{Kernel, Machine, Place};
use serde_json::Value;

use super::encounter::Route;

#[test]
fn outputs_over_vsock() {
    let vm = Machine::new(Kernel::Lts).boot();
    let there = Place::In(&vm);
    let route = Route::new(there, "1 --vsock", there, "--vsock");

    let ends = route.meet(81, "-t 2 -b 10M -P 2", "");
    assert!(ends.client.succeeded() && ends.server.succeeded(), "{ends}");
    for (text, wanted) in [
        (&ends.client.stdout, "Connecting to host 1, port 81"),
        (&ends.client.stdout, "[SUM]"),
        (&ends.client.stdout, "iperf Done."),
        (&ends.server.stdout, "Accepted connection from 1, port "),
        (&ends.server.stdout, "receiver"),
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing:\n{ends}");
    }
    let of_tcp = ["Retr", "Cwnd"];
    for end in [&ends.client, &ends.server] {
        assert!(
            !of_tcp.iter().any(|word| end.stdout.contains(word)),
            "{end}"
        );
    }

    let ends = route.meet(82, "-t 2 -b 10M --json-stream", "--json-stream");
    // The client ends the test; a server may have begun later.
    for (end, least) in [(&ends.client, 1.9), (&ends.server, 0.0)] {
        assert!(end.succeeded(), "{end}");
        let events: Vec<Value> = end
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is a document"))
            .collect();
        let names: Vec<&str> = events.iter().filter_map(|e| text(e, "/event")).collect();
        assert_eq!(names.first().copied(), Some("start"), "{end}");
        assert_eq!(names.last().copied(), Some("end"), "{end}");
        let intervals = events
            .iter()
            .filter(|e| text(e, "/event") == Some("interval"));
        let mut last = 0.0;
        for interval in intervals.clone() {
            let start = float(at(interval, "/data"), "/sum/start").unwrap_or(-1.0);
            assert!((start - last).abs() < 1e-4, "a gap before {start}:\n{end}");
            last = float(at(interval, "/data"), "/sum/end").unwrap_or(-1.0);
        }
        // A starved program reports late, and then one interval for several.
        assert!(intervals.count() >= 1 && last > least, "{end}");
    }

    for line in [
        "--loopback --vsock -n 512K -J",
        "--loopback --vsock --seqpacket -n 512K -J",
    ] {
        let both = there.start(Peer::Ours, line).finish(HANG);
        assert!(both.succeeded(), "{line}:\n{both}");
        let document: Value = serde_json::from_str(&both.stdout).expect("a document");
        let connected = at(&document, "/start/connected/0");
        assert_eq!(text(connected, "/remote_host"), Some("1"), "{both}");
        let received = at(&document, "/end/sum_received/bytes").as_u64();
        assert_eq!(received, Some(512 << 10), "{line}:\n{both}");
    }

    let daemon = vm.run("iperf -s --vsock -p 83 -D -1 -I /tmp/pid --logfile /tmp/log");
    assert!(daemon.succeeded() && daemon.stdout.is_empty(), "{daemon}");
    let client = route.start_client(Peer::Ours, 83, "-n 1M -R").finish(HANG);
    assert!(client.succeeded(), "{client}");
    let gone = wait_for(HANG, || {
        (!vm.run("test -e /tmp/pid").succeeded()).then_some(())
    });
    let log = String::from_utf8_lossy(&vm.read("/tmp/log")).into_owned();
    assert!(gone.is_some(), "the daemon ends after one test:\n{log}");
    assert!(
        log.contains("Accepted connection from 1") && log.contains("sender"),
        "{log}"
    );
}
