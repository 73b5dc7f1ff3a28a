//! What a service manager sees and does: readiness, the watchdog, sockets that it opened, SIGTERM.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use iperf_harness::pair::{run_client, start_client};
use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer, Problems, Server};
use nix::sys::signal::Signal;

const BUSY: &str = "the server is busy running a test";

/// Reads messages of sd_notify(3) until one is `wanted`.
fn hears(socket: &UnixDatagram, wanted: &str) -> bool {
    let deadline = Instant::now() + HANG;
    let mut message = [0; 256];
    while Instant::now() < deadline {
        if let Ok(length) = socket.recv(&mut message)
            && message[..length].trim_ascii() == wanted.as_bytes()
        {
            return true;
        }
    }
    false
}

#[test]
fn the_manager_learns_of_readiness_liveness_and_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a time limit");
    let server = Server::start_with(Peer::Ours, &["--drain", "5"], |command| {
        // systemd names the process that the watchdog is for.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "WATCHDOG_PID=$$ exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .args(command.get_args())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "400000");
        shell
    });
    let mut f = Problems::new();
    f.holds("READY=1", hears(&socket, "READY=1"));
    f.holds("WATCHDOG=1", hears(&socket, "WATCHDOG=1"));
    f.holds("WATCHDOG=1 again", hears(&socket, "WATCHDOG=1"));
    server.process.signal(Signal::SIGTERM);
    f.holds("STOPPING=1", hears(&socket, "STOPPING=1"));
    let end = server.finish(HANG);
    f.equal("exit code", end.code(), Some(0));
    f.assert_none(end);
}

#[test]
fn a_socket_of_the_manager_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    let mut server = Command::new("sh")
        .args(["-c", script])
        .arg(Peer::Ours.path())
        .args(["-s", "-1"])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn()
        .expect("a server");
    let client = run_client(Peer::New, port, "-u -t 1 -b 1M");
    let ended = wait_for(HANG, || server.try_wait().ok().flatten());
    let _ = server.kill();
    let _ = server.wait();
    assert!(client.succeeded(), "{client}");
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}

#[test]
fn a_server_that_drains_ends_with_its_last_test_and_takes_no_other() {
    let server = Server::start(Peer::Ours, &["--tests", "4", "--drain", "60"]);
    let running = start_client(Peer::Old, server.port(), "-t 8 -b 10M");
    server.wait_for_test(1);
    server.process.signal(Signal::SIGTERM);
    let mut f = Problems::new();
    let refused = wait_for(HANG, || {
        let end = run_client(Peer::New, server.port(), "-n 64K");
        end.stderr.contains(BUSY).then_some(())
    });
    f.holds("others are refused", refused.is_some());
    let running = running.finish(HANG);
    f.holds(format!("{running}"), running.succeeded());
    let end = server.finish(HANG);
    f.equal("exit code", end.code(), Some(0));
    f.assert_none(end);
}

#[test]
fn draining_has_a_bound_and_running_tests_are_informed() {
    let server = Server::start(Peer::Ours, &["--tests", "4", "--drain", "1"]);
    let running = start_client(Peer::Ours, server.port(), "-t 60 -b 10M");
    server.wait_for_test(1);
    server.process.signal(Signal::SIGTERM);
    let end = server.finish(HANG);
    let running = running.finish(HANG);
    let mut f = Problems::new();
    f.holds(
        format!("{running}"),
        running.stderr.contains("the server has terminated"),
    );
    f.equal("exit code", end.code(), Some(0));
    f.assert_none(end);
}
