//! The events that a driver reports to its sinks while a test runs, in order.
//!
//! ```text
//! Listening? ControlConnected? TestBegan Environment? StreamOpened… CarriedBy? BuffersKept TestStarted
//!     (Interval | OmitFinished)… ServerOutput? (Summary | EnvironmentAfter)… Failed? TestFinished
//! ```
//!
//! A test may stop after any of these; `TestFinished` always comes last. `Listening` is the server's, and
//! `ControlConnected` the client's. A server that runs several tests at a time reports `ListeningForMany` once.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{
    Carrier, Concurrency, Environment, EnvironmentAfter, Interval, Role, SocketName, Summary,
    TestConfig,
};

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A server is ready for its `test_number`-th test (from 1).
    Listening {
        /// The port given on the command line.
        port: u32,
        /// The number of this server's next test.
        test_number: u64,
    },
    /// A server is ready for several tests at a time.
    ListeningForMany {
        /// The port given on the command line.
        port: u32,
        /// How many tests may run.
        tests: Concurrency,
    },
    /// A client's control connection is open.
    ControlConnected {
        /// MSS of the control connection in bytes.
        mss: Option<u32>,
        /// The UDP block size in bytes, when it was derived from the MSS.
        derived_block: Option<u32>,
    },
    /// The parameters were exchanged.
    TestBegan(TestBegan),
    /// The machine that this end runs on.
    Environment(Box<Environment>),
    /// A data stream is connected.
    StreamOpened(StreamInfo),
    /// What carries the streams of a vsock test.
    CarriedBy(Carrier),
    /// Socket buffers of the data streams, requested and actual.
    BuffersKept(Buffers),
    /// Data may flow.
    TestStarted(TestStarted),
    /// An interval ended.
    Interval(Interval),
    /// The omitted period is over; times start again at 0.
    OmitFinished,
    /// The test is over: its totals.
    Summary(Summary),
    /// What is known of both machines when the test is over.
    EnvironmentAfter(Box<EnvironmentAfter>),
    /// The server's own output, received with its results.
    ServerOutput(ServerOutput),
    /// Something is not as requested, but the test continues.
    Warning(String),
    /// The test failed or was interrupted.
    Failed(Failure),
    /// The last event of the test.
    TestFinished,
}

/// The parameters were exchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct TestBegan {
    /// The peer.
    pub peer: Peer,
    /// Date of the exchange.
    pub at: SystemTime,
    /// The 36 characters that name the test.
    pub cookie: String,
    /// MSS of the control connection in bytes; 0 on a server, which does not read it.
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

/// A data stream is connected.
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
    /// Requested with `-w`; 0 without it.
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
    /// Whether segmentation offload was requested (`--gsro`); `Batching` of a summary is what was used.
    pub gso: bool,
    /// Whether receive offload was requested.
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

/// Why a test ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Something went wrong.
    Error,
    /// A signal.
    Interrupt,
    /// The server's client has left. iperf3 reports this without a prefix, since the server is not at fault.
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
    /// Takes one event. An error means that the output can't be written; the test itself continues.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// What was written since the parameters were exchanged, for `--get-server-output`; `None` when this sink
    /// has nothing to return.
    fn server_output(&mut self) -> Option<ServerOutput> {
        None
    }
}

/// Which test of a server, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TestId(pub u64);

impl fmt::Display for TestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Opens the outputs of a server.
pub trait Outputs {
    /// The sink of a test, or the one for what belongs to no test.
    fn open(&self, test: Option<TestId>) -> Box<dyn Sink>;
}

impl<F: Fn(Option<TestId>) -> Box<dyn Sink>> Outputs for F {
    fn open(&self, test: Option<TestId>) -> Box<dyn Sink> {
        self(test)
    }
}
