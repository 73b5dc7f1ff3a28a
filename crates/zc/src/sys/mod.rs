//! Kernel interfaces without a safe wrapper elsewhere, each wrapped once. The only module with `unsafe`: what it
//! exports is safe to call with any arguments.
#![allow(unsafe_code)]

pub mod descriptors;
pub(crate) mod errqueue;
pub mod interface;
pub mod interrupt;
pub(crate) mod mapping;
pub(crate) mod mmsg;
pub(crate) mod pipe;
pub mod sctp;
pub(crate) mod sealed;
pub(crate) mod sink;
pub mod sockopt;
pub mod strftime;
pub mod tcp_info;
pub(crate) mod tcp_zerocopy;
pub(crate) mod uring;
pub mod vsock;
pub(crate) mod vsock_zerocopy;
