//! What a receiver must have counted, by what the proxy passed on.

use std::collections::HashSet;

use iperf_harness::Problems;
use iperf_harness::expectation::Mode;
use iperf_harness::json::{int, list};
use iperf_harness::proxy::Record;
use serde_json::Value;

use crate::run::Run;

/// A client that stops receiving may not count this many datagrams of its last moment.
pub(super) const LAST_MOMENT: usize = 100;

/// What a receiver counts: the highest number, the gaps, and what does not come behind all others.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) bytes: u64,
    pub(super) packets: u64,
    pub(super) lost: u64,
    pub(super) out_of_order: u64,
    pub(super) duplicates: u64,
}

pub(super) fn model(sequences: &[u64]) -> Counts {
    let mut counts = Counts::default();
    let mut seen = HashSet::new();
    for &number in sequences {
        if number > counts.packets {
            counts.lost += number - counts.packets - 1;
            counts.packets = number;
        } else {
            counts.out_of_order += 1;
            counts.duplicates += u64::from(seen.contains(&number));
            counts.lost = counts.lost.saturating_sub(1);
        }
        seen.insert(number);
    }
    counts
}

/// How much of what the proxy passed on a receiver must have counted.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Extent {
    /// Everything.
    All,
    /// What arrived before the end, and perhaps what arrived after it.
    ToTheEnd,
    /// All but what arrived in the last moment.
    NearTheEnd,
}

/// The counts of one stream in the document of its receiver, which knows what was `sent` if the sender reports it: what arrived
/// last and was dropped is lost.
pub(super) fn stream_counts(
    f: &mut Problems,
    doc: &Value,
    index: usize,
    record: &Record,
    block: u64,
    extent: Extent,
    sent: Option<u64>,
) -> Counts {
    let total = |key: &str| -> u64 {
        let intervals = list(doc, "/intervals").iter();
        let values = intervals
            .map(|interval| int(interval, &format!("/streams/{index}/{key}")).unwrap_or(0));
        values.sum::<i64>().try_into().unwrap_or(u64::MAX)
    };
    let bytes = total("bytes");
    f.equal(
        format!("stream {index}: bytes beyond whole datagrams"),
        bytes % block,
        0,
    );
    let counted = usize::try_from(bytes / block).unwrap_or(usize::MAX);
    let all = record.sequences.len();
    let at_end = record.before_end.unwrap_or(all);
    let range = match extent {
        Extent::All => all..=all,
        Extent::ToTheEnd => at_end..=all,
        Extent::NearTheEnd => at_end.saturating_sub(LAST_MOMENT)..=all,
    };
    f.holds(
        format!("stream {index}: {counted} datagrams counted, not {range:?}"),
        range.contains(&counted),
    );
    let mut want = model(&record.sequences[..counted.min(all)]);
    let tail = sent.map_or(0, |sent| sent.saturating_sub(want.packets));
    want.packets += tail;
    want.lost += tail;
    let udp = format!("/end/streams/{index}/udp");
    let at_end = |key: &str| int(doc, &format!("{udp}/{key}")).and_then(|n| u64::try_from(n).ok());
    f.equal(
        format!("stream {index}: packets of all intervals"),
        total("packets"),
        want.packets,
    );
    f.equal(
        format!("stream {index}: losses of all intervals"),
        total("lost_packets"),
        want.lost,
    );
    f.equal(
        format!("stream {index}: lost_packets"),
        at_end("lost_packets"),
        Some(want.lost),
    );
    f.equal(
        format!("stream {index}: out_of_order"),
        at_end("out_of_order"),
        Some(want.out_of_order),
    );
    f.equal(
        format!("stream {index}: duplicates"),
        at_end("duplicates"),
        Some(want.duplicates),
    );
    f.equal(
        format!("stream {index}: socket_drops"),
        at_end("socket_drops"),
        Some(0),
    );
    Counts { bytes, ..want }
}

/// One direction, by the document of its receiver and by that of the client, which has learned the result.
pub(super) fn direction(f: &mut Problems, run: &Run, client_sends: bool, extent: Extent) {
    let doc = if client_sends {
        &run.server_json
    } else {
        &run.client_json
    };
    let suffix = match (run.expected.mode, client_sends) {
        (Mode::Bidir, false) => "_bidir_reverse",
        _ => "",
    };
    let (mut bytes, mut packets, mut lost) = (0, 0, 0);
    let mut sent = 0;
    for (index, passed) in run.passed.iter().enumerate() {
        if run.expected.client_sends(index) != client_sends {
            continue;
        }
        let record = if client_sends {
            &passed.to_server
        } else {
            &passed.to_client
        };
        let counts = stream_counts(
            f,
            doc,
            index,
            record,
            run.expected.block,
            extent,
            Some(record.arrived),
        );
        bytes += counts.bytes;
        packets += counts.packets;
        lost += counts.lost;
        sent += record.arrived;
    }
    for (end, doc) in [("receiver", doc), ("client", &run.client_json)] {
        let sum = |key: &str| {
            let pointer = format!("/end/sum_received{suffix}/{key}");
            int(doc, &pointer).and_then(|n| u64::try_from(n).ok())
        };
        f.equal(
            format!("{end}: sum_received{suffix}: bytes"),
            sum("bytes"),
            Some(bytes),
        );
        f.equal(
            format!("{end}: sum_received{suffix}: packets"),
            sum("packets"),
            Some(packets),
        );
        f.equal(
            format!("{end}: sum_received{suffix}: lost_packets"),
            sum("lost_packets"),
            Some(lost),
        );
    }
    // The client's streams show what the receiver counted, whichever end that is.
    for index in
        (0..run.passed.len()).filter(|&index| run.expected.client_sends(index) == client_sends)
    {
        for key in ["out_of_order", "duplicates"] {
            let late = |doc| int(doc, &format!("/end/streams/{index}/udp/{key}"));
            f.equal(
                format!("stream {index}: the client's {key}"),
                late(&run.client_json),
                late(doc),
            );
        }
    }
    let pointer = format!("/end/sum_sent{suffix}/packets");
    let told = int(&run.client_json, &pointer).and_then(|n| u64::try_from(n).ok());
    f.equal(format!("sum_sent{suffix}: packets"), told, Some(sent));
}

/// Both directions, when both ends are ours.
pub(super) fn all_is_counted(run: &Run) -> Result<(), String> {
    let mut f = Problems::new();
    match run.expected.mode {
        Mode::Forward => direction(&mut f, run, true, Extent::All),
        Mode::Reverse => direction(&mut f, run, false, Extent::All),
        Mode::Bidir => {
            direction(&mut f, run, true, Extent::ToTheEnd);
            direction(&mut f, run, false, Extent::NearTheEnd);
        }
    }
    f.into_result(run)
}
