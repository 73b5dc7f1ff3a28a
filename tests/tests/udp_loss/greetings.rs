//! Hellos and replies that are lost are repeated between our own ends, and no stream comes twice by that. iperf3's servers
//! would count a repetition as data, so they get one hello. A server takes nothing but a hello for one.

use std::fmt;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use iperf_harness::json::{self, int, list};
use iperf_harness::pair::{start_client, words};
use iperf_harness::proxy::{Fate, Plan, Proxy};
use iperf_harness::{Expectation, HANG, Peer, Problems, Server, parallel, peer};

#[test]
fn a_lost_greeting_is_repeated() {
    let mut cases = Vec::new();
    for args in ["-t 1 -b 2M", "-t 1 -b 2M -R", "-t 1 -b 1M --bidir -P 2"] {
        for count in 1..=2 {
            for (name, hellos, replies) in [
                ("hellos", count, 0),
                ("replies", 0, count),
                ("both", count, 1),
            ] {
                cases.push((
                    format!("{args}: {count} {name} lost"),
                    args,
                    hellos,
                    replies,
                ));
            }
        }
    }
    let cases: Vec<Lost> = cases
        .into_iter()
        .map(|(name, args, hellos, replies)| Lost {
            name,
            args,
            hellos,
            replies,
        })
        .collect();
    parallel::each(&cases, cases.len(), Lost::check);
}

/// Greetings that are lost.
struct Lost {
    name: String,
    args: &'static str,
    hellos: u32,
    replies: u32,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Lost {
    fn check(&self) -> Result<(), String> {
        let server = Server::start(Peer::Ours, &["-1", "-J"]);
        let proxy = Proxy::udp(
            server.port(),
            Plan::new().lose_greetings(self.hellos),
            Plan::new().lose_greetings(self.replies),
        );
        let args = format!("-J -u {}", self.args);
        let client = start_client(Peer::Ours, proxy.port(), &args).finish(HANG);
        let server = server.finish(Duration::from_secs(if client.succeeded() { 10 } else { 2 }));
        let asked = Expectation::of(&words(&args));
        let mut f = Problems::new();
        f.equal(
            "streams on the way",
            proxy.finish().len(),
            asked.connections(),
        );
        for (end, finished) in [("client", &client), ("server", &server)] {
            f.equal(format!("the {end}'s exit code"), finished.code(), Some(0));
            let document = json::parse(&finished.stdout).unwrap_or_default();
            f.equal(
                format!("the {end}'s streams"),
                list(&document, "/end/streams").len(),
                asked.connections(),
            );
            for stream in 0..asked.connections() {
                let udp = |key| int(&document, &format!("/end/streams/{stream}/udp/{key}"));
                let (packets, lost) = (udp("packets"), udp("lost_packets"));
                f.equal(format!("the {end}'s stream {stream}: lost"), lost, Some(0));
                f.positive(format!("the {end}'s stream {stream}: packets"), packets);
            }
        }
        f.into_result(format!("{client}{server}"))
    }
}

/// A way of which the reply takes longer than a client of this program waits before it repeats a hello.
fn slow(args: &str, server: Peer) -> Result<(), String> {
    let process = Server::start(server, &["-1", "-J"]);
    let to_client = Plan::new().hold_greetings(Duration::from_millis(700));
    let proxy = Proxy::udp(process.port(), Plan::new(), to_client);
    let client = start_client(Peer::Ours, proxy.port(), &format!("-J -u {args}")).finish(HANG);
    let process = process.finish(HANG);
    let passed = proxy.finish();
    let mut f = Problems::new();
    f.equal("the client's exit code", client.code(), Some(0));
    let document = json::parse(&client.stdout).unwrap_or_default();
    let received = |key: &str| int(&document, &format!("/end/sum_received/{key}"));
    f.equal("lost", received("lost_packets"), Some(0));
    f.positive("packets", received("packets"));
    for flow in &passed {
        if peer::REAL.contains(&server) {
            f.equal("hellos", flow.to_server.greetings, 1);
        } else {
            f.holds("hellos are repeated", flow.to_server.greetings > 1);
        }
    }
    f.into_result(format!("{client}{process}"))
}

#[test]
fn a_slow_reply_ruins_no_count() {
    let mut cases = Vec::new();
    for server in peer::REAL.into_iter().chain([Peer::Ours]) {
        for args in ["-t 1 -b 2M", "-t 1 -b 1M -P 2"] {
            cases.push(Slow(args, server));
        }
    }
    parallel::each(&cases, cases.len(), |Slow(args, server)| {
        slow(args, *server)
    });
}

struct Slow(&'static str, Peer);

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} server: {}", self.1, self.0)
    }
}

