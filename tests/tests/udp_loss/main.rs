//! UDP over a bad way: what a receiver counts must be, to the datagram, what the proxy between the two passed on.

mod counts;
mod hellos;
mod run;

use std::time::Duration;

use counts::{Extent, all_is_counted, model, stream_counts};
use iperf_harness::expectation::Mode;
use iperf_harness::json::{int, text};
use iperf_harness::pair::words;
use iperf_harness::proxy::Fate;
use iperf_harness::{Expectation, Peer, Problems, parallel};
use run::Case;
use serde_json::Value;

/// Few enough that two processors keep up and no socket drops anything.
const WORKERS: usize = 6;

/// What becomes of the datagrams.
const PLANS: [&[(u64, Fate)]; 6] = [
    &[(10, Fate::Drop)],
    &[(7, Fate::Late(1))],
    &[(9, Fate::Duplicate)],
    &[(11, Fate::Late(5))],
    &[(13, Fate::Drop), (8, Fate::Duplicate), (3, Fate::Late(1))],
    &[
        (29, Fate::Late(20)),
        (17, Fate::Duplicate),
        (5, Fate::Drop),
        (7, Fate::Late(2)),
    ],
];

/// Tests that end by themselves after a known number of datagrams, at rates that a busy machine keeps.
const COUNTED: [&str; 15] = [
    "-k 1000 -b 10M -l 1448",
    "-k 1000 -b 5M -l 1448 -P 2",
    "-k 2000 -b 500K -l 16",
    "-k 2000 -b 500K -l 16 --udp-counters-64bit",
    "-k 2000 -b 4M -l 500 --udp-counters-64bit -P 2",
    "-k 100 -b 20M -l 20000 -w 400K",
    "-k 500 -b 5M -l 1448 --gsro",
    "-k 1000 -b 2M -l 500 --gsro -P 2",
    "-k 2000 -b 8M -l 500 --skip-rx-copy",
    // Bursts are what goes together.
    "-k 1000 -b 8M/40 -l 1000",
    "-k 1000 -b 8M/40 -l 1000 --no-gso",
    "-k 1000 -b 8M -l 1000 --no-gso --skip-rx-copy",
    "-k 2000 -b 500K/64 -l 16 --udp-counters-64bit -P 2",
    "-k 100 -b 20M/5 -l 20000 -w 400K --gsro",
    "-k 60 -b 20M/4 -l 32760 -w 800K",
];

/// How the sender of such a test must have moved its datagrams.
fn sent_by(args: &str) -> &'static str {
    if !args.contains('/') || args.contains("--no-gso") {
        "send"
    } else if args.contains("-l 32760") {
        "sendmmsg"
    } else {
        "gso"
    }
}

/// What must be true of a test between two of ours.
fn check(case: &Case) -> Result<(), String> {
    let run = case.run()?;
    let mut f = Problems::new();
    let document = match run.expected.mode {
        Mode::Reverse => &run.server_json,
        _ => &run.client_json,
    };
    f.equal(
        "moved_by",
        text(document, "/end/streams/0/udp/moved_by"),
        Some(sent_by(&case.args)),
    );
    f.into_result(&run)?;
    all_is_counted(&run)
}

/// Every test with one plan, and one test with every plan.
fn counted_cases(mode: &str) -> Vec<Case> {
    let ours =
        |args: &str, rules| Case::new(Peer::Ours, Peer::Ours, &format!("{args} {mode}"), rules);
    let tests = COUNTED.iter().enumerate();
    let mut cases: Vec<Case> = tests
        .map(|(n, args)| ours(args, PLANS[n % PLANS.len()]))
        .collect();
    cases.extend(PLANS.map(|rules| ours("-k 1000 -b 8M -l 1000", rules)));
    cases
}

#[test]
fn a_server_counts_what_arrives() {
    parallel::each(&counted_cases(""), WORKERS, check);
}

/// A receiver that ends the test does so when the last datagram has come, so the last ones must come in order.
fn in_order_at_the_end(case: Case) -> Case {
    let expected = Expectation::of(&words(&case.args));
    let share = expected.blocks.unwrap_or(0) / expected.streams as u64;
    case.with(|plan| plan.until(share * 3 / 4), "in order at the end")
}

#[test]
fn a_client_counts_what_arrives() {
    let cases: Vec<Case> = counted_cases("-R")
        .into_iter()
        .map(in_order_at_the_end)
        .collect();
    parallel::each(&cases, WORKERS, check);
}

#[test]
fn both_count_what_arrives() {
    let cases: Vec<Case> = counted_cases("--bidir")
        .into_iter()
        .map(in_order_at_the_end)
        .collect();
    parallel::each(&cases, WORKERS, check);
}

