//! Whether all that a test by amount sent arrived, over transports that lose nothing.

use iperf_model::{StreamOutcome, Summary, TestConfig, Transport};

/// The warning about bytes that were sent and did not arrive. Both ends must be this program: iperf3 stops counting
/// when the end of the test arrives, whatever is still in flight.
pub(crate) fn warning(test: &TestConfig, summary: &Summary) -> Option<String> {
    if !test.limit.is_amount() || test.transport == Transport::Udp || test.exchange.is_some() {
        return None;
    }
    let bytes = |side: Option<&StreamOutcome>| side.map(|side| side.bytes);
    let sides = summary.streams.iter().filter_map(|stream| {
        let (sent, received) = (bytes(stream.sent())?, bytes(stream.received())?);
        Some((sent, sent.saturating_sub(received)))
    });
    let (sent, missing) = sides.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    (missing > 0).then(|| {
        format!(
            "{missing} of {sent} bytes that were sent did not arrive: something between the ends lost them"
        )
    })
}
