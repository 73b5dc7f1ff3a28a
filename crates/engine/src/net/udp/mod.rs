//! UDP data streams.
//!
//! A client opens one by sending a hello and waiting for the reply. An iperf3 server gets one hello, since it would
//! count a repeated one as data. For servers of this program the hello has the cookie and is repeated until the reply
//! arrives; they answer each repetition ([`iperf_proto::udp::is_repeated_hello`]) and open no other stream for it.

mod buffers;
mod passage;

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use iperf_model::{Batching, Role};
use iperf_proto::udp::{HELLO, Offered, REPLY, ReplySearch};
use iperf_zc::udp::Receive;
use iperf_zc::{sockopt, udp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracing::debug;

use crate::error::EngineError;
use crate::net::options::{self, set};
use crate::net::plan::{Hello, StreamPlan, StreamSpec};
use crate::net::tcp::round_trip;
pub(crate) use crate::net::udp::buffers::BOOKKEEPING;
use crate::net::udp::buffers::make_room;
use crate::net::udp::passage::choose_passage;
use crate::stream::Stream;

/// The shortest time to wait for a reply before the hello is sent again. Doubled each time, up to [`LAST_PATIENCE`].
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// How often a client that must not repeat its hello looks whether the server has all streams.
const LOOK: Duration = Duration::from_millis(250);

/// How long to wait for a reply before a hello is sent again, by what the control connection shows of the way: two round
/// trips, for the reply takes one.
pub fn hello_patience(control: BorrowedFd<'_>) -> Duration {
    FIRST_PATIENCE.max(2 * round_trip(control))
}

/// Opens the client's end of a stream.
pub(crate) fn connect(
    plan: &StreamPlan<'_>,
    address: SocketAddr,
    cookie: &[u8],
    spec: StreamSpec,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let socket = open(address)?;
    options::bind(&socket, plan)?;
    let target = options::labelled(&socket, plan, address)?;
    let failed = EngineError::connect(&address);
    socket.connect(&target).map_err(&failed)?;
    let stream = finish(socket, plan, spec, address.ip())?;
    let offload = stream.passage.batching == Batching::Packets;
    if offload {
        // A hello longer than a block would leave in pieces.
        segment(&stream.socket, 0)?;
    }
    send_hello(&stream.socket, plan, cookie, spec, deadline).map_err(failed)?;
    if offload {
        segment(&stream.socket, plan.test.block)?;
    }
    Ok(stream)
}

/// Lets the kernel split what is sent into datagrams of this many bytes; 0 turns that off.
fn segment(socket: &Socket, bytes: u32) -> Result<(), EngineError> {
    let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
    set(
        "UDP_SEGMENT",
        &bytes,
        sockopt::set_udp_segment(socket.as_fd(), bytes),
    )
}

/// Opens the socket on which a server waits for the next hello.
pub fn listen(address: SocketAddr, device: Option<&str>) -> Result<Socket, EngineError> {
    let socket = open(address)?;
    // The streams of a test share the port, each connected to its own peer.
    set("SO_REUSEADDR", &1, socket.set_reuse_address(true))?;
    options::bind_device(&socket, device)?;
    options::bind_to(&socket, address)?;
    Ok(socket)
}

/// Makes a stream of a listening socket that got a hello from `peer`. The hello is answered by [`reply`], once the
/// socket for the next one is open.
pub fn adopt(
    socket: Socket,
    peer: SocketAddr,
    plan: &StreamPlan<'_>,
    spec: StreamSpec,
) -> Result<Stream, EngineError> {
    socket
        .connect(&SockAddr::from(peer))
        .map_err(EngineError::connect(&peer))?;
    drop_strays(&socket);
    options::make_blocking(&socket)?;
    finish(socket, plan, spec, peer.ip())
}

/// Answers a hello.
pub fn reply(socket: &Socket) -> io::Result<()> {
    socket.send(&REPLY).map(drop)
}

/// Empties a socket that was open to any sender until now: what arrived before the stream is not part of it. The socket does
/// not block.
fn drop_strays(mut socket: &Socket) {
    // No peer sends as fast as this reads, and the socket takes nothing more from others.
    for _ in 0..MAX_STRAYS {
        if socket
            .read(&mut [0; 1])
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        {
            return;
        }
    }
}

/// The most datagrams that wait in a socket before it has a peer: the smallest take this much of the largest buffer.
const MAX_STRAYS: usize = 1 << 20;

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
    plan: &StreamPlan<'_>,
    spec: StreamSpec,
    peer: IpAddr,
) -> Result<Stream, EngineError> {
    let v4 = peer.is_ipv4();
    options::set_window(&socket, plan)?;
    let buffers = make_room(&socket, plan, spec)?;
    options::set_service(&socket, plan, v4)?;
    if plan.test.socket.dont_fragment && v4 {
        set(
            "IP_MTU_DISCOVER",
            "IP_PMTUDISC_DO",
            sockopt::set_dont_fragment(socket.as_fd()),
        )?;
    }
    let passage = choose_passage(&socket, plan, spec, peer);
    if spec.role == Role::Receiver
        && let Err(error) = sockopt::set_receive_times(socket.as_fd())
    {
        debug!("datagrams come without their time: {error}");
    }
    let info = options::info(&socket, spec)?;
    Ok(Stream {
        // What the output of --gsro reports.
        gso: plan.test.udp.gsro && passage.batching == Batching::Packets,
        gro: plan.test.udp.gsro && passage.receive == Receive::Merged,
        passage,
        ..Stream::new(info, socket, buffers)
    })
}