/// The receiver waits for what does not come, but not for long.
#[test]
fn a_test_ends_when_its_last_datagrams_are_lost() {
    let rules: &[(u64, Fate)] = &[(10, Fate::Drop)];
    let cut = |args| {
        Case::new(Peer::Ours, Peer::Ours, args, rules)
            .with(|plan| plan.cut_after(400), "and the end")
    };
    let cases = [
        cut("-k 500 -b 8M -l 1000"),
        cut("-k 500 -b 8M -l 1000 -R"),
        cut("-k 1000 -b 8M -l 1000 -R -P 2"),
        cut("-n 500000 -b 8M -l 1000 -R"),
    ];
    parallel::each(&cases, cases.len(), |case| {
        let run = case.run()?;
        let mut f = Problems::new();
        f.holds(
            "the test ends soon",
            run.client.took < Duration::from_secs(20),
        );
        f.into_result(&run)?;
        all_is_counted(&run)
    });
}

/// A receiver that gets nothing cannot count losses, but with the sender's count everything was lost.
#[test]
fn the_loss_of_everything_is_100_percent() {
    let mut cases = vec![Case::new(
        Peer::Ours,
        Peer::Ours,
        "-t 1 -b 1M -l 1000 -R",
        &[],
    )];
    for server in [Peer::Ours, Peer::New, Peer::Old] {
        for args in ["-t 1 -b 1M -l 1000", "-t 1 -b 1M -l 1000 -P 2"] {
            cases.push(Case::new(Peer::Ours, server, args, &[]));
        }
    }
    let cases: Vec<Case> = cases
        .into_iter()
        .map(|case| case.with(|plan| plan.cut_after(0), "and all is lost"))
        .collect();
    parallel::each(&cases, WORKERS, |case| {
        let run = case.run()?;
        let mut f = Problems::new();
        let of = |key: &str| int(&run.client_json, &format!("/end/sum_received/{key}"));
        f.positive("lost_packets", of("lost_packets"));
        f.equal("packets", of("packets"), of("lost_packets"));
        for sum in ["sum", "sum_received"] {
            let percent = run.client_json.pointer(&format!("/end/{sum}/lost_percent"));
            let percent = percent.and_then(Value::as_f64);
            f.equal(format!("{sum}: lost_percent"), percent, Some(100.0));
        }
        if case.server == Peer::Ours && run.expected.mode == Mode::Forward {
            let of = |key: &str| int(&run.server_json, &format!("/end/sum/{key}"));
            f.positive("the server's lost_packets", of("lost_packets"));
            f.equal("the server's packets", of("packets"), of("lost_packets"));
        }
        f.into_result(&run)
    });
}

/// Real senders do not stop when the test does, so what comes behind its end may count or not.
#[test]
fn our_receivers_count_what_real_senders_send() {
    let rules = PLANS[5];
    let mut cases = Vec::new();
    for real in [Peer::New, Peer::Old] {
        for args in [
            "-t 2 -b 10M -l 1448",
            "-t 2 -b 5M -l 500 -P 2 --udp-counters-64bit",
        ] {
            cases.push(Case::new(real, Peer::Ours, args, rules));
            cases.push(Case::new(Peer::Ours, real, &format!("{args} -R"), rules));
        }
    }
    parallel::each(&cases, WORKERS, |case| {
        let run = case.run()?;
        let mut f = Problems::new();
        for (index, passed) in run.passed.iter().enumerate() {
            let (doc, record, extent) = match run.expected.mode {
                Mode::Reverse => (&run.client_json, &passed.to_client, Extent::NearTheEnd),
                _ => (&run.server_json, &passed.to_server, Extent::ToTheEnd),
            };
            stream_counts(&mut f, doc, index, record, run.expected.block, extent, None);
        }
        f.into_result(&run)
    });
}

/// Real receivers may not count what arrived in the last moment. Their sockets hold what arrives in a second: they drop
/// nothing by themselves when the processors are busy.
#[test]
fn real_receivers_count_what_our_senders_send() {
    let rules: &[(u64, Fate)] = &[(7, Fate::Drop)];
    let args = "-t 2 -b 800K -l 200 -w 400K";
    let mut cases = Vec::new();
    for real in [Peer::New, Peer::Old] {
        cases.push(Case::new(Peer::Ours, real, args, rules));
        cases.push(Case::new(real, Peer::Ours, &format!("{args} -R"), rules));
    }
    parallel::each(&cases, WORKERS, |case| {
        let run = case.run()?;
        let mut f = Problems::new();
        let record = match run.expected.mode {
            Mode::Reverse => &run.passed[0].to_client,
            _ => &run.passed[0].to_server,
        };
        let want = model(&record.sequences);
        let got = |key: &str| {
            int(&run.client_json, &format!("/end/sum_received/{key}")).map(|n| n as f64)
        };
        for (key, want) in [("packets", want.packets), ("lost_packets", want.lost)] {
            let (want, slack) = (want as f64, counts::LAST_MOMENT as f64);
            f.between(key, got(key), want - slack, want + slack);
        }
        f.into_result(&run)
    });
}
