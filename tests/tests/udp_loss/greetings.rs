//! Hellos and replies that are lost are repeated, and no stream comes twice by that.

use std::fmt;
use std::time::Duration;

use iperf_tests::json::{self, int, list};
use iperf_tests::pair::{start_client, words};
use iperf_tests::relay::{Plan, Relay};
use iperf_tests::{Asked, Findings, Peer, Server, parallel};

const LIMIT: Duration = Duration::from_secs(30);

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
        let relay = Relay::start(
            server.port(),
            Plan::new().lose_greetings(self.hellos),
            Plan::new().lose_greetings(self.replies),
        );
        let args = format!("-J -u {}", self.args);
        let client = start_client(Peer::Ours, relay.port(), &args).finish(LIMIT);
        let server = server.finish(Duration::from_secs(if client.succeeded() { 10 } else { 2 }));
        let asked = Asked::of(&words(&args));
        let mut f = Findings::new();
        f.equal(
            "streams on the way",
            relay.finish().len(),
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
