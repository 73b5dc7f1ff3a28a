//! The description of a client's test, checked when it is complete.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use iperf_client::Login;
use iperf_model::{
    BitRate, ClientConfig, Direction, Endpoint, Limit, LocalOptions, MAX_BLOCK, MAX_STREAMS,
    ReceiveMode, SendMode, TestConfig, Transport, ZeroCopy,
};

use crate::{BuildError, Client, Error};

/// The default rate of a UDP test in bits per second, as in iperf3.
const UDP_RATE: u64 = 1 << 20;
/// The smallest datagram holds the header with a 64-bit counter; the largest is what IPv4 can carry.
const DATAGRAM: RangeInclusive<u32> = 16..=65_507;
/// The largest socket buffer in bytes.
const MAX_WINDOW: u32 = 512 << 20;

/// Describes a test. Defaults are iperf3's: TCP, one stream, from client to server, ten seconds, a report each second.
///
/// Values are checked by [`build`](Self::build). What has no method here can be set with
/// [`configure`](Self::configure).
///
/// ```
/// use iperf::Client;
///
/// let error = Client::builder("host").streams(0).build().unwrap_err();
/// assert_eq!(error.to_string(), "streams is 0, and must be from 1 to 10000");
/// ```
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    endpoint: Endpoint,
    test: TestConfig,
    local: LocalOptions,
    rate: Option<u64>,
    block: Option<u32>,
    duration: Option<Duration>,
    omit: Duration,
    connect_timeout: Option<Duration>,
    changes: Vec<Change>,
    user: Option<(String, String, PathBuf)>,
}

/// A change to the configuration, after everything else.
#[derive(Clone)]
struct Change(Arc<dyn Fn(&mut ClientConfig) + Send + Sync>);

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

