//! What surrounds a server that runs as a service.
//!
//! ```text
//! events of each test ──► Observed ──► Stats ──► Exposition ──► http ──► Prometheus
//!                                        ▲
//! ServerCounters of the server ──────────┘
//! ```
//!
//! Nothing here touches a test: counters are read, and events pass through to the output of the test.

pub mod exposition;
pub mod http;
mod log;
mod observed;
mod record;
mod stats;

pub use log::LogSink;
pub use observed::Observed;
pub use record::TestRecord;
pub use stats::{ServerPage, Stats};
