//! The result of a test.
//!
//! ```text
//! RunTotals ── what one end counted: one StreamOutcome per stream
//! Summary ──── both ends: per stream, one StreamOutcome of its own and one of the peer
//! ```

mod stream;
mod totals;

pub use stream::{
    Batching, ByteTotals, DatagramTotals, Detail, FileProgress, IoReport, StreamOutcome, TcpTotals,
};
pub use totals::{CpuUsage, RunTotals, StreamSummary, Summary};
