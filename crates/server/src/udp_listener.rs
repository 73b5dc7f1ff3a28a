//! Accepts UDP streams.
//!
//! iperf3's hellos do not identify their test, so only one handshake at a time may wait for them, and only those from
//! the address of its control connection count; those of this program have the cookie. Other datagrams are dropped. The
//! socket that gets the hello becomes the stream; the next stream gets a new socket on the same port.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use iperf_engine::net::udp::{adopt, listen, reply};
use iperf_engine::net::{StreamPlan, StreamSpec};
use iperf_engine::{EngineError, Stream};
use iperf_proto::cookie::Cookie;
use iperf_proto::udp::{NAMED_HELLO, is_plain_hello, is_repeated_hello, named_hello};
use socket2::Socket;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::port_permit::PortPermit;

/// How often to check whether the client of the last stream repeats its hello.
const REPEAT_CHECK: Duration = Duration::from_millis(100);

/// The hellos that open the streams of a test.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// iperf3's.
    Plain,
    /// Those with the test's cookie.
    Named([u8; NAMED_HELLO]),
}

impl Expected {
    /// What a client sends that was granted hellos with a cookie, or not.
    pub(crate) fn new(cookie: &Cookie, named: bool) -> Self {
        if named {
            Self::Named(named_hello(cookie))
        } else {
            Self::Plain
        }
    }

    fn is(&self, datagram: &[u8]) -> bool {
        match self {
            Self::Plain => is_plain_hello(datagram),
            Self::Named(hello) => datagram == hello,
        }
    }
}

/// A socket that waits for the next hello.
pub(crate) struct UdpListener {
    socket: UdpSocket,
    address: SocketAddr,
    peer: IpAddr,
    expected: Expected,
    device: Option<String>,
    _permit: PortPermit,
}

impl UdpListener {
    /// Waits on the local address of the control connection, for hellos from its peer.
    pub(crate) fn open(
        address: SocketAddr,
        peer: SocketAddr,
        expected: Expected,
        device: Option<String>,
        permit: PortPermit,
    ) -> Result<Self, EngineError> {
        let socket = bind(address, device.as_deref())?;
        Ok(Self {
            socket,
            address,
            peer: peer.ip().to_canonical(),
            expected,
            device,
            _permit: permit,
        })
    }

    /// Waits for the next hello. A client that has not got the last reply repeats its hello on the socket of that stream.
    pub(crate) async fn next(&mut self, last: Option<&Stream>) -> io::Result<SocketAddr> {
        let mut datagram = [0; 64];
        let mut check = Instant::now() + REPEAT_CHECK;
        loop {
            tokio::select! {
                received = self.socket.recv_from(&mut datagram) => {
                    let (length, from) = match received {
                        Ok(received) => received,
                        // An ICMP message about another datagram.
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                        Err(error) => return Err(error),
                    };
                    let hello = self.expected.is(&datagram[..length]);
                    if hello && from.ip().to_canonical() == self.peer {
                        return Ok(from);
                    }
                    debug!(%from, length, "a datagram that is no hello of this test");
                }
                () = sleep_until(check) => {
                    if let Some(last) = last {
                        answer_repeated(&last.socket)?;
                    }
                    check = Instant::now() + REPEAT_CHECK;
                }
            }
        }
    }

    /// Makes a stream of a hello, answers it, and waits for the next if there is one more.
    pub(crate) fn accept(
        self,
        from: SocketAddr,
        plan: &StreamPlan<'_>,
        spec: StreamSpec,
        more: bool,
    ) -> Result<(Stream, Option<Self>), EngineError> {
        let socket = self
            .socket
            .into_std()
            .map(Socket::from)
            .map_err(EngineError::system("take the socket over"))?;
        let stream = adopt(socket, from, plan, spec)?;
        let next = if more {
            let socket = bind(self.address, self.device.as_deref())?;
            Some(Self { socket, ..self })
        } else {
            None
        };
        reply(&stream.socket).map_err(EngineError::system("answer the hello"))?;
        Ok((stream, next))
    }
}

fn bind(address: SocketAddr, device: Option<&str>) -> Result<UdpSocket, EngineError> {
    let socket = listen(address, device)?;
    let system = EngineError::system;
    socket
        .set_nonblocking(true)
        .map_err(system("make the socket non-blocking"))?;
    UdpSocket::from_std(socket.into()).map_err(system("watch the socket"))
}

/// Answers repeated hellos.
fn answer_repeated(mut socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let mut datagram = [0; 64];
    while let Ok(length) = socket.read(&mut datagram) {
        if is_repeated_hello(&datagram[..length], length) {
            debug!("the reply to a hello was lost");
            reply(socket)?;
        }
    }
    socket.set_nonblocking(false)
}