impl ClientBuilder {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let transport = match endpoint {
            Endpoint::Inet { .. } => Transport::Tcp,
            Endpoint::Vsock(_) | Endpoint::Vmm(_) => Transport::Vsock,
        };
        Self {
            endpoint,
            test: TestConfig::new(transport),
            local: LocalOptions::default(),
            rate: None,
            block: None,
            duration: None,
            omit: Duration::ZERO,
            connect_timeout: None,
            changes: Vec::new(),
            user: None,
        }
    }

    /// The server's port \[5201\].
    pub fn port(mut self, number: u16) -> Self {
        match &mut self.endpoint {
            Endpoint::Inet { port, .. } => *port = number,
            Endpoint::Vsock(address) => address.port = number.into(),
            Endpoint::Vmm(socket) => socket.port = number.into(),
        }
        self
    }

    /// Datagrams, at 1 Mbit/s (1 048 576 bits per second) unless [`bitrate`](Self::bitrate) is set.
    pub fn udp(mut self) -> Self {
        self.test.transport = Transport::Udp;
        self
    }

    /// SCTP associations.
    pub fn sctp(mut self) -> Self {
        self.test.transport = Transport::Sctp;
        self
    }

    /// Multipath TCP.
    pub fn mptcp(mut self) -> Self {
        self.test.transport = Transport::Mptcp;
        self
    }

    /// The server sends, and the client receives.
    pub fn reverse(mut self) -> Self {
        self.test.direction = Direction::Reverse;
        self
    }

    /// Both ends send, each on streams of its own.
    pub fn bidirectional(mut self) -> Self {
        self.test.direction = Direction::Bidirectional;
        self
    }

    /// Ends the test after a time: whole seconds, from 1 s to a day.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Ends the test after an amount of bytes, over all streams of a direction.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.duration = None;
        self.test.limit = Limit::Bytes(bytes);
        self
    }

    /// Ends the test after a number of blocks, over all streams of a direction.
    pub fn blocks(mut self, blocks: u64) -> Self {
        self.duration = None;
        self.test.limit = Limit::Blocks(blocks);
        self
    }

    /// Does not count what happens in the first seconds: whole seconds, at most 600.
    pub fn omit(mut self, duration: Duration) -> Self {
        self.omit = duration;
        self
    }

    /// The time between [`Event::Interval`](crate::Event::Interval)s, from 0.1 s to 60 s; zero for one at the end \[1 s\].
    pub fn interval(mut self, interval: Duration) -> Self {
        self.local.interval = Some(interval);
        self
    }

    /// Streams per direction \[1\]: from 1 to 128, and up to 10 000 of TCP, MPTCP or vsock to a server of this program.
    pub fn streams(mut self, streams: u16) -> Self {
        self.test.streams = streams;
        self
    }

    /// Bytes per block: from 1 to 1 MiB \[128 KiB over TCP\], to 16 MiB over TCP or vsock to a server of this program, and from 16 to 65 507 over UDP \[as fits the path\].
    pub fn length(mut self, bytes: u32) -> Self {
        self.block = Some(bytes);
        self
    }

    /// The rate of each sending stream in bits per second; 0 for no limit.
    pub fn bitrate(mut self, rate: u64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// The size of socket buffers in bytes, up to 512 MiB.
    pub fn window(mut self, bytes: u32) -> Self {
        self.test.socket.window = (bytes > 0).then_some(bytes);
        self
    }

    /// The algorithm of TCP's congestion control.
    pub fn congestion(mut self, name: impl Into<String>) -> Self {
        self.test.socket.congestion = Some(name.into());
        self
    }

    /// Sends without Nagle's delay.
    pub fn no_delay(mut self) -> Self {
        self.test.socket.no_delay = true;
        self
    }

    /// Sends and receives without copying, where the transport and the system can.
    pub fn zerocopy(mut self) -> Self {
        self.test.zerocopy = ZeroCopy {
            send: SendMode::Auto,
            receive: ReceiveMode::Mmap,
        };
        self
    }

    /// Sends a pattern, and checks every byte of it. It needs this program at both ends.
    pub fn verify(mut self) -> Self {
        self.test.verify = true;
        self
    }

    /// The local address of the client: a name or a number.
    pub fn bind(mut self, address: impl Into<String>) -> Self {
        self.local.bind = Some(address.into());
        self
    }

    /// How long connecting may take \[120 s\].
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// A title, which the document has as well.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.test.title = Some(title.into());
        self
    }

    /// Logs in, with the server's public RSA key in a PEM file. The password is wiped from memory afterwards.
    pub fn login(
        mut self,
        user: impl Into<String>,
        password: impl Into<String>,
        public_key: impl AsRef<Path>,
    ) -> Self {
        self.user = Some((user.into(), password.into(), public_key.as_ref().to_owned()));
        self
    }

    /// Changes anything, after everything else and unchecked. The types are in [`model`](crate::model).
    ///
    /// ```
    /// use iperf::Client;
    /// use iperf::model::Exchange;
    ///
    /// // Round trips instead of throughput, as `--rr=100,1000`.
    /// let (request, response) = (100, 1000);
    /// let client = Client::builder("192.0.2.1").no_delay().configure(move |config| {
    ///     config.test.exchange = Some(Exchange::new(request, response));
    /// });
    /// assert!(client.build()?.config().test.exchange.is_some());
    /// # Ok::<_, iperf::Error>(())
    /// ```
    pub fn configure(mut self, change: impl Fn(&mut ClientConfig) + Send + Sync + 'static) -> Self {
        self.changes.push(Change(Arc::new(change)));
        self
    }

    /// Checks the description.
    ///
    /// # Errors
    ///
    /// [`Error::Build`] names the method, the value and what is allowed; [`Error::Login`] if the key or the password cannot
    /// be used.
    pub fn build(mut self) -> Result<Client, Error> {
        self.settle_times()?;
        self.settle_sizes()?;
        let is_udp = self.test.transport == Transport::Udp;
        let rate = self.rate.or(is_udp.then_some(UDP_RATE));
        self.test.pacing.rate = rate.map(BitRate::new).and_then(BitRate::limit);
        let maps = matches!(
            self.test.transport,
            Transport::Tcp | Transport::Mptcp | Transport::Vsock
        );
        if !maps && self.test.zerocopy.receive == ReceiveMode::Mmap {
            self.test.zerocopy.receive = ReceiveMode::Copy;
        }
        let login = match self.user.take() {
            None => None,
            Some((user, password, key)) => Some(
                Login::new(user, password, &key)
                    .map_err(|error| Error::Login(error.to_string()))?,
            ),
        };
        let mut config = ClientConfig {
            block_from_mss: is_udp && self.block.is_none(),
            local: self.local,
            connect_timeout: self.connect_timeout,
            ..ClientConfig::new(self.endpoint, self.test)
        };
        for Change(change) in self.changes {
            change(&mut config);
        }
        Ok(Client::new(config).with_login(login))
    }

    fn settle_times(&mut self) -> Result<(), BuildError> {
        if let Some(duration) = self.duration {
            let allowed = "whole seconds from 1 to 86400";
            let seconds = whole_seconds("duration", duration, 1..=86_400, allowed)?;
            self.test.limit = Limit::Seconds(seconds);
        }
        self.test.omit = whole_seconds("omit", self.omit, 0..=600, "whole seconds from 0 to 600")?;
        match self.local.interval {
            Some(Duration::ZERO) => self.local.interval = None,
            Some(interval) => {
                let range = Duration::from_millis(100)..=Duration::from_secs(60);
                if !range.contains(&interval) {
                    return Err(refuse(
                        "interval",
                        &format!("{interval:?}"),
                        "0, or from 0.1 s to 60 s",
                    ));
                }
            }
            None => {}
        }
        Ok(())
    }

    fn settle_sizes(&mut self) -> Result<(), BuildError> {
        let streams = self.test.streams;
        let most = self.test.transport.most_streams();
        if !(1..=most).contains(&streams) {
            let allowed = if most > MAX_STREAMS {
                "from 1 to 10000"
            } else {
                "from 1 to 128"
            };
            return Err(refuse("streams", &streams, allowed));
        }
        if let Some(window) = self.test.socket.window.filter(|bytes| *bytes > MAX_WINDOW) {
            return Err(refuse("window", &window, "up to 536870912"));
        }
        match self.test.limit {
            Limit::Bytes(0) => return Err(refuse("bytes", &0, "1 or more")),
            Limit::Blocks(0) => return Err(refuse("blocks", &0, "1 or more")),
            _ => {}
        }
        let (range, allowed) = match self.test.transport {
            Transport::Udp => (DATAGRAM, "from 16 to 65507 over UDP"),
            transport if transport.largest_block() > MAX_BLOCK => {
                (1..=transport.largest_block(), "from 1 to 16777216")
            }
            _ => (1..=MAX_BLOCK, "from 1 to 1048576"),
        };
        self.test.block = match self.block {
            None => self.test.transport.default_block(),
            Some(block) if range.contains(&block) => block,
            Some(block) => return Err(refuse("length", &block, allowed)),
        };
        if !self.test.blocks_fit() {
            let allowed = "at most 268435456 divided by the number of streams";
            return Err(refuse("length", &self.test.block, allowed));
        }
        Ok(())
    }
}

fn whole_seconds(
    option: &'static str,
    duration: Duration,
    range: RangeInclusive<u64>,
    allowed: &'static str,
) -> Result<u32, BuildError> {
    let is_whole = duration.subsec_nanos() == 0 && range.contains(&duration.as_secs());
    let seconds = u32::try_from(duration.as_secs()).ok().filter(|_| is_whole);
    seconds.ok_or_else(|| refuse(option, &format!("{duration:?}"), allowed))
}

fn refuse(option: &'static str, value: &dyn Display, allowed: &'static str) -> BuildError {
    BuildError {
        option,
        value: value.to_string(),
        allowed,
    }
}
