//! The job of one end of a test: the parsed command line.

use std::num::{NonZero, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use crate::{BitRate, DEFAULT_PORT, Endpoint, Listen, Placement, TestConfig};

/// Which IP version may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Family {
    /// Whatever the resolver returns; a server listens on both.
    #[default]
    Any,
    /// IPv4 only (`-4`).
    V4,
    /// IPv6 only (`-6`).
    V6,
}

/// Keepalive of the control connection (`--cntl-ka`); `None` leaves the system's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Keepalive {
    /// Seconds of silence before the first probe.
    pub idle: Option<u32>,
    /// Seconds between probes.
    pub interval: Option<u32>,
    /// Unanswered probes before the connection is dropped.
    pub count: Option<u32>,
}

/// What one end does with SCTP sockets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SctpOptions {
    /// Outgoing streams requested for an association (`--nstreams`, client only).
    pub streams: Option<u16>,
    /// More local addresses, as names or numbers, in the order given (`-X`).
    pub bind: Vec<String>,
}

/// A size of a socket that this program may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SocketSize {
    /// As the kernel has it.
    Off,
    /// As suits the test.
    #[default]
    Auto,
    /// This many bytes.
    Bytes(u32),
}

/// How this end moves the bytes of its TCP streams in and out of the kernel (`--io`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Io {
    /// A system call for each block, or for what has arrived.
    #[default]
    Calls,
    /// Requests through io_uring, where the kernel and the test allow it.
    Uring,
}

impl Io {
    /// The value of the option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Uring => "uring",
        }
    }
}

/// Options of this end only: nothing here is sent to the peer.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalOptions {
    /// Time between reports (`-i`); `None` reports once, at the end.
    pub interval: Option<Duration>,
    /// Local address (`-B`).
    pub bind: Option<String>,
    /// Local device (`--bind-dev`, or the part after `%` in `-B` and `-c`).
    pub bind_dev: Option<String>,
    /// IP version.
    pub family: Family,
    /// Where the threads of this end run (`-A`).
    pub affinity: Option<Placement>,
    /// A receiver that gets nothing for this long ends the test (`--rcv-timeout`).
    pub rcv_timeout: Duration,
    /// How many bytes must have arrived before a receiving byte stream wakes (`SO_RCVLOWAT`, `--rcv-lowat`). Off: one. Auto:
    /// a millisecond's worth at the current rate; below 100 Mbit/s, one.
    pub low_water: SocketSize,
    /// The send buffer of a TCP stream that this end sends on (`SO_SNDBUF`, `--sndbuf`). Auto: over loopback it is small
    /// enough for the processors' caches; otherwise the kernel sizes it.
    pub send_buffer: SocketSize,
    /// How the bytes of TCP streams get in and out of the kernel (`--io`).
    pub io: Io,
    /// Threads that the streams of a direction share (`--threads`); `None` gives each stream its own.
    pub threads: Option<NonZero<u16>>,
    /// Unacknowledged data older than this ends a connection (`--snd-timeout`, `TCP_USER_TIMEOUT`).
    pub snd_timeout: Option<Duration>,
    /// Payload comes from this file on a sender and goes to it on a receiver (`-F`).
    pub file: Option<PathBuf>,
    /// Keepalive of the control connection.
    pub keepalive: Option<Keepalive>,
    /// No UDP GSO and GRO, unless the test requests them (`--no-gso`).
    pub no_gso: bool,
    /// The JSON describes the machine of this end, and a peer of this program gets the description (`--no-environment`).
    pub environment: bool,
    /// Options of SCTP tests.
    pub sctp: SctpOptions,
    /// A test in which either end copied more than requested fails (`--zerocopy-strict`, client only).
    pub zerocopy_strict: bool,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            interval: Some(Duration::from_secs(1)),
            bind: None,
            bind_dev: None,
            family: Family::Any,
            affinity: None,
            rcv_timeout: Duration::from_secs(120),
            low_water: SocketSize::Auto,
            send_buffer: SocketSize::Auto,
            io: Io::Calls,
            threads: None,
            snd_timeout: None,
            file: None,
            keepalive: None,
            no_gso: false,
            environment: true,
            sctp: SctpOptions::default(),
            zerocopy_strict: false,
        }
    }
}

