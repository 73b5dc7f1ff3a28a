//! Rates: a sender keeps the requested rate, on average, and sleeps in between.

use iperf_harness::json::{float, int};
use iperf_harness::{Case, Expectation, Peer, Problems, pair, parallel, priority};

/// Few at a time: a machine that is busy keeps no rate.
const WORKERS: usize = 2;

/// How far the average may be off: this part of it, and a block.
const OURS: f64 = 0.02;
/// Real senders, or real receivers that keep ours waiting.
const REAL: f64 = 0.1;

/// How busy a sender of 1 Mbit/s may be, in percent of a processor.
const BUSY: f64 = 20.0;

/// A test of two seconds at a rate.
fn case(client: Peer, server: Peer, args: &str, rate: f64) -> Case<f64> {
    Case::new(client, server, &format!("-t 2 {args}"), rate)
}

fn check(case: &Case<f64>) -> Result<(), String> {
    let outcome = case.pair().client_args("-J").run();
    let document = outcome.client_json()?;
    let test = Expectation::of(&pair::words(&case.args));
    let bytes = int(&document, "/end/sum_sent/bytes").map(|n| n as f64);
    let seconds = float(&document, "/end/sum_sent/seconds").unwrap_or(0.0);
    let wanted = case.expected / 8.0 * seconds * test.streams as f64;
    let part = if case.client == case.server {
        OURS
    } else {
        REAL
    };
    let burst = test.block * u64::from(test.burst) * test.streams as u64;
    let slack = wanted * part + burst as f64;
    let mut f = Problems::new();
    f.between("seconds", Some(seconds), 1.9, 2.5);
    f.between("bytes sent", bytes, wanted - slack, wanted + slack);
    if case.expected < 2e6 && case.client == Peer::Ours {
        let busy = float(&document, "/end/cpu_utilization_percent/host_total");
        f.between("the sender's processor", busy, 0.0, BUSY);
    }
    f.into_result(outcome)
}

#[test]
fn our_average_is_the_requested_rate() {
    priority::raise();
    let rows = [
        ("-b 1M", 1e6),
        ("-b 1M -l 8K", 1e6),
        ("-b 50M", 50e6),
        ("-b 500M", 500e6),
        ("-b 50M -R", 50e6),
        ("-b 20M -P 2", 20e6),
        ("-b 50M/4 -l 8K", 50e6),
        ("-u -l 1448 -b 1M", 1e6),
        ("-u -l 1448 -b 50M", 50e6),
        ("-u -l 16000 -b 500M", 500e6),
        ("-u -l 1448 -b 50M -R", 50e6),
        ("-u -l 1448 -b 10M/10", 10e6),
        ("-u -l 1448 -b 50M --gsro", 50e6),
    ];
    let cases = rows.map(|(args, rate)| case(Peer::Ours, Peer::Ours, args, rate));
    parallel::each(&cases, WORKERS, check);
}

#[test]
fn rates_are_kept_with_real_peers() {
    priority::prefer();
    let rows = [
        ("-b 10M -l 8K", 10e6),
        ("-b 100M", 100e6),
        ("-b 10M/4 -l 8K", 10e6),
        ("-b 10M -l 8K -R", 10e6),
        ("-u -l 1448 -b 10M", 10e6),
        ("-u -l 8000 -b 100M", 100e6),
        ("-u -l 1448 -b 10M/4", 10e6),
        ("-u -l 1448 -b 10M -R", 10e6),
    ];
    let mut cases = Vec::new();
    for real in [Peer::New, Peer::Old] {
        for (args, rate) in rows {
            cases.push(case(Peer::Ours, real, args, rate));
            cases.push(case(real, Peer::Ours, args, rate));
        }
    }
    parallel::each(&cases, 2 * WORKERS, check);
}
