//! Accepts data streams whose kind differs from the control connection's (SCTP, vsock messages), on a separate
//! listening socket that lives as long as the handshake.
//!
//! They begin with the cookie, as TCP connections do. The runtime has no types for them, but its TCP types' calls do
//! the same on one-to-one SCTP sockets, and its vsock types' calls on both types of vsock sockets.

use std::os::fd::OwnedFd;
use std::time::Duration;

use iperf_engine::EngineError;
use iperf_engine::net::{StreamPlan, vsock};
use iperf_proto::cookie::Cookie;
use socket2::Socket;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_vsock::VsockListener;
use tracing::{debug, warn};

use crate::identify::{self, Identified, Refusals};
use crate::listen::Listener;
use crate::port_permit::PortPermit;
use crate::waiting::{Origin, Waiting};

/// Streams whose cookie is awaited.
const MAX_UNIDENTIFIED: usize = 64;

/// How long to leave a listening socket alone that gave an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket for the streams of one test.
pub(crate) struct DataListener {
    listener: Listener,
    cookie: Cookie,
    /// Streams without a cookie, by number. They are closed when what is kept here is dropped.
    waiting: Waiting<u64, oneshot::Sender<()>>,
    unidentified: JoinSet<(u64, Option<Identified>)>,
    refusals: Refusals,
    accepted: u64,
    /// Keeps other handshakes off the port.
    _permit: Option<PortPermit>,
}

impl DataListener {
    /// Accepts SCTP streams with the cookie of a test from a listening socket.
    pub(crate) fn for_sctp(
        socket: Socket,
        cookie: Cookie,
        permit: PortPermit,
        refusals: Refusals,
    ) -> Result<Self, EngineError> {
        let listener = socket
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(socket.into()))
            .map_err(EngineError::system("watch the socket"))?;
        Ok(Self::new(
            Listener::Tcp(listener),
            cookie,
            Some(permit),
            refusals,
        ))
    }

    /// Listens for messages over vsock; the port is returned.
    pub(crate) fn for_messages(
        cid: u32,
        cookie: Cookie,
        plan: &StreamPlan<'_>,
        refusals: Refusals,
    ) -> Result<(Self, u32), EngineError> {
        let (socket, port) = vsock::listen_for_messages(cid, plan)?;
        let listener = VsockListener::from(OwnedFd::from(socket));
        let listener = Listener::Vsock(listener);
        Ok((Self::new(listener, cookie, None, refusals), port))
    }

    fn new(
        listener: Listener,
        cookie: Cookie,
        permit: Option<PortPermit>,
        refusals: Refusals,
    ) -> Self {
        Self {
            listener,
            cookie,
            waiting: Waiting::new(MAX_UNIDENTIFIED),
            unidentified: JoinSet::new(),
            refusals,
            accepted: 0,
            _permit: permit,
        }
    }

    /// Waits for the next stream with the cookie. Others are refused. Nothing is lost when the caller stops waiting.
    pub(crate) async fn next(&mut self) -> Identified {
        loop {
            tokio::select! {
                // In this order: what has been read is seen before a newcomer displaces it.
                biased;
                Some(identified) = self.unidentified.join_next() => {
                    let Ok((number, identified)) = identified else {
                        continue;
                    };
                    self.waiting.remove(&number);
                    match identified {
                        Some(identified) if identified.cookie == self.cookie => return identified,
                        Some(identified) => {
                            debug!("a stream with another cookie");
                            self.refusals.refuse(identified.stream);
                        }
                        None => {}
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        self.accepted += 1;
                        let number = self.accepted;
                        let (entry, displaced) = oneshot::channel();
                        self.waiting.insert(number, Origin::of(&peer), entry);
                        let refusals = self.refusals.clone();
                        self.unidentified.spawn(async move {
                            let identified = identify::read_cookie(stream, number, displaced, refusals);
                            (number, identified.await)
                        });
                    }
                    Err(error) => {
                        warn!(%error, "can't accept a stream");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port_permit::PortPermits;
    use iperf_control::spawn_blocking;
    use iperf_engine::net::sctp;
    use iperf_model::{LocalOptions, TestConfig, Transport};
    use socket2::{Domain, Protocol, Socket, Type};
    use std::io::{Read, Write};
    use std::net::SocketAddr;

    fn cookie(byte: u8) -> [u8; Cookie::LEN] {
        let mut bytes = [byte; Cookie::LEN];
        bytes[Cookie::LEN - 1] = 0;
        bytes
    }

    fn connect(address: SocketAddr, cookie: &[u8]) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket.connect(&address.into()).unwrap();
        (&mut &socket).write_all(cookie).unwrap();
        socket
    }

    #[tokio::test]
    #[ignore = "needs SCTP in the kernel: a test of the lab runs it on a kernel that has it"]
    async fn an_sctp_listener_accepts_only_streams_with_the_cookie_of_the_test() {
        let permit = PortPermits::new().acquire().await.unwrap();
        let config = TestConfig::new(Transport::Sctp);
        let options = LocalOptions::default();
        let plan = StreamPlan::new(&config, &options);
        let local = "127.0.0.1:0".parse().unwrap();
        let ours = Cookie::from_wire(cookie(b'a'));
        let socket = sctp::listen(local, &plan).unwrap();
        let mut listener = DataListener::for_sctp(socket, ours, permit, Refusals::new()).unwrap();
        let bound = listener.listener.address().unwrap();
        let address = bound.as_socket().unwrap();
        let others = spawn_blocking(move || {
            let silent = connect(address, b"");
            let stranger = connect(address, &cookie(b'b'));
            let mut answer = [0];
            (&mut &stranger).read_exact(&mut answer).unwrap();
            let client = connect(address, &cookie(b'a'));
            (silent, client, answer)
        });
        let stream = listener.next().await.stream;
        let (_silent, client, answer) = others.await.unwrap();
        let client = client.local_addr().unwrap().as_socket().unwrap();
        let peer = stream.socket().peer_addr().unwrap();
        assert_eq!(peer.as_socket().unwrap(), client);
        assert_eq!(answer, [0xff]);
    }
}
