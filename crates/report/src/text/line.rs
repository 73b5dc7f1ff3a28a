//! The lines of numbers, column by column.

use iperf_model::Role;

use crate::document::{EndRow, EndTotals, FileRow, IntervalRow};
use crate::number::general;
use crate::scaled::{Unit, scaled};

/// What the lines of one test have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    /// Whether this end is the client.
    pub(crate) is_client: bool,
    /// Whether streams run in both directions, so that each line has its role.
    pub(crate) bidirectional: bool,
    /// Whether streams carry datagrams.
    pub(crate) udp: bool,
    /// The unit of rates.
    pub(crate) rate: Unit,
}

/// The numbers that every line begins with.
struct Common {
    socket: Option<i64>,
    role: Role,
    start: f64,
    end: f64,
    bytes: u64,
    bits_per_second: f64,
}

impl Lines {
    /// One stream or sum of an interval.
    pub(crate) fn interval(&self, row: &IntervalRow) -> String {
        let common = self.common(&Common {
            socket: row.socket,
            role: Role::of(row.sender == Some(true)),
            start: row.start,
            end: row.end,
            bytes: row.bytes,
            bits_per_second: row.bits_per_second,
        });
        let tail = if row.omitted { "(omitted)" } else { "" };
        match (row.packets, row.retransmits, row.snd_cwnd) {
            (Some(packets), ..) if row.sender == Some(true) => {
                let pad = if self.bidirectional { "          " } else { "" };
                format!("{common} {pad} {packets}  {tail}")
            }
            (Some(packets), ..) => {
                let jitter = row.jitter_ms.unwrap_or(0.0);
                let percent = row.lost_percent.unwrap_or(0.0);
                datagrams(&common, jitter, row.lost_packets, packets, percent, tail)
            }
            (None, None, _) => received_bytes(&common, tail),
            (None, Some(retransmits), None) => sum_with_retransmits(&common, retransmits, tail),
            (None, Some(retransmits), Some(cwnd)) => {
                let cwnd = scaled(cwnd as f64, Unit::Bytes);
                format!("{common}  {retransmits:>3}   {cwnd}s       {tail}")
            }
        }
    }

    /// What was sent in the whole test.
    pub(crate) fn sender(&self, row: &EndRow, totals: &EndTotals) -> String {
        let common = self.common(&Common {
            socket: row.socket.map(i64::from),
            role: row.role,
            start: 0.0,
            end: totals.sender_seconds,
            bytes: row.sent.bytes,
            bits_per_second: row.sent.bits_per_second,
        });
        let tail = "sender";
        if self.udp {
            return datagrams(&common, 0.0, Some(0), row.sent.packets, 0.0, tail);
        }
        match (row.retransmits, row.socket) {
            (None, _) => received_bytes(&common, tail),
            (Some(retransmits), Some(_)) => format!("{common}  {retransmits:>3}            {tail}"),
            (Some(retransmits), None) => sum_with_retransmits(&common, retransmits, tail),
        }
    }

    /// What was received in the whole test.
    pub(crate) fn receiver(&self, row: &EndRow, totals: &EndTotals) -> String {
        let received = &row.received;
        let common = self.common(&Common {
            socket: row.socket.map(i64::from),
            role: row.role,
            start: 0.0,
            end: totals.receiver_seconds,
            bytes: received.bytes,
            bits_per_second: received.bits_per_second,
        });
        let tail = "receiver";
        if self.udp {
            let percent = row.lost_percent_of_received();
            let (jitter, lost) = (received.jitter_ms, received.lost);
            datagrams(&common, jitter, lost, received.packets, percent, tail)
        } else {
            received_bytes(&common, tail)
        }
    }

    /// The note on datagrams that arrived late or twice, if any did.
    pub(crate) fn out_of_order(&self, row: &EndRow, totals: &EndTotals) -> Option<String> {
        let count = row.received.out_of_order;
        if !self.udp || count == 0 {
            return None;
        }
        let id = self.id(None, row.role);
        let (start, end) = (0.0, totals.sender_seconds);
        Some(format!(
            "{id} {start:>4.1}-{end:>4.1} sec  {count} datagrams received out-of-order"
        ))
    }

    fn common(&self, common: &Common) -> String {
        let id = self.id(common.socket, common.role);
        let Common { start, end, .. } = common;
        let transfer = scaled(common.bytes as f64, Unit::Bytes);
        let rate = scaled(common.bits_per_second / 8.0, self.rate);
        format!("{id} {start:>6.2}-{end:<6.2} sec  {transfer}s  {rate}s/sec")
    }

    fn id(&self, socket: Option<i64>, role: Role) -> String {
        let socket = socket.map_or_else(|| "SUM".to_owned(), |socket| socket.to_string());
        if !self.bidirectional {
            return format!("[{socket:>3}]");
        }
        let direction = if role.sends() { "TX" } else { "RX" };
        let end = if self.is_client { 'C' } else { 'S' };
        format!("[{socket:>3}][{direction}-{end}]")
    }
}

/// How much of a file went through this end. Its units have no plural.
pub(crate) fn file(file: &FileRow) -> String {
    let moved = scaled(file.moved as f64, Unit::Bytes);
    let size = scaled(file.size as f64, Unit::Bytes);
    let percent = file.percent(file.moved);
    format!(
        "        Sent {moved} / {size} ({percent}%) of {}",
        file.name
    )
}

fn received_bytes(common: &str, tail: &str) -> String {
    format!("{common}                  {tail}")
}

fn sum_with_retransmits(common: &str, retransmits: u64, tail: &str) -> String {
    format!("{common}  {retransmits:>3}             {tail}")
}

fn datagrams(
    common: &str,
    jitter_ms: f64,
    lost: Option<i64>,
    packets: u64,
    lost_percent: f64,
    tail: &str,
) -> String {
    let counts = match lost {
        Some(lost) => format!("{lost}/{packets} ({}%)", general(lost_percent, 2)),
        None => format!("Unknown/{packets}"),
    };
    format!("{common}  {jitter_ms:>5.3} ms  {counts}  {tail}")
}
