//! Joins what this end counted with what the peer counted: each sees only its own side of a stream.

use std::time::Duration;

use iperf_model::{
    ByteTotals, Cause, DatagramTotals, Delays, Detail, ExchangeCounts, Limitation, OneWayDelays,
    Role, RunTotals, StreamOutcome, StreamSummary, Summary, TcpTotals, TestConfig,
};

use crate::results::StreamResult;
use crate::{Code, Results};

/// The part of the datagrams whose loss is named.
const LOSS: f64 = 0.001;

/// The whole test, as seen from this end. A server prints its summary before it has the client's results, so
/// `peer` is `None` there; a peer may also list fewer streams than there are.
///
/// A stream id in the peer's results that this end does not know is an error ([`Code::STREAM_ID`]).
pub fn summarize(
    totals: &RunTotals,
    test: &TestConfig,
    peer: Option<&Results>,
) -> Result<Summary, Code> {
    let theirs = |id: u32| peer?.streams.iter().find(|s| s.id == i64::from(id));
    let known = |s: &StreamResult| totals.streams.iter().any(|own| i64::from(own.id) == s.id);
    if !peer.is_none_or(|peer| peer.streams.iter().all(known)) {
        return Err(Code::STREAM_ID);
    }
    let streams = totals.streams.iter().map(|own| StreamSummary {
        own: own.clone(),
        peer: theirs(own.id).map(|stream| stream.outcome(own, test, peer)),
    });
    let congestion = |name: &Option<String>| name.clone().filter(|_| test.transport.is_tcp());
    Ok(Summary {
        streams: streams.collect(),
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
        checksum_errors: totals.checksum_errors,
        remote_checksum_errors: peer.and_then(|peer| peer.checksum_errors),
        // A responder measures no latency.
        exchanges: totals
            .exchanges(Role::Requester)
            .or_else(|| peer?.exchanges.clone())
            .or_else(|| totals.exchanges(Role::Responder)),
        limits: limits(totals, test, peer),
        delays: Box::new(Delays {
            one_way: one_way(totals, peer),
            ..Delays::default()
        }),
    })
}

/// The delays of what either end received.
fn one_way(totals: &RunTotals, peer: Option<&Results>) -> Vec<OneWayDelays> {
    let theirs = peer.and_then(|peer| peer.one_way.clone());
    let own = totals.one_way.clone();
    [(Role::Sender, theirs), (Role::Receiver, own)]
        .into_iter()
        .filter_map(|(role, delays)| {
            Some(OneWayDelays {
                role,
                delays: delays?,
            })
        })
        .collect()
}

/// What either end found, direction by direction; `unknown` where neither found anything.
fn limits(totals: &RunTotals, test: &TestConfig, peer: Option<&Results>) -> Vec<Limitation> {
    if test.exchange.is_some() {
        return Vec::new();
    }
    let theirs = peer
        .into_iter()
        .flat_map(|peer| peer.limits.iter().cloned());
    let theirs = theirs.map(Limitation::of_peer);
    let mut limits: Vec<_> = totals.limits.iter().cloned().chain(theirs).collect();
    if !limits.iter().any(Limitation::is_loss) {
        limits.extend(peer.and_then(|peer| losses(totals, test, peer)));
    }
    for role in [Role::Sender, Role::Receiver] {
        let exists = totals.streams.iter().any(|stream| stream.role == role);
        if exists && !limits.iter().any(|limit| limit.role == role) {
            limits.push(Limitation {
                role,
                cause: Cause::Unknown,
                share: 1.0,
                evidence: "no figure shows what it was".to_owned(),
            });
        }
    }
    // What weighs most comes first, in each direction.
    limits.sort_by(|a, b| {
        let order = b.role.sends().cmp(&a.role.sends());
        order.then(b.share.total_cmp(&a.share))
    });
    limits
}

/// Of datagrams that this end sent: what a peer that names no limits lost of them.
fn losses(totals: &RunTotals, test: &TestConfig, peer: &Results) -> Option<Limitation> {
    let (mut all, mut lost) = (0, 0);
    for own in totals.streams.iter().filter(|own| own.role.sends()) {
        let theirs = (peer.streams.iter()).find(|stream| stream.id == i64::from(own.id))?;
        let Detail::Datagrams(counts) = &own.detail else {
            return None;
        };
        let theirs = theirs.datagrams(counts, test);
        all += theirs.counted_packets();
        lost += u64::try_from(theirs.counted_lost()?).unwrap_or(0);
    }
    let share = lost as f64 / all.max(1) as f64;
    (share >= LOSS).then(|| Limitation {
        role: Role::Sender,
        cause: Cause::Congestion,
        share: share.min(1.0),
        evidence: format!(
            "{:.2} % of the datagrams lost on the way or at the receiver, which does not tell",
            100.0 * share
        ),
    })
}

impl StreamResult {
    /// What the peer counted on a stream of which this end counted `own`.
    fn outcome(
        &self,
        own: &StreamOutcome,
        test: &TestConfig,
        peer: Option<&Results>,
    ) -> StreamOutcome {
        let counts = peer.is_some_and(|peer| peer.sender_has_retransmits == 1);
        let bytes = ByteTotals {
            // −1 means that this stream's sender does not count.
            tcp: u64::try_from(self.retransmits)
                .ok()
                .filter(|_| counts && !own.role.sends())
                .map(|retransmits| TcpTotals {
                    retransmits,
                    ..TcpTotals::default()
                }),
            low_water: None,
        };
        let detail = match &own.detail {
            Detail::Bytes(_) => Detail::Bytes(bytes),
            Detail::Exchanges(..) => match self.transactions {
                Some(count) => {
                    let counts = ExchangeCounts {
                        transactions: u64::try_from(count).unwrap_or(0),
                        ..ExchangeCounts::default()
                    };
                    Detail::Exchanges(counts, bytes)
                }
                // Only a requester reports it.
                None => Detail::Bytes(bytes),
            },
            Detail::Datagrams(own) => Detail::Datagrams(self.datagrams(own, test)),
        };
        StreamOutcome {
            id: own.id,
            socket: own.socket,
            role: own.role.counterpart(),
            bytes: self.bytes,
            detail,
            file: None,
            copies: self.copies.clone(),
            io: None,
        }
    }

    fn datagrams(&self, own: &DatagramTotals, test: &TestConfig) -> DatagramTotals {
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        let known = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
        DatagramTotals {
            packets: count(self.packets),
            // A peer before 3.14 does not report how many were omitted; this end's number is the best estimate.
            omitted_packets: self.omitted_packets.map_or(own.omitted_packets, count),
            lost: self.errors,
            // Without the omitted part, the total is usable only if nothing was omitted.
            omitted_lost: self.omitted_errors.or((test.omit == 0).then_some(0)),
            jitter: self.jitter,
            out_of_order: self.out_of_order.map_or(0, count),
            duplicates: known(self.duplicates),
            socket_drops: known(self.socket_drops),
            ..DatagramTotals::default()
        }
    }

    fn duration(&self) -> Option<Duration> {
        let seconds = self.end_time? - self.start_time?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}
