//! The result of a whole test: first as one end counted it, then joined with the peer's counts.

use std::sync::Arc;
use std::time::Duration;

use super::StreamOutcome;
use crate::{Delays, ExchangeCounts, Latencies, Limitation, Role};

/// CPU time of a process in percent of one CPU, over a test.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuUsage {
    /// User and system time.
    pub total: f64,
    /// User time.
    pub user: f64,
    /// System time.
    pub system: f64,
}

/// What one end counted. The omitted period is left out unless stated otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTotals {
    /// From the local start (or the end of the omitted period) to the local end.
    pub duration: Duration,
    /// CPU time of this process.
    pub cpu: CpuUsage,
    /// Congestion control read back from the last TCP data socket.
    pub congestion: Option<String>,
    /// An end that receives datagrams: those with a bad checksum that reached its network namespace, omitted ones included.
    pub checksum_errors: Option<u64>,
    /// One element per stream, in order of creation.
    pub streams: Vec<StreamOutcome>,
    /// What limited the test, as far as this end knows.
    pub limits: Vec<Limitation>,
    /// The delays of the datagrams that this end received (`--one-way`).
    pub one_way: Option<Arc<Latencies>>,
}

impl RunTotals {
    /// What all streams of a role of a request/response test exchanged; `None` if there are none.
    pub fn exchanges(&self, role: Role) -> Option<ExchangeCounts> {
        let streams = self.streams.iter().filter(|stream| stream.role == role);
        let counts = streams.filter_map(StreamOutcome::exchange_counts);
        ExchangeCounts::sum(counts.cloned())
    }
}

/// A whole test as both ends saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// One element per stream, in order of creation.
    pub streams: Vec<StreamSummary>,
    /// Length of the test on this end.
    pub duration: Duration,
    /// Length of the test on the peer's end, if reported.
    pub remote_duration: Option<Duration>,
    /// CPU time of this process.
    pub cpu: CpuUsage,
    /// CPU time of the peer, if reported.
    pub remote_cpu: Option<CpuUsage>,
    /// Congestion control of this end's TCP sockets.
    pub congestion: Option<String>,
    /// Congestion control of the peer's TCP sockets.
    pub remote_congestion: Option<String>,
    /// Datagrams with a bad checksum that reached this end's network namespace, if it receives datagrams.
    pub checksum_errors: Option<u64>,
    /// The same of the peer's, if reported.
    pub remote_checksum_errors: Option<u64>,
    /// Request/response test: all exchanges, as the requester counted them if it is known.
    pub exchanges: Option<ExchangeCounts>,
    /// What limited a throughput test, as far as either end knows.
    pub limits: Vec<Limitation>,
    /// What was measured beside the test.
    pub delays: Box<Delays>,
}

/// One stream as both ends saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSummary {
    /// What this end counted.
    pub own: StreamOutcome,
    /// What the peer counted, if reported.
    pub peer: Option<StreamOutcome>,
}

impl StreamSummary {
    /// What the sending side counted.
    pub fn sent(&self) -> Option<&StreamOutcome> {
        if self.own.role.sends() {
            Some(&self.own)
        } else {
            self.peer.as_ref()
        }
    }

    /// What the receiving side counted.
    pub fn received(&self) -> Option<&StreamOutcome> {
        if self.own.role.sends() {
            self.peer.as_ref()
        } else {
            Some(&self.own)
        }
    }

    /// What was exchanged, as the requester counted it if that is known.
    pub fn exchange_counts(&self) -> Option<&ExchangeCounts> {
        let requester = self.sent().and_then(StreamOutcome::exchange_counts);
        requester.or_else(|| self.own.exchange_counts())
    }
}
