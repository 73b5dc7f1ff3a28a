//! From phase and tables to figures.

use super::progress::Phase;
use super::tables::{Tables, Times};
use crate::readers::outcome::THREE_DIGITS;
use crate::record::{Direction, Record, Sample, TestKind};

/// Threads are notified of the end of a phase by signals, which takes about this long.
const PHASE_TAIL: f64 = 0.2;
/// A difference of the two ends' times above which the clock was set during the run.
const CLOCK_STEP_PERCENT: f64 = 2.0;

pub(super) fn fill(record: &mut Record, phase: &Phase, tables: &Tables) {
    let kind = kind(tables);
    record.parameters.kind = kind.map(|(kind, _)| kind);
    record.parameters.direction = kind.and_then(|(_, direction)| direction);
    record.started = phase.began;
    record.set("seconds", phase.last.seconds);
    if phase.last.seconds > 0.0 {
        record.set("operations", phase.last.operations / phase.last.seconds);
        rates(record, phase, tables);
    }
    if !phase.exact {
        record.note(THREE_DIGITS);
        record.note("bytes are the rate times the time; run uperf with -R for exact ones");
    }
    transactions(record, phase, tables);
    samples(record, phase);
    if tables
        .difference
        .is_some_and(|(time, _)| time.abs() > CLOCK_STEP_PERCENT)
    {
        record.note("the two ends' times differ by more than 2 %: the clock may have been set during the run");
    }
    if tables.errors > 0.0 {
        record.note(format!("{} % of the operations failed", tables.errors));
    }
}

/// The kind of test, by the flowops. It is unknown without their table.
fn kind(tables: &Tables) -> Option<(TestKind, Option<Direction>)> {
    let has = |names: &[&str]| {
        tables
            .flowops
            .iter()
            .any(|(name, _)| names.contains(&name.as_str()))
    };
    let writes = has(&["write", "send", "sendfile", "sendfilev"]);
    let reads = has(&["read", "recv"]);
    let busy = tables
        .flowops
        .iter()
        .map(|(_, times)| times.count)
        .fold(0.0, f64::max);
    let connects = tables.flowops.iter().any(|(name, times)| {
        matches!(name.as_str(), "connect" | "accept") && times.count * 2.0 > busy && busy > 1.0
    });
    match (writes, reads) {
        (true, true) if connects => Some((TestKind::ConnectRequestResponse, None)),
        (true, true) => Some((TestKind::RequestResponse, None)),
        (true, false) => Some((TestKind::Stream, Some(Direction::Forward))),
        (false, true) => Some((TestKind::Stream, Some(Direction::Reverse))),
        (false, false) => None,
    }
}

/// The rate of the busy phase. The receiver's, where the slave is known to have got less than was sent.
fn rates(record: &mut Record, phase: &Phase, tables: &Tables) {
    let several_groups = groups(tables) > 1;
    match record.parameters.kind {
        Some(TestKind::Stream) if !several_groups => {
            record.set("bytes", phase.last.bytes);
            match delivered(tables) {
                Some(share) if record.parameters.direction == Some(Direction::Forward) => {
                    record.set("throughput", phase.rate() * share);
                    record.set("throughput.sent", phase.rate());
                    record.set("loss", 1.0 - share);
                    record.set("bytes", phase.last.bytes * share);
                    record.note("throughput is what was sent times the slave's share of the bytes");
                }
                _ => record.set("throughput", phase.rate()),
            }
        }
        Some(_) => record.set("throughput.both", phase.rate()),
        None => {
            record.set("throughput.both", phase.rate());
            record.note("no flowop table: whether the bytes went one way or both is not known; run uperf with -a");
        }
    }
    if several_groups {
        record.note(
            "several groups: their rates are added, their transactions and latencies are not read",
        );
    }
}

/// The share of the master's bytes that the slave saw, if it lacks more than counting at different moments explains.
fn delivered(tables: &Tables) -> Option<f64> {
    let (_, data) = tables.difference?;
    (data > 1.0 && data <= 100.0 && tables.hosts.len() >= 2).then_some(1.0 - data / 100.0)
}

/// The number of groups: each has its own row of every transaction.
fn groups(tables: &Tables) -> usize {
    let rows = |number| {
        tables
            .transactions
            .iter()
            .filter(|(known, _)| *known == number)
            .count()
    };
    tables
        .transactions
        .iter()
        .map(|(number, _)| rows(*number))
        .max()
        .unwrap_or(1)
}

/// Transactions per second and their latency. The table counts transactions from 0, the progress lines from 1.
fn transactions(record: &mut Record, phase: &Phase, tables: &Tables) {
    if matches!(record.parameters.kind, None | Some(TestKind::Stream)) || groups(tables) > 1 {
        return;
    }
    let row = tables
        .transactions
        .iter()
        .find(|(number, _)| number + 1 == phase.number);
    let Some((_, times)) = row.filter(|(_, times)| times.mean > 0.0) else {
        if record.parameters.kind == Some(TestKind::RequestResponse) && phase.last.seconds > 0.0 {
            record.set(
                "transactions",
                phase.last.operations / 2.0 / phase.last.seconds,
            );
            record.note("transactions are operations / 2");
        }
        return;
    };
    let rate = per_second(record, phase, times);
    record.set("transactions", rate);
    record.set("latency.min", times.min);
    record.set("latency.mean", times.mean);
    record.set("latency.max", times.max);
}

/// Workers over the mean, unless a `rate=` kept them idle between transactions.
fn per_second(record: &mut Record, phase: &Phase, times: &Times) -> f64 {
    let workers = record.parameters.parallel.unwrap_or(1) as f64;
    let saturated = workers / times.mean;
    let busy = times.count * times.mean / workers;
    let phase_seconds = phase.last.seconds - PHASE_TAIL;
    if phase_seconds <= busy * 1.25 {
        return saturated;
    }
    record.note("the workers were idle between transactions, as rate= and think demand");
    times.count / phase_seconds
}

fn samples(record: &mut Record, phase: &Phase) {
    for pair in phase.points.windows(2) {
        let (start, end) = (pair[0].seconds, pair[1].seconds);
        if end > start {
            let throughput = ((pair[1].bytes - pair[0].bytes) * 8.0 / (end - start)).max(0.0);
            record.sample(Sample::rate(start, end, throughput));
        }
    }
}
