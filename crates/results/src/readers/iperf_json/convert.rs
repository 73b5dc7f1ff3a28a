//! From a document to a record. Throughput is what was received; where only a sender's figure is there, that is noted.

use std::sync::Arc;

use iperf_report::document::{
    Copies, Document, End, EndSum, Interval, IntervalRow, Start, StreamSide, jain_index,
};

use super::{delays, exchange};
use crate::record::{Direction, Record, Sample, Target, TestKind};
use crate::tool::Tool;

/// The record of a document, or why there is none.
pub(super) fn record(document: &Document, file: &Arc<str>, line: u64) -> Result<Record, String> {
    if let Some(error) = &document.error {
        return Err(format!("the run failed: {error}"));
    }
    let start = &document.start;
    let mut record = Record::new(tool(start), file, line);
    record.version = (!start.version.is_empty()).then(|| start.version.clone());
    record.started = start
        .timestamp
        .as_ref()
        .map(|stamp| match stamp.timemillisecs {
            Some(ms) => ms as f64 / 1e3,
            None => stamp.timesecs as f64,
        });
    record.target = target(start);
    let view = View::new(document);
    parameters(&mut record, document, &view);
    environment(&mut record, document);
    let end = &document.end;
    let forward = Sums {
        all: end.sum.as_ref(),
        sent: end.sum_sent.as_ref(),
        received: end.sum_received.as_ref(),
    };
    let backward = Sums {
        all: end.sum_bidir_reverse.as_ref(),
        sent: end.sum_sent_bidir_reverse.as_ref(),
        received: end.sum_received_bidir_reverse.as_ref(),
    };
    if let Some(exchanges) = &end.rr {
        exchange::fill(&mut record, exchanges, &document.intervals);
        return Ok(record);
    }
    let counted = |reverse| view.counted(&document.intervals, reverse);
    if !forward.fill(&mut record, "", &view, counted(false)) {
        return Err("no final figures: the run failed, or the output is cut off".into());
    }
    if view.bidir {
        backward.fill(&mut record, ".reverse", &view, counted(true));
    }
    cpu(&mut record, end, &view);
    copies(&mut record, end, &view);
    fairness(&mut record, end, &view);
    round_trip(&mut record, end);
    delays::fill(&mut record, end);
    for interval in &document.intervals {
        samples(&mut record, interval, &view);
    }
    Ok(record)
}

/// The other end, as far as it is a name that another run has too.
pub(super) fn target(start: &Start) -> Option<Target> {
    let (peer, serves) = match (&start.connecting_to, &start.accepted_connection) {
        (Some(peer), _) => (peer, true),
        (None, Some(peer)) => (peer, false),
        (None, None) => return None,
    };
    Some(Target {
        host: peer.host.clone(),
        port: u16::try_from(peer.port)
            .ok()
            .filter(|port| serves && *port > 0),
    })
}

/// The program that printed it, by the version it gives.
fn tool(start: &Start) -> Tool {
    let vsock = start
        .test_start
        .as_ref()
        .is_some_and(|test| test.protocol == "VSOCK");
    match start.version.as_str() {
        version if version.contains("iperf-rs") => Tool::Iperf,
        version if version.contains("riperf3") => Tool::Riperf3,
        version if vsock && version.contains("3.9") => Tool::IperfVsock,
        _ => Tool::Iperf3,
    }
}

/// Which end printed the document, and the direction of its data.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four facts that are independent"
)]
struct View {
    client: bool,
    reverse: bool,
    bidir: bool,
    udp: bool,
}

impl View {
    fn new(document: &Document) -> Self {
        let test = document.start.test_start.as_ref();
        let ends_bidir = document.end.sum_received_bidir_reverse.is_some()
            || document.end.sum_bidir_reverse.is_some();
        Self {
            client: document.start.connecting_to.is_some(),
            reverse: test.is_some_and(|test| test.reverse == 1),
            bidir: ends_bidir || test.is_some_and(|test| test.bidir == Some(1)),
            udp: test.is_some_and(|test| test.protocol == "UDP"),
        }
    }

    /// Whether this end sends the data of the direction.
    fn sends(&self, backward: bool) -> bool {
        self.client != (self.reverse || backward)
    }

    /// Whether a row is of the reverse half of a bidirectional test.
    fn is_backward(&self, row: &IntervalRow) -> bool {
        self.bidir && row.sender.is_some_and(|sender| sender != self.client)
    }

    /// What this end received, bytes and seconds, by its intervals. Some servers' sums lack it.
    fn counted(&self, intervals: &[Interval], backward: bool) -> Option<(f64, f64)> {
        if self.sends(backward) {
            return None;
        }
        let rows = intervals.iter().filter_map(|interval| {
            let sum = if backward {
                &interval.sum_bidir_reverse
            } else {
                &interval.sum
            };
            sum.as_ref()
        });
        let counted: Vec<_> = rows.filter(|row| !row.omitted).collect();
        let bytes: u64 = counted
            .iter()
            .map(|row| row.bytes)
            .fold(0, u64::saturating_add);
        let seconds: f64 = counted.iter().map(|row| row.seconds).sum();
        (bytes > 0 && seconds > 0.0).then_some((bytes as f64, seconds))
    }
}

