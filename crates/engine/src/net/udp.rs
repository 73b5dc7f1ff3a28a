//! UDP data streams.
//!
//! A client opens one by sending a hello and waiting for the reply. iperf3 sends it once; we repeat it until the
//! reply comes, and a server answers each repetition ([`is_hello`]) without taking it for another stream.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use iperf_model::Buffers;
use iperf_proto::udp::{HELLO, LEGACY_HELLO, REPLY, ReplySearch};
use iperf_zc::udp::{Take, Way};
use iperf_zc::{sockopt, udp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracing::{debug, warn};

use crate::datagrams::Passage;
use crate::net::options::{self, set};
use crate::net::{StreamPlan, StreamRole};
use crate::{EngineError, Stream, pacer};

/// How long to wait for a reply before the hello is sent again. Doubled each time, up to [`LAST_PATIENCE`].
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// The time that receive buffers should hold at the rate of the test.
const BUFFERED: Duration = Duration::from_millis(10);

/// About what the kernel needs to keep a datagram, besides its payload.
const BOOKKEEPING: u32 = 1280;

/// What the receive buffers of all streams together should hold when the rate is unlimited, in bytes: the time of a
/// sender that fills 50 Gbit/s.
const UNLIMITED_BUFFERS: u32 = 64 << 20;

/// What each of them should hold however many there are and however low the rate is: at low rates it is the time for
/// which a busy machine may leave a receiver waiting. Memory that nothing waits in is not used.
const LARGE_BUFFER: u32 = 4 << 20;

/// What a send buffer should hold when packets have many segments: some of the longest.
const PACKETS_IN_FLIGHT: u32 = 4 * 65_536;

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
    let info = options::info(&socket, role)?;
    Ok(Stream {
        // What the output of --gsro says.
        gso: plan.gsro && passage.way == Way::Offload,
        gro: plan.gsro && passage.take == Take::Joined,
        passage,
        ..Stream::new(info, socket, buffers)
    })
}

/// Raises the buffer of this end's direction to what the test needs, unless `-w` says what it shall be.
fn make_room(socket: &Socket, plan: &StreamPlan, role: StreamRole) -> Result<Buffers, EngineError> {
    let kept = options::kept(socket, plan)?;
    if plan.options.window.is_some() {
        return Ok(kept);
    }
    // The kernel keeps twice what it is asked for, half of it for its own bookkeeping.
    let receive = receive_buffer(plan, role);
    if kept.rcvbuf / 2 < receive {
        let raised = sockopt::raise_receive_buffer(socket.as_fd(), receive);
        set("SO_RCVBUF", &receive, raised)?;
    }
    let send = send_buffer(plan, role);
    if kept.sndbuf / 2 < send {
        let raised = sockopt::raise_send_buffer(socket.as_fd(), send);
        set("SO_SNDBUF", &send, raised)?;
    }
    options::kept(socket, plan)
}

/// Bytes that the receive buffer should hold.
fn receive_buffer(plan: &StreamPlan, role: StreamRole) -> u32 {
    let least = two_datagrams(plan);
    if role.sending {
        return least;
    }
    let by_rate = plan.rate.map_or(u32::MAX, |rate| {
        let bytes = u128::from(rate) / 8 * BUFFERED.as_nanos() / 1_000_000_000;
        let datagrams = u64::try_from(bytes).unwrap_or(u64::MAX) / u64::from(plan.block.max(1));
        let datagrams = datagrams.max(plan.burst.unwrap_or(0).into());
        // Half of what is kept is for bookkeeping, and short datagrams need more.
        let each = plan.block.max(plan.block.midpoint(BOOKKEEPING));
        u32::try_from(datagrams.saturating_mul(each.into())).unwrap_or(u32::MAX)
    });
    let most = (UNLIMITED_BUFFERS / u32::from(plan.streams.max(1))).max(LARGE_BUFFER);
    by_rate.clamp(LARGE_BUFFER, most).max(least)
}

/// Bytes that the send buffer should hold. It is what keeps a sender back when the device is slower, and so must be
/// smaller than the queues before the device: what they have no room for is lost.
fn send_buffer(plan: &StreamPlan, role: StreamRole) -> u32 {
    let least = two_datagrams(plan);
    if role.sending && together(plan) > 1 {
        least.max(PACKETS_IN_FLIGHT)
    } else {
        least
    }
}

/// So that one can come or go while another is made or read.
fn two_datagrams(plan: &StreamPlan) -> u32 {
    2 * plan.block + 1024
}

/// Bytes of the headers of a datagram over IPv4, without options, and over IPv6.
const HEADERS_V4: usize = 20 + 8;
const HEADERS_V6: usize = 40 + 8;

/// Chooses how datagrams go through the kernel, and sets the socket up for it.
///
/// Offload is on where it is asked for, and by itself where many datagrams go together, as far as the kernel has it. A
/// sender's segments must fit the path, for they are never fragments.
fn choose_passage(socket: &Socket, plan: &StreamPlan, role: StreamRole, peer: IpAddr) -> Passage {
    let offloads = || match turn_on_offload(socket, plan, role) {
        Ok(()) => true,
        Err(error) if plan.gsro => {
            warn!("this kernel refuses UDP offload: {error}");
            false
        }
        Err(error) => {
            debug!("no UDP offload here: {error}");
            false
        }
    };
    if role.sending {
        let together = together(plan);
        let wanted = plan.gsro || together > 1 && !plan.no_gso;
        let possible =
            2 * plan.block as usize <= udp::MAX_BYTES && fits_path(socket, plan.block, peer);
        let way = if wanted && possible && offloads() {
            Way::Offload
        } else if together > 1 {
            Way::Batch
        } else {
            Way::Single
        };
        Passage {
            way,
            together,
            ..Passage::default()
        }
    } else {
        // Each header of joined datagrams lies behind a payload, which would have to be copied.
        let headers_do = plan.skip_rx_copy && !plan.gsro;
        let take = if headers_do {
            Take::Header
        } else if (plan.gsro || !plan.no_gso) && offloads() {
            Take::Joined
        } else {
            Take::Whole
        };
        Passage {
            take,
            ..Passage::default()
        }
    }
}

