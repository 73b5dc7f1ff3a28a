//! SCTP data streams: one association for each, of the one-to-one style, used as if it were a byte stream.
//!
//! Every block is a message. The kernel splits it into packets that fit the path, and returns it in as many parts as
//! the reader's buffer requires, so nothing depends on where messages begin.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Instant;

use iperf_model::Buffers;
use iperf_zc::{sctp, sockopt};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::EngineError;
use crate::net::options::{self, left, set, write_all};
use crate::net::plan::{StreamPlan, StreamSpec};
use crate::stream::Stream;

/// The segment sizes of `-M` that SCTP accepts, in bytes. For a smaller one it keeps its own, as in iperf3.
const SEGMENTS: std::ops::RangeInclusive<u16> = 512..=u16::MAX;

/// How many associations may wait to be accepted. They come one after another.
const BACKLOG: i32 = 128;

/// What a kernel without the protocol answers.
const UNKNOWN_PROTOCOL: [Errno; 2] = [Errno::EPROTONOSUPPORT, Errno::ESOCKTNOSUPPORT];

/// Opens the client's end of a stream and sends `preamble` on it.
pub(crate) fn connect(
    plan: &StreamPlan<'_>,
    address: SocketAddr,
    preamble: &[u8],
    spec: StreamSpec,
    deadline: Instant,
) -> Result<Stream, EngineError> {
    let socket = open(address)?;
    bind(&socket, plan, address)?;
    let buffers = shape(&socket, plan, spec, address.is_ipv4())?;
    if let Some(streams) = plan.local.sctp.streams {
        let result = sctp::set_outgoing_streams(socket.as_fd(), streams);
        set("SCTP_INITMSG", &streams, result)?;
    }
    let target = options::labelled(&socket, plan, address)?;
    let failed = EngineError::connect(&address);
    socket
        .connect_timeout(&target, left(deadline))
        .map_err(&failed)?;
    write_all(&socket, preamble, deadline).map_err(failed)?;
    finish(socket, buffers, spec)
}

/// Opens the socket on which a server waits for associations. It may block: names of `-X` are resolved.
pub fn listen(address: SocketAddr, plan: &StreamPlan<'_>) -> Result<Socket, EngineError> {
    let socket = open(address)?;
    let plan = StreamPlan {
        bind: Some(address),
        ..plan.clone()
    };
    bind(&socket, &plan, address)?;
    // The window advertised to the peer in the handshake of an association is derived from this.
    options::set_window(&socket, &plan)?;
    socket
        .listen(BACKLOG)
        .map_err(EngineError::system("listen for associations"))?;
    Ok(socket)
}

/// Makes a stream of an association that a server accepted. Its preamble has been read.
pub fn adopt(
    socket: Socket,
    plan: &StreamPlan<'_>,
    spec: StreamSpec,
) -> Result<Stream, EngineError> {
    options::make_blocking(&socket)?;
    let v4 = options::peer(&socket)?.ip().to_canonical().is_ipv4();
    let buffers = shape(&socket, plan, spec, v4)?;
    finish(socket, buffers, spec)
}

fn open(address: SocketAddr) -> Result<Socket, EngineError> {
    let domain = Domain::for_address(address);
    Socket::new(domain, Type::STREAM, Some(Protocol::SCTP)).map_err(not_opened)
}

/// Why there is no socket: the kernel may not have the protocol.
fn not_opened(source: io::Error) -> EngineError {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(errno) if UNKNOWN_PROTOCOL.contains(&errno) => EngineError::NoSctp(source),
        _ => EngineError::system("open a socket")(source),
    }
}

/// Binds a socket to the plan's address and to those of `-X`, as far as they are of the peer's family.
fn bind(socket: &Socket, plan: &StreamPlan<'_>, peer: SocketAddr) -> Result<(), EngineError> {
    let mut addresses = local_addresses(plan, peer)?.into_iter();
    let first = StreamPlan {
        bind: addresses.next(),
        ..plan.clone()
    };
    options::bind(socket, &first)?;
    for address in addresses {
        sctp::bind_also(socket.as_fd(), address)
            .map_err(|source| EngineError::Bind { address, source })?;
    }
    Ok(())
}

