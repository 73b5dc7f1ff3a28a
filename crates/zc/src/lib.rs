//! Moving bytes between memory and sockets, by copy or without, and asking the kernel what it did.
//!
//! A stream has one *mover* per direction, chosen once: [`send`] has those that fill a socket, [`receive`] those
//! that empty it. A mover keeps the buffers it needs and moves about one block per call, so that a loop around it
//! is a loop of system calls and nothing else.
//!
//! This is the only crate of the workspace with `unsafe` code; every block says why it is sound.

pub mod account;
mod carrier;
mod errqueue;
pub mod interrupt;
mod ledger;
pub mod map;
mod mapping;
pub mod msg;
pub mod packet;
mod pipe;
pub mod probe;
pub mod receive;
pub mod sctp;
pub mod send;
pub mod sockopt;
pub mod source;
pub mod splice;
pub mod tcp_info;
mod tcp_map;
pub mod udp;
pub mod udp_msg;
pub mod verify;
pub mod vsock;
mod vsock_map;

/// What one call of a mover moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of payload; 0 is the end of the stream.
    pub bytes: usize,
    /// Blocks that were completed by these bytes.
    pub blocks: u32,
}
