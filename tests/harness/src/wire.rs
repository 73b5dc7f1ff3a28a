//! Peers made by hand, to break the rules: a control connection byte by byte, from either end.
//!
//! [`RawClient`] runs a test up to a given step and then breaks the protocol; a [`RawServer`] passes
//! each connection to a script that does so. They speak just enough of the protocol to get
//! there: a 37-byte cookie, state bytes, and JSON behind a 32-bit big-endian length.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::port::Port;
use crate::process::{HANG, POLL};

/// Test may begin.
pub const TEST_START: u8 = 1;
/// Data may flow.
pub const TEST_RUNNING: u8 = 2;
/// The client has decided that the test is over.
pub const TEST_END: u8 = 4;
/// The server requests the parameters.
pub const PARAM_EXCHANGE: u8 = 9;
/// The server requests the data connections.
pub const CREATE_STREAMS: u8 = 10;
/// The server is about to end.
pub const SERVER_TERMINATE: u8 = 11;
/// The server requests the client's results.
pub const EXCHANGE_RESULTS: u8 = 13;
/// The server has sent its results.
pub const DISPLAY_RESULTS: u8 = 14;
/// The client is done.
pub const IPERF_DONE: u8 = 16;
/// The server is busy, or a cookie is wrong.
pub const ACCESS_DENIED: u8 = 0xff;
/// The server fails; two 32-bit integers follow.
pub const SERVER_ERROR: u8 = 0xfe;

/// The length of a cookie with its NUL.
pub const COOKIE: usize = 37;

/// Parameters of a one-second TCP test.
pub const PARAMS: &str = r#"{"tcp":true,"omit":0,"time":1,"num":0,"blockcount":0,"parallel":1,"len":131072,"bandwidth":1000000,"pacing_timer":1000,"client_version":"3.22"}"#;

/// Results of a client that sent nothing.
pub const RESULTS: &str = r#"{"cpu_util_total":0,"cpu_util_user":0,"cpu_util_system":0,"sender_has_retransmits":1,"congestion_used":"cubic","streams":[{"id":1,"bytes":0,"retransmits":0,"jitter":0,"errors":0,"omitted_errors":0,"packets":0,"omitted_packets":0,"start_time":0,"end_time":1}]}"#;

/// The result of a read on a control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A byte.
    State(u8),
    /// The peer closed or reset the connection.
    Closed,
    /// Nothing arrived in time.
    Silence,
}

/// What a raw connection needs of its socket.
pub trait Link: Read + Write {
    /// How long a read may wait.
    fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()>;
}

impl Link for TcpStream {
    fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, limit)
    }
}

impl Link for UnixStream {
    fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, limit)
    }
}

/// One connection with blunt tools.
#[derive(Debug)]
pub struct Raw<S = TcpStream>(pub S);

impl Raw {
    /// Connects to a port on 127.0.0.1. Servers may reopen their listener between two tests, so a refusal is retried.
    pub fn connect(port: u16) -> Self {
        let deadline = Instant::now() + HANG;
        loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => return Self(stream),
                Err(e) if Instant::now() > deadline => {
                    panic!("port {port} refuses a connection: {e}")
                }
                Err(_) => thread::sleep(POLL),
            }
        }
    }
}

impl<S: Link> Raw<S> {
    /// Writes bytes; a peer that has closed already is no failure here.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Writes JSON behind its length.
    pub fn send_json(&mut self, text: &str) {
        self.send(&framed(text));
    }

    /// Reads one byte.
    pub fn reply(&mut self, limit: Duration) -> Reply {
        let mut byte = [0];
        match self.read_exact(&mut byte, limit) {
            Ok(()) => Reply::State(byte[0]),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Reply::Silence,
            Err(_) => Reply::Closed,
        }
    }

    /// Reads the state that must come now.
    pub fn expect(&mut self, state: u8) {
        let got = self.reply(HANG);
        assert_eq!(got, Reply::State(state), "the next state byte");
    }

    /// Reads a JSON message that must come now.
    pub fn expect_json(&mut self) -> String {
        let mut length = [0; 4];
        self.read_exact(&mut length, HANG)
            .expect("the length of a message");
        let mut text = vec![0; u32::from_be_bytes(length) as usize];
        self.read_exact(&mut text, HANG).expect("a message");
        String::from_utf8(text).expect("a message in UTF-8")
    }

    /// Fills a buffer within `limit`.
    pub fn read_exact(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.0.set_read_timeout(Some(left))?;
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reads and forgets until the peer closes or `limit` has passed; whether it closed.
    pub fn drain(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut sink = vec![0; 64 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let _ = self.0.set_read_timeout(Some(left));
            match self.0.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return true,
            }
        }
    }
}

/// A client made by hand.
#[derive(Debug)]
pub struct RawClient {
    /// The control connection.
    pub control: Raw,
    /// The data connections.
    pub data: Vec<Raw>,
    port: u16,
    cookie: [u8; COOKIE],
}

impl RawClient {
    /// Connects and sends nothing.
    pub fn connect(port: u16) -> Self {
        Self {
            control: Raw::connect(port),
            data: Vec::new(),
            port,
            cookie: new_cookie(),
        }
    }