fn parameters(record: &mut Record, document: &Document, view: &View) {
    let Some(test) = &document.start.test_start else {
        return;
    };
    let parameters = &mut record.parameters;
    let some = |value: u64| (value > 0).then_some(value);
    parameters.kind = Some(TestKind::Stream);
    parameters.transport = Some(test.protocol.to_lowercase());
    parameters.direction = Some(match (view.bidir, view.reverse) {
        (true, _) => Direction::Bidirectional,
        (false, true) => Direction::Reverse,
        (false, false) => Direction::Forward,
    });
    parameters.block = some(test.blksize);
    parameters.parallel = some(test.num_streams);
    parameters.duration = some(test.duration).map(|seconds| seconds as f64);
    parameters.rate = test.target_bitrate.and_then(some).map(|rate| rate as f64);
    for (name, value) in [
        ("omit", test.omit),
        ("bytes", test.bytes),
        ("blocks", test.blocks),
        ("tos", test.tos.unwrap_or(0)),
    ] {
        if value > 0 {
            record.set_other(name, &value);
        }
    }
    if let Some(bytes) = document.start.sock_bufsize.and_then(some) {
        record.set_other("window", &bytes);
    }
    let requested = |side: Option<&Copies>| side.map(|copies| copies.requested.clone());
    let (sent, received) = copies_of(&document.end);
    record.parameters.zerocopy = match (requested(sent), requested(received)) {
        (Some(sent), Some(received)) => Some(format!("tx {sent}, rx {received}")),
        (Some(sent), None) => Some(format!("tx {sent}")),
        (None, Some(received)) => Some(format!("rx {received}")),
        (None, None) => None,
    };
}

/// Name and release of `uname`, without the host's name between them, and the congestion control.
fn environment(record: &mut Record, document: &Document) {
    let words: Vec<&str> = document.start.system_info.split_whitespace().collect();
    if let [system, _host, release, .., machine] = words.as_slice() {
        record
            .environment
            .insert("kernel".into(), format!("{system} {release}"));
        record
            .environment
            .insert("machine".into(), (*machine).to_owned());
    }
    // iperf3's server's own report, with --get-server-output.
    let server = document.server_output_json.as_ref();
    if let Some(version) = server.and_then(|output| output["start"]["version"].as_str()) {
        record.environment.insert(
            "remote_version".into(),
            version.trim_start_matches("iperf ").to_owned(),
        );
    }
    if let Some(name) = &document.end.sender_tcp_congestion {
        record.environment.insert("congestion".into(), name.clone());
    }
}

/// The sums of one direction.
struct Sums<'a> {
    all: Option<&'a EndSum>,
    sent: Option<&'a EndSum>,
    received: Option<&'a EndSum>,
}

impl Sums<'_> {
    /// Puts the figures of a direction in the record, or returns false if there are none.
    fn fill(
        &self,
        record: &mut Record,
        suffix: &str,
        view: &View,
        counted: Option<(f64, f64)>,
    ) -> bool {
        let name = |base: &str| format!("{base}{suffix}");
        let moved = |sum: Option<&'_ EndSum>| {
            sum.filter(|sum| sum.bytes > 0)
                .map(|sum| (sum.bytes as f64, length(sum)))
        };
        let sent = moved(self.sent).or(moved(self.all));
        let received = moved(self.received)
            .or_else(|| self.delivered(view))
            .or(counted);
        record.set(&name("throughput.sent"), sent.map(rate));
        record.set(
            &name("retransmits"),
            self.sent
                .and_then(|sum| sum.retransmits)
                .map(|count| count as f64),
        );
        if let Some(received) = received {
            record.set(&name("throughput"), rate(received));
        } else if sent.is_some() {
            record.note("what was received is not in this end's output: the other end has it");
        }
        if let Some((bytes, seconds)) = received.or(sent).filter(|_| suffix.is_empty()) {
            record.set("bytes", bytes);
            record.set("seconds", seconds);
        }
        if view.udp && received.is_some() {
            self.losses(record, suffix);
        }
        sent.is_some() || received.is_some()
    }

    /// UDP before 3.11: one sum of what was sent, with the share that was lost.
    fn delivered(&self, view: &View) -> Option<(f64, f64)> {
        let all = self
            .all
            .filter(|sum| view.udp && sum.bytes > 0 && self.received.is_none())?;
        let lost = all.lost_percent?.clamp(0.0, 100.0);
        Some((all.bytes as f64 * (1.0 - lost / 100.0), length(all)))
    }

    fn losses(&self, record: &mut Record, suffix: &str) {
        let sum = self
            .received
            .filter(|sum| sum.packets.is_some_and(|packets| packets > 0))
            .or(self.all);
        let Some(sum) = sum else { return };
        record.set(
            &format!("jitter{suffix}"),
            sum.jitter_ms.map(|ms| ms * 1e-3),
        );
        record.set(
            &format!("lost{suffix}"),
            sum.lost_packets.map(|lost| lost.max(0) as f64),
        );
        record.set(
            &format!("loss{suffix}"),
            sum.lost_percent.map(|percent| (percent / 100.0).max(0.0)),
        );
    }
}

