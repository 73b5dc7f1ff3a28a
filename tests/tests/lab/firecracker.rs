//! The command lines of Firecracker's own performance tests: a daemon on the host for each stream, one client each in
//! the guest, and results read as `intervals[omit:]`.

use std::time::Instant;

use iperf_harness::json::{at, float, list, seconds};
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems};
use iperf_lab::{Backend, Kernel, Machine, Place};
use serde_json::Value;

const OMIT: usize = 3;
const TIME: usize = 4;

#[test]
fn firecrackers_commands() {
    let backend = Backend::start(1);
    let guest = backend.guest(0);
    let vm = Machine::new(Kernel::New).vsock(guest).boot();
    for (base, extra) in [
        (5200, "--len 64K"),
        (5210, "--len 1024K"),
        (5220, "--len 64K -R"),
    ] {
        let ports = [base, base + 1];
        for port in ports {
            let path = guest.path.display();
            let args = format!("-sD -p {port} -1 --affinity 0 --vsock -B {path}");
            let parent = Place::Here.start(Peer::Ours, &args).finish(HANG);
            assert!(parent.succeeded(), "{parent}");
            assert!(
                guest.server_file(port).exists(),
                "the socket file of port {port} is there before the parent has ended"
            );
        }
        let clients = ports.map(|port| {
            let args = format!(
                "--time {TIME} --json --omit {OMIT} -p {port} --client 2 --vsock --affinity 0 {extra}"
            );
            Place::In(&vm).start(Peer::Ours, &args)
        });
        for (client, port) in clients.into_iter().zip(ports) {
            let end = client.finish(HANG);
            assert!(end.succeeded(), "{extra}:\n{end}");
            let document: Value = serde_json::from_str(&end.stdout).expect("one JSON document");
            let mut f = Problems::new();
            look(&mut f, &document);
            f.into_result(end)
                .unwrap_or_else(|e| panic!("{extra}:\n{e}"));
            let gone = wait_for(HANG, || {
                (!guest.server_file(port).exists()).then_some(Instant::now())
            });
            assert!(
                gone.is_some(),
                "the daemon on port {port} ends after one test"
            );
        }
    }
}

fn look(f: &mut Problems, document: &Value) {
    let intervals = list(document, "/intervals");
    let omitted: Vec<bool> = intervals
        .iter()
        .map(|interval| at(interval, "/sum/omitted") == &Value::Bool(true))
        .collect();
    let count = omitted.iter().filter(|omitted| **omitted).count();
    f.holds(
        format!("the omitted ones come first: {omitted:?}"),
        omitted.is_sorted_by(|before, after| before >= after),
    );
    let (uncounted, counted) = intervals.split_at(count);
    // A starved program reports late, and then one interval for several.
    f.holds(
        format!("{count} omitted intervals"),
        count <= OMIT && seconds(uncounted) >= OMIT as f64,
    );
    f.holds(
        format!("{} counted intervals", counted.len()),
        !counted.is_empty()
            && counted.len() as f64 <= seconds(counted) + 1.0
            && seconds(counted) >= TIME as f64,
    );
    for interval in counted {
        f.holds(
            "sum.bits_per_second",
            float(interval, "/sum/bits_per_second").is_some_and(|rate| rate >= 0.0),
        );
    }
    let all: f64 = counted
        .iter()
        .filter_map(|interval| float(interval, "/sum/bits_per_second"))
        .sum();
    f.holds("something was measured", all > 0.0);
}
