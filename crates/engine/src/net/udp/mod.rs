//! UDP data streams.
//!
//! A client opens one by sending a hello and waiting for the reply. iperf3 sends it once; we repeat it until the
//! reply comes, and a server answers each repetition ([`is_hello`]) without taking it for another stream.

mod buffers;
mod passage;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use iperf_proto::udp::{HELLO, LEGACY_HELLO, REPLY, ReplySearch};
use iperf_zc::udp::{Take, Way};
use iperf_zc::{sockopt, udp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracing::debug;

use crate::error::EngineError;
use crate::net::options::{self, set};
pub(crate) use crate::net::udp::buffers::BOOKKEEPING;
use crate::net::udp::buffers::make_room;
use crate::net::udp::passage::choose_passage;
use crate::net::{StreamPlan, StreamRole};
use crate::stream::Stream;

/// How long to wait for a reply before the hello is sent again. Doubled each time, up to [`LAST_PATIENCE`].
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Opens the client's end of a stream.
pub(crate) fn connect(
    plan: &StreamPlan,
    address: SocketAddr,
    role: StreamRole,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let socket = open(address)?;
    options::bind(&socket, plan)?;
    let target = options::labelled(&socket, plan, address)?;
    let failed = |source| EngineError::Connect {
        address: address.to_string(),
        source,
    };
    socket.connect(&target).map_err(failed)?;
    let stream = finish(socket, plan, role, address.ip())?;
    greet(&stream.socket, plan, role, deadline).map_err(failed)?;
    Ok(stream)
}

/// Opens the socket on which a server waits for the next hello.
pub fn listen(address: SocketAddr, device: Option<&str>) -> Result<Socket, EngineError> {
    let socket = open(address)?;
    // The streams of a test share the port, each connected to its own peer.
    set("SO_REUSEADDR", &1, socket.set_reuse_address(true))?;
    if let Some(device) = device {
        set(
            "SO_BINDTODEVICE",
            device,
            socket.bind_device(Some(device.as_bytes())),
        )?;
    }
    socket
        .bind(&SockAddr::from(address))
        .map_err(|source| EngineError::Bind { address, source })?;
    Ok(socket)
}

/// Makes a stream of a listening socket that got a hello from `peer`. The hello is answered by [`reply`], once the
/// socket for the next one stands.
pub fn adopt(
    socket: Socket,
    peer: SocketAddr,
    plan: &StreamPlan,
    role: StreamRole,
) -> Result<Stream, EngineError> {
    socket
        .connect(&SockAddr::from(peer))
        .map_err(|source| EngineError::Connect {
            address: peer.to_string(),
            source,
        })?;
    socket
        .set_nonblocking(false)
        .map_err(EngineError::system("make the socket blocking"))?;
    finish(socket, plan, role, peer.ip())
}

/// Answers a hello.
pub fn reply(socket: &Socket) -> io::Result<()> {
    socket.send(&REPLY).map(drop)
}

/// Whether a datagram is a hello, of any version.
pub fn is_hello(datagram: &[u8]) -> bool {
    datagram == HELLO || datagram == LEGACY_HELLO
}

fn open(address: SocketAddr) -> Result<Socket, EngineError> {
    Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )
    .map_err(EngineError::system("open a socket"))
}

fn finish(
    socket: Socket,
    plan: &StreamPlan,
    role: StreamRole,
    peer: IpAddr,
) -> Result<Stream, EngineError> {
    let v4 = peer.is_ipv4();
    options::set_window(&socket, plan)?;
    let buffers = make_room(&socket, plan, role)?;
    options::set_service(&socket, plan, v4)?;
    if plan.options.dont_fragment && v4 {
        set(
            "IP_MTU_DISCOVER",
            "IP_PMTUDISC_DO",
            sockopt::set_dont_fragment(socket.as_fd()),
        )?;
    }
    let passage = choose_passage(&socket, plan, role, peer);
    if !role.sending
        && let Err(error) = sockopt::set_receive_times(socket.as_fd())
    {
        debug!("datagrams come without their time: {error}");
    }
    let info = options::info(&socket, role)?;
    Ok(Stream {
        // What the output of --gsro says.
        gso: plan.gsro && passage.way == Way::Offload,
        gro: plan.gsro && passage.take == Take::Joined,
        passage,
        ..Stream::new(info, socket, buffers)
    })
}

