//! `--zerocopy-strict`: copying what should not be copied is an error, and the numbers are reported nevertheless.
//!
//! Over loopback it cannot be satisfied with `--zerocopy-rx=mmap`: the pages of senders that do not copy belong to
//! a file, those of senders that copy are compound, and what is sent with `MSG_ZEROCOPY` is copied on the way.

use iperf_harness::json::{at, int, text};
use iperf_harness::netns::Namespace;
use iperf_harness::{Case, Outcome, Peer, Problems, json, parallel};

const WORKERS: usize = 4;

/// A test, and the beginning of the error that it ends with.
type Strict = Case<Option<&'static str>>;

fn good(args: &str) -> Strict {
    Case::ours(args, None)
}

fn fails(args: &str, error: &'static str) -> Strict {
    Case::ours(args, Some(error))
}

fn against(server: Peer, case: Strict) -> Strict {
    Case { server, ..case }
}

fn run(case: &Strict, more: &str) -> Outcome {
    let pair = case.pair().client_args("--zerocopy-strict");
    pair.client_args(more).run()
}

fn check(case: &Strict) -> Result<(), String> {
    let mut f = Problems::new();
    let outcome = run(case, "-J");
    let document = outcome.client_json()?;
    let code = i32::from(case.expected.is_some());
    f.equal("exit code", outcome.client.code(), Some(code));
    f.equal("the server's exit code", outcome.server.code(), Some(0));
    let message = text(&document, "/error");
    match case.expected {
        None => f.equal("error", message, None),
        Some(error) => f.holds(
            format!("error {message:?}"),
            message.is_some_and(|message| {
                message.starts_with(error) && message.ends_with(" (--zerocopy-strict)")
            }),
        ),
    }
    for sum in ["sum_sent", "sum_received"] {
        f.positive(sum, int(&document, &format!("/end/{sum}/bytes")));
        if case.server == Peer::Ours {
            let calls = int(&document, &format!("/end/{sum}/zerocopy/calls"));
            f.positive(format!("calls of {sum}"), calls);
        }
    }
    f.into_result(&outcome)
}

const COPIED_MSG: &str = "zero-copy (msg) was requested, but the sender copied 100.0 % by msg: the kernel copied after all";
const NOT_MAPPED: &str = "zero-copy (mmap) was requested, but the receiver copied 100.0 % by copy: only 0 % could be mapped: ";

fn cases() -> Vec<Strict> {
    vec![
        good("-n 16M --zerocopy=splice --zerocopy-rx=splice"),
        good("-n 16M --zerocopy=sendfile --zerocopy-rx=trunc -R"),
        good("-n 16M -Z --zerocopy-rx=trunc --bidir -P 2"),
        good("-n 16M -Z --zerocopy-rx=off"),
        good("-n 16M --zerocopy-rx=splice"),
        good("-n 16M --skip-rx-copy -R"),
        fails("-n 16M --zerocopy=msg --zerocopy-rx=off", COPIED_MSG),
        fails("-n 16M --zerocopy=msg --zerocopy-rx=off -R", COPIED_MSG),
        fails(
            "-n 16M --zerocopy=msg --zerocopy-rx=trunc --bidir -P 2",
            COPIED_MSG,
        ),
        fails("-n 32M -Z", NOT_MAPPED),
        fails("-n 32M -Z -R", NOT_MAPPED),
        fails("-n 32M --zerocopy-rx=mmap -P 2", NOT_MAPPED),
        fails(
            "-n 16M -m -Z --zerocopy-rx=off",
            "zero-copy (auto) was requested, but the sender copied 100.0 % by sendfile: the kernel copies what sendfile carries over ",
        ),
        fails(
            "-n 16M -m --zerocopy-rx=mmap",
            "zero-copy (mmap) was requested, but the receiver copied 100.0 % by copy: the kernel does not map data received over MPTCP",
        ),
        fails(
            "-u -t 1 -b 10M -Z",
            "zero-copy (auto) was requested, but the sender copied 100.0 % by copy: datagrams go by copy unless --zerocopy=msg",
        ),
        fails("-u -t 1 -b 10M --zerocopy=msg", COPIED_MSG),
    ]
}

#[test]
fn strict_tests_fail_if_they_copied() {
    parallel::each(&cases(), WORKERS, check);
}

/// iperf3 does not report what it did.
#[test]
fn an_end_that_reports_nothing_has_avoided_no_copy() {
    let silent = "zero-copy (trunc) was requested, but the receiver does not report what it did";
    let mut cases = Vec::new();
    for peer in [Peer::Old, Peer::New] {
        cases.extend([
            against(peer, good("-n 16M --zerocopy=splice --zerocopy-rx=off")),
            against(peer, good("-n 16M --zerocopy-rx=splice -R")),
            against(peer, fails("-n 16M -Z --zerocopy-rx=trunc", silent)),
            against(
                peer,
                fails(
                    "-n 16M -Z -R --zerocopy-rx=trunc",
                    "zero-copy (auto) was requested, but the sender does not report what it did",
                ),
            ),
        ]);
    }
    parallel::each(&cases, WORKERS, check);
}

#[test]
fn text_has_the_summary_and_then_the_error() {
    let outcome = run(&fails("-n 32M -Z", NOT_MAPPED), "");
    let mut f = Problems::new();
    f.equal("exit code", outcome.client.code(), Some(1));
    let name = Peer::Ours.program_name();
    let error = format!("{name}: error - {NOT_MAPPED}");
    let message = outcome.client.stderr.starts_with(&error);
    f.holds("the error", message);
    f.equal("lines of it", outcome.client.stderr.lines().count(), 1);
    let lines: Vec<&str> = outcome.client.stdout.lines().map(str::trim_end).collect();
    let ends = |end: &str| lines.iter().any(|line| line.ends_with(end));
    f.holds("the line of the sender", ends("  sender"));
    f.holds("the line of the receiver", ends("  receiver"));
    let rx = "zerocopy: rx copy 100.0 % copied (";
    f.holds(rx, lines.iter().any(|line| line.starts_with(rx)));
    f.assert_none(&outcome);
}

#[test]
fn json_lines_have_the_end_and_the_error() {
    let outcome = run(&fails("-n 32M -Z", NOT_MAPPED), "--json-stream");
    let mut f = Problems::new();
    f.equal("exit code", outcome.client.code(), Some(1));
    let lines = json::documents(&outcome.client.stdout);
    let event = |name: &str| lines.iter().find(|line| text(line, "/event") == Some(name));
    let error = event("error").and_then(|line| text(line, "/data"));
    f.holds(
        format!("error {error:?}"),
        error.is_some_and(|error| error.starts_with(NOT_MAPPED)),
    );
    let end = event("end").map(|line| at(line, "/data"));
    let bytes = end.and_then(|end| int(end, "/sum_received/bytes"));
    f.equal("bytes", bytes, Some(32 << 20));
    f.assert_none(&outcome);
}

/// Where segments fill pages the receiver is not to blame.
#[test]
fn where_everything_is_mapped_only_the_sender_copies() {
    let namespace = Namespace::with_mtu(61_492);
    namespace.inside(|| {
        check(&fails("-n 128M --zerocopy=msg", COPIED_MSG))
            .unwrap_or_else(|report| panic!("{report}"));
    });
}
