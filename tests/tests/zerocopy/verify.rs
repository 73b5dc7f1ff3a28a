//! `--verify`: what arrives is what was sent, in every mode; and which end reports a difference.

use std::fmt;

use iperf_harness::json::{at, list, text};
use iperf_harness::pair::run_client;
use iperf_harness::proxy::{Damage, Place};
use iperf_harness::proxy::{Fate, Plan, Proxy};
use iperf_harness::service::serves;
use iperf_harness::{HANG, Pair, Peer, Problems, Server, parallel, peer};
use serde_json::Value;

use crate::modes::{Case, RECEIVERS, SENDERS};

const WORKERS: usize = 4;

#[test]
fn what_arrives_is_what_was_sent_in_every_mode() {
    let mut cases = Vec::new();
    for args in [
        "-n 4M",
        "-n 4M -R",
        "-n 4M --bidir -P 2",
        "-n 2000001 -l 9001 -P 3",
    ] {
        for sender in SENDERS {
            // The others do not see the bytes, so they cannot verify them.
            for receiver in &RECEIVERS[..2] {
                cases.push(Case::new(&format!("{args} --verify"), sender, *receiver));
            }
        }
    }
    for args in [
        "-t 1 --verify",
        "-O 1 -t 1 -R --verify",
        "-t 1 --bidir --verify",
    ] {
        cases.push(Case::new(args, SENDERS[4], RECEIVERS[1]));
    }
    parallel::each(&cases, WORKERS, Case::go);
}

/// A way that is not to be trusted.
struct Damaged {
    args: &'static str,
    place: Place,
    damage: Damage,
    /// The id of the stream.
    stream: u32,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?} at {:?}", self.args, self.damage, self.place)
    }
}

impl Damaged {
    /// `stream N differs at byte M`, and what was received there.
    fn is_reported_in(&self, text: &str) -> bool {
        let start = format!("stream {} differs at byte ", self.stream);
        let Some((_, rest)) = text.split_once(&start) else {
            return false;
        };
        let Some((number, rest)) = rest.split_once(": 0x") else {
            return false;
        };
        // Bytes of two places may be the same by chance, but not eight of them.
        let slack = if self.damage == Damage::Flip { 1 } else { 8 };
        let offset = match self.damage {
            Damage::Repeat(length) => self.place.offset + length,
            Damage::Flip | Damage::Drop(_) => self.place.offset,
        };
        let found = number.parse::<usize>();
        found.is_ok_and(|found| (offset..offset + slack).contains(&found))
            && rest.contains(" instead of 0x")
    }

    fn go(&self) -> Result<(), String> {
        let server = Server::start(Peer::Ours, &["-J"]);
        let proxy = Proxy::tcp(server.port(), self.place, self.damage);
        let client = run_client(Peer::Ours, proxy.port(), self.args);
        let mut f = Problems::new();
        f.holds("the damage is done", proxy.finish());
        f.equal("the client's exit code", client.code(), Some(1));
        let document = client.document();
        let reported = if self.args.contains("-J") {
            text(&document, "/error").unwrap_or("no error")
        } else {
            client.stderr.as_str()
        };
        f.holds(
            format!("the client reports where: {reported}"),
            self.is_reported_in(reported),
        );
        let served = serves(server.port(), Peer::Ours, HANG);
        f.holds(format!("the server goes on: {served:?}"), served.is_ok());
        let end = server.stop();
        if self.place.from_client {
            let first = iperf_harness::json::documents(&end.stdout);
            let error = first.first().map_or("no document", |first| {
                text(first, "/error").unwrap_or("no error")
            });
            f.holds(
                format!("the server reports where: {error}"),
                self.is_reported_in(error),
            );
        }
        f.into_result(format!("{client}{end}"))
    }
}

