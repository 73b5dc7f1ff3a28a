//! `--zerocopy-strict`: a test fails if an end copied although zero-copy was requested.

use iperf_model::{CopyMode, CopyReport, StreamOutcome, Summary, ZeroCopy};

use crate::ClientError;

/// What an end copied that should not have copied, if any did.
pub(crate) fn shortfall(requested: ZeroCopy, summary: &Summary) -> Option<ClientError> {
    let sender = CopyMode::from(requested.send);
    let receiver = CopyMode::from(requested.receive);
    let sides = summary.streams.iter().flat_map(|stream| {
        let copies = |side: Option<&StreamOutcome>| side?.copies.clone();
        let (sent, received) = (copies(stream.sent()), copies(stream.received()));
        // A sender that may choose may copy for a receiver that maps.
        let receiver_maps = received
            .as_ref()
            .is_some_and(|report| report.requested == CopyMode::Mmap && !report.falls_short());
        let sender = match sender {
            CopyMode::Auto if receiver_maps => CopyMode::Copy,
            other => other,
        };
        // A sender may have copied only because the receiver was to map.
        [("receiver", receiver, received), ("sender", sender, sent)]
    });
    let mut short = sides.filter(|(_, requested, report)| {
        *requested != CopyMode::Copy && report.as_ref().is_none_or(CopyReport::falls_short)
    });
    let (side, requested, report) = short.next()?;
    Some(ClientError::Copied {
        side,
        requested,
        report: report.map(Box::new),
    })
}