/// Sends hellos until the server replies.
fn send_hello(
    socket: &Socket,
    plan: &StreamPlan<'_>,
    cookie: &[u8],
    spec: StreamSpec,
    deadline: Instant,
) -> io::Result<()> {
    let mut search = ReplySearch::new(plan.test.block, !spec.role.sends());
    let (hello, mut patience) = match plan.hello {
        Hello::Once | Hello::OnceUntil(_) => (HELLO.to_vec(), LOOK),
        Hello::Repeated(patience) => ([&HELLO[..], cookie].concat(), patience),
    };
    let last_patience = LAST_PATIENCE.max(patience);
    let mut is_lost = true;
    loop {
        // A refusal, here and below, is about the hello before, which then certainly is lost.
        if is_lost
            && let Err(error) = socket.send(&hello)
            && error.kind() != io::ErrorKind::ConnectionRefused
        {
            return Err(error);
        }
        let next = (Instant::now() + patience).min(deadline);
        let answer = await_reply(socket, &mut search, spec, next)?;
        let accepted = match &plan.hello {
            Hello::OnceUntil(accepted) => accepted.load(Ordering::Relaxed),
            Hello::Once | Hello::Repeated(_) => false,
        };
        if answer == Answer::Reply || accepted {
            return socket.set_read_timeout(None);
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        debug!(stream = spec.id, ?answer, "no reply to the hello yet");
        let repeats = matches!(plan.hello, Hello::Repeated(_));
        is_lost = repeats || answer == Answer::Refused;
        if repeats {
            patience = (2 * patience).min(last_patience);
        }
    }
}

/// The outcome of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Reply,
    /// Nothing in time.
    Nothing,
    /// The server's machine reports that nothing listens there yet.
    Refused,
}

/// Waits for the reply.
fn await_reply(
    socket: &Socket,
    search: &mut ReplySearch,
    spec: StreamSpec,
    until: Instant,
) -> io::Result<Answer> {
    let mut datagram = [0; 64];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Answer::Nothing);
        }
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match read_answer(socket, spec, &mut datagram) {
            Ok(None) => return Ok(Answer::Reply),
            Ok(Some(length)) => match search.offer(&datagram[..length]) {
                Offered::Reply => return Ok(Answer::Reply),
                Offered::Wrong => {
                    return Err(io::Error::other("the server's reply to the hello is wrong"));
                }
                Offered::Skipped => {}
            },
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(Answer::Nothing),
                io::ErrorKind::Interrupted => {}
                // Nothing listens there yet: wait as long as for a reply, so that hellos do not flood.
                io::ErrorKind::ConnectionRefused => {
                    std::thread::sleep(left.min(FIRST_PATIENCE));
                    return Ok(Answer::Refused);
                }
                _ => return Err(error),
            },
        }
    }
}

