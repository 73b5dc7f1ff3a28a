//! The harness: any two programs that speak iperf3's protocol, run against each other and looked at from outside.
//!
//! ```text
//! Peer ──► Server (a port, a process, listening)   ─┐
//! Peer ──► Client (arguments, a deadline)           ├─► Outcome: both command lines, outputs, exit codes
//! wire ──► a peer made by hand that breaks the rules ┘      │
//! proxy ─► a network or a VMM with faults between the two  │
//! netns ─► a network namespace in which both run            │
//!                                                          ├─► checks: what both JSON documents must have
//!                                                          └─► compare: how they differ from what iperf3 writes
//!                                                                (shape: keys, types, order; text: lines)
//! ```
//!
//! Every wait has a deadline, every process that is started is also ended, and a failure shows what was run. The
//! harness panics where a test should fail.

#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how a harness fails a test"
)]

pub mod checks;
pub mod compare;
pub mod differences;
pub mod expectation;
pub mod http;
pub mod json;
pub mod netns;
pub mod pair;
pub mod parallel;
pub mod paths;
pub mod peer;
pub mod port;
pub mod priority;
pub mod problems;
pub mod process;
pub mod procfs;
pub mod proxy;
pub mod server;
pub mod service;
pub mod shape;
pub mod text;
pub mod wire;
pub mod workspace;

pub use expectation::Expectation;
pub use pair::{Case, Outcome, Pair};
pub use peer::Peer;
pub use port::Port;
pub use problems::Problems;
pub use process::{Finished, HANG, Running};
pub use server::Server;
