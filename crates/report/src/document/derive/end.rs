//! The member `end` from a summary.

use iperf_model::{Batching, CopyReport, CpuUsage, Role, Summary, TestConfig};

use super::{CopyReports, EndGroup, EndRow, EndTotals, FileRow, counts_datagrams};
use crate::document::{
    Copies, CpuUtilization, DiskFile, End, EndClock, EndExchanges, EndLoad, EndOneWay, EndStream,
    EndSum, IoUse, Limit, StreamSide, UdpCopies, UdpStream,
};

impl End {
    /// What a summary amounts to.
    pub(crate) fn of(config: &TestConfig, is_client: bool, summary: &Summary) -> Self {
        let totals = EndTotals::new(config, is_client, summary);
        let udp = counts_datagrams(config);
        let rows = totals.groups.iter().flat_map(|group| &group.rows);
        let streams = rows.map(|row| {
            if udp {
                EndStream {
                    udp: Some(udp_stream(row, &totals)),
                    ..EndStream::default()
                }
            } else {
                stream(row, &totals)
            }
        });
        let mut end = Self {
            streams: streams.collect(),
            cpu_utilization_percent: Some(cpu(summary)),
            sender_tcp_congestion: totals.congestion.0.clone(),
            receiver_tcp_congestion: totals.congestion.1.clone(),
            limits: (summary.limits.iter())
                .map(|limit| Limit::of(limit, is_client))
                .collect(),
            rr: EndExchanges::of(config, summary),
            load: (summary.delays.load.as_ref()).map(|load| EndLoad::of(config, load)),
            clock: summary.delays.clock.as_ref().map(EndClock::of),
            one_way: (summary.delays.one_way.iter())
                .map(|way| EndOneWay::of(way, is_client))
                .collect(),
            ..Self::default()
        };
        let mut sums = totals
            .groups
            .iter()
            .map(|group| Sums::of(group, &totals, udp));
        if let Some(sums) = sums.next() {
            end.sum = sums.mixed;
            end.sum_sent = Some(sums.sent);
            end.sum_received = Some(sums.received);
        }
        if let Some(sums) = sums.next() {
            end.sum_bidir_reverse = sums.mixed;
            end.sum_sent_bidir_reverse = Some(sums.sent);
            end.sum_received_bidir_reverse = Some(sums.received);
        }
        end
    }
}

fn cpu(summary: &Summary) -> CpuUtilization {
    let CpuUsage {
        total,
        user,
        system,
    } = summary.cpu;
    let remote = summary.remote_cpu.unwrap_or_default();
    CpuUtilization {
        host_total: total,
        host_user: user,
        host_system: system,
        remote_total: remote.total,
        remote_user: remote.user,
        remote_system: remote.system,
    }
}

fn stream(row: &EndRow, totals: &EndTotals) -> EndStream {
    let side = StreamSide {
        socket: row.socket.unwrap_or_default().into(),
        sender: Some(row.role.sends()),
        ..StreamSide::default()
    };
    // Only the sending end has the kernel's counters; the other one has 0.
    let tcp = row.retransmits.map(|_| row.tcp.unwrap_or_default());
    let sender = StreamSide {
        end: totals.sender_seconds,
        seconds: totals.sender_seconds,
        bytes: row.sent.bytes,
        bits_per_second: row.sent.bits_per_second,
        retransmits: row.retransmits,
        reorder: tcp.map(|tcp| tcp.reorder.into()),
        max_snd_cwnd: tcp.map(|tcp| tcp.max_snd_cwnd),
        max_snd_wnd: tcp.map(|tcp| tcp.max_snd_wnd),
        max_rtt: tcp.map(|tcp| tcp.max_rtt.into()),
        min_rtt: tcp.map(|tcp| tcp.min_rtt.into()),
        mean_rtt: tcp.map(|tcp| tcp.mean_rtt.into()),
        zerocopy: row.copies.sender.as_ref().map(Copies::of),
        io: io_use(row).filter(|_| row.role.sends()),
        ..side.clone()
    };
    let receiver = StreamSide {
        end: totals.receiver_seconds,
        seconds: totals.local_seconds,
        bytes: row.received.bytes,
        bits_per_second: row.received.bits_per_second,
        rcv_lowat: row.received.low_water,
        zerocopy: row.copies.receiver.as_ref().map(Copies::of),
        io: io_use(row).filter(|_| !row.role.sends()),
        ..side
    };
    EndStream {
        udp: None,
        sender: Some(sender),
        diskfile: row.file.as_ref().map(disk_file),
        receiver: Some(receiver),
    }
}

fn io_use(row: &EndRow) -> Option<IoUse> {
    row.io.as_ref().map(|io| IoUse {
        used: io.used.name().to_owned(),
        reason: io.reason.clone(),
    })
}

fn disk_file(file: &FileRow) -> DiskFile {
    DiskFile {
        sent: file.sent,
        received: file.received,
        size: file.size,
        percent_sent: file.percent(file.sent),
        percent_received: file.percent(file.received),
        filename: file.name.clone(),
    }
}

