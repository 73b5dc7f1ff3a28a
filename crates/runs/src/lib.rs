//! Runs of benchmark commands in interleaved rounds, for `iperf bench` and `iperf sweep`.
//!
//! ```text
//! Plan ──► rounds ──► once: prepare, server, ready, command, stop, cleanup ──► readers ──► Run ──► journal
//!                             │ each command: supervisor ──► sh -c              └──► sides ──► compare
//! ```
//!
//! A command runs below a supervisor of its own ([`supervise`]), a process that adopts all processes that the command leaves
//! behind, counts their CPU time, and ends them when this process requests it or is gone.

mod failure;
mod interrupt;
mod journal;
mod once;
mod plan;
mod ready;
mod rounds;
mod running;
mod supervisor;
mod sweep;
mod tree;

pub use failure::Failure;
pub use interrupt::Interrupt;
pub use journal::{Journal, JournalError};
pub use once::{Measured, Run};
pub use plan::{Order, Plan, SidePlan};
pub use ready::Ready;
pub use rounds::{Bench, Ended, Observer, Rounds};
pub use running::Launcher;
pub use supervisor::{Mode, supervise};
pub use sweep::{Axis, Combination, combinations, merge};