/// Reads a datagram. In reverse mode the first data datagram proves the stream as well as the reply does: `None`. It
/// is only peeked at. Either call may report, and so forget, that an earlier datagram was refused.
fn read_answer(
    mut socket: &Socket,
    spec: StreamSpec,
    datagram: &mut [u8],
) -> io::Result<Option<usize>> {
    if !spec.role.sends() && udp::next_length(socket.as_fd())? > REPLY.len() {
        return Ok(None);
    }
    socket.read(datagram).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::{LocalOptions, TestConfig, Transport};
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread::JoinHandle;

    pub(super) fn config() -> TestConfig {
        TestConfig::new(Transport::Udp)
    }

    pub(super) const SPEC: StreamSpec = StreamSpec {
        id: 1,
        number: 5,
        role: Role::Sender,
    };

    const COOKIE: &[u8; 37] = &[b'c'; 37];

    const REPEATED: Hello = Hello::Repeated(FIRST_PATIENCE);

    /// Opens a stream, within this time.
    fn connect_within(
        limit: Duration,
        address: SocketAddr,
        hello: Hello,
        role: Role,
    ) -> Result<Stream, EngineError> {
        let (test, local) = (config(), LocalOptions::default());
        let plan = StreamPlan {
            hello,
            ..StreamPlan::new(&test, &local)
        };
        let spec = StreamSpec { role, ..SPEC };
        connect(&plan, address, COOKIE, spec, Instant::now() + limit)
    }

    /// A client on a thread of its own.
    fn client_of(
        address: SocketAddr,
        hello: Hello,
        role: Role,
    ) -> JoinHandle<Result<Stream, EngineError>> {
        let limit = Duration::from_secs(20);
        std::thread::spawn(move || connect_within(limit, address, hello, role))
    }

    #[test]
    fn a_lost_hello_is_repeated() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = client_of(address, REPEATED, Role::Sender);
        let mut hello = [0; 64];
        server.recv_from(&mut hello).unwrap();
        let (length, peer) = server.recv_from(&mut hello).unwrap();
        assert_eq!(hello[..length], [&HELLO[..], COOKIE].concat());
        server.send_to(&REPLY, peer).unwrap();
        assert_eq!(client.join().unwrap().unwrap().info.id, 1);
    }

    #[test]
    fn a_server_that_would_count_it_as_data_gets_one_hello() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let accepted = Arc::new(AtomicBool::new(false));
        let hello = Hello::OnceUntil(accepted.clone());
        let client = client_of(address, hello, Role::Sender);
        let mut hello = [0; 64];
        let (length, _) = server.recv_from(&mut hello).unwrap();
        assert_eq!(hello[..length], HELLO);
        server
            .set_read_timeout(Some(Duration::from_millis(1200)))
            .unwrap();
        assert!(server.recv_from(&mut hello).is_err(), "another hello came");
        // The reply is lost, and the server begins.
        accepted.store(true, Ordering::Relaxed);
        assert!(client.join().unwrap().is_ok());
    }

    #[test]
    fn a_hello_that_nothing_can_have_received_is_repeated() {
        let address = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let client = client_of(address, Hello::Once, Role::Sender);
        std::thread::sleep(Duration::from_millis(400));
        let server = UdpSocket::bind(address).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let (_, peer) = server.recv_from(&mut [0; 64]).unwrap();
        server.send_to(&REPLY, peer).unwrap();
        assert!(client.join().unwrap().is_ok());
    }

    #[test]
    fn what_came_before_the_peer_was_known_is_no_part_of_the_stream() {
        let here = "127.0.0.1:0".parse().unwrap();
        let socket = listen(here, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        for socket in [&peer, &stranger, &stranger] {
            socket.send_to(&[0; 1460], address).unwrap();
        }
        let spec = StreamSpec {
            role: Role::Receiver,
            ..SPEC
        };
        let (test, local) = (config(), LocalOptions::default());
        let plan = StreamPlan::new(&test, &local);
        let stream = adopt(socket, peer.local_addr().unwrap(), &plan, spec).unwrap();
        peer.send_to(b"data", address).unwrap();
        let mut datagram = [0; 1460];
        assert_eq!((&stream.socket).read(&mut datagram).unwrap(), 4);
    }

    #[test]
    fn a_server_that_does_not_reply_is_dropped_at_the_deadline() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let limit = Duration::from_millis(300);
        let error = connect_within(limit, address, Hello::Once, Role::Sender).unwrap_err();
        assert_eq!(error.into_io().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn another_answer_is_an_error() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = client_of(address, REPEATED, Role::Sender);
        let (_, peer) = server.recv_from(&mut [0; 16]).unwrap();
        server.send_to(b"nope", peer).unwrap();
        assert!(client.join().unwrap().is_err());
    }

    #[test]
    fn where_the_server_sends_its_data_is_reply_enough() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = client_of(address, Hello::Once, Role::Receiver);
        let (_, peer) = server.recv_from(&mut [0; 16]).unwrap();
        server.send_to(&[0; 1460], peer).unwrap();
        assert!(client.join().unwrap().is_ok());
    }
}
