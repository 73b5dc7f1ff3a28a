//! Each way to send with each way to receive, over TCP and loopback.

use std::fmt;

use iperf_harness::pair::tcp_pair;
use iperf_harness::{Pair, Peer, Problems, parallel};

use crate::account::{self, ExpectedMode, ExpectedReport};

/// Half of a case is starting and ending two programs.
const WORKERS: usize = 4;

/// A way to send: the option, and what becomes of it.
pub(super) const SENDERS: [(&str, ExpectedMode); 5] = [
    ("", ExpectedMode::plain("copy", &["copy"])),
    ("-Z", ExpectedMode::plain("auto", &["splice"])),
    (
        "--zerocopy=sendfile",
        ExpectedMode::plain("sendfile", &["sendfile"]),
    ),
    (
        "--zerocopy=splice",
        ExpectedMode::plain("splice", &["splice"]),
    ),
    // Over loopback the kernel copies after all, and reports it.
    (
        "--zerocopy=msg",
        ExpectedMode::plain("msg", &["msg"]).because(),
    ),
];

/// What mapping comes to where segments do not fill pages: something, or nothing and the reason why.
pub(super) const PERHAPS_MAPPED: ExpectedMode =
    ExpectedMode::plain("mmap", &["mmap", "copy"]).perhaps_because();

/// A way to receive.
pub(super) const RECEIVERS: [(&str, ExpectedMode); 4] = [
    ("--zerocopy-rx=off", ExpectedMode::plain("copy", &["copy"])),
    ("--zerocopy-rx=mmap", PERHAPS_MAPPED),
    (
        "--zerocopy-rx=trunc",
        ExpectedMode::plain("trunc", &["trunc"]),
    ),
    (
        "--zerocopy-rx=splice",
        ExpectedMode::plain("splice", &["splice"]),
    ),
];

/// One test of ours against ours.
pub(super) struct Case {
    pub(super) args: String,
    pub(super) wanted: Option<ExpectedReport>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.args)
    }
}

impl Case {
    pub(super) fn new(
        args: &str,
        sender: (&str, ExpectedMode),
        receiver: (&str, ExpectedMode),
    ) -> Self {
        let wanted = ExpectedReport {
            send: sender.1,
            receive: receiver.1,
            bidir: args.contains("--bidir"),
            exact: !args.contains("-O"),
        };
        let silent = sender.1.requested == "copy" && receiver.1.requested == "copy";
        Self {
            args: format!("{args} {} {}", sender.0, receiver.0),
            wanted: (!silent).then_some(wanted),
        }
    }

    pub(super) fn go(&self) -> Result<(), String> {
        let outcome = tcp_pair(&self.args).run();
        let (client, server) = (outcome.client_json()?, outcome.server_json()?);
        let mut f = Problems::new();
        outcome.check_success(&mut f);
        match &self.wanted {
            Some(wanted) => account::both(&mut f, &client, &server, wanted),
            None => account::nowhere(&mut f, &client, &server),
        }
        f.into_result(&outcome)
    }
}

fn all(args: &str) -> Vec<Case> {
    let pairs = SENDERS
        .iter()
        .flat_map(|sender| RECEIVERS.iter().map(move |receiver| (sender, receiver)));
    pairs
        .map(|(sender, receiver)| Case::new(args, *sender, *receiver))
        .collect()
}

#[test]
fn every_sender_with_every_receiver() {
    parallel::each(&all("-n 8M"), WORKERS, Case::go);
}

#[test]
fn every_sender_with_every_receiver_in_reverse() {
    parallel::each(&all("-n 8M -R"), WORKERS, Case::go);
}

#[test]
fn every_sender_with_every_receiver_in_both_directions() {
    parallel::each(&all("-n 8M --bidir -P 2"), WORKERS, Case::go);
}

/// What ends a test, and how fast it runs, changes nothing in the accounts.
#[test]
fn every_byte_is_accounted_for_however_a_test_ends() {
    let [_, auto, _, splice, msg] = SENDERS;
    let [_, mmap, trunc, spliced] = RECEIVERS;
    let mut cases = Vec::new();
    for limit in [
        "-t 1",
        "-t 1 -b 100M",
        "-O 1 -t 1",
        "-k 100",
        "-n 1000001 -l 9001",
        "-n 5M -l 1000",
        "-n 32M -l 1M -w 256K",
    ] {
        for direction in ["", "-R", "--bidir -P 2"] {
            let args = format!("{limit} {direction}");
            let pairs = [(msg, mmap), (auto, mmap), (splice, spliced), (msg, trunc)];
            // All of them where it takes no time.
            let count = if limit.contains("-t") { 1 } else { 4 };
            let some = pairs.into_iter().take(count);
            cases.extend(some.map(|(sender, receiver)| Case::new(&args, sender, receiver)));
        }
    }
    parallel::each(&cases, 2 * WORKERS, Case::go);
}

