//! The lines of a summary, in their order.
//!
//! A client knows both ends of each stream and shows them in turn; a server shows its own side, since it prints
//! before the client's results matter to it.

use iperf_model::environment::Interface;
use iperf_model::{CpuUsage, Direction, Summary, TestConfig};

use super::line::{self, Lines};
use super::{header, zerocopy_report};
use crate::document::{CopyReports, EndGroup, EndRow, EndTotals, Limit};

/// What is shown in addition to the results.
#[derive(Clone, Copy)]
pub(crate) struct Extras {
    /// The lines of `-V`.
    pub(crate) verbose: bool,
    /// How bytes were moved. iperf3 has no such lines.
    pub(crate) copies: bool,
}

/// All lines from the separator on, by direction.
pub(crate) fn lines(
    config: &TestConfig,
    lines: Lines,
    extras: Extras,
    summary: &Summary,
) -> Vec<Vec<String>> {
    let Extras { verbose, copies } = extras;
    let totals = EndTotals::new(config, lines.is_client, summary);
    let page = Page {
        lines,
        verbose,
        totals: &totals,
    };
    let mut out = vec![header::SEPARATOR.to_owned()];
    if verbose {
        out.push("Test Complete. Summary Results:".to_owned());
    }
    out.push(header::of_summary(config, &totals.groups));
    let mut groups = Vec::with_capacity(totals.groups.len());
    for group in &totals.groups {
        for row in &group.rows {
            page.stream(row, &mut out);
        }
        if config.streams > 1 {
            page.sum(&group.sum, &mut out);
        }
        let CopyReports { sender, receiver } = &group.sum.copies;
        for (way, report) in [("tx", sender), ("rx", receiver)] {
            let report = report.as_ref().filter(|_| copies);
            out.extend(report.and_then(|report| zerocopy_report::line(way, report)));
        }
        if let Some(io) = &group.sum.io {
            let way = if group.role.sends() { "tx" } else { "rx" };
            let reason = io.reason.as_ref().map(|reason| format!(" ({reason})"));
            let reason = reason.unwrap_or_default();
            out.push(format!("io: {way} {}{reason}", io.used.name()));
        }
        if verbose {
            page.remarks(group, summary, &mut out);
        }
        groups.push(std::mem::take(&mut out));
    }
    groups
}

/// What limited the test. iperf3 has no such lines.
pub(crate) fn limits(config: &TestConfig, is_client: bool, summary: &Summary) -> Vec<String> {
    let both = config.direction == Direction::Bidirectional;
    let limits = summary.limits.iter();
    let limits = limits.map(|limit| {
        let Limit {
            direction,
            cause,
            evidence,
            ..
        } = Limit::of(limit, is_client);
        let direction = if both {
            format!(" {direction}")
        } else {
            String::new()
        };
        format!("limited{direction} by: {cause} ({evidence})")
    });
    limits.collect()
}

/// What the data went through at this end.
pub(crate) fn interface(interface: &Interface) -> String {
    let facts = [
        interface.speed_mbps.map(|speed| format!("{speed} Mbit/s")),
        interface.mtu.map(|mtu| format!("MTU {mtu}")),
        interface.numa_node.map(|node| format!("NUMA node {node}")),
    ];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    let name = &interface.name;
    [&[format!("interface: {name}")], &facts[..]]
        .concat()
        .join(", ")
}

struct Page<'a> {
    lines: Lines,
    verbose: bool,
    totals: &'a EndTotals,
}

impl Page<'_> {
    /// What the sender counted, or that it is missing.
    fn sender(&self, row: &EndRow, says_missing: bool) -> Option<String> {
        if self.lines.is_client || row.role.sends() {
            Some(self.lines.sender(row, self.totals))
        } else {
            says_missing.then(|| not_available(row, "sender"))
        }
    }

    /// What the receiver counted, or that it is missing.
    fn receiver(&self, row: &EndRow, says_missing: bool) -> Option<String> {
        if self.lines.is_client || !row.role.sends() {
            Some(self.lines.receiver(row, self.totals))
        } else {
            says_missing.then(|| not_available(row, "receiver"))
        }
    }

    fn stream(&self, row: &EndRow, out: &mut Vec<String>) {
        out.extend(self.sender(row, self.verbose));
        out.extend(self.lines.out_of_order(row, self.totals));
        out.extend(row.file.as_ref().map(line::file));
        out.extend(self.receiver(row, self.verbose));
        if self.verbose {
            causes(row, out);
        }
    }

    fn sum(&self, sum: &EndRow, out: &mut Vec<String>) {
        // For sums of datagrams iperf3 prints only what is present.
        let says_missing = self.verbose && !self.lines.udp;
        out.extend(self.sender(sum, says_missing));
        out.extend(self.receiver(sum, says_missing));
    }

    /// What `-V` adds below a group: CPU time, where this end sends, and congestion control.
    fn remarks(&self, group: &EndGroup, summary: &Summary, out: &mut Vec<String>) {
        let fairness = [
            group.fairness_sent().map(|index| (index, "sent")),
            group.fairness_received().map(|index| (index, "received")),
        ];
        let fairness: Vec<_> = (fairness.into_iter().flatten())
            .map(|(index, side)| format!("{index:.4} {side}"))
            .collect();
        if !fairness.is_empty() {
            let fairness = fairness.join(", ");
            out.push(format!("[SUM] fairness (Jain's index): {fairness}"));
        }
        if let Some(errors @ 1..) = group.checksum_errors {
            out.push(format!(
                "      {errors} datagrams with a bad checksum reached the receiver's machine"
            ));
        }
        if group.role.sends() {
            let remote = summary.remote_cpu.unwrap_or_default();
            out.push(cpu("sender", summary.cpu, "receiver", remote));
            if self.lines.bidirectional {
                out.push(cpu("receiver", summary.cpu, "sender", remote));
            }
        }
        let (sender, receiver) = &group.congestion;
        out.extend(
            sender
                .as_ref()
                .map(|name| format!("snd_tcp_congestion {name}")),
        );
        out.extend(
            receiver
                .as_ref()
                .map(|name| format!("rcv_tcp_congestion {name}")),
        );
    }
}

/// What is known about the datagrams of a stream that did not arrive, or arrived twice.
fn causes(row: &EndRow, out: &mut Vec<String>) {
    let socket = row.socket.unwrap_or_default();
    let received = &row.received;
    if let Some(drops) = received.socket_drops {
        out.push(format!(
            "[{socket:>3}] {drops} of them dropped in the receiver's socket"
        ));
    }
    if let Some(duplicates @ 1..) = received.duplicates {
        out.push(format!(
            "[{socket:>3}] {duplicates} datagrams received twice"
        ));
    }
}

fn not_available(row: &EndRow, side: &str) -> String {
    let name = row
        .socket
        .map_or("SUM".to_owned(), |socket| format!("{socket:>3}"));
    format!("[{name}] ({side} statistics not available)")
}

fn cpu(local_role: &str, local: CpuUsage, remote_role: &str, remote: CpuUsage) -> String {
    let usage = |cpu: CpuUsage| {
        let CpuUsage {
            total,
            user,
            system,
        } = cpu;
        format!("{total:.1}% ({user:.1}%u/{system:.1}%s)")
    };
    let (local, remote) = (usage(local), usage(remote));
    format!("CPU Utilization: local/{local_role} {local}, remote/{remote_role} {remote}")
}