/// Bits per second of bytes and seconds.
fn rate((bytes, seconds): (f64, f64)) -> f64 {
    bytes * 8.0 / seconds
}

/// The length of a sum. Both keys have it, but `seconds` of a stream's receiver is the sender's in old versions.
fn length(sum: &EndSum) -> f64 {
    let length = sum.end - sum.start;
    if length > 0.0 { length } else { sum.seconds }
}

/// CPU time per 10⁹ bytes of both ends. A server does not know its client's and prints 0.
fn cpu(record: &mut Record, end: &End, view: &View) {
    let Some(cpu) = end.cpu_utilization_percent.as_ref().filter(|_| !view.bidir) else {
        return;
    };
    let known = |percent: f64| (percent > 0.0).then_some(percent);
    let (sender, receiver) = if view.sends(false) {
        (cpu.host_total, cpu.remote_total)
    } else {
        (cpu.remote_total, cpu.host_total)
    };
    record.set_cpu("cpu.sender", known(sender));
    record.set_cpu("cpu.receiver", known(receiver));
}

/// How the sender and the receiver moved their bytes: of a sum, or of the first stream of datagrams.
fn copies_of(end: &End) -> (Option<&Copies>, Option<&Copies>) {
    let sent = end.sum_sent.as_ref().and_then(|sum| sum.zerocopy.as_ref());
    let received = end.sum_received.as_ref();
    let received = received.and_then(|sum| sum.zerocopy.as_ref());
    let mut streams = end.streams.iter();
    let datagrams = streams.find_map(|stream| stream.udp.as_ref()?.zerocopy.as_ref());
    (
        sent.or_else(|| datagrams?.sender.as_ref()),
        received.or_else(|| datagrams?.receiver.as_ref()),
    )
}

/// The shares of bytes that were not copied.
fn copies(record: &mut Record, end: &End, view: &View) {
    if view.bidir {
        return;
    }
    let share = |copies: &Copies| {
        let all = copies.bytes_not_copied as f64 + copies.bytes_copied as f64;
        (all > 0.0).then(|| copies.bytes_not_copied as f64 / all)
    };
    let (sent, received) = copies_of(end);
    record.set("zerocopy.tx.uncopied", sent.and_then(share));
    let Some(received) = received else {
        return;
    };
    match (received.used.as_str(), received.requested.as_str()) {
        ("mmap", _) | ("copy", "mmap" | "auto") => {
            record.set("zerocopy.rx.mapped", share(received));
        }
        ("splice", _) | ("copy", "splice") => record.set("zerocopy.rx.spliced", share(received)),
        _ => {}
    }
    if let Some(reason) = &received.reason {
        record.note(format!("receiver: {reason}"));
    }
}

/// How evenly the streams of a direction received. iperf3 has no such figure, but the bytes of each stream.
fn fairness(record: &mut Record, end: &End, view: &View) {
    let counted = |backward: bool| {
        let halves = end.streams.iter().filter_map(|s| s.receiver.as_ref());
        let is_backward = |half: &&StreamSide| view.bidir && half.sender == Some(!view.client);
        let halves = halves.filter(move |half| is_backward(half) == backward);
        jain_index(halves.map(|half| half.bytes))
    };
    for (backward, name, sum) in [
        (false, "fairness", &end.sum_received),
        (true, "fairness.reverse", &end.sum_received_bidir_reverse),
    ] {
        let given = sum.as_ref().and_then(|sum| sum.jain_index);
        record.set(name, given.or_else(|| counted(backward)));
    }
}

/// The mean round trip of the streams, where this end sends over TCP.
fn round_trip(record: &mut Record, end: &End) {
    let means: Vec<f64> = end
        .streams
        .iter()
        .filter_map(|stream| stream.sender.as_ref()?.mean_rtt)
        .filter(|us| *us > 0)
        .map(|us| us as f64 * 1e-6)
        .collect();
    if !means.is_empty() {
        record.set("rtt", means.iter().sum::<f64>() / means.len() as f64);
    }
}

fn samples(record: &mut Record, interval: &Interval, view: &View) {
    let sums = [&interval.sum, &interval.sum_bidir_reverse];
    let rows = interval.streams.iter().chain(sums.into_iter().flatten());
    for row in rows.filter(|row| !row.omitted) {
        record.sample(Sample {
            stream: row.socket.and_then(|socket| u64::try_from(socket).ok()),
            reverse: view.is_backward(row),
            start: row.start,
            end: row.end,
            throughput: Some(row.bits_per_second),
            rtt: row.rtt.map(|us| us as f64 * 1e-6),
            cwnd: row.snd_cwnd,
            retransmits: row.retransmits,
            loss: row.lost_percent.map(|percent| (percent / 100.0).max(0.0)),
            jitter: row.jitter_ms.map(|ms| ms * 1e-3),
            ..Sample::default()
        });
    }
}
