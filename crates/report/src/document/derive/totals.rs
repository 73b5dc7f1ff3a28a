//! The rows of a summary: each stream as both ends saw it, and the sum of each group.

use std::time::Duration;

use iperf_model::{
    Batching, CopyReport, DatagramTotals, FileProgress, IoReport, Role, StreamOutcome,
    StreamSummary, Summary, TcpTotals, TestConfig, ZeroCopy,
};

use super::{jain_index, mean, milliseconds, percent, rate, roles, seconds, total, total_lost};

/// A whole test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndTotals {
    /// One or two directions, in the order of output.
    pub(crate) groups: Vec<EndGroup>,
    /// Length of the test on this end.
    pub(crate) local_seconds: f64,
    /// Length of the test where the first stream's data was sent.
    pub(crate) sender_seconds: f64,
    /// Length of the test where the first stream's data was received.
    pub(crate) receiver_seconds: f64,
    /// Congestion control of the sending and of the receiving end, as far as known. Each group has its own view;
    /// this is the last one's.
    pub(crate) congestion: (Option<String>, Option<String>),
}

/// The streams of one direction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndGroup {
    /// What this end does.
    pub(crate) role: Role,
    /// One row per stream, in order of creation.
    pub(crate) rows: Vec<EndRow>,
    /// All of them together.
    pub(crate) sum: EndRow,
    /// Congestion control of the sending and of the receiving end, as far as known.
    pub(crate) congestion: (Option<String>, Option<String>),
    /// Datagrams with a bad checksum in the receiver's network namespace.
    pub(crate) checksum_errors: Option<u64>,
}

/// One stream, or the sum of a group. What the peer did not report is 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndRow {
    /// The stream's socket; `None` for a sum.
    pub(crate) socket: Option<i32>,
    /// What this end does.
    pub(crate) role: Role,
    /// What was sent.
    pub(crate) sent: SentRow,
    /// What was received.
    pub(crate) received: ReceivedRow,
    /// Datagrams of the test: the sender's count, or else the receiver's.
    pub(crate) packets: u64,
    /// Retransmitted segments, if the sending end counts them.
    pub(crate) retransmits: Option<u64>,
    /// The kernel's view, when this end sends. Always `None` in a sum.
    pub(crate) tcp: Option<TcpTotals>,
    /// How this end moved datagrams. Always `None` in a sum.
    pub(crate) batching: Option<Batching>,
    /// How much of a file went through. Always `None` in a sum.
    pub(crate) file: Option<FileRow>,
    /// How the sending and the receiving end moved the bytes, if the test requested zero-copy.
    pub(crate) copies: CopyReports,
    /// What became of a request for io_uring at this end. Of a sum, the worst of it.
    pub(crate) io: Option<IoReport>,
}

/// How the bytes went through both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CopyReports {
    pub(crate) sender: Option<CopyReport>,
    pub(crate) receiver: Option<CopyReport>,
}

/// What a sending side counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SentRow {
    pub(crate) bytes: u64,
    pub(crate) bits_per_second: f64,
    pub(crate) packets: u64,
}

/// What a receiving side counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ReceivedRow {
    pub(crate) bytes: u64,
    pub(crate) bits_per_second: f64,
    pub(crate) packets: u64,
    /// `None` if the peer did not report how many of them were omitted.
    pub(crate) lost: Option<i64>,
    pub(crate) jitter_ms: f64,
    pub(crate) out_of_order: u64,
    /// Datagrams that had arrived before.
    pub(crate) duplicates: Option<u64>,
    /// Datagrams that found no room in the receiver's socket.
    pub(crate) socket_drops: Option<u64>,
    /// The largest low-water mark of the receiver's socket in bytes.
    pub(crate) low_water: Option<u64>,
    /// The longest time for which the receiver slept to let datagrams gather.
    pub(crate) nap: Option<Duration>,
}