/// Says hello until the server replies.
fn greet(
    socket: &Socket,
    plan: &StreamPlan,
    role: StreamRole,
    deadline: Instant,
) -> io::Result<()> {
    let mut search = ReplySearch::new(plan.block, !role.sending);
    let mut patience = FIRST_PATIENCE;
    loop {
        // A refusal, here and below, may be about an earlier datagram; the next hello tells.
        if let Err(error) = socket.send(&HELLO)
            && error.kind() != io::ErrorKind::ConnectionRefused
        {
            return Err(error);
        }
        let next = (Instant::now() + patience).min(deadline);
        if await_reply(socket, &mut search, role, next)? {
            return socket.set_read_timeout(None);
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        debug!(stream = role.id, "no reply to the hello yet");
        patience = (2 * patience).min(LAST_PATIENCE);
    }
}

/// Waits for the reply; false when it has not come in time.
fn await_reply(
    socket: &Socket,
    search: &mut ReplySearch,
    role: StreamRole,
    until: Instant,
) -> io::Result<bool> {
    let mut datagram = [0; 64];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        // Where the server sends, its data says as well as the reply that the stream stands. It stays where it is.
        let length = udp::next_length(socket.as_fd());
        if !role.sending && length.is_ok_and(|length| length > REPLY.len()) {
            return Ok(true);
        }
        match io::Read::read(&mut &*socket, &mut datagram) {
            Ok(length) => match search.offer(&datagram[..length]) {
                Some(true) => return Ok(true),
                Some(false) => {
                    return Err(io::Error::other("the server's reply to the hello is wrong"));
                }
                None => {}
            },
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(false),
                io::ErrorKind::Interrupted => {}
                // Nobody listens there yet: wait for the rest of the patience, so that hellos do not flood.
                io::ErrorKind::ConnectionRefused => {
                    std::thread::sleep(left.min(FIRST_PATIENCE));
                    return Ok(false);
                }
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::{LocalOptions, TestConfig, Transport};
    use std::net::UdpSocket;
    use std::thread::JoinHandle;

    pub(super) fn plan() -> StreamPlan {
        StreamPlan::new(&TestConfig::new(Transport::Udp), &LocalOptions::default())
    }

    pub(super) const ROLE: StreamRole = StreamRole {
        id: 1,
        number: 5,
        sending: true,
    };

    /// A client that says hello there, on a thread of its own.
    fn client_of(address: SocketAddr) -> JoinHandle<Result<Stream, EngineError>> {
        let deadline = Instant::now() + Duration::from_secs(20);
        std::thread::spawn(move || connect(&plan(), address, ROLE, deadline))
    }

    #[test]
    fn a_lost_hello_is_said_again() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = client_of(address);
        let mut hello = [0; 16];
        server.recv_from(&mut hello).unwrap();
        let (length, peer) = server.recv_from(&mut hello).unwrap();
        assert!(is_hello(&hello[..length]));
        server.send_to(&REPLY, peer).unwrap();
        assert_eq!(client.join().unwrap().unwrap().info.id, 1);
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up_at_the_deadline() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let deadline = Instant::now() + Duration::from_millis(300);
        let error = connect(&plan(), server.local_addr().unwrap(), ROLE, deadline).unwrap_err();
        assert_eq!(error.source_io().unwrap().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn another_answer_is_an_error() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = client_of(address);
        let (_, peer) = server.recv_from(&mut [0; 16]).unwrap();
        server.send_to(b"nope", peer).unwrap();
        assert!(client.join().unwrap().is_err());
    }

    #[test]
    fn where_the_server_sends_its_data_is_reply_enough() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let role = StreamRole {
            id: 1,
            number: 5,
            sending: false,
        };
        let client = std::thread::spawn(move || {
            connect(
                &plan(),
                address,
                role,
                Instant::now() + Duration::from_secs(20),
            )
        });
        let (_, peer) = server.recv_from(&mut [0; 16]).unwrap();
        server.send_to(&[0; 1460], peer).unwrap();
        assert!(client.join().unwrap().is_ok());
    }
}
