//! Joins what this end counted with what the peer told: each knows only its own side of a stream.
//!
//! ```text
//!   this end sends:     sent = own counters       received = peer's results
//!   this end receives:  sent = peer's results     received = own counters
//! ```

use std::time::Duration;

use iperf_model::{
    ReceivedTotals, RunTotals, SentTotals, StreamSummary, StreamTotals, Summary, TestConfig,
};

use crate::results::StreamResult;
use crate::{Code, Results};

/// The whole test, as far as this end knows it. A server prints its summary before it has the client's results, so
/// `peer` is `None` there; a peer may also list fewer streams than there are.
///
/// Who sends on a stream follows from its place, as nothing on the wire says so. A stream id in the peer's results
/// that this end does not know is an error ([`Code::STREAM_ID`]).
pub fn summarize(
    totals: &RunTotals,
    test: &TestConfig,
    is_client: bool,
    peer: Option<&Results>,
) -> Result<Summary, Code> {
    let theirs = |id: u32| peer?.streams.iter().find(|s| s.id == i64::from(id));
    let known = |s: &StreamResult| totals.streams.iter().any(|own| i64::from(own.id) == s.id);
    if !peer.is_none_or(|peer| peer.streams.iter().all(known)) {
        return Err(Code::STREAM_ID);
    }
    let retransmits_known = peer.is_some_and(|peer| peer.sender_has_retransmits == 1);
    let summary = |(index, own): (usize, &StreamTotals)| {
        let theirs = theirs(own.id);
        if test.sends_on(index, is_client) {
            sending(own, theirs, test)
        } else {
            receiving(own, theirs, retransmits_known)
        }
    };
    let congestion = |name: &Option<String>| name.clone().filter(|_| test.transport.is_tcp());
    Ok(Summary {
        streams: totals.streams.iter().enumerate().map(summary).collect(),
        duration: totals.duration,
        // All streams of an end start and stop together, and iperf3 takes the first one's times for the test.
        remote_duration: totals
            .streams
            .first()
            .and_then(|s| theirs(s.id)?.duration()),
        cpu: totals.cpu,
        remote_cpu: peer.map(|peer| peer.cpu),
        congestion: congestion(&totals.congestion),
        remote_congestion: peer.and_then(|peer| congestion(&peer.congestion_used)),
    })
}

fn sending(own: &StreamTotals, peer: Option<&StreamResult>, test: &TestConfig) -> StreamSummary {
    let received = peer.map(|peer| ReceivedTotals {
        bytes: peer.bytes,
        packets: peer.counted_packets(own.omitted_packets),
        // Without the omitted part, the whole is no answer unless nothing was omitted.
        lost: match peer.omitted_errors {
            Some(omitted) => Some(peer.errors.saturating_sub(omitted)),
            None => (test.omit == 0).then_some(peer.errors),
        },
        out_of_order: 0,
        socket_drops: peer.socket_drops.and_then(|drops| drops.try_into().ok()),
        woken_by: None,
        jitter: peer.jitter,
    });
    StreamSummary {
        socket: own.socket,
        sending: true,
        sent: Some(SentTotals {
            bytes: own.bytes,
            packets: own.packets.saturating_sub(own.omitted_packets),
        }),
        received,
        retransmits: own.tcp.map(|tcp| tcp.retransmits),
        tcp: own.tcp,
        batching: own.batching,
        file: own.file.clone(),
        sender_copies: own.copies.clone(),
        receiver_copies: peer.and_then(|peer| peer.copies.clone()),
    }
}

fn receiving(
    own: &StreamTotals,
    peer: Option<&StreamResult>,
    retransmits_known: bool,
) -> StreamSummary {
    let retransmits = peer.filter(|_| retransmits_known).map(|p| p.retransmits);
    StreamSummary {
        socket: own.socket,
        sending: false,
        sent: peer.map(|peer| SentTotals {
            bytes: peer.bytes,
            packets: peer.counted_packets(own.omitted_packets),
        }),
        received: Some(ReceivedTotals {
            bytes: own.bytes,
            packets: own.packets.saturating_sub(own.omitted_packets),
            lost: Some(own.lost.saturating_sub(own.omitted_lost)),
            out_of_order: own.out_of_order,
            jitter: own.jitter,
            socket_drops: own.socket_drops,
            woken_by: own.woken_by,
        }),
        // −1 says that this stream's sender does not count.
        retransmits: retransmits.and_then(|n| n.try_into().ok()),
        tcp: None,
        batching: own.batching,
        file: own.file.clone(),
        sender_copies: peer.and_then(|peer| peer.copies.clone()),
        receiver_copies: own.copies.clone(),
    }
}

impl StreamResult {
    /// Datagrams without the omitted ones. A peer before 3.14 does not say how many those were; the number on this end
    /// comes closest.
    fn counted_packets(&self, omitted_here: u64) -> u64 {
        let packets = u64::try_from(self.packets).unwrap_or(0);
        let omitted = match self.omitted_packets {
            Some(omitted) => u64::try_from(omitted).unwrap_or(0),
            None => omitted_here,
        };
        packets.saturating_sub(omitted)
    }

    fn duration(&self) -> Option<Duration> {
        let seconds = self.end_time? - self.start_time?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}