    /// Sends the cookie and reads the request for the parameters.
    ///
    /// A server that still cleans up after another client reports that it is busy; that is retried.
    pub fn up_to_params(port: u16) -> Self {
        let deadline = Instant::now() + HANG;
        loop {
            let mut client = Self::connect(port);
            let cookie = client.cookie;
            client.control.send(&cookie);
            match client.control.reply(HANG) {
                Reply::State(PARAM_EXCHANGE) => return client,
                Reply::State(ACCESS_DENIED) | Reply::Closed if Instant::now() < deadline => {
                    thread::sleep(POLL);
                }
                other => panic!("the answer to a cookie: {other:?}"),
            }
        }
    }

    /// Sends parameters and reads the request for the data connections.
    pub fn up_to_streams(port: u16, params: &str) -> Self {
        let mut client = Self::up_to_params(port);
        client.control.send_json(params);
        client.control.expect(CREATE_STREAMS);
        client
    }

    /// Opens `streams` data connections; the test runs.
    pub fn up_to_running(port: u16, params: &str, streams: usize) -> Self {
        let mut client = Self::up_to_streams(port, params);
        for _ in 0..streams {
            client.open_data();
        }
        client.control.expect(TEST_START);
        client.control.expect(TEST_RUNNING);
        client
    }

    /// Sends a block on each data connection, ends the test and reads the request for the results.
    pub fn up_to_results(port: u16) -> Self {
        let mut client = Self::up_to_running(port, PARAMS, 1);
        for data in &mut client.data {
            data.send(&vec![0; 131_072]);
        }
        client.control.send(&[TEST_END]);
        client.control.expect(EXCHANGE_RESULTS);
        client
    }

    /// The cookie with its NUL.
    pub fn cookie(&self) -> &[u8; COOKIE] {
        &self.cookie
    }

    /// Opens a data connection with the right cookie.
    pub fn open_data(&mut self) {
        let mut data = Raw::connect(self.port);
        data.send(&self.cookie);
        self.data.push(data);
    }

    /// Opens a data connection that begins with these bytes.
    pub fn open_data_with(&mut self, bytes: &[u8]) {
        let mut data = Raw::connect(self.port);
        data.send(bytes);
        self.data.push(data);
    }
}

/// JSON behind its length.
pub fn framed(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len())
        .expect("a short text")
        .to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

/// 36 letters of the protocol's alphabet and a NUL, different each time.
pub fn new_cookie() -> [u8; COOKIE] {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut seed = u64::from(std::process::id()) << 32 | u64::from(number);
    let mut cookie = [0; COOKIE];
    for letter in &mut cookie[..COOKIE - 1] {
        // Steps of a linear congruential generator (Knuth's MMIX constants).
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *letter = ALPHABET[(seed >> 59) as usize];
    }
    cookie
}

/// A server made by hand: one control connection, then whatever the script does.
#[derive(Debug)]
pub struct RawServer {
    port: Port,
    script: Option<JoinHandle<()>>,
}

/// What the script of a [`RawServer`] works with.
#[derive(Debug)]
pub struct Stage {
    /// Accepts the data connections.
    pub listener: TcpListener,
    /// The control connection, its cookie read.
    pub control: Raw,
    /// The data connections, their cookies read.
    pub data: Vec<Raw>,
}

impl RawServer {
    /// Listens, accepts a client, reads its cookie and runs the script.
    pub fn start(script: impl FnOnce(&mut Stage) + Send + 'static) -> Self {
        let port = Port::reserve();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).expect("a reserved port");
        let thread = thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let mut control = Raw(stream);
            if control.read_exact(&mut [0; COOKIE], HANG).is_ok() {
                script(&mut Stage {
                    listener,
                    control,
                    data: Vec::new(),
                });
            }
        });
        Self {
            port,
            script: Some(thread),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Waits for the end of the script and fails if the script did.
    pub fn finish(mut self) {
        if let Some(script) = self.script.take() {
            assert!(
                script.join().is_ok(),
                "the client did not follow the script"
            );
        }
    }
}

impl Stage {
    /// Requests the parameters and reads them.
    pub fn take_params(&mut self) -> String {
        self.control.send(&[PARAM_EXCHANGE]);
        self.control.expect_json()
    }

    /// Requests one data connection and accepts it.
    pub fn take_stream(&mut self) {
        self.control.send(&[CREATE_STREAMS]);
        let (stream, _) = self.listener.accept().expect("a data connection");
        let mut data = Raw(stream);
        data.read_exact(&mut [0; COOKIE], HANG).expect("its cookie");
        self.data.push(data);
    }

    /// Goes on until the client ends the test.
    pub fn run_test(&mut self) {
        self.take_params();
        self.take_stream();
        self.control.send(&[TEST_START, TEST_RUNNING]);
        let sinks: Vec<TcpStream> = self
            .data
            .iter()
            .filter_map(|d| d.0.try_clone().ok())
            .collect();
        for stream in sinks {
            thread::spawn(move || Raw(stream).drain(Duration::from_secs(60)));
        }
        self.control.expect(TEST_END);
    }

    /// Goes on until the client's results are there.
    pub fn take_results(&mut self) -> String {
        self.run_test();
        self.control.send(&[EXCHANGE_RESULTS]);
        self.control.expect_json()
    }

    /// Keeps the connections open until the client is gone.
    pub fn stall(&mut self) {
        self.control.drain(Duration::from_secs(120));
    }
}
