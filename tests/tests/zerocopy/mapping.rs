//! Receiving by mapping, in namespaces where the MTU of the loopback interface lets segments fill pages, or not.
//!
//! Over loopback the kernel copies what comes with `MSG_ZEROCOPY`, once, into single pages of its own, which is what a
//! network card with header split does: they can be mapped.

use std::fmt;

use iperf_harness::json::{int, text};
use iperf_harness::netns::Namespace;
use iperf_harness::pair::tcp_pair;
use iperf_harness::{Case, Problems, parallel};
use serde_json::Value;

use crate::account::{self, ExpectedMode, ExpectedReport};
use crate::modes::{PERHAPS_MAPPED, SENDERS};

/// 15 pages, 20 bytes of IPv4, and 32 of TCP with time stamps.
pub(super) const MTU: u32 = 15 * 4096 + 20 + 32;
const MTU_V6: u32 = 15 * 4096 + 40 + 32;

/// The mapped share in the sums of a document, and the number of streams.
fn mapped(document: &Value, suffix: &str) -> f64 {
    let sum = format!("/end/sum_received{suffix}/zerocopy");
    let count = |key: &str| int(document, &format!("{sum}/{key}")).unwrap_or(0) as f64;
    let (mapped, copied) = (count("bytes_not_copied"), count("bytes_copied"));
    mapped / (mapped + copied).max(1.0)
}

/// At least 95 % of the bytes are mapped, and all of them are what was sent.
fn is_mapped(case: &Case) -> Result<(), String> {
    let host = if case.args.contains("-6") {
        "::1"
    } else {
        "127.0.0.1"
    };
    let pair = tcp_pair("--zerocopy=msg --verify").client_args(&case.args);
    let outcome = pair.host(host).run();
    let (client, server) = (outcome.client_json()?, outcome.server_json()?);
    let bidir = case.args.contains("--bidir");
    let wanted = ExpectedReport {
        send: SENDERS[4].1,
        receive: ExpectedMode::plain("mmap", &["mmap"]),
        bidir,
        exact: !case.args.contains("-O"),
    };
    let mut f = Problems::new();
    outcome.check_success(&mut f);
    account::both(&mut f, &client, &server, &wanted);
    for suffix in ["", "_bidir_reverse"]
        .into_iter()
        .take(1 + usize::from(bidir))
    {
        let share = mapped(&client, suffix);
        f.between(format!("mapped{suffix}"), Some(share), 0.95, 1.0);
    }
    f.into_result(&outcome)
}

fn case(args: &str) -> Case {
    Case::ours(args, ())
}

#[test]
fn segments_that_fill_pages_are_mapped() {
    let cases = [
        case("-n 128M"),
        case("-n 128M -P 4"),
        case("-n 128M -R"),
        case("-n 128M -R -P 4"),
        case("-n 128M --bidir"),
        case("-n 128M -l 1M"),
        case("-t 1"),
        case("-O 1 -t 1 -R"),
    ];
    Namespace::with_mtu(MTU).inside(|| parallel::each(&cases, 2, is_mapped));
}

#[test]
fn over_ipv6_another_mtu_fills_pages() {
    let cases = [case("-6 -n 128M"), case("-6 -n 128M -R")];
    Namespace::with_mtu(MTU_V6).inside(|| parallel::each(&cases, 2, is_mapped));
}

/// A test in which next to nothing can be mapped: not one byte is lost when mapping ends in the middle.
struct Fallback {
    option: &'static str,
    sender: ExpectedMode,
    direction: &'static str,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sender {:?} {}", self.option, self.direction)
    }
}

impl Fallback {
    fn go(&self) -> Result<(), String> {
        let outcome = tcp_pair("-n 32M --verify --zerocopy-rx=mmap")
            .client_args(self.option)
            .client_args(self.direction)
            .run();
        let (client, server) = (outcome.client_json()?, outcome.server_json()?);
        let wanted = ExpectedReport {
            send: self.sender,
            receive: ExpectedMode::plain("mmap", &["copy"]).because(),
            bidir: false,
            exact: true,
        };
        let mut f = Problems::new();
        outcome.check_success(&mut f);
        account::both(&mut f, &client, &server, &wanted);
        let reason = text(&client, "/end/streams/0/receiver/zerocopy/reason").unwrap_or("none");
        f.holds(format!("reason: {reason}"), is_why_not(reason));
        f.between("mapped", Some(mapped(&client, "")), 0.0, 0.1);
        f.into_result(&outcome)
    }
}

/// Whether it is why nothing can be mapped: pages that are not the network's own, or segments that do not fill them.
pub(super) fn is_why_not(reason: &str) -> bool {
    let why = reason
        .strip_prefix("only ")
        .and_then(|rest| rest.split_once(" % could be mapped: "));
    why.is_some_and(|(percent, why)| {
        let (pages, segments) = ("the payload is not in single pages", "segments of ");
        percent.parse::<u8>().is_ok() && (why.starts_with(pages) || why.starts_with(segments))
    })
}

/// A sender that avoids the copy from a file, or copies, sends pages that the receiver cannot map.
#[test]
fn pages_that_are_not_the_networks_own_are_not_mapped() {
    let cases: Vec<Fallback> = SENDERS[..4]
        .iter()
        .flat_map(|(option, sender)| {
            ["", "-R"].map(|direction| Fallback {
                option,
                sender: *sender,
                direction,
            })
        })
        .collect();
    Namespace::with_mtu(MTU).inside(|| parallel::each(&cases, 2, Fallback::go));
}

/// With the MTU that loopbacks have, the last of a segment's pages is not full: it is copied.
#[test]
fn with_the_usual_mtu_not_everything_is_mapped() {
    let namespace = Namespace::with_mtu(65_536);
    namespace.inside(|| {
        for args in ["", "-R", "-P 2"] {
            let outcome = tcp_pair("-n 64M --verify --zerocopy=msg")
                .client_args(args)
                .run();
            let (client, server) = outcome.documents();
            let wanted = ExpectedReport {
                send: SENDERS[4].1,
                receive: PERHAPS_MAPPED,
                bidir: false,
                exact: true,
            };
            let mut f = Problems::new();
            account::both(&mut f, &client, &server, &wanted);
            f.between("mapped", Some(mapped(&client, "")), 0.0, 0.95);
            f.assert_none(&outcome);
        }
        let fallback = Fallback {
            option: SENDERS[2].0,
            sender: SENDERS[2].1,
            direction: "",
        };
        fallback.go().unwrap_or_else(|report| panic!("{report}"));
    });
}
