//! Two programs side by side: the same test, run by one and then by the other, again and again.
//!
//! ```text
//! Case × Programs ──► engine: iperf bench ──► Runs by round ──► Comparison: median and spread of the ratios ──► Table
//! ```
//!
//! A machine that others use too is faster in one minute than in the next, so figures of single runs mean little.
//! The two runs of a round follow each other directly and their ratio is what counts; which goes first alternates.
//! What a run cost is the kernel's account of the two processes (`wait4`), not their own reports.

#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how a benchmark ends that cannot be run"
)]

pub mod busy;
pub mod cases;
pub mod comparison;
pub mod engine;
mod exchange;
pub mod figure;
pub mod guest;
pub mod machine;
pub mod programs;
pub mod run;
pub mod table;

pub use cases::{CASES, Case, Ground};
pub use comparison::{Comparison, Round};
pub use engine::Effort;
pub use figure::{Figure, Goal};
pub use guest::Guest;
pub use programs::Program;
pub use run::Run;
