//! Tests one after another and side by side: memory, threads and descriptors of the server do not grow.

use std::time::Duration;

use iperf_harness::pair::start_client;
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Server, parallel, procfs};

const LIMIT: Duration = Duration::from_secs(120);
const AT_A_TIME: usize = 8;
/// Freed memory goes back to the system in its own time; a leak of a buffer of each stream would be far above this.
const SLACK_KIB: u64 = 24 * 1024;
const MODES: [(Peer, &str); 8] = [
    (Peer::Ours, "-n 256K -P 2 --wait 20"),
    (Peer::Ours, "-n 256K -R --wait 20"),
    (Peer::Ours, "-u -n 64K -b 20M --wait 20"),
    (Peer::Old, "-n 64K"),
    (Peer::Ours, "-n 256K --bidir -J --wait 20"),
    (Peer::Ours, "-k 10 -R -P 4 --wait 20"),
    (Peer::Ours, "-n 64K --get-server-output --wait 20"),
    (Peer::Ours, "-u -k 20 -b 20M -R -P 2 --wait 20"),
];

fn run(server: &Server, numbers: std::ops::Range<usize>) {
    let numbers: Vec<_> = numbers.collect();
    parallel::each(&numbers, AT_A_TIME, |number| {
        let (peer, args) = MODES[number % MODES.len()];
        let end = start_client(peer, server.port(), args).finish(LIMIT);
        if end.succeeded() {
            Ok(())
        } else {
            Err(end.to_string())
        }
    });
}

/// What an idle server holds: descriptors and threads.
fn held(server: &Server) -> (usize, u64) {
    (
        procfs::open_files(server.id()),
        procfs::threads(server.id()),
    )
}

fn leaves_nothing_behind(tests: usize) {
    let server = Server::start(Peer::Ours, &["--tests", "12"]);
    let fresh = held(&server);
    let warm_up = tests / 4;
    run(&server, 0..warm_up);
    let warm = procfs::resident_kib(server.id());
    run(&server, warm_up..tests);
    let settled = wait_for(HANG, || {
        let now = held(&server);
        (now.0 == fresh.0 && now.1 <= fresh.1).then_some(())
    });
    assert!(
        settled.is_some(),
        "it began with {fresh:?} and ends with {:?}",
        held(&server)
    );
    let resident = procfs::resident_kib(server.id());
    assert!(
        resident < warm + SLACK_KIB,
        "{warm} KiB after {warm_up} tests, {resident} KiB after {tests}"
    );
    let end = server.stop();
    assert_eq!(end.code(), Some(0), "{end}");
    let accepted = end.stdout.matches("Accepted connection").count();
    assert_eq!(accepted, tests, "tests that ran");
}

#[test]
fn sixty_four_tests_eight_at_a_time_leave_nothing_behind() {
    leaves_nothing_behind(64);
}

#[test]
#[ignore = "takes minutes: the proof that is run by hand"]
fn two_thousand_tests_eight_at_a_time_leave_nothing_behind() {
    leaves_nothing_behind(2000);
}
