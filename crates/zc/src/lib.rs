//! Moving bytes between memory and sockets, with or without a copy, and querying what the kernel did.
//!
//! A stream has one *mover* per direction, chosen once: [`send`] has those that fill a socket, [`receive`] those
//! that empty it. A mover owns the buffers it needs and moves about one block per call, so that a loop around it
//! is a loop of system calls and nothing else.
//!
//! The module [`sys`] has the workspace's only `unsafe` code; every block has its safety argument.

pub mod account;
pub mod check;
mod file;
mod guest;
pub mod probe;
pub mod proc_stat;
pub mod receive;
pub mod send;
mod socket_kind;
pub mod source;
pub mod sys;
pub mod udp;
pub mod verify;

pub use file::FileError;
pub use sys::{descriptors, interface, interrupt, sctp, sockopt, tcp_info, vsock};

/// What one call of a mover moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of payload; 0 is the end of the stream.
    pub bytes: usize,
    /// Blocks that were completed by these bytes.
    pub blocks: u32,
}