fn turn_on_offload(socket: &Socket, plan: &StreamPlan, role: StreamRole) -> io::Result<()> {
    if role.sending {
        let block = u16::try_from(plan.block).unwrap_or(u16::MAX);
        sockopt::set_udp_segment(socket.as_fd(), block)
    } else {
        sockopt::set_udp_gro(socket.as_fd())
    }
}

/// How many datagrams a sender may hand over at once, so that no burst is longer than those of its pacing.
fn together(plan: &StreamPlan) -> usize {
    let paced = plan
        .rate
        .map(|rate| pacer::quantum(rate, plan.burst, plan.block));
    // The system spreads packets, and one with many segments is one packet.
    let by_system = plan
        .fq_rate
        .map(|rate| pacer::quantum(rate, None, plan.block));
    let least = paced.into_iter().chain(by_system).min();
    least.map_or(usize::MAX, |blocks| blocks as usize)
}

/// Whether a datagram fits into one packet, as far as the kernel knows the path.
fn fits_path(socket: &Socket, block: u32, peer: IpAddr) -> bool {
    // A socket for IPv6 whose peer has an IPv4 address sends IPv4.
    let headers = if peer.to_canonical().is_ipv4() {
        HEADERS_V4
    } else {
        HEADERS_V6
    };
    let mtu = sockopt::path_mtu(socket.as_fd(), peer.is_ipv4());
    // Where the kernel does not say, the first call will.
    mtu.map_or(true, |mtu| block as usize + headers <= mtu)
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
    fn receive_buffers_hold_ten_milliseconds() {
        let receiver = StreamRole {
            sending: false,
            ..ROLE
        };
        let of = |rate, block, streams| {
            let plan = StreamPlan {
                block,
                rate,
                streams,
                ..plan()
            };
            receive_buffer(&plan, receiver)
        };
        assert_eq!(of(Some(10_000_000_000), 1460, 1), 8561 * 1460);
        assert_eq!(of(Some(1_000_000_000), 64, 1), 19_531 * 672);
        assert_eq!(of(Some(1_048_576), 32_768, 1), LARGE_BUFFER);
        assert_eq!(of(None, 1460, 1), UNLIMITED_BUFFERS);
        assert_eq!(of(None, 1460, 4), UNLIMITED_BUFFERS / 4);
        assert_eq!(of(None, 1460, 128), LARGE_BUFFER);
        let sender = StreamPlan {
            rate: None,
            ..plan()
        };
        assert_eq!(receive_buffer(&sender, ROLE), two_datagrams(&sender));
    }

    #[test]
    fn no_more_go_together_than_pacing_allows() {
        let of = |rate, burst, fq_rate| {
            together(&StreamPlan {
                block: 1448,
                rate,
                burst,
                fq_rate,
                ..plan()
            })
        };
        assert_eq!(of(None, None, None), usize::MAX);
        assert_eq!(of(Some(1_000_000_000), None, None), 21);
        assert_eq!(of(Some(10_000_000), None, None), 1);
        assert_eq!(of(Some(10_000_000), Some(7), None), 7);
        assert_eq!(of(None, None, Some(1_000_000_000)), 21);
        assert_eq!(of(Some(1_000_000_000), None, Some(100_000_000)), 2);
    }

    /// The passage of a stream to a socket on loopback.
    fn passage(sending: bool, change: impl FnOnce(&mut StreamPlan)) -> Passage {
        let here = "127.0.0.1:0".parse().unwrap();
        let socket = listen(here, None).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        let mut plan = StreamPlan {
            block: 1448,
            rate: None,
            ..plan()
        };
        change(&mut plan);
        let role = StreamRole { sending, ..ROLE };
        choose_passage(&socket, &plan, role, here.ip())
    }

    #[test]
    fn many_datagrams_that_go_together_are_one_packet_unless_forbidden() {
        let way = |change: fn(&mut StreamPlan)| passage(true, change).way;
        assert_eq!(way(|_| ()), Way::Offload);
        assert_eq!(way(|plan| plan.no_gso = true), Way::Batch);
        assert_eq!(way(|plan| plan.rate = Some(10_000_000)), Way::Single);
        let asked = |plan: &mut StreamPlan| {
            plan.rate = Some(10_000_000);
            plan.gsro = true;
            plan.no_gso = true;
        };
        assert_eq!(way(asked), Way::Offload);
        // Two do not fit.
        assert_eq!(way(|plan| plan.block = 40_000), Way::Batch);
    }

    #[test]
    fn receivers_take_joined_datagrams_unless_headers_do() {
        let take = |change: fn(&mut StreamPlan)| passage(false, change).take;
        assert_eq!(take(|_| ()), Take::Joined);
        assert_eq!(take(|plan| plan.no_gso = true), Take::Whole);
        assert_eq!(take(|plan| plan.skip_rx_copy = true), Take::Header);
    }

    #[test]
    fn segments_longer_than_the_path_takes_are_no_segments() {
        let here = "127.0.0.1:0".parse().unwrap();
        let socket = listen(here, None).unwrap();
        let to = here.ip();
        // Unknown until it is connected.
        assert!(fits_path(&socket, 65_507, to));
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        assert!(fits_path(&socket, 1448, to));
        assert!(
            !fits_path(&socket, 65_536, to),
            "loopback has an MTU of 65536"
        );
    }
}