/// To the server, on the first stream unless stated otherwise.
fn to_server(args: &'static str, offset: usize, damage: Damage) -> Damaged {
    let place = Place {
        connection: 1,
        from_client: true,
        offset,
    };
    Damaged {
        args,
        place,
        damage,
        stream: 1,
    }
}

fn to_client(args: &'static str, offset: usize, damage: Damage) -> Damaged {
    let forward = to_server(args, offset, damage);
    let place = Place {
        from_client: false,
        ..forward.place
    };
    Damaged { place, ..forward }
}

impl Damaged {
    fn on(self, connection: usize, stream: u32) -> Self {
        let place = Place {
            connection,
            ..self.place
        };
        Self {
            place,
            stream,
            ..self
        }
    }
}

/// The pattern's period.
const PERIOD: usize = 251 * 4096;

fn damages() -> Vec<Damaged> {
    use Damage::{Drop, Flip, Repeat};
    vec![
        to_server("-J -n 4M --verify", 0, Flip),
        to_server("-J -n 4M --verify", 5, Flip),
        to_server("-J -n 4M --verify", PERIOD, Flip),
        // The last byte of all.
        to_server("-J -n 4M --verify", (4 << 20) - 1, Flip),
        to_server("-n 4M --verify", 77_777, Flip),
        to_server("-J -t 20 -b 200M --verify", 30 << 20, Flip),
        to_server("-J -n 4M --verify", 65_536, Drop(4096)),
        to_server("-J -n 4M --verify", 65_536, Repeat(4096)),
        to_server("-J -n 4M --verify", 65_536, Repeat(131_072)),
        to_server("-J -n 4M --verify -Z", 1 << 20, Flip),
        to_server("-J -n 8M --verify --zerocopy=msg", 3 << 20, Flip),
        to_server(
            "-J -n 8M --verify --zerocopy=splice --zerocopy-rx=off",
            3 << 20,
            Drop(4096),
        ),
        to_server(
            "-J -n 8M --verify --zerocopy-rx=mmap",
            3_000_001,
            Repeat(4096),
        ),
        // Of a quota one stream may take all.
        to_server("-J -t 20 -b 20M -P 3 --verify", 999_999, Flip).on(2, 3),
        to_server("-J -t 20 -b 20M -P 3 --verify -Z", 9999, Flip).on(3, 4),
        to_server("-J -t 20 -b 20M --bidir --verify", 99_999, Flip),
        to_client("-J -n 4M -R --verify", 5, Flip),
        to_client("-J -n 4M -R --verify", (4 << 20) - 1, Flip),
        to_client("-n 4M -R --verify", 77_777, Flip),
        to_client("-J -n 4M -R --verify", 65_536, Drop(4096)),
        to_client("-J -n 4M -R --verify", 65_536, Repeat(4096)),
        to_client("-J -n 8M -R --verify --zerocopy=msg", 3 << 20, Flip),
        to_client(
            "-J -n 8M -R --verify --zerocopy-rx=mmap",
            3_000_001,
            Drop(4096),
        ),
        to_client("-J -t 20 -b 20M -R -P 2 --verify", 9999, Flip).on(2, 3),
        to_client("-J -t 20 -b 20M --bidir --verify", 99_999, Flip).on(2, 3),
    ]
}

#[test]
fn a_difference_is_found_and_reported_by_stream_and_offset() {
    parallel::each(&damages(), WORKERS, Damaged::go);
}

/// Without --verify no end compares anything.
#[test]
fn without_verification_a_difference_goes_unnoticed() {
    let server = Server::start(Peer::Ours, &["-J"]);
    let Damaged { place, damage, .. } = to_server("", 5000, Damage::Flip);
    let proxy = Proxy::tcp(server.port(), place, damage);
    let client = run_client(Peer::Ours, proxy.port(), "-J -n 4M -Z");
    let mut f = Problems::new();
    f.holds("the damage is done", proxy.finish());
    f.holds("the client succeeds", client.succeeded());
    f.assert_none(client);
}