/// All local addresses, each once, the plan's first. One that is to be any address gives way to those with a name.
fn local_addresses(
    plan: &StreamPlan<'_>,
    peer: SocketAddr,
) -> Result<Vec<SocketAddr>, EngineError> {
    let port = plan.bind.map_or(0, |address| address.port());
    let mut addresses: Vec<SocketAddr> = plan.bind.into_iter().collect();
    if !plan.local.sctp.bind.is_empty() {
        addresses.retain(|address| !address.ip().is_unspecified());
    }
    for name in &plan.local.sctp.bind {
        for address in resolve(plan, name, port, peer)? {
            // With its scope: two links may have the same link-local address.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

/// The addresses of a host that are of the peer's family.
fn resolve(
    plan: &StreamPlan<'_>,
    name: &str,
    port: u16,
    peer: SocketAddr,
) -> Result<Vec<SocketAddr>, EngineError> {
    let mut found: Vec<_> = set(
        "the other local address",
        name,
        (name, port).to_socket_addrs().map(Iterator::collect),
    )?;
    found.retain(|address: &SocketAddr| address.is_ipv4() == peer.is_ipv4());
    if found.is_empty() {
        let text = format!("{name} is of another family than {peer}, and not used (-X)");
        plan.warnings.add(text);
    }
    Ok(found)
}

/// Sets what may be set at any time, and checks what the kernel kept.
fn shape(
    socket: &Socket,
    plan: &StreamPlan<'_>,
    spec: StreamSpec,
    v4: bool,
) -> Result<Buffers, EngineError> {
    if plan.test.socket.no_delay {
        set("SCTP_NODELAY", &1, sctp::set_no_delay(socket.as_fd()))?;
    }
    match plan.test.socket.mss {
        Some(mss) if SEGMENTS.contains(&mss) => {
            let limited = sctp::set_max_segment(socket.as_fd(), mss.into());
            set("SCTP_MAXSEG", &mss, limited)?;
        }
        Some(mss) => {
            let text = format!("segments of {mss} bytes (-M) are too small for SCTP");
            plan.warnings.add(text);
        }
        None => {}
    }
    set(
        "SCTP_DISABLE_FRAGMENTS",
        &0,
        sctp::allow_fragments(socket.as_fd()),
    )?;
    options::set_window(socket, plan)?;
    let mut kept = options::kept(socket, plan)?;
    if spec.role.sends() {
        kept = make_room(socket, plan, kept)?;
    }
    options::set_service(socket, plan, v4)?;
    Ok(kept)
}

/// Raises the send buffer to what a block needs, unless `-w` sets it. A message must fit into it as a whole: the kernel
/// would wait for ever to make room for a longer one.
fn make_room(
    socket: &Socket,
    plan: &StreamPlan<'_>,
    kept: Buffers,
) -> Result<Buffers, EngineError> {
    let mut kept = kept;
    if kept.sndbuf < plan.test.block && plan.test.socket.window.is_none() {
        let raised = sockopt::raise_send_buffer(socket.as_fd(), plan.test.block);
        set("SO_SNDBUF", &plan.test.block, raised)?;
        kept = options::kept(socket, plan)?;
    }
    if kept.sndbuf < plan.test.block {
        return Err(EngineError::BlockTooLong {
            block: plan.test.block,
            window: plan.test.socket.window,
            kept: kept.sndbuf,
        });
    }
    Ok(kept)
}

fn finish(socket: Socket, buffers: Buffers, spec: StreamSpec) -> Result<Stream, EngineError> {
    let info = options::info(&socket, spec)?;
    Ok(Stream::new(info, socket, buffers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::Role;
    use iperf_model::{LocalOptions, TestConfig, Transport};
    use std::time::Duration;

    fn addresses(bind: Option<&str>, more: &[&str]) -> Result<Vec<SocketAddr>, EngineError> {
        let test = TestConfig::new(Transport::Sctp);
        let mut local = LocalOptions::default();
        local.sctp.bind = more.iter().map(ToString::to_string).collect();
        let plan = StreamPlan {
            bind: bind.map(|address| address.parse().unwrap()),
            ..StreamPlan::new(&test, &local)
        };
        local_addresses(&plan, V4)
    }

    const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn local_addresses_come_in_order_and_once() {
        let found = |bind, more: &[&str]| {
            addresses(bind, more)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(found(None, &[]), none);
        assert_eq!(found(Some("0.0.0.0:7"), &[]), ["0.0.0.0:7"]);
        // The other family's addresses do not fit the socket.
        assert_eq!(found(None, &["127.0.0.2", "::1"]), ["127.0.0.2:0"]);
        assert_eq!(
            found(Some("0.0.0.0:7"), &["127.0.0.2", "127.0.0.3", "127.0.0.2"]),
            ["127.0.0.2:7", "127.0.0.3:7"]
        );
        assert_eq!(
            found(Some("127.0.0.1:7"), &["127.0.0.1", "127.0.0.2"]),
            ["127.0.0.1:7", "127.0.0.2:7"]
        );
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let error = addresses(None, &["no host"]).unwrap_err();
        assert!(error.to_string().contains("no host"), "{error}");
    }

    #[test]
    fn the_error_of_a_kernel_without_sctp_names_the_module() {
        for errno in UNKNOWN_PROTOCOL {
            let error = not_opened(errno.into());
            assert!(matches!(error, EngineError::NoSctp(_)), "{error}");
            assert!(error.to_string().contains("module sctp"), "{error}");
        }
        let error = not_opened(Errno::EMFILE.into());
        assert!(!error.to_string().contains("sctp"), "{error}");
    }

    /// The option that the user can change is named, with the user's own number.
    #[test]
    fn a_block_that_the_send_buffer_has_no_room_for_is_an_error() {
        let (mut test, local) = (TestConfig::new(Transport::Sctp), LocalOptions::default());
        test.block = 65_536;
        test.socket.window = Some(8192);
        // make_room only compares and asks for more, so that a socket of another kind will do.
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let kept = Buffers {
            requested: 8192,
            sndbuf: 16_384,
            rcvbuf: 16_384,
        };
        let error = make_room(&socket, &StreamPlan::new(&test, &local), kept).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a block of 65536 bytes (-l) does not fit into the send buffer of 16384 bytes that the kernel keeps for -w 8192"
        );
    }

    #[test]
    #[ignore = "needs SCTP in the kernel: a test of the lab runs it on a kernel that has it"]
    fn an_sctp_stream_carries_its_preamble() {
        const SPEC: StreamSpec = StreamSpec {
            id: 1,
            number: 5,
            role: Role::Sender,
        };
        let (test, local) = (TestConfig::new(Transport::Sctp), LocalOptions::default());
        let plan = StreamPlan::new(&test, &local);
        let deadline = Instant::now() + Duration::from_secs(60);
        let listener = listen("127.0.0.1:0".parse().unwrap(), &plan).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let stream = connect(&plan, address, b"hello", SPEC, deadline).unwrap();
        let accepted = adopt(listener.accept().unwrap().0, &plan, SPEC).unwrap();
        assert_eq!(stream.info.local.port, accepted.info.remote.port);
        let mut bytes = [0; 5];
        std::io::Read::read_exact(&mut &accepted.socket, &mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    }
}
