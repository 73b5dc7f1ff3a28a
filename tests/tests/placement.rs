//! `-A` with several CPUs: where the kernel may run the data threads of both ends.

use std::fs;

use iperf_harness::pair::{run_client, start_client};
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Server};
use nix::sys::signal::Signal;

/// The CPUs of each data thread of a process, as `name CPUs`, sorted; `None` until there are `count`.
fn places(pid: u32, count: usize) -> Option<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut places: Vec<String> = tasks
        .flatten()
        .filter_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
            let name = field("Name:")?.trim().strip_prefix("iperf-")?;
            let cpus = field("Cpus_allowed_list:")?.trim();
            let is_data = name.starts_with("tx") || name.starts_with("rx");
            is_data.then(|| format!("{name} {cpus}"))
        })
        .collect();
    places.sort();
    (places.len() == count).then_some(places)
}

/// Runs a test with `args` at the client, and compares where its threads and those of a server run.
fn are_at(args: &str, client_threads: &[&str], server_threads: &[&str]) {
    let server = Server::start(Peer::Ours, &["-1"]);
    let client = start_client(Peer::Ours, server.port(), &format!("-t 60 -b 10M {args}"));
    let (mut last, ids) = (None, [client.id(), server.id()]);
    let wanted = [client_threads, server_threads];
    // Threads exist before they are bound.
    let found = wait_for(HANG, || {
        last = Some([0, 1].map(|end| places(ids[end], wanted[end].len())));
        let [client, server] = last.as_ref()?;
        (client.as_deref()? == wanted[0] && server.as_deref()? == wanted[1]).then_some(())
    });
    client.signal(Signal::SIGINT);
    let (client, server) = (client.finish(HANG), server.finish(HANG));
    assert!(
        found.is_some(),
        "{args}: {last:?}, not {wanted:?}\n{client}{server}"
    );
}

/// Whether CPUs 0 and 1 may be used. A machine with one has nothing to place.
fn has_two() -> bool {
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("a set");
    [0, 1].iter().all(|cpu| allowed.is_set(*cpu) == Ok(true))
}

#[test]
fn data_threads_take_the_cpus_in_turn_at_both_ends() {
    if !has_two() {
        return;
    }
    are_at(
        "-P 3 -A 0-1,1+0",
        &["tx-1 0", "tx-3 1", "tx-4 0"],
        &["rx-1 1", "rx-3 0", "rx-4 1"],
    );
    are_at(
        "-P 1 --bidir -A 0,0-1",
        &["rx-3 0", "tx-1 0"],
        &["rx-1 1", "tx-3 0"],
    );
    are_at(
        "-P 4 --threads 2 -A 1+0",
        &["txs-1 1", "txs-2 0"],
        &["rx-1 0-1", "rx-3 0-1", "rx-4 0-1", "rx-5 0-1"],
    );
}

#[test]
fn receivers_follow_the_packets_of_their_connections() {
    if !has_two() {
        return;
    }
    // Over loopback the CPU of the sender handles what it sends.
    for cpu in [0, 1] {
        let [sender, receiver] = ["tx-1", "rx-1"].map(|name| format!("{name} {cpu}"));
        are_at(&format!("-A {cpu},incoming"), &[&sender], &[&receiver]);
    }
}

#[test]
fn a_cpu_that_is_not_there_is_named() {
    let server = Server::start(Peer::Ours, &[]);
    let client = run_client(Peer::Ours, server.port(), "-t 1 -A 0-1023");
    assert_eq!(client.code(), Some(1), "{client}");
    assert!(
        client.stderr.contains("unable to set CPU affinity: CPU "),
        "{client}"
    );
    // A server that can't do what is asked says so, and runs the test.
    let client = run_client(Peer::Ours, server.port(), "-t 1 -b 1M -A 0,0-1023");
    assert_eq!(client.code(), Some(0), "{client}");
    let server = server.stop();
    let warning = "unable to bind to the CPU that the client asks for: CPU ";
    assert!(
        server.stdout.contains(warning) || server.stderr.contains(warning),
        "{server}"
    );
}

#[test]
fn iperf3s_servers_are_not_asked_for_several_cpus() {
    for (peer, value) in [(Peer::New, "0,0-1"), (Peer::Old, "0,incoming")] {
        let server = Server::start(peer, &[]);
        let client = run_client(Peer::Ours, server.port(), &format!("-t 1 -A {value}"));
        assert_eq!(client.code(), Some(1), "{client}");
        let reason = "-A with several CPUs for the server needs iperf at both ends, and the server is another program";
        assert!(client.stderr.contains(reason), "{client}");
    }
}