/// The two names of one thing.
#[test]
fn iperf3s_options_and_ipv6_select_the_same_modes() {
    let [_, auto, ..] = SENDERS;
    let [_, mmap, (_, dropped), _] = RECEIVERS;
    let cases = [
        Case::new("-n 16M", ("-Z", auto.1), ("", mmap.1)),
        Case::new("-n 16M", ("--zerocopy", auto.1), ("", mmap.1)),
        Case::new("-n 16M", ("-Z", auto.1), ("--skip-rx-copy", dropped)),
        Case::new("-n 16M -R", SENDERS[0], ("--skip-rx-copy", dropped)),
        Case::new("-n 16M", ("--zerocopy=msg", SENDERS[4].1), ("", mmap.1)),
    ];
    parallel::each(&cases, WORKERS, Case::go);
    let outcome = Pair::new(Peer::Ours, Peer::Ours)
        .host("::1")
        .client_args("-J -6 -n 16M --zerocopy=splice --zerocopy-rx=splice")
        .server_args("-J")
        .run();
    let wanted = ExpectedReport {
        send: SENDERS[3].1,
        receive: RECEIVERS[3].1,
        bidir: false,
        exact: true,
    };
    let mut f = Problems::new();
    account::both(
        &mut f,
        &outcome.client_json().unwrap(),
        &outcome.server_json().unwrap(),
        &wanted,
    );
    f.assert_none(&outcome);
}

/// The lines that begin with `zerocopy:`.
fn lines(stdout: &str) -> Vec<&str> {
    let lines = stdout.lines();
    lines.filter(|line| line.starts_with("zerocopy:")).collect()
}

#[test]
fn a_line_of_text_reports_it() {
    let tx = "zerocopy: tx splice 100.0 % not copied, 0.0 % copied";
    let rx = "zerocopy: rx trunc 100.0 % dropped, 0.0 % copied";
    let table: [(&str, &[&str], &[&str]); 5] = [
        ("-P 2", &[tx, rx], &[rx]),
        ("-R", &[tx, rx], &[tx]),
        ("--bidir", &[tx, rx, tx, rx], &[rx, tx]),
        ("-V", &[tx, rx], &[rx]),
        ("-i 0", &[tx, rx], &[rx]),
    ];
    for (args, client, server) in table {
        let outcome = Pair::new(Peer::Ours, Peer::Ours)
            .client_args("-n 8M --zerocopy=splice --zerocopy-rx=trunc")
            .client_args(args)
            .run();
        let mut f = Problems::new();
        f.equal("client", lines(&outcome.client.stdout), client.to_vec());
        f.equal("server", lines(&outcome.server.stdout), server.to_vec());
        f.assert_none(&outcome);
    }
}

#[test]
fn a_line_of_text_gives_the_reason() {
    let outcome = Pair::new(Peer::Ours, Peer::Ours)
        .client_args("-n 32M -Z -V")
        .server_args("-V")
        .run();
    let mut f = Problems::new();
    let tx = "zerocopy: tx splice 100.0 % not copied, 0.0 % copied";
    let rx = "zerocopy: rx copy 100.0 % copied (only 0 % could be mapped: ";
    let shown = lines(&outcome.client.stdout);
    f.equal("lines of the client", shown.len(), 2);
    f.equal("tx", shown.first(), Some(&tx));
    f.holds("rx", shown.get(1).is_some_and(|line| line.starts_with(rx)));
    f.equal("server", lines(&outcome.server.stdout), shown[1..].to_vec());
    f.assert_none(&outcome);
}

/// Options that iperf3 has too print what iperf3 prints; the extra lines appear only with a chosen mode or a check.
#[test]
fn the_lines_appear_only_with_options_that_iperf3_lacks() {
    let table = [
        ("-Z", 0, 0),
        ("-Z -R", 0, 0),
        ("--skip-rx-copy", 0, 0),
        ("-Z --skip-rx-copy", 0, 0),
        ("-Z -V", 2, 0),
        ("-Z --zerocopy-rx=mmap", 2, 0),
        ("--zerocopy-rx=mmap", 1, 1),
        ("--zerocopy-rx=trunc", 1, 0),
        ("--zerocopy=sendfile", 2, 1),
        ("-Z --verify", 2, 1),
        ("-Z --zerocopy-rx=off --zerocopy-strict", 1, 0),
    ];
    for (args, of_client, of_server) in table {
        let outcome = Pair::new(Peer::Ours, Peer::Ours)
            .client_args("-n 8M")
            .client_args(args)
            .run();
        let mut f = Problems::new();
        let shown = |stdout: &str| lines(stdout).len();
        f.equal("client", shown(&outcome.client.stdout), of_client);
        f.equal("server", shown(&outcome.server.stdout), of_server);
        f.assert_none(&outcome);
    }
}

/// One object in the last line, as in the one document.
#[test]
fn json_lines_report_it_too() {
    let outcome = Pair::new(Peer::Ours, Peer::Ours)
        .client_args("-n 8M --zerocopy=splice --zerocopy-rx=splice --json-stream")
        .server_args("--json-stream")
        .run();
    let mut f = Problems::new();
    for (label, end) in [("client", &outcome.client), ("server", &outcome.server)] {
        let last = iperf_harness::json::documents(&end.stdout)
            .pop()
            .unwrap_or_default();
        f.equal(
            format!("{label}: used"),
            iperf_harness::json::text(&last, "/data/sum_received/zerocopy/used"),
            Some("splice"),
        );
    }
    f.assert_none(&outcome);
}
