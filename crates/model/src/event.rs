//! What a driver tells its sinks while a test runs, in the order in which it happens.
//!
//! ```text
//! Listening? ControlConnected? TestBegan StreamOpened… CarriedBy? BuffersKept TestStarted
//!     (Interval | OmitFinished)… ServerOutput? Summary? Failed? TestFinished
//! ```
//!
//! A test may stop after any of these; `TestFinished` always comes last. `Listening` is the server's, and
//! `ControlConnected` the client's.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{Carrier, Interval, Role, SocketName, Summary, TestConfig};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A server is ready for its `test_number`-th test (from 1).
    Listening {
        /// The port as asked for on the command line.
        port: u32,
        /// Counts the tests of this server.
        test_number: u64,
    },
    /// A client's control connection stands.
    ControlConnected {
        /// MSS of the control connection in bytes.
        mss: Option<u32>,
        /// The UDP block size in bytes, when it was derived from the MSS.
        derived_block: Option<u32>,
    },
    /// The parameters were exchanged.
    TestBegan(TestBegan),
    /// A data stream stands.
    StreamOpened(StreamInfo),
    /// What the streams of a vsock test really travel over.
    CarriedBy(Carrier),
    /// Socket buffers of the data streams, asked for and kept.
    BuffersKept(Buffers),
    /// Data may flow.
    TestStarted(TestStarted),
    /// An interval ended.
    Interval(Interval),
    /// The omitted period is over; times start again at 0.
    OmitFinished,
    /// The test is over: all that was counted.
    Summary(Summary),
    /// The server's own output came with its results.
    ServerOutput(ServerOutput),
    /// Something is not as asked for, and the test goes on.
    Warning(String),
    /// The test failed or was interrupted.
    Failed(Failure),
    /// Nothing more will come of this test.
    TestFinished,
}

/// The parameters were exchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct TestBegan {
    /// Who the peer is.
    pub peer: Peer,
    /// Date of the exchange.
    pub at: SystemTime,
    /// The 36 characters that name the test.
    pub cookie: String,
    /// MSS of the control connection in bytes; a server does not look and says 0.
    pub control_mss: u32,
    /// The test.
    pub config: Arc<TestConfig>,
}

/// The other end of the control connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client connected to this, as the user wrote it.
    ConnectingTo(SocketName),
    /// A server accepted a connection from this.
    AcceptedFrom(SocketName),
}

/// A data stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The stream's id on the wire.
    pub id: u32,
    /// The number by which output names the stream ([`stream_number`](crate::stream_number())); no descriptor.
    pub socket: i32,
    /// This end.
    pub local: SocketName,
    /// The peer's end.
    pub remote: SocketName,
    /// Whether this end sends on the stream.
    pub role: Role,
}

/// Socket buffers in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffers {
    /// Asked for with `-w`; 0 when nothing was asked for.
    pub requested: u32,
    /// `SO_SNDBUF` as the kernel reports it; `SO_VM_SOCKETS_BUFFER_SIZE` of a vsock, for both ways.
    pub sndbuf: u32,
    /// `SO_RCVBUF` as the kernel reports it, likewise.
    pub rcvbuf: u32,
}

/// Data may flow.
#[derive(Clone, Debug, PartialEq)]
pub struct TestStarted {
    /// The test.
    pub config: Arc<TestConfig>,
    /// Time between reports on this end; `None` reports once, at the end.
    pub interval: Option<Duration>,
    /// Whether segmentation offload was asked for (`--gsro`); `Batching` of a summary says what was used.
    pub gso: bool,
    /// Whether receive offload was asked for.
    pub gro: bool,
}

/// A server's own output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerOutput {
    /// Lines of text.
    Text(String),
    /// A JSON document, unparsed.
    Json(String),
}

/// How a test came to its early end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Something went wrong.
    Error,
    /// A signal asked for the end.
    Interrupt,
    /// The client of a server has left. iperf3 reports it without a prefix: the server did nothing wrong.
    ClientLeft,
}

/// Why a test failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides the prefix of the message.
    pub kind: FailureKind,
    /// The message, without a prefix.
    pub message: String,
}

impl Failure {
    /// What iperf3 prints before the message.
    pub fn prefix(&self) -> &'static str {
        match self.kind {
            FailureKind::Error => "error - ",
            FailureKind::Interrupt => "interrupt - ",
            FailureKind::ClientLeft => "",
        }
    }
}

/// Takes events and writes them somewhere.
pub trait Sink: Send {
    /// Takes one event. An error means that the output can't be written; the test itself goes on.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// What was written since the parameters were exchanged, for `--get-server-output`; `None` when this sink
    /// has nothing to return.
    fn server_output(&mut self) -> Option<ServerOutput> {
        None
    }
}
