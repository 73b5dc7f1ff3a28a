//! Network throughput tests as a library: clients, servers, and results as values. It speaks iperf3's protocol, so either
//! end may also be iperf3 or the `iperf` program, which is built on this crate.
//!
//! ```
//! use std::time::Duration;
//! use iperf::{Client, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), iperf::Error> {
//! let server = Server::builder().bind("127.0.0.1").port(0).start().await?;
//! let port = server.address().expect("an internet address").port();
//!
//! let document = Client::builder("127.0.0.1")
//!     .port(port)
//!     .reverse()
//!     .duration(Duration::from_secs(1))
//!     .build()?
//!     .run()
//!     .await?;
//! let received = document.end.sum_received.expect("a sum");
//! println!("{:.2} Gbit/s", received.bits_per_second / 1e9);
//! # assert!(received.bits_per_second > 0.0);
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! Client::builder ─► Client ─┬─ run().await ──► Document          the whole test, one value
//!                            └─ start() ──────► Test ─┬─ events   a Stream, while it runs
//!                                                     ├─ stop()
//!                                                     └─ document().await
//! Server::builder ─► Server ─── start().await ► RunningServer ─┬─ next_test().await ──► Document
//!                                                              ├─ stop()
//!                                                              └─ stopped().await
//! ```
//!
//! - **Any executor.** Each test and each server has threads of its own, with a runtime of its own, since the CPU time of a
//!   test is that of its threads. The futures of this crate only wait for them.
//! - **Cancellation.** Dropping the future of [`Client::run`], a [`Test`] or a [`RunningServer`] ends it: the peer is notified,
//!   and the threads end.
//! - **Nothing global.** No output, no logging other than `tracing` events, no handlers of SIGINT and the like, no limits of
//!   the process are changed. The one exception is a handler of SIGURG that does nothing, by which threads are woken that
//!   are blocked in a system call.
//! - **`Send` and `Sync`.** Handles and futures can be moved to other threads and tasks. A [`Stopper`] ends a test or a
//!   server from there.
//! - **Results** are [`Document`]s, with iperf3's names. [`results`] reads those of other tools as well, and compares runs.
//! - **Units** are bytes, bits per second and seconds unless a name states another. 1 Mbit/s is 1 000 000 bits per second.
//!
//! Programs with an output or a runtime of their own use [`embed`]. Linux only.

mod client;
pub mod embed;
mod error;
mod events;
mod server;
mod stopper;
mod system;

pub use client::{Client, ClientBuilder, Test};
pub use error::{BuildError, Error};
pub use events::Events;
pub use iperf_client::ClientError;
/// All types of configurations and events.
#[doc(inline)]
pub use iperf_model as model;
pub use iperf_model::{
    ClientConfig, Direction, Endpoint, Event, Limit, LocalOptions, ReceiveMode, SendMode,
    ServerConfig, TestConfig, Transport, VmmSocket, VmmSocketKind, VsockAddress, ZeroCopy,
};
pub use iperf_report::{Document, document};
/// Reading, showing and comparing results, also of other tools: what `iperf report` and `iperf compare` do.
#[doc(inline)]
pub use iperf_results as results;
pub use iperf_server::ServerError;
pub use server::{RunningServer, Server, ServerBuilder};
pub use stopper::Stopper;