fn udp_stream(row: &EndRow, totals: &EndTotals) -> UdpStream {
    let received = &row.received;
    let CopyReports { sender, receiver } = &row.copies;
    UdpStream {
        socket: row.socket.unwrap_or_default().into(),
        start: 0.0,
        end: totals.sender_seconds,
        seconds: totals.sender_seconds,
        bytes: row.sent.bytes,
        bits_per_second: row.sent.bits_per_second,
        jitter_ms: received.jitter_ms,
        // A count that is not known is 0, since parsers expect an integer.
        lost_packets: received.lost.unwrap_or(0),
        packets: row.packets,
        lost_percent: row.lost_percent_of_sent(),
        out_of_order: Some(received.out_of_order),
        duplicates: received.duplicates,
        socket_drops: received.socket_drops,
        moved_by: row.batching.map(|by| moved_by(by, row.role).to_owned()),
        rcv_nap_us: received.nap.and_then(|nap| nap.as_micros().try_into().ok()),
        sender: Some(row.role.sends()),
        zerocopy: (sender.is_some() || receiver.is_some()).then(|| UdpCopies {
            sender: sender.as_ref().map(Copies::of),
            receiver: receiver.as_ref().map(Copies::of),
        }),
        io: io_use(row),
    }
}

/// The system's names for how datagrams move.
fn moved_by(batching: Batching, role: Role) -> &'static str {
    match (batching, role.sends()) {
        (Batching::Nothing, true) => "send",
        (Batching::Calls, true) => "sendmmsg",
        (Batching::Packets, true) => "gso",
        (Batching::Nothing, false) => "recv",
        (Batching::Calls, false) => "recvmmsg",
        (Batching::Packets, false) => "gro",
    }
}

/// The sums of one direction.
struct Sums {
    /// The sender's bytes and the receiver's losses in one object.
    mixed: Option<EndSum>,
    sent: EndSum,
    received: EndSum,
}

impl Sums {
    fn of(group: &EndGroup, totals: &EndTotals, udp: bool) -> Self {
        let EndRow { sent, received, .. } = &group.sum;
        let (sender_end, receiver_end) = (totals.sender_seconds, totals.receiver_seconds);
        let mut sums = Self {
            mixed: None,
            sent: sum(
                sender_end,
                sent.bytes,
                sent.bits_per_second,
                group.role.sends(),
            ),
            received: sum(
                receiver_end,
                received.bytes,
                received.bits_per_second,
                group.role.sends(),
            ),
        };
        if udp {
            let mut mixed = sum(
                receiver_end,
                sent.bytes,
                sent.bits_per_second,
                group.role.sends(),
            );
            let (jitter, lost) = (received.jitter_ms, received.lost.unwrap_or(0));
            mixed.count(jitter, lost, group.sum.packets, group.sum.lost_percent());
            sums.mixed = Some(mixed);
            sums.sent.count(0.0, 0, sent.packets, 0.0);
            sums.sent.sender = Some(true);
            let percent = group.sum.lost_percent_of_received();
            sums.received.count(jitter, lost, received.packets, percent);
            sums.received.checksum_errors = group.checksum_errors;
            sums.received.sender = Some(false);
        } else {
            sums.sent.retransmits = group.sum.retransmits;
        }
        sums.sent.jain_index = group.fairness_sent();
        sums.received.jain_index = group.fairness_received();
        sums.sent.zerocopy = group.sum.copies.sender.as_ref().map(Copies::of);
        sums.received.zerocopy = group.sum.copies.receiver.as_ref().map(Copies::of);
        sums
    }
}

fn sum(end: f64, bytes: u64, bits_per_second: f64, sender: bool) -> EndSum {
    EndSum {
        end,
        seconds: end,
        bytes,
        bits_per_second,
        sender: Some(sender),
        ..EndSum::default()
    }
}

impl EndSum {
    fn count(&mut self, jitter_ms: f64, lost: i64, packets: u64, lost_percent: f64) {
        self.jitter_ms = Some(jitter_ms);
        self.lost_packets = Some(lost);
        self.packets = Some(packets);
        self.lost_percent = Some(lost_percent);
    }
}

impl Copies {
    /// What one end reports of one stream, or of a sum.
    fn of(report: &CopyReport) -> Self {
        Self {
            requested: report.requested.name().to_owned(),
            used: report.used.name().to_owned(),
            bytes_not_copied: report.bytes_not_copied,
            bytes_copied: report.bytes_copied,
            calls: report.calls,
            mappings: report.mappings,
            bytes_per_mapping: report.mean_mapping().unwrap_or(0),
            completions: report.completions,
            completions_copied: report.completions_copied,
            cpu_seconds_per_gigabyte: report.cpu_per_gigabyte().unwrap_or(0.0),
            reason: report.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iperf_model::CopyMode;

    use super::*;

    #[test]
    fn a_copy_report_gets_its_means() {
        let copies = Copies::of(&CopyReport {
            requested: CopyMode::Mmap,
            used: CopyMode::Mmap,
            reason: None,
            calls: 10,
            bytes_not_copied: 8000,
            bytes_copied: 2000,
            mappings: 4,
            completions: 0,
            completions_copied: 0,
            cpu: Duration::from_millis(100),
        });
        assert_eq!(
            (copies.bytes_per_mapping, copies.bytes_copied),
            (2000, 2000)
        );
        assert_eq!(
            copies.cpu_seconds_per_gigabyte.to_bits(),
            10_000_f64.to_bits()
        );
        assert_eq!(copies.reason, None);
    }
}
