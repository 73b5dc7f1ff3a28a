//! UDP data streams.
//!
//! A client opens one by sending a hello and waiting for the reply. iperf3 sends it once; we repeat it until the
//! reply comes, and a server answers each repetition ([`is_hello`]) without taking it for another stream.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use iperf_model::Buffers;
use iperf_proto::udp::{HELLO, LEGACY_HELLO, REPLY, ReplySearch};
use iperf_zc::{sockopt, udp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracing::{debug, warn};

use crate::net::options::{self, set};
use crate::net::{StreamPlan, StreamRole};
use crate::{EngineError, Stream};

/// How long to wait for a reply before the hello is sent again. Doubled each time, up to [`LAST_PATIENCE`].
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// The time that socket buffers should hold at the rate of the test.
const BUFFERED: Duration = Duration::from_millis(10);

/// What they should hold when the rate is unlimited, in bytes.
const UNLIMITED_BUFFER: u32 = 4 << 20;

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
    let stream = finish(socket, plan, role, address.is_ipv4())?;
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
    finish(socket, plan, role, peer.is_ipv4())
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
    v4: bool,
) -> Result<Stream, EngineError> {
    options::set_window(&socket, plan)?;
    let buffers = make_room(&socket, plan)?;
    options::set_service(&socket, plan, v4)?;
    if plan.options.dont_fragment && v4 {
        set(
            "IP_MTU_DISCOVER",
            "IP_PMTUDISC_DO",
            sockopt::set_dont_fragment(socket.as_fd()),
        )?;
    }
    let (gso, gro) = offload(&socket, plan, role);
    let info = options::info(&socket, role)?;
    Ok(Stream {
        gso,
        gro,
        ..Stream::new(info, socket, buffers)
    })
}

/// Raises the buffers to what the rate asks for, unless `-w` says what they shall be.
fn make_room(socket: &Socket, plan: &StreamPlan) -> Result<Buffers, EngineError> {
    let kept = options::kept(socket, plan)?;
    if plan.options.window.is_some() {
        return Ok(kept);
    }
    let wanted = wanted_buffer(plan);
    // The kernel keeps twice what it is asked for, half of it for its own bookkeeping.
    if kept.rcvbuf / 2 < wanted {
        let raised = sockopt::raise_receive_buffer(socket.as_fd(), wanted);
        set("SO_RCVBUF", &wanted, raised)?;
    }
    if kept.sndbuf / 2 < wanted {
        set(
            "SO_SNDBUF",
            &wanted,
            sockopt::raise_send_buffer(socket.as_fd(), wanted),
        )?;
    }
    options::kept(socket, plan)
}

/// Bytes that a buffer should hold.
fn wanted_buffer(plan: &StreamPlan) -> u32 {
    let by_rate = plan.rate.map_or(UNLIMITED_BUFFER, |rate| {
        let bytes = u128::from(rate) / 8 * BUFFERED.as_nanos() / 1_000_000_000;
        u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(UNLIMITED_BUFFER)
    });
    // Two datagrams, so that one can come while another is read.
    by_rate.max(2 * plan.block + 1024)
}

/// Turns on the offload that the test asks for and the kernel has.
fn offload(socket: &Socket, plan: &StreamPlan, role: StreamRole) -> (bool, bool) {
    if !plan.gsro {
        return (false, false);
    }
    let result = if role.sending {
        let block = u16::try_from(plan.block).unwrap_or(u16::MAX);
        sockopt::set_udp_segment(socket.as_fd(), block)
    } else {
        sockopt::set_udp_gro(socket.as_fd())
    };
    match result {
        Ok(()) => (role.sending, !role.sending),
        Err(error) => {
            warn!("this kernel refuses UDP offload: {error}");
            (false, false)
        }
    }
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

    fn plan() -> StreamPlan {
        StreamPlan::new(&TestConfig::new(Transport::Udp), &LocalOptions::default())
    }

    const ROLE: StreamRole = StreamRole {
        id: 1,
        sending: true,
    };

    #[test]
    fn a_lost_hello_is_said_again() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = std::thread::spawn(move || {
            connect(
                &plan(),
                address,
                ROLE,
                Instant::now() + Duration::from_secs(20),
            )
        });
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
        let client = std::thread::spawn(move || {
            connect(
                &plan(),
                address,
                ROLE,
                Instant::now() + Duration::from_secs(20),
            )
        });
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

    #[test]
    fn buffers_follow_the_rate() {
        let with = |rate, block| StreamPlan {
            block,
            rate,
            ..plan()
        };
        assert_eq!(wanted_buffer(&with(Some(1_000_000_000), 1460)), 1_250_000);
        assert_eq!(wanted_buffer(&with(Some(1_048_576), 32_768)), 66_560);
        assert_eq!(wanted_buffer(&with(None, 1460)), UNLIMITED_BUFFER);
    }
}
