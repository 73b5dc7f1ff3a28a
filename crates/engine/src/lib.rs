//! Running data streams: everything between connected sockets and final counts.
//!
//! ```text
//! net::…::connect / adopt ──► Stream ──► Run::prepare ──► one thread per stream, each in send_loop or receive_loop
//!                                          │                   │ bumps its own Counters, nothing else
//!          IntervalClock: when ──────► Run::sample ◄───────────┘
//!                                          └──► Interval … Interval, RunTotals
//! ```
//!
//! A driver (the client or the server) owns the [`Run`] and the [`IntervalClock`]; nothing here depends on a protocol.

mod datagrams;
mod error;
mod exchange;
pub mod limits;
mod modes;
mod movers;
mod nearby;
pub mod net;
pub mod probe;
mod run;
mod sleep;
mod stream;
mod waking;
mod worker;

pub use error::EngineError;
pub use run::affinity::{Affinity, bind};
pub use run::clock::{IntervalClock, Tick};
pub use run::cpu::CpuMeter;
pub use run::linger::Lingering;
pub use run::measurement::{Due, Measurement, Prepared};
pub use run::watch::{Seen, Trouble, Watch, WatchLimits};
pub use run::{LostStream, Run, RunPlan, WorkerEnd};
pub use stream::{Closing, Stream};
pub use worker::Ending;
