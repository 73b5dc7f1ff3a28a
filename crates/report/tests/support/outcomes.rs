//! Streams as a test states them: what either side counted.

use iperf_model::{ByteTotals, DatagramTotals, Detail, Role, StreamOutcome, StreamSummary};

/// One side of a stream of bytes.
pub fn bytes(bytes: u64, totals: ByteTotals) -> StreamOutcome {
    side(bytes, Detail::Bytes(totals))
}

/// One side of a stream of datagrams.
pub fn datagrams(bytes: u64, totals: DatagramTotals) -> StreamOutcome {
    side(bytes, Detail::Datagrams(totals))
}

/// Datagrams of which none was omitted. `None`: the peer did not report how many of the losses were.
pub fn counted(packets: u64, lost: Option<i64>) -> DatagramTotals {
    DatagramTotals {
        packets,
        lost: lost.unwrap_or(0),
        omitted_lost: lost.map(|_| 0),
        ..DatagramTotals::default()
    }
}

fn side(bytes: u64, detail: Detail) -> StreamOutcome {
    StreamOutcome {
        id: 1,
        socket: 0,
        role: Role::Receiver,
        bytes,
        detail,
        file: None,
        copies: None,
        io: None,
    }
}

/// A stream with the counts of both sides. What this end counted is 0 if it is not given.
pub fn stream(
    socket: i32,
    sending: bool,
    sent: Option<StreamOutcome>,
    received: Option<StreamOutcome>,
) -> StreamSummary {
    let (own, peer) = if sending {
        (sent, received)
    } else {
        (received, sent)
    };
    let own = own.unwrap_or_else(|| datagrams(0, counted(0, Some(0))));
    let named = |outcome, sending| StreamOutcome {
        socket,
        role: Role::of(sending),
        ..outcome
    };
    StreamSummary {
        own: named(own, sending),
        peer: peer.map(|peer| named(peer, !sending)),
    }
}