/// The user that a client logs in as (`--username`); the client asks for the password when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The name in the server's file of users.
    pub username: String,
    /// PEM file of the RSA key that the login is encrypted with (`--rsa-public-key-path`).
    pub public_key: PathBuf,
    /// The login has PKCS#1 v1.5 padding, for servers before 3.17 (`--use-pkcs1-padding`).
    pub pkcs1: bool,
}

/// A client's whole job.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// Where to connect to.
    pub endpoint: Endpoint,
    /// The test to request.
    pub test: TestConfig,
    /// No UDP block size was given: take the MSS of the control connection.
    pub block_from_mss: bool,
    /// Options of this end only.
    pub local: LocalOptions,
    /// First local port of the data streams (`--cport`); the n-th stream uses this plus n.
    pub cport: Option<u16>,
    /// How long the control connection may take to connect.
    pub connect_timeout: Option<Duration>,
    /// The login, for servers that require one.
    pub credentials: Option<Credentials>,
    /// How long to try again while the server is busy or can't be reached (`--wait`).
    pub wait: Option<Duration>,
}

impl ClientConfig {
    /// A client without options of its own.
    pub fn new(endpoint: Endpoint, test: TestConfig) -> Self {
        Self {
            endpoint,
            test,
            block_from_mss: false,
            local: LocalOptions::default(),
            cport: None,
            connect_timeout: None,
            credentials: None,
            wait: None,
        }
    }
}

/// A highest rate that a server allows (`--server-bitrate-limit`, `--client-bitrate-limit`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Over all streams and both directions.
    pub rate: BitRate,
    /// The time over which is averaged; 0 is the whole of a test.
    pub window: Duration,
}

/// The users that a server serves (`--rsa-private-key-path`, `--authorized-users-path`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAuth {
    /// PEM file of the RSA key that decrypts the logins.
    pub private_key: PathBuf,
    /// CSV file of user names and password hashes.
    pub users: PathBuf,
    /// How far the clock of a client may be from this one (`--time-skew-threshold`).
    pub skew: Duration,
    /// Logins have PKCS#1 v1.5 padding, for clients before 3.17 (`--use-pkcs1-padding`).
    pub pkcs1: bool,
}

/// How many tests a server runs at the same time (`--tests`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// No more than this.
    Tests(NonZeroU32),
    /// As many as descriptors and threads suffice for.
    Resources,
}

impl Concurrency {
    /// iperf3's: one test after another.
    pub const ONE: Self = Self::Tests(NonZeroU32::MIN);
}

/// A server's whole job.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: Listen,
    /// Options of this end only.
    pub local: LocalOptions,
    /// Serve one test, then end (`-1`).
    pub one_off: bool,
    /// With `-1`, exit after this long without a test (`--idle-timeout`).
    pub idle_timeout: Option<Duration>,
    /// How many tests run at the same time.
    pub tests: Concurrency,
    /// How many of them one client may run (`--tests-per-client`).
    pub tests_per_client: Option<NonZeroU32>,
    /// The highest rate of all tests together.
    pub rate_limit: Option<RateLimit>,
    /// The highest rate of the tests of one client (`--client-bitrate-limit`).
    pub client_rate_limit: Option<RateLimit>,
    /// The longest test in seconds, omitted time included (`--server-max-duration`).
    pub max_duration: Option<u32>,
    /// The users to serve; `None` serves everyone.
    pub auth: Option<ServerAuth>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self::new(Listen::Inet { port: DEFAULT_PORT })
    }
}

impl ServerConfig {
    /// A server without limits, as iperf3's is by default.
    pub fn new(listen: Listen) -> Self {
        Self {
            listen,
            local: LocalOptions::default(),
            one_off: false,
            idle_timeout: None,
            tests: Concurrency::ONE,
            tests_per_client: None,
            rate_limit: None,
            client_rate_limit: None,
            max_duration: None,
            auth: None,
        }
    }
}
