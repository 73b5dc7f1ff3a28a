//! A guest is killed in the middle of a test, in either role: the other end ends with an error, and a server continues.

use std::time::{Duration, Instant};

use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer};
use iperf_lab::{Backend, Kernel, Machine, Program};
use nix::sys::signal::Signal;

use super::encounter::Route;
use super::modes::{to_guest, to_host};

/// From when the connections are gone. Without them, a heartbeat would notice after 40 s.
const NOTICED: Duration = Duration::from_secs(25);
const PORT: u32 = 5201;

/// Waits until a program has reported an interval: the test is in its middle.
fn wait_for_interval(program: &Program) {
    wait_for(HANG, || {
        program.stdout_so_far().contains("bits/sec").then_some(())
    })
    .unwrap_or_else(|| panic!("no interval within {HANG:?}: {}", program.stdout_so_far()));
}

fn start(route: &Route<'_>, mode: &str) -> Program {
    let begun = Instant::now();
    loop {
        let mut client = route.start_client(
            Peer::Ours,
            PORT,
            &format!("-t 60 -b 5M {mode} --forceflush"),
        );
        // The server may not listen yet.
        let runs = wait_for(HANG, || {
            let running = client.stdout_so_far().contains("bits/sec");
            (running || !client.is_alive()).then_some(running)
        });
        if runs == Some(true) {
            return client;
        }
        assert!(
            begun.elapsed() < HANG,
            "no test begins:\n{}",
            client.finish(HANG)
        );
    }
}

#[test]
fn a_client_reports_that_its_server_was_killed() {
    for mode in ["--bidir", "-R"] {
        let backend = Backend::start(1);
        let guest = backend.guest(0);
        let vm = Machine::new(Kernel::New).vsock(guest).boot();
        let route = to_guest(&vm, guest);
        let _server = route.serve(Peer::Ours, PORT, "");
        let client = start(&route, mode);
        vm.kill();
        // A VMM and its vsock device end together; here they are two programs.
        drop(backend);
        let gone = Instant::now();
        let end = client.finish(HANG);
        assert!(
            gone.elapsed() < NOTICED,
            "{mode}: {:?}\n{end}",
            gone.elapsed()
        );
        assert_eq!(end.code(), Some(1), "{mode}:\n{end}");
        let error = end.stderr.lines().last().unwrap_or_default();
        assert!(
            error.contains("error - ") && error.len() > "iperf3: error - ".len(),
            "{mode}:\n{end}"
        );
    }
}

#[test]
fn a_server_reports_that_its_client_was_killed_and_continues() {
    for mode in ["", "-R"] {
        let backend = Backend::start(1);
        let guest = backend.guest(0);
        let vm = Machine::new(Kernel::Lts).vsock(guest).boot();
        let route = to_host(&vm, guest);
        let mut server = route.serve(Peer::Ours, PORT, "--forceflush");
        let client = start(&route, mode);
        wait_for_interval(&server);
        let listened =
            |server: &Program| server.stdout_so_far().matches("Server listening").count();
        let before = listened(&server);
        vm.kill();
        drop(backend);
        let again = wait_for(NOTICED, || (listened(&server) > before).then_some(()));
        assert!(
            again.is_some() && server.is_alive(),
            "{mode}: the server does not go on:\n{}",
            server.stdout_so_far()
        );
        server.signal(Signal::SIGTERM);
        let end = server.finish(HANG);
        // A reset is an error; the end of the connection has a message of its own.
        let said = [
            "error - ",
            "the client has unexpectedly closed the connection",
        ];
        assert!(
            said.iter().any(|text| end.stderr.contains(text)),
            "{mode}:\n{end}"
        );
        drop(client);
    }
}