/// How much of a file went through, seen from both ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileRow {
    pub(crate) name: String,
    pub(crate) size: u64,
    /// What this end moved.
    pub(crate) moved: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl EndTotals {
    /// Derives everything that a summary shows.
    pub(crate) fn new(config: &TestConfig, is_client: bool, summary: &Summary) -> Self {
        let local_seconds = seconds(summary.duration);
        let remote_seconds = summary.remote_duration.map_or(local_seconds, seconds);
        // One pair of durations serves all streams, also those of the opposite direction: the first stream's.
        let (sender_seconds, receiver_seconds) = if config.role_on(0, is_client).sends() {
            (local_seconds, remote_seconds)
        } else {
            (remote_seconds, local_seconds)
        };
        let groups: Vec<_> = roles(config, is_client)
            .into_iter()
            .map(|role| {
                let rows: Vec<_> = summary
                    .streams
                    .iter()
                    .filter(|stream| stream.own.role.sends() == role.sends())
                    .map(|stream| {
                        let row = EndRow::of_stream(stream, sender_seconds, receiver_seconds);
                        row.with_copies(config, stream)
                    })
                    .collect();
                EndGroup {
                    role,
                    sum: EndRow::of_sum(&rows, role, sender_seconds, receiver_seconds),
                    rows,
                    congestion: congestion(config, summary, role),
                    checksum_errors: if role.sends() {
                        summary.remote_checksum_errors
                    } else {
                        summary.checksum_errors
                    },
                }
            })
            .collect();
        let congestion = groups.last().map_or((None, None), |g| g.congestion.clone());
        Self {
            groups,
            local_seconds,
            sender_seconds,
            receiver_seconds,
            congestion,
        }
    }
}

fn congestion(
    config: &TestConfig,
    summary: &Summary,
    role: Role,
) -> (Option<String>, Option<String>) {
    if !config.transport.is_tcp() {
        return (None, None);
    }
    let local = summary.congestion.clone();
    let remote = summary.remote_congestion.clone();
    if role.sends() {
        (local, remote)
    } else {
        (remote, local)
    }
}

/// One side of a stream in all its figures; those of the other kind of stream, and of a side of which nothing is
/// known, are 0.
struct Side {
    bytes: u64,
    tcp: Option<TcpTotals>,
    low_water: Option<u64>,
    datagrams: DatagramTotals,
}

impl Side {
    fn of(side: Option<&StreamOutcome>) -> Self {
        let bytes = side.and_then(StreamOutcome::byte_totals).copied();
        let bytes = bytes.unwrap_or_default();
        let datagrams = side.and_then(StreamOutcome::datagram_totals).copied();
        Self {
            bytes: side.map_or(0, |side| side.bytes),
            tcp: bytes.tcp,
            low_water: bytes.low_water,
            datagrams: datagrams.unwrap_or(DatagramTotals {
                omitted_lost: Some(0),
                ..DatagramTotals::default()
            }),
        }
    }
}

impl EndGroup {
    /// How evenly the streams sent: [`jain_index`].
    pub(crate) fn fairness_sent(&self) -> Option<f64> {
        jain_index(self.rows.iter().map(|row| row.sent.bytes))
    }

    /// How evenly they were received.
    pub(crate) fn fairness_received(&self) -> Option<f64> {
        jain_index(self.rows.iter().map(|row| row.received.bytes))
    }
}

impl EndRow {
    fn of_stream(stream: &StreamSummary, sender_seconds: f64, receiver_seconds: f64) -> Self {
        let own = &stream.own;
        let (sent, received) = (Side::of(stream.sent()), Side::of(stream.received()));
        let packets = sent.datagrams.counted_packets();
        let mut received_packets = received.datagrams.counted_packets();
        let mut lost = received.datagrams.counted_lost();
        // A receiver that got nothing has no counts; the sender knows how many there were.
        let got_nothing = received.bytes == 0 && received_packets == 0;
        if got_nothing && stream.received().is_some() && packets > 0 {
            received_packets = packets;
            lost = Some(i64::try_from(packets).unwrap_or(i64::MAX));
        }
        Self {
            socket: Some(own.socket),
            role: own.role,
            sent: SentRow {
                bytes: sent.bytes,
                bits_per_second: rate(sent.bytes, sender_seconds),
                packets,
            },
            received: ReceivedRow {
                bytes: received.bytes,
                bits_per_second: rate(received.bytes, receiver_seconds),
                packets: received_packets,
                lost,
                jitter_ms: milliseconds(received.datagrams.jitter),
                out_of_order: received.datagrams.out_of_order,
                duplicates: received.datagrams.duplicates,
                socket_drops: received.datagrams.socket_drops,
                low_water: received.low_water,
                nap: received.datagrams.nap,
            },
            packets: if packets > 0 {
                packets
            } else {
                received_packets
            },
            retransmits: sent.tcp.map(|tcp| tcp.retransmits),
            tcp: sent.tcp,
            batching: own.datagram_totals().and_then(|totals| totals.batching),
            file: own
                .file
                .as_ref()
                .map(|file| FileRow::new(file, own.role, sent.bytes, received.bytes)),
            copies: CopyReports::default(),
            io: own.io.clone(),
        }
    }

