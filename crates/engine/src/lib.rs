//! Running data streams: what happens between "the streams stand" and "this is what was counted".
//!
//! ```text
//! net::…::connect / adopt ──► Stream ──► Run::prepare ──► one thread per stream, each in send_loop or receive_loop
//!                                          │                   │ bumps its own Counters, nothing else
//!          IntervalClock says when ──► Run::sample ◄───────────┘
//!                                          └──► Interval … Interval, RunTotals
//! ```
//!
//! A driver (the client or the server) owns the [`Run`] and the [`IntervalClock`]; nothing here knows a protocol.

mod affinity;
mod clock;
mod counters;
mod cpu;
mod datagrams;
mod error;
mod gate;
mod goal;
mod kernel_view;
mod lowat;
mod measurement;
mod member;
mod modes;
mod movers;
mod nap;
pub mod net;
mod pacer;
mod parting;
mod payload;
mod rate;
mod run;
mod stream;
mod tcp_stats;
mod waking;
mod worker;

pub use affinity::{Affinity, pin};
pub use clock::{IntervalClock, Tick};
pub use cpu::CpuMeter;
pub use error::EngineError;
pub use measurement::{Due, Measurement, Prepared};
pub use parting::Parting;
pub use run::{Run, RunPlan, WorkerEnd};
pub use stream::{Closing, Stream};
pub use worker::Ending;
