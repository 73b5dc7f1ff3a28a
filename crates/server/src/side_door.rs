//! Where streams come in that are of another kind than the control connection, SCTP associations and vsock sockets of
//! messages: a listening socket of their own, for as long as a handshake takes.
//!
//! They begin with the cookie, as a TCP connection does. The runtime has no types for them, but on SCTP sockets of the
//! one-to-one style every call that its TCP types make does the same, and so it is with vsock's two types of sockets.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use iperf_control::spawn_blocking;
use iperf_engine::EngineError;
use iperf_engine::net::{StreamPlan, sctp, vsock};
use iperf_proto::cookie::Cookie;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_vsock::VsockListener;
use tracing::{debug, warn};

use crate::greet::{self, Greeted, Refusals};
use crate::listen::Listener;
use crate::port_permit::PortPermit;
use crate::waiting::{Origin, Waiting};

/// Streams whose cookie is awaited.
const MAX_GREETINGS: usize = 64;

/// How long to leave a listening socket alone that gave an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An open door.
pub(crate) struct SideDoor {
    listener: Listener,
    cookie: Cookie,
    /// Streams without a cookie, by number. They are closed when what is kept here is dropped.
    waiting: Waiting<u64, oneshot::Sender<()>>,
    greetings: JoinSet<(u64, Option<Greeted>)>,
    refusals: Refusals,
    accepted: u64,
    /// A port that there is only one of is taken while this is held.
    _turn: Option<PortPermit>,
}

impl SideDoor {
    /// Opens a door for SCTP on the address that the control connection came to, for those who know its cookie.
    pub(crate) async fn for_sctp(
        address: SocketAddr,
        cookie: Cookie,
        plan: StreamPlan,
        turn: PortPermit,
        refusals: Refusals,
    ) -> Result<Self, EngineError> {
        let watch = EngineError::system("watch the socket");
        // The names of -X may have to be looked up.
        let socket = match spawn_blocking(move || sctp::listen(address, &plan)).await {
            Ok(socket) => socket?,
            Err(error) => return Err(watch(error)),
        };
        let listener = socket
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(socket.into()))
            .map_err(watch)?;
        Ok(Self::new(
            Listener::Tcp(listener),
            cookie,
            Some(turn),
            refusals,
        ))
    }

    /// Opens a door for messages over vsock, and says at which port.
    pub(crate) fn for_messages(
        cid: u32,
        cookie: Cookie,
        plan: &StreamPlan,
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
        turn: Option<PortPermit>,
        refusals: Refusals,
    ) -> Self {
        Self {
            listener,
            cookie,
            waiting: Waiting::new(MAX_GREETINGS),
            greetings: JoinSet::new(),
            refusals,
            accepted: 0,
            _turn: turn,
        }
    }

    /// Waits for the next stream that knows the cookie. One that does not is refused. Nothing is lost when the
    /// caller stops waiting.
    pub(crate) async fn next(&mut self) -> Greeted {
        loop {
            tokio::select! {
                // In this order: what has been read is seen before a newcomer displaces it.
                biased;
                Some(greeted) = self.greetings.join_next() => {
                    let Ok((number, greeted)) = greeted else {
                        continue;
                    };
                    self.waiting.remove(&number);
                    match greeted {
                        Some(greeted) if greeted.cookie == self.cookie => return greeted,
                        Some(greeted) => {
                            debug!("a stream with another cookie");
                            self.refusals.refuse(greeted.stream);
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
                        self.greetings.spawn(async move {
                            let greeted = greet::read_cookie(stream, number, displaced, refusals);
                            (number, greeted.await)
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
    use iperf_model::{LocalOptions, TestConfig, Transport};
    use socket2::{Domain, Protocol, Socket, Type};
    use std::io::{Read, Write};

    fn cookie(byte: u8) -> [u8; Cookie::LEN] {
        let mut bytes = [byte; Cookie::LEN];
        bytes[Cookie::LEN - 1] = 0;
        bytes
    }

    fn knock(address: SocketAddr, cookie: &[u8]) -> Socket {
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
        let turn = PortPermits::new().acquire().await.unwrap();
        let config = TestConfig::new(Transport::Sctp);
        let plan = StreamPlan::new(&config, &LocalOptions::default());
        let local = "127.0.0.1:0".parse().unwrap();
        let ours = Cookie::from_wire(cookie(b'a'));
        let door = SideDoor::for_sctp(local, ours, plan, turn, Refusals::new()).await;
        let mut door = door.unwrap();
        let address = door.listener.address().unwrap();
        let others = spawn_blocking(move || {
            let silent = knock(address, b"");
            let stranger = knock(address, &cookie(b'b'));
            let mut answer = [0];
            (&mut &stranger).read_exact(&mut answer).unwrap();
            let guest = knock(address, &cookie(b'a'));
            (silent, guest, answer)
        });
        let stream = door.next().await.stream;
        let (_silent, guest, answer) = others.await.unwrap();
        let guest = guest.local_addr().unwrap().as_socket().unwrap();
        let peer = stream.socket().peer_addr().unwrap();
        assert_eq!(peer.as_socket().unwrap(), guest);
        assert_eq!(answer, [0xff]);
    }
}