/// What only both ends of this program can do is refused before data flows.
#[test]
fn iperf3_does_not_verify() {
    for peer in peer::REAL {
        for args in [
            "-J --verify -n 1M",
            "-J --verify -n 1M -R -Z",
            "-J --verify -n 1M --bidir",
        ] {
            let server = Server::start(peer, &["-J"]);
            let client = run_client(Peer::Ours, server.port(), args);
            let served = serves(server.port(), Peer::Ours, HANG);
            let mut f = Problems::new();
            f.equal("exit code", client.code(), Some(1));
            let document = client.document();
            f.equal(
                "error",
                text(&document, "/error"),
                Some("--verify needs iperf at both ends, and the server is another program (or too old)"),
            );
            f.holds("no stream", list(&document, "/start/connected").is_empty());
            f.holds("no interval", list(&document, "/intervals").is_empty());
            f.holds(format!("{peer} goes on: {served:?}"), served.is_ok());
            f.assert_none(&client);
        }
    }
}

/// A server that does not verify reports so, and the client does not claim that it did.
#[test]
fn a_server_that_does_not_verify_reports_so() {
    for (server_args, args) in [
        ("-F {dir}/out", "-J --verify -n 1M"),
        ("-F {dir}/in", "-J --verify -n 1M -R"),
    ] {
        let outcome = Pair::new(Peer::Ours, Peer::Ours)
            .client_args(args)
            .server_args(server_args)
            .file("in", vec![1; 4096])
            .run();
        let mut f = Problems::new();
        f.equal("exit code", outcome.client.code(), Some(1));
        let document = outcome.client_json().unwrap_or_default();
        f.equal(
            "error",
            text(&document, "/error"),
            Some("the server does not grant --verify for this test"),
        );
        f.equal("no data", at(&document, "/end/sum_sent"), &Value::Null);
        f.assert_none(&outcome);
    }
}

/// What each datagram carries is checked, and what is lost or late is no difference.
#[test]
fn datagrams_are_verified_each_by_itself() {
    const GOOD: &str = "-u -t 1 -b 10M -l 1000 --verify";
    for (args, plan, differs) in [
        (GOOD, Plan::new(), false),
        ("-u -t 1 -b 10M -l 1000 --verify -R", Plan::new(), false),
        (
            "-u -t 1 -b 10M -l 1000 --verify --zerocopy=msg",
            Plan::new(),
            false,
        ),
        (
            "-u -t 1 -b 10M -l 1000 --verify --gsro --bidir -P 2",
            Plan::new(),
            false,
        ),
        (
            GOOD,
            Plan::new()
                .every(7, Fate::Drop)
                .every(11, Fate::Duplicate)
                .every(13, Fate::Late(3)),
            false,
        ),
        (
            "-u -t 20 -b 10M -l 1000 --verify",
            Plan::new().every(50, Fate::Flip),
            true,
        ),
        (
            "-u -t 20 -b 10M -l 1000 --verify -R",
            Plan::new().every(50, Fate::Flip),
            true,
        ),
    ] {
        let server = Server::start(Peer::Ours, &[]);
        let proxy = Proxy::udp(server.port(), plan.clone(), plan);
        let client = run_client(Peer::Ours, proxy.port(), args);
        proxy.finish();
        let mut f = Problems::new();
        f.equal("exit code", client.code(), Some(i32::from(differs)));
        let reported = client.stderr.contains("stream 1 differs at byte 999: 0x");
        f.equal("a difference is reported", reported, differs);
        let served = serves(server.port(), Peer::Ours, HANG);
        f.holds(format!("the server goes on: {served:?}"), served.is_ok());
        let server = server.stop();
        if differs && !args.contains("-R") {
            let reported = server.stderr.contains("stream 1 differs at byte 999: 0x")
                || server.stdout.contains("stream 1 differs at byte 999: 0x");
            f.holds("the server reports it, too", reported);
        }
        f.assert_none(format!("{client}{server}"));
    }
}