    fn with_copies(mut self, config: &TestConfig, stream: &StreamSummary) -> Self {
        if config.zerocopy != ZeroCopy::default() {
            let copies = |side: Option<&StreamOutcome>| side?.copies.clone();
            self.copies = CopyReports {
                sender: copies(stream.sent()),
                receiver: copies(stream.received()),
            };
        }
        self
    }

    fn of_sum(rows: &[Self], role: Role, sender_seconds: f64, receiver_seconds: f64) -> Self {
        let sent_bytes = total(rows.iter().map(|row| row.sent.bytes));
        let received_bytes = total(rows.iter().map(|row| row.received.bytes));
        // One unknown count makes the sum unknown.
        let losses: Option<Vec<_>> = rows.iter().map(|row| row.received.lost).collect();
        Self {
            socket: None,
            role,
            sent: SentRow {
                bytes: sent_bytes,
                bits_per_second: rate(sent_bytes, sender_seconds),
                packets: total(rows.iter().map(|row| row.sent.packets)),
            },
            received: ReceivedRow {
                bytes: received_bytes,
                bits_per_second: rate(received_bytes, receiver_seconds),
                packets: total(rows.iter().map(|row| row.received.packets)),
                lost: losses.map(|losses| total_lost(losses.into_iter())),
                jitter_ms: mean(rows.iter().map(|row| row.received.jitter_ms)),
                out_of_order: total(rows.iter().map(|row| row.received.out_of_order)),
                duplicates: None,
                socket_drops: None,
                low_water: None,
                nap: None,
            },
            packets: total(rows.iter().map(|row| row.packets)),
            retransmits: rows
                .iter()
                .filter_map(|row| row.retransmits)
                .reduce(u64::saturating_add),
            tcp: None,
            batching: None,
            file: None,
            copies: CopyReports {
                sender: sum_of_copies(rows.iter().map(|row| row.copies.sender.as_ref())),
                receiver: sum_of_copies(rows.iter().map(|row| row.copies.receiver.as_ref())),
            },
            io: rows
                .iter()
                .filter_map(|row| row.io.clone())
                .max_by_key(|io| io.reason.is_some()),
        }
    }

    /// Lost datagrams in percent of those that the receiver knows of.
    pub(crate) fn lost_percent_of_received(&self) -> f64 {
        percent(self.received.lost.unwrap_or(0), self.received.packets)
    }

    /// Lost datagrams in percent of those that were sent; 0 when the sender's count is not known.
    pub(crate) fn lost_percent_of_sent(&self) -> f64 {
        percent(self.received.lost.unwrap_or(0), self.sent.packets)
    }

    /// Lost datagrams in percent of the best count there is.
    pub(crate) fn lost_percent(&self) -> f64 {
        percent(self.received.lost.unwrap_or(0), self.packets)
    }
}

/// What all streams did together; unknown if it is of any of them.
fn sum_of_copies<'a>(reports: impl Iterator<Item = Option<&'a CopyReport>>) -> Option<CopyReport> {
    let reports: Option<Vec<_>> = reports.collect();
    let mut reports = reports?.into_iter();
    let first = reports.next()?.clone();
    Some(reports.fold(first, |sum, report| sum.plus(report)))
}

impl FileRow {
    fn new(file: &FileProgress, role: Role, sent: u64, received: u64) -> Self {
        Self {
            name: file.name.clone(),
            size: file.size,
            moved: file.moved,
            sent: if role.sends() { file.moved } else { sent },
            received: if role.sends() { received } else { file.moved },
        }
    }

    /// This many bytes in percent of the file's size, rounded down; 0 of an empty file.
    pub(crate) fn percent(&self, bytes: u64) -> u64 {
        let percent = u128::from(bytes) * 100 / u128::from(self.size.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}