/// An iperf3 server that got the hello begins the test, and that says as much as its reply, which is lost.
#[test]
fn the_start_of_the_test_stands_for_a_lost_reply() {
    let cases = peer::REAL.map(|server| Slow("-t 1 -b 2M", server));
    parallel::each(&cases, cases.len(), |Slow(args, server)| {
        let process = Server::start(*server, &["-1"]);
        let proxy = Proxy::udp(process.port(), Plan::new(), Plan::new().lose_greetings(1));
        let client = start_client(Peer::Ours, proxy.port(), &format!("-J -u {args}")).finish(HANG);
        let process = process.finish(HANG);
        let passed = proxy.finish();
        let mut f = Problems::new();
        f.equal("the client's exit code", client.code(), Some(0));
        f.equal("hellos", passed[0].to_server.greetings, 1);
        let document = json::parse(&client.stdout).unwrap_or_default();
        let lost = int(&document, "/end/sum_received/lost_packets");
        f.equal("lost", lost, Some(0));
        f.into_result(format!("{client}{process}"))
    });
}

/// Sends datagrams that are no hello to a port, all the time.
struct Noise {
    ended: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Noise {
    fn start(port: u16) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let threads = [&[0; 1460][..], b"1234", b"9876 and more", b""].map(|datagram| {
            let until = ended.clone();
            thread::spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
                while !until.load(Ordering::Relaxed) {
                    // Nobody has to listen.
                    let _ = socket.send_to(datagram, ("127.0.0.1", port));
                    thread::sleep(Duration::from_millis(1));
                }
            })
        });
        Self {
            ended,
            threads: threads.into(),
        }
    }

    fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("noise does not fail");
        }
    }
}

#[test]
fn stray_datagrams_are_no_hellos() {
    let server = Server::start(Peer::Ours, &["-J"]);
    let noise = Noise::start(server.port());
    for client in [Peer::Ours, Peer::New, Peer::Old] {
        for args in ["-J -u -t 1 -b 2M -P 8", "-J -u -t 1 -b 1M -P 4 --bidir"] {
            let client = start_client(client, server.port(), args).finish(HANG);
            let document = json::parse(&client.stdout).unwrap_or_default();
            assert_eq!(client.code(), Some(0), "{client}");
            let lost = int(&document, "/end/sum_received/lost_packets");
            assert_eq!(lost, Some(0), "{client}");
        }
    }
    noise.end();
}

/// iperf3's clients count what they receive: when datagrams are lost, a server has to send more than the quota.
#[test]
fn a_client_that_counts_what_it_gets_gets_enough() {
    let mut cases = Vec::new();
    for client in peer::REAL {
        for args in [
            "-b 3M -n 500K -R",
            "-b 3M -k 300 -l 1000 -R",
            "-b 3M/5 -n 500K -l 1000 -R",
        ] {
            cases.push(Slow(args, client));
        }
    }
    parallel::each(&cases, cases.len(), |Slow(args, client)| {
        let server = Server::start(Peer::Ours, &["-1"]);
        let lossy = Plan::new().every(10, Fate::Drop);
        let proxy = Proxy::udp(server.port(), Plan::new(), lossy);
        let client = start_client(*client, proxy.port(), &format!("-J -u {args}")).finish(HANG);
        let server = server.finish(HANG);
        drop(proxy);
        let mut f = Problems::new();
        f.equal("the client's exit code", client.code(), Some(0));
        f.equal("the server's exit code", server.code(), Some(0));
        f.into_result(format!("{client}{server}"))
    });
}
