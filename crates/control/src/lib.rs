//! The control connection: a protocol machine driven over tokio, and the signals that end a test.
//!
//! ```text
//! peer ◄──── Control::flush ◄──── machine.poll_transmit
//!      ────► Control::read  ────► machine.handle_input ──► poll_action: what the driver does next
//! ```
//!
//! Both drivers, the client's and the server's, use it; it knows of the machines only what [`Machine`] says.

mod connection;
mod machine;
mod output;
mod stop;
mod wire;

pub use connection::{Control, Input};
pub use machine::Machine;
pub use output::Output;
pub use stop::{Stop, StopHandle, StopReason};
pub use wire::Wire;
