//! The control connection: a protocol machine driven over tokio, the signals that end a test, and the files that a
//! process leaves nowhere.
//!
//! ```text
//! peer ◄──── Control::flush ◄──── machine.poll_transmit
//!      ────► Control::read  ────► machine.handle_input ──► poll_action: what the driver does next
//! ```
//!
//! Both drivers, the client's and the server's, use it; it knows of the machines only what [`Machine`] says.

mod blocking;
mod connection;
mod machine;
mod output;
mod own_file;
mod stop;
mod wire;

pub use blocking::{Blocking, lookup_host, spawn_blocking};
pub use connection::{Control, Input};
pub use machine::Machine;
pub use output::Output;
pub use own_file::{FileId, OwnFile};
pub use stop::{Stop, StopHandle, StopReason};
pub use wire::Wire;
