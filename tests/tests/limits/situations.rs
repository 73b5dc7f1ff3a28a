//! Programs that do not keep up: a receiver or a sender that is stopped, and files that are written and read slowly.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use iperf_harness::pair::start_client;
use iperf_harness::process::wait_for;
use iperf_harness::proxy::{HalfClose, Vmm};
use iperf_harness::{Finished, HANG, Peer, Running, Server, json, priority};
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{causes, causes_of_direction};

/// The causes that the client's document names, for what it sends.
fn named(end: &Finished) -> Vec<String> {
    assert!(end.succeeded(), "{end}");
    causes(&json::parse(&end.stdout).expect("a document"))
}

/// A test with a server that is stopped (`SIGSTOP`) for most of it.
fn with_a_stopped_server(args: &str) -> Finished {
    priority::raise();
    let server = Server::start(Peer::Ours, &["-1"]);
    let client = start_client(Peer::Ours, server.port(), &format!("-J {args}"));
    stop_again_and_again(&server.process, &server.process);
    let end = client.finish(HANG);
    server.finish(HANG);
    end
}

/// Stops (`SIGSTOP`) a receiver four times for half a second, once the server's test begins.
fn stop_again_and_again(server: &Running, receiver: &Running) {
    let begins = || {
        server
            .stdout_so_far()
            .contains("connected to")
            .then_some(())
    };
    assert!(wait_for(HANG, begins).is_some(), "the test does not begin");
    for _ in 0..4 {
        receiver.signal(Signal::SIGSTOP);
        thread::sleep(Duration::from_millis(500));
        receiver.signal(Signal::SIGCONT);
        thread::sleep(Duration::from_millis(100));
    }
}

/// What a VMM holds for a receiver that does not read is limited, and the sender waits.
#[test]
fn a_receiver_behind_a_vmm_that_is_stopped_gives_no_credit_either_way() {
    priority::raise();
    for direction in ["client to server", "server to client"] {
        let vmm = Vmm::start(HalfClose::Passed, Duration::ZERO);
        let server = vmm.serve(5201, "-1");
        let reversed = direction == "server to client";
        let client = vmm.client(5201, if reversed { "-J -t 3 -R" } else { "-J -t 3" });
        stop_again_and_again(&server, if reversed { &client } else { &server });
        let end = client.finish(HANG);
        server.finish(HANG);
        assert!(end.succeeded(), "{end}");
        let document = json::parse(&end.stdout).expect("a document");
        let found = causes_of_direction(&document, direction);
        assert!(
            found.iter().any(|name| name == "vsock credit"),
            "{found:?}: {end}"
        );
        // No network is between the ends.
        assert!(
            !found.iter().any(|name| name == "congestion"),
            "{found:?}: {end}"
        );
    }
}

/// The receive window comes first, and congestion is not named.
#[track_caller]
fn check_that_the_window_limits(end: &Finished) {
    let found = named(end);
    assert_eq!(
        found.first().map(String::as_str),
        Some("receive window"),
        "{end}"
    );
    assert!(!found.iter().any(|name| name == "congestion"), "{end}");
}

#[test]
fn a_receiver_that_is_stopped_again_and_again_closes_its_window_and_congests_nothing() {
    let end = with_a_stopped_server("-t 3 -w 256K");
    check_that_the_window_limits(&end);
}

/// What is named where a server is stopped for a while, whose socket holds a few milliseconds.
fn with_a_full_socket(peer: Peer) -> Finished {
    priority::raise();
    let server = Server::start(peer, &["-1"]);
    let client = start_client(
        Peer::Ours,
        server.port(),
        "-J -u -t 2 -b 20M -l 1000 -w 16K",
    );
    server.drop_datagrams_of(&server.process, 100);
    let end = client.finish(HANG);
    server.finish(HANG);
    end
}

#[test]
fn datagrams_that_a_receivers_socket_drops_are_not_lost_on_the_way() {
    let end = with_a_full_socket(Peer::Ours);
    let found = named(&end);
    let is_named = |cause: &str| found.iter().any(|name| name == cause);
    assert!(is_named("receiver's socket buffer"), "{end}");
    assert!(!is_named("congestion"), "{end}");
    // iperf3 tells how many it lost, and not where.
    let end = with_a_full_socket(Peer::New);
    let found = named(&end);
    assert!(found.iter().any(|name| name == "congestion"), "{end}");
    let evidence = "lost on the way or at the receiver, which does not tell";
    assert!(end.stdout.contains(evidence), "{end}");
}

#[test]
fn a_receiver_that_writes_slowly_closes_its_window() {
    priority::raise();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
    // For both ways, so that it is open at once; a read of an empty one returns.
    let mut pipe = OpenOptions::new();
    pipe.read(true).write(true);
    pipe.custom_flags(OFlag::O_NONBLOCK.bits());
    let mut pipe = pipe.open(&path).expect("the pipe");
    let server = Server::start(Peer::Ours, &["-1", "-F", path.to_str().expect("a path")]);
    let client = start_client(Peer::Ours, server.port(), "-J -t 2");
    let over = AtomicBool::new(false);
    let end = thread::scope(|scope| {
        scope.spawn(|| {
            let mut bytes = vec![0; 64 << 10];
            while !over.load(Ordering::Relaxed) {
                let _ = pipe.read(&mut bytes);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let end = client.finish(HANG);
        over.store(true, Ordering::Relaxed);
        end
    });
    check_that_the_window_limits(&end);
    server.process.signal(Signal::SIGKILL);
}

#[test]
fn a_sender_that_reads_slowly_is_the_limit_itself() {
    priority::raise();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
    let server = Server::start(Peer::Ours, &["-1"]);
    let args = format!("-J -t 10 -F {}", path.display());
    let client = start_client(Peer::Ours, server.port(), &args);
    let writer = thread::spawn(move || {
        let mut pipe = OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("the pipe");
        for _ in 0..40 {
            if pipe.write_all(&[7; 16 << 10]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(40));
        }
    });
    let end = client.finish(HANG);
    writer.join().expect("a writer");
    assert_eq!(named(&end), ["application"], "{end}");
    server.finish(HANG);
}
