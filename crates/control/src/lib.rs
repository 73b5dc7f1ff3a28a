//! The control connection: a protocol machine driven over tokio, the signals that end a test, facts about the
//! machine, and files that are removed with their process.
//!
//! ```text
//! peer ◄──── Control::flush ◄──── machine.poll_transmit
//!      ────► Control::read  ────► machine.handle_input ──► poll_action ──► Conversation::next ──► driver
//! ```
//!
//! The client, the server's handshakes and its tests all use [`Conversation`]; of the machines it knows only
//! [`iperf_proto::Machine`].

mod blocking;
mod connection;
mod conversation;
mod environment;
mod output;
mod own_file;
mod stop;
mod surroundings;
mod wire;

pub use blocking::{Blocking, lookup_host, spawn_blocking};
pub use connection::{Control, Input};
pub use conversation::{Conversation, Detached, OnBroken, Step, wait_until};
pub use environment::Observation;
pub use output::Output;
pub use own_file::{FileId, OwnFile};
pub use stop::{Stop, StopHandle, StopReason};
pub use surroundings::Surroundings;
pub use wire::Wire;
