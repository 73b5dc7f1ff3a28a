//! The iperf3 wire protocol without I/O, clock or sockets.
//!
//! Two state machines, [`Client`] and [`Server`], each run the protocol of one control connection. A driver owns the
//! socket and the clock: it feeds a machine bytes, ends of stream and expired deadlines, and polls what to send, what
//! to do and when to call again. Time is always an argument.
//!
//! ```text
//!            handle_input, handle_eof, handle_timeout           commands (streams_opened, end_test, …)
//!                                  └───────────► machine ◄───────────┘
//!            poll_transmit ◄───────────────────────┼───────────────────────► poll_timeout
//!                                                  ▼
//!                                             poll_action
//! ```
//!
//! The sequence, which is the same for every transport and direction:
//!
//! ```text
//! client                                   server
//!   cookie ──────────────────────────────►
//!          ◄────────────────────────────── PARAM_EXCHANGE
//!   parameters ──────────────────────────►
//!          ◄────────────────────────────── CREATE_STREAMS
//!   data streams, one after another ═════►
//!          ◄────────────────────────────── TEST_START, TEST_RUNNING
//!   ══════════════════ data ══════════════
//!   TEST_END ────────────────────────────►
//!          ◄────────────────────────────── EXCHANGE_RESULTS
//!   results ─────────────────────────────►
//!          ◄────────────────────────────── results, DISPLAY_RESULTS
//!   IPERF_DONE ──────────────────────────►
//! ```
//!
//! The other modules are the content of those messages ([`params`], [`results`], [`state`], [`cookie`], [`code`]),
//! the header of UDP datagrams ([`udp`]), which of them have arrived ([`seen`]), and the arithmetic that both ends must do alike ([`mod@stream_id`],
//! [`summary`]).
#![forbid(unsafe_code)]

pub mod alive;
pub mod client;
pub mod code;
pub mod cookie;
pub mod counts;
mod environment;
pub mod exchange;
pub mod extensions;
pub mod framing;
mod json;
mod limits;
mod link;
mod machine;
pub mod params;
pub mod probe;
pub mod results;
pub mod seen;
pub mod server;
mod session;
pub mod shown;
pub mod state;
pub mod stream_id;
pub mod summary;
pub mod udp;
mod zerocopy_report;

pub use client::Client;
pub use code::Code;
pub use cookie::Cookie;
pub use extensions::{Extensions, Granted};
pub use json::ParseError;
pub use link::Deadlines;
pub use machine::Machine;
pub use params::Params;
pub use results::{Results, StreamResult};
pub use server::Server;
pub use state::State;
pub use stream_id::stream_id;
pub use summary::summarize;
