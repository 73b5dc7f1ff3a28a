//! Floods of peers that take up a server's places and stay: each place that is taken back is taken again at once.
//!
//! Good clients must succeed at the first attempt during a flood. The floods are bounded: a fixed number of connections is
//! open at a time, and a new one waits a moment.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use iperf_harness::pair::run_client;
use iperf_harness::process::wait_for;
use iperf_harness::wire::{
    ACCESS_DENIED, IPERF_DONE, PARAM_EXCHANGE, PARAMS, RawClient, Reply, framed, new_cookie,
};
use iperf_harness::{HANG, Peer, Problems, Server, json};

/// Connections that a flood opens in one go.
const RENEWED: usize = 8;

/// How far the peers of a flood go before they stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stall {
    /// They send nothing.
    Cookie,
    /// They send a cookie.
    Parameters,
    /// They send a cookie and parameters.
    Streams,
}

/// Opens a connection and stalls.
fn open(port: u16, stall: Stall) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    if stall != Stall::Cookie {
        stream.write_all(&new_cookie()).ok()?;
    }
    if stall == Stall::Streams {
        stream.write_all(&framed(PARAMS)).ok()?;
    }
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Whether the server still waits for this peer.
fn is_kept(stream: &mut TcpStream, stall: Stall) -> bool {
    let mut bytes = [0; 64];
    match stream.read(&mut bytes) {
        Ok(0) => false,
        Ok(length) => stall != Stall::Cookie && !bytes[..length].contains(&ACCESS_DENIED),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Waits until the server has accepted what was opened before: it accepts in order, and answers a cookie.
fn keep_pace(port: u16) {
    if let Some(mut probe) = open(port, Stall::Parameters) {
        let patient = probe
            .set_nonblocking(false)
            .and_then(|()| probe.set_read_timeout(Some(HANG)));
        patient.expect("a socket with a time-out");
        // It may also be dropped.
        let _ = probe.read(&mut [0]);
    }
}

/// Keeps up to `size` connections open until `over`, and counts those that were ever opened. When they all are, the
/// oldest are renewed, no faster than the server accepts them: a queue in the kernel is no place that it gives away.
fn flood(port: u16, stall: Stall, size: usize, over: &AtomicBool, opened: &AtomicUsize) {
    let mut peers = VecDeque::new();
    while !over.load(Ordering::Relaxed) {
        peers.retain_mut(|peer| is_kept(peer, stall));
        let excess = (peers.len() + RENEWED).saturating_sub(size);
        peers.drain(..excess);
        for _ in 0..RENEWED {
            peers.extend(open(port, stall));
        }
        opened.fetch_add(RENEWED, Ordering::Relaxed);
        keep_pace(port);
        thread::sleep(Duration::from_millis(10));
    }
}

/// Stops a flood, also when the test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until the server is between two tests: then it requests parameters.
fn is_free(port: u16) -> bool {
    wait_for(HANG, || {
        let mut probe = RawClient::connect(port);
        let cookie = *probe.cookie();
        probe.control.send(&cookie);
        let free = probe.control.reply(HANG) == Reply::State(PARAM_EXCHANGE);
        if free {
            probe.control.send(&[IPERF_DONE]);
        }
        free.then_some(())
    })
    .is_some()
}

fn good_clients_get_in_beside(stall: Stall, size: usize) {
    let mut server = Server::start(Peer::Ours, &[]);
    let port = server.port();
    let (over, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut f = Problems::new();
    thread::scope(|scope| {
        let _stop = StopOnDrop(&over);
        scope.spawn(|| flood(port, stall, size, &over, &opened));
        let flooded = wait_for(HANG, || {
            (opened.load(Ordering::Relaxed) > size).then_some(())
        });
        f.holds("the flood is at work", flooded.is_some());
        for round in 1..=3 {
            for client in [Peer::Ours, Peer::New] {
                f.holds(format!("round {round}: the server is free"), is_free(port));
                let end = run_client(client, port, "-J -n 256K");
                let document = end.document();
                let sent = json::int(&document, "/end/sum_sent/bytes").unwrap_or(0);
                if !end.succeeded() || sent < 256 * 1024 {
                    f.add(format!("round {round}, {client}:\n{end}"));
                }
            }
        }
    });
    f.holds("the server lives", server.process.is_alive());
    f.assert_none(format!("{} connections", opened.into_inner()));
}

#[test]
fn beside_silent_connections() {
    good_clients_get_in_beside(Stall::Cookie, 600);
}

#[test]
fn beside_cookies_without_parameters() {
    good_clients_get_in_beside(Stall::Parameters, 600);
}

#[test]
fn beside_parameters_without_streams() {
    good_clients_get_in_beside(Stall::Streams, 600);
}

/// Opens one of its UDP streams.
fn open_udp(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(("127.0.0.1", port)).expect("an address");
    socket.send(b"9876").expect("a hello");
    socket.set_read_timeout(Some(HANG)).expect("a time-out");
    socket.recv(&mut [0; 16]).expect("the reply to a hello");
    socket
}

/// A client that takes 3 s for each of its streams is within the time for one, but must not keep the port.
#[test]
fn a_client_that_opens_its_udp_streams_slowly_blocks_no_other() {
    let params = PARAMS
        .replace("\"tcp\":true", "\"udp\":true")
        .replace("\"parallel\":1", "\"parallel\":128")
        .replace("131072", "1460");
    for good in [Peer::Ours, Peer::New] {
        let server = Server::start(Peer::Ours, &[]);
        let port = server.port();
        let slow = RawClient::up_to_streams(port, &params);
        let first = open_udp(port);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = StopOnDrop(&over);
            scope.spawn(|| {
                let hello = UdpSocket::bind("127.0.0.1:0").expect("a port");
                while wait_for(Duration::from_secs(3), || {
                    over.load(Ordering::Relaxed).then_some(())
                })
                .is_none()
                {
                    let _ = hello.send_to(b"9876", ("127.0.0.1", port));
                }
            });
            let end = run_client(good, port, "-u -b 1M -l 1000 -n 50K -J");
            let document = end.document();
            let mut f = Problems::new();
            f.holds(format!("{good} succeeds"), end.succeeded());
            f.equal("its error", json::text(&document, "/error"), None);
            f.assert_none(end);
        });
        drop((slow, first));
        server.stop();
    }
}
