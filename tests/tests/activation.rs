//! A service of systemd: the listening socket is passed to the server, and the manager learns when it is ready. The tests play
//! the manager's part.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Output, Stdio};

use iperf_harness::HANG;
use iperf_harness::Peer;
use tempfile::TempDir;

/// Starts a server that gets `socket` as its third descriptor, as systemd passes it.
fn activated(socket: OwnedFd, notify: Option<&UnixDatagram>, options: &str) -> Child {
    let program = Peer::Ours.path();
    let script = format!(
        "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec {} -s {options}",
        program.display()
    );
    let mut command = Command::new("sh");
    if let Some(notify) = notify {
        let address = notify.local_addr().expect("an address");
        command.env("NOTIFY_SOCKET", address.as_pathname().expect("a path"));
    }
    command
        .args(["-c", &script])
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh starts")
}

fn client(port: u16, options: &[&str]) -> Output {
    Command::new(Peer::Ours.path())
        .args(["-c", "127.0.0.1", "-p", &port.to_string(), "-J"])
        .args(options)
        .output()
        .expect("the client starts")
}

/// What a server has reported to its manager.
fn message(notify: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = notify.recv(&mut message).expect("a message");
    String::from_utf8_lossy(&message[..length])
        .trim()
        .to_owned()
}

#[test]
fn a_passed_socket_serves_tcp_and_udp_and_the_manager_learns_of_it() {
    let folder = TempDir::new().expect("a folder");
    let notify = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    notify.set_read_timeout(Some(HANG)).expect("a limit");
    for options in [&["-n", "1M"][..], &["-u", "-b", "0", "-n", "100K"]] {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        let server = activated(socket.into(), Some(&notify), "-1");
        assert_eq!(message(&notify), "READY=1");
        let client = client(port, options);
        let report = String::from_utf8_lossy(&client.stdout);
        assert!(client.status.success(), "{options:?}: {report}");
        assert_eq!(message(&notify), "STOPPING=1");
        let server = server.wait_with_output().expect("the server ends");
        let text = String::from_utf8_lossy(&server.stdout);
        assert!(server.status.success(), "{server:?}");
        let listening = format!("Server listening on {port} ");
        assert!(text.contains(&listening), "{text}");
    }
}

#[test]
fn another_kind_of_socket_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let socket = UnixListener::bind(folder.path().join("stream")).expect("a socket");
    let server = activated(socket.into(), None, "-1");
    let server = server.wait_with_output().expect("the server ends");
    let error = String::from_utf8_lossy(&server.stderr);
    assert!(!server.status.success(), "{server:?}");
    assert!(
        error.contains("the socket that was passed does not listen on TCP"),
        "{error}"
    );
}
