//! The lines above columns, and between reports.

use iperf_model::{Buffers, Carrier, Direction, TestConfig, Transport};

use crate::document::{EndGroup, Interval};

/// Before a server's banner and after it.
pub(crate) const RULE: &str = "-----------------------------------------------------------";

/// Between the reports of several streams, and before a summary.
pub(crate) const SEPARATOR: &str = "- - - - - - - - - - - - - - - - - - - - - - - - -";

const JITTER: &str = "         Jitter    Lost/Total Datagrams";

/// Above the first interval.
pub(crate) fn of_intervals(config: &TestConfig, interval: &Interval) -> String {
    let columns = if config.transport == Transport::Udp {
        let only_sends = interval.sums().all(|sum| sum.sender == Some(true));
        if only_sends {
            "         Total Datagrams"
        } else {
            JITTER
        }
    } else if interval.sums().any(|sum| sum.retransmits.is_some()) {
        "         Retr  Cwnd"
    } else {
        ""
    };
    header(config, columns)
}

/// Above a summary.
pub(crate) fn of_summary(config: &TestConfig, groups: &[EndGroup]) -> String {
    let counts = |group: &EndGroup| group.sum.retransmits.is_some();
    let columns = if config.transport == Transport::Udp {
        JITTER
    } else if groups.iter().any(counts) {
        "         Retr"
    } else {
        ""
    };
    header(config, columns)
}

/// What carries the streams of a vsock test.
pub(crate) fn of_carrier(
    carrier: &Carrier,
    transport: Option<Transport>,
    buffers: Buffers,
) -> String {
    let Buffers {
        requested,
        sndbuf,
        rcvbuf,
    } = buffers;
    let carrier = match carrier {
        Carrier::Vsock if transport == Some(Transport::VsockSeqpacket) => {
            "AF_VSOCK (SOCK_SEQPACKET)".to_owned()
        }
        Carrier::Vsock => "AF_VSOCK".to_owned(),
        Carrier::Unix(file) => format!("Unix socket {}", file.display()),
    };
    let requested_note = match requested {
        0 => String::new(),
        bytes => format!(" ({bytes} requested)"),
    };
    format!(
        "      Carried by {carrier}, buffers of {sndbuf} bytes to send, {rcvbuf} to receive{requested_note}"
    )
}

fn header(config: &TestConfig, columns: &str) -> String {
    let role = if config.direction == Direction::Bidirectional {
        "[Role]"
    } else {
        ""
    };
    format!("[ ID]{role} Interval           Transfer     Bitrate{columns}")
}
