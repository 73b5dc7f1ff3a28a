//! Our own ends repeat lost hellos and replies, and a repeated one opens no second stream. iperf3's servers would count
//! it as data, so they get one hello. A server accepts nothing else as a hello.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use iperf_harness::json::{int, list};
use iperf_harness::pair::{run_client, udp_pair, words};
use iperf_harness::proxy::{Fate, Passed, Plan, Proxy};
use iperf_harness::{Case, Expectation, Outcome, Peer, Problems, Server, parallel, peer};

#[test]
fn a_lost_hello_or_reply_is_repeated() {
    let mut cases = Vec::new();
    for args in ["-t 1 -b 2M", "-t 1 -b 2M -R", "-t 1 -b 1M --bidir -P 2"] {
        for count in 1..=2 {
            for (hellos, replies) in [(count, 0), (0, count), (count, 1)] {
                cases.push(Case::ours(args, LostHellos { hellos, replies }));
            }
        }
    }
    parallel::each(&cases, cases.len(), survives);
}

/// Lost hellos and replies.
#[derive(Debug)]
struct LostHellos {
    hellos: u32,
    replies: u32,
}

fn survives(case: &Case<LostHellos>) -> Result<(), String> {
    let lost = &case.expected;
    let (outcome, passed) = udp_pair(&case.args).run_through(|server| {
        Proxy::udp(
            server,
            Plan::new().lose_hellos(lost.hellos),
            Plan::new().lose_hellos(lost.replies),
        )
    });
    let expected = Expectation::of(&words(&case.args));
    let mut f = Problems::new();
    f.equal("streams on the way", passed.len(), expected.connections());
    for (end, finished) in [("client", &outcome.client), ("server", &outcome.server)] {
        f.equal(format!("the {end}'s exit code"), finished.code(), Some(0));
        let document = finished.document();
        f.equal(
            format!("the {end}'s streams"),
            list(&document, "/end/streams").len(),
            expected.connections(),
        );
        for stream in 0..expected.connections() {
            let udp = |key| int(&document, &format!("/end/streams/{stream}/udp/{key}"));
            let (packets, lost) = (udp("packets"), udp("lost_packets"));
            f.equal(format!("the {end}'s stream {stream}: lost"), lost, Some(0));
            f.positive(format!("the {end}'s stream {stream}: packets"), packets);
        }
    }
    f.into_result(outcome)
}

/// Runs a UDP test with a faulty path to the client.
fn run(case: &Case, to_client: &Plan) -> (Outcome, Vec<Passed>) {
    let pair = case.pair().client_args("-J -u");
    pair.run_through(|server| Proxy::udp(server, Plan::new(), to_client.clone()))
}

/// The reply takes longer than a client of this program waits before it repeats a hello.
#[test]
fn a_slow_reply_ruins_no_count() {
    let mut cases = Vec::new();
    for server in peer::REAL.into_iter().chain([Peer::Ours]) {
        for args in ["-t 1 -b 2M", "-t 1 -b 1M -P 2"] {
            cases.push(Case::new(Peer::Ours, server, args, ()));
        }
    }
    parallel::each(&cases, cases.len(), |case| {
        let slow = Plan::new().hold_hellos(Duration::from_millis(700));
        let (outcome, passed) = run(case, &slow);
        let mut f = Problems::new();
        f.equal("the client's exit code", outcome.client.code(), Some(0));
        let document = outcome.client.document();
        let received = |key: &str| int(&document, &format!("/end/sum_received/{key}"));
        f.equal("lost", received("lost_packets"), Some(0));
        f.positive("packets", received("packets"));
        for flow in &passed {
            if peer::REAL.contains(&case.server) {
                f.equal("hellos", flow.to_server.hellos, 1);
            } else {
                f.holds("hellos are repeated", flow.to_server.hellos > 1);
            }
        }
        f.into_result(outcome)
    });
}

/// An iperf3 server that got the hello begins the test, which proves as much as its lost reply would.
#[test]
fn the_start_of_the_test_stands_for_a_lost_reply() {
    let cases = peer::REAL.map(|server| Case::new(Peer::Ours, server, "-t 1 -b 2M", ()));
    parallel::each(&cases, cases.len(), |case| {
        let (outcome, passed) = run(case, &Plan::new().lose_hellos(1));
        let mut f = Problems::new();
        f.equal("the client's exit code", outcome.client.code(), Some(0));
        f.equal("hellos", passed[0].to_server.hellos, 1);
        let document = outcome.client.document();
        let lost = int(&document, "/end/sum_received/lost_packets");
        f.equal("lost", lost, Some(0));
        f.into_result(outcome)
    });
}

/// Keeps sending datagrams that are not hellos to a port.
struct StrayDatagrams {
    ended: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl StrayDatagrams {
    fn start(port: u16) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let threads = [&[0; 1460][..], b"1234", b"9876 and more", b""].map(|datagram| {
            let until = ended.clone();
            thread::spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
                while !until.load(Ordering::Relaxed) {
                    // Nothing may be listening.
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
            thread.join().expect("stray does not fail");
        }
    }
}

#[test]
fn stray_datagrams_are_no_hellos() {
    let server = Server::start(Peer::Ours, &["-J"]);
    let stray = StrayDatagrams::start(server.port());
    for client in [Peer::Ours, Peer::New, Peer::Old] {
        for args in ["-J -u -t 1 -b 2M -P 8", "-J -u -t 1 -b 1M -P 4 --bidir"] {
            let client = run_client(client, server.port(), args);
            let document = client.document();
            assert_eq!(client.code(), Some(0), "{client}");
            let lost = int(&document, "/end/sum_received/lost_packets");
            assert_eq!(lost, Some(0), "{client}");
        }
    }
    stray.end();
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
            cases.push(Case::new(client, Peer::Ours, args, ()));
        }
    }
    parallel::each(&cases, cases.len(), |case| {
        let (outcome, _) = run(case, &Plan::new().every(10, Fate::Drop));
        let mut f = Problems::new();
        outcome.check_success(&mut f);
        f.into_result(outcome)
    });
}
