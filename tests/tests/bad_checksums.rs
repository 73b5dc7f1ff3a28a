//! Datagrams that the network damaged and datagrams that found no room are counted apart, as the kernel's counters of the
//! namespace have them.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use iperf_harness::json::int;
use iperf_harness::netns::Namespace;
use iperf_harness::pair::words;
use iperf_harness::process::wait_for;
use iperf_harness::{Finished, HANG, Peer, Problems, Running, Server, priority};
use socket2::{Domain, Protocol, Socket, Type};

const DAMAGED: i64 = 50;
/// The client's port.
const CLIENT: u16 = 40_123;

/// Sends datagrams with a wrong checksum, as if from one port to another of the same machine.
fn send_damaged(host: IpAddr, from: u16, to: u16, length: u16) {
    let domain = Domain::for_address(SocketAddr::new(host, 0));
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::UDP)).expect("root");
    let datagram = [
        &from.to_be_bytes()[..],
        &to.to_be_bytes(),
        &(8 + length).to_be_bytes(),
        &0x1234_u16.to_be_bytes(),
        &vec![0x55; length.into()],
    ]
    .concat();
    for _ in 0..DAMAGED {
        let sent = socket.send_to(&datagram, &SocketAddr::new(host, 0).into());
        assert_eq!(sent.expect("a raw packet is sent"), datagram.len());
        // Slowly enough for any buffer.
        thread::sleep(Duration::from_millis(2));
    }
}

/// The system's name of a counter for this family of addresses.
fn counter_name(host: &str, name: &str) -> String {
    format!("Udp{}{name}", if host.contains(':') { "6" } else { "" })
}

/// Waits until the streams of a test receive data.
fn wait_for_data(namespace: &Namespace, host: &str) {
    let received = counter_name(host, "InDatagrams");
    let flows = wait_for(HANG, || (namespace.counter(&received) > 20).then_some(()));
    assert!(flows.is_some(), "no datagrams arrive");
}

/// A test over one stream in a namespace of its own.
struct Case {
    host: &'static str,
    reverse: bool,
    /// Of the damaged datagrams. Up to 68 bytes, they reach no socket.
    length: u16,
    /// The receiver sleeps for a while, behind a buffer that holds a few milliseconds.
    sleeps: bool,
}

impl Case {
    fn run(&self, namespace: &Namespace) -> (Finished, Finished) {
        let server = Server::start(Peer::Ours, &["-1", "-J"]);
        let port = server.port().to_string();
        let mut command = Peer::Ours.command();
        command
            .args(["-J", "-c", self.host, "-p", &port])
            .args(words(
                "-u -t 2 -b 20M -l 1000 --no-gso --rcv-lowat off --cport",
            ));
        command.arg(CLIENT.to_string());
        command.args(self.reverse.then_some("-R"));
        command.args(self.sleeps.then_some("-w16K"));
        let client = Running::start(command);
        wait_for_data(namespace, self.host);
        let host = self.host.parse().expect("an address");
        let (from, to) = if self.reverse {
            (server.port(), CLIENT)
        } else {
            (CLIENT, server.port())
        };
        namespace.inside(|| send_damaged(host, from, to, self.length));
        if self.sleeps {
            let receiver = if self.reverse {
                &client
            } else {
                &server.process
            };
            let full = counter_name(self.host, "RcvbufErrors");
            receiver.stop_until(|| namespace.counter(&full) > 0);
        }
        let client = client.finish(HANG);
        (client, server.finish(HANG))
    }

    fn check(&self) {
        priority::raise();
        let namespace = Namespace::new();
        let (client, server) = namespace.inside(|| self.run(&namespace));
        let mut f = Problems::new();
        let counter = |name: &str| {
            let name = counter_name(self.host, name);
            i64::try_from(namespace.counter(&name)).expect("a small number")
        };
        let (damaged, full) = (counter("InCsumErrors"), counter("RcvbufErrors"));
        f.equal("the system's damaged datagrams", damaged, DAMAGED);
        f.holds("something finds no room", full > 0 || !self.sleeps);
        for (end, finished, learns) in [
            ("client", &client, true),
            ("server", &server, !self.reverse),
        ] {
            f.holds(format!("{end} succeeds"), finished.succeeded());
            let document = finished.document();
            let udp = |key: &str| int(&document, &format!("/end/streams/0/udp/{key}"));
            if learns {
                f.equal(
                    format!("{end}: checksum_errors"),
                    int(&document, "/end/sum_received/checksum_errors"),
                    Some(damaged),
                );
                f.equal(
                    format!("{end}: socket_drops"),
                    udp("socket_drops"),
                    Some(full),
                );
                // Nothing is lost on loopback, and the damaged ones are additional.
                f.equal(
                    format!("{end}: lost_packets"),
                    udp("lost_packets"),
                    Some(full),
                );
            }
        }
        let story = format!("{client}{server}");
        f.into_result(&story)
            .unwrap_or_else(|problems| panic!("{problems}"));
    }
}

fn check(cases: [(&'static str, bool, u16); 3], sleeps: bool) {
    for (host, reverse, length) in cases {
        let case = Case {
            host,
            reverse,
            length,
            sleeps,
        };
        case.check();
    }
}

#[test]
fn bad_checksums_are_not_socket_drops() {
    let (v4, v6) = ("127.0.0.1", "::1");
    check(
        [(v4, false, 1000), (v4, true, 16), (v6, false, 1000)],
        false,
    );
}

#[test]
fn bad_checksums_and_socket_drops_are_counted_separately() {
    let (v4, v6) = ("127.0.0.1", "::1");
    check([(v4, false, 1000), (v6, true, 1000), (v4, false, 16)], true);
}

#[test]
fn verbose_text_reports_bad_checksums() {
    priority::raise();
    let namespace = Namespace::new();
    let (client, server) = namespace.inside(|| {
        let server = Server::start(Peer::Ours, &["-1", "-V"]);
        let port = server.port();
        let args = format!("-V -u -t 2 -b 1M -l 1000 --cport {CLIENT}");
        let client = iperf_harness::pair::start_client(Peer::Ours, port, &args);
        wait_for_data(&namespace, "127.0.0.1");
        send_damaged("127.0.0.1".parse().unwrap(), CLIENT, port, 1000);
        let client = client.finish(HANG);
        (client, server.finish(HANG))
    });
    for end in [&client, &server] {
        let line = format!(
            "\n      {DAMAGED} datagrams with a bad checksum reached the receiver's machine\n"
        );
        assert!(end.stdout.contains(&line), "{end}");
        assert!(
            end.stdout
                .contains("] 0 of them dropped in the receiver's socket\n"),
            "{end}"
        );
    }
}
