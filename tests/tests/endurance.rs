//! One server, many tests: nothing that a test used is left behind.

use std::fs;

use iperf_harness::pair::{run_client, start_client};
use iperf_harness::process::wait_for;
use iperf_harness::service::serves;
use iperf_harness::wire::{PARAMS, Raw, RawClient};
use iperf_harness::{HANG, Peer, Server, procfs};
use nix::sys::signal::Signal;

const TESTS: usize = 200;
const WARM_UP: usize = 24;

/// Freed memory returns to the system with a delay; a leak of a test's buffers (128 KiB per stream) would be far above
/// this after 200 tests.
const SLACK_KIB: u64 = 8 * 1024;

/// What an idle server holds.
#[derive(Debug, PartialEq)]
struct Idle {
    files: usize,
    threads: u64,
}

fn idle(server: &Server) -> Idle {
    Idle {
        files: procfs::open_files(server.id()),
        threads: procfs::threads(server.id()),
    }
}

/// The `number`-th client: mostly good tests of all kinds, and now and then one that disconnects early.
fn run_client_number(server: &Server, number: usize) {
    let port = server.port();
    let test = |peer, args| {
        let end = run_client(peer, port, args);
        assert!(end.succeeded(), "test {number}:\n{end}");
    };
    match number % 12 {
        0 => drop(Raw::connect(port)),
        1 => drop(RawClient::up_to_params(port)),
        2 => drop(RawClient::up_to_streams(port, PARAMS)),
        3 => drop(RawClient::up_to_running(port, PARAMS, 1)),
        4 => drop(RawClient::up_to_results(port)),
        5 => test(Peer::Ours, "-n 64K -R"),
        6 => test(Peer::Ours, "-n 1M -P 4"),
        7 => test(Peer::Ours, "-n 1M -P 2 --bidir"),
        8 => test(Peer::Old, "-n 64K"),
        9 => test(Peer::Old, "-n 64K -R -P 3"),
        10 => test(Peer::Ours, "-n 64K --get-server-output"),
        _ => test(Peer::Ours, "-n 64K"),
    }
    // The server may still be busy with a client that disconnected; the next one starts when it is free.
    if number % 12 < 5 {
        serves(port, Peer::Ours, HANG).unwrap_or_else(|e| panic!("after client {number}: {e}"));
    }
}

#[test]
fn two_hundred_tests_leave_nothing_behind() {
    let server = Server::start(Peer::Ours, &[]);
    let fresh = idle(&server);
    (0..WARM_UP).for_each(|number| run_client_number(&server, number));
    let warm = procfs::resident_kib(server.id());
    (WARM_UP..TESTS).for_each(|number| run_client_number(&server, number));

    let settled = wait_for(HANG, || {
        let now = idle(&server);
        (now.files == fresh.files && now.threads <= fresh.threads).then_some(now)
    });
    let now = idle(&server);
    assert!(
        settled.is_some(),
        "the server began with {fresh:?} and ends with {now:?}"
    );
    let resident = procfs::resident_kib(server.id());
    assert!(
        resident < warm + SLACK_KIB,
        "the server held {warm} KiB after {WARM_UP} tests and holds {resident} KiB after {TESTS}"
    );
    let end = server.stop();
    assert_eq!(end.code(), Some(0), "{end}");
}

/// What is open on the threads of a process that send, in order of their numbers.
fn open_on_senders(pid: u32) -> Vec<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let sends = |task: &fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.starts_with("iperf-tx")
    };
    let open = |task: fs::DirEntry| {
        let descriptors = fs::read_dir(task.path().join("fd")).ok()?.flatten();
        let targets = descriptors.filter_map(|one| fs::read_link(one.path()).ok());
        Some(targets.map(|target| target.display().to_string()).collect())
    };
    tasks.flatten().filter(sends).filter_map(open).collect()
}

#[test]
fn senders_of_small_blocks_have_nothing_open_but_their_socket_and_leave_nothing_behind() {
    let server = Server::start(Peer::Ours, &[]);
    let test = |args| {
        let end = run_client(Peer::Ours, server.port(), args);
        assert!(end.succeeded(), "{args}:\n{end}");
    };
    test("-R -l 1K -n 1M");
    let fresh = idle(&server);
    // Quotas wake the other threads; what checks or pads the data needs no descriptor.
    test("-R -l 1K -n 1M -P 4");
    test("-l 64 -k 100 --bidir");
    test("-R -l 4K -n 1M --verify");
    test("-R -l 4K -n 1M --omit 1");
    let client = start_client(Peer::Ours, server.port(), "-R -l 1K -t 60 -b 10M");
    let mut last = Vec::new();
    let found = wait_for(HANG, || {
        last = open_on_senders(server.id());
        let [open] = last.as_slice() else {
            return None;
        };
        let sockets = open.iter().filter(|one| one.starts_with("socket:"));
        // Besides it the standard streams.
        (sockets.count() == 1 && open.len() <= 4).then_some(())
    });
    client.signal(Signal::SIGINT);
    let client = client.finish(HANG);
    assert!(found.is_some(), "{last:?}\n{client}");
    let mut now = idle(&server);
    wait_for(HANG, || {
        now = idle(&server);
        (now == fresh).then_some(())
    });
    assert_eq!(now, fresh);
}
