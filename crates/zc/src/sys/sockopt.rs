//! Socket options and queries, one function each: through nix where it has them, else through the calls below.

use std::io;
use std::mem::size_of;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use iperf_model::ByteRate;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{
    RcvBuf, RcvBufForce, ReceiveTimestampns, SndBuf, SndBufForce, UdpGroSegment, UdpGsoSegment,
};

/// Sets an option whose value is plain old data.
pub(crate) fn set<T: Copy>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the borrow's lifetime, and the kernel only reads `length` bytes from
    // `value`, which is exactly its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads an option into `value`, whose length is the most that the kernel may write; returns how many bytes it wrote.
pub(crate) fn read(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &mut [u8],
) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the borrow's lifetime; `value` is writable for `length` bytes, which is all
    // that the kernel writes, and any bytes are valid in it; `length` is a live socklen_t.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).unwrap_or(0).min(value.len()))
}

/// Reads an option that is an `int`.
pub(crate) fn read_int(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<libc::c_int> {
    let mut value = [0; size_of::<libc::c_int>()];
    read(socket, level, name, &mut value)?;
    Ok(libc::c_int::from_ne_bytes(value))
}

/// Lets the kernel pace a socket (`SO_MAX_PACING_RATE`, 64 bits since Linux 4.20; TCP paces itself, UDP needs the fq
/// queueing discipline).
pub fn set_max_pacing_rate(socket: BorrowedFd<'_>, rate: ByteRate) -> io::Result<()> {
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_MAX_PACING_RATE,
        &rate.bytes(),
    )
}

/// Lets receiving calls poll the network card for this long before they sleep (`SO_BUSY_POLL`). More than the system's
/// default takes a privilege.
pub fn set_busy_poll(socket: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    let micros = libc::c_int::try_from(time.as_micros()).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &micros)
}

/// `struct in6_flowlabel_req` of linux/in6.h.
#[derive(Clone, Copy)]
#[repr(C)]
struct FlowLabelRequest {
    destination: [u8; 16],
    /// Big-endian.
    label: u32,
    action: u8,
    share: u8,
    flags: u16,
    expires: u16,
    linger: u16,
    padding: u32,
}

/// `IPV6_FL_A_GET`, linux/in6.h.
const FLOW_LABEL_GET: u8 = 0;
/// `IPV6_FL_S_ANY`: other sockets may have the label too, as the streams of a test do.
const FLOW_LABEL_SHARED: u8 = 255;
/// `IPV6_FL_F_CREATE`: make the label if it does not exist.
const FLOW_LABEL_CREATE: u16 = 1;

/// Makes a socket send the IPv6 flow label `label` (20 bits) to `destination`. The connection's `sockaddr_in6`
/// must then carry the label too.
pub fn set_flow_label(socket: BorrowedFd<'_>, destination: Ipv6Addr, label: u32) -> io::Result<()> {
    let request = FlowLabelRequest {
        destination: destination.octets(),
        label: (label & 0x000f_ffff).to_be(),
        action: FLOW_LABEL_GET,
        share: FLOW_LABEL_SHARED,
        flags: FLOW_LABEL_CREATE,
        expires: 0,
        linger: 0,
        padding: 0,
    };
    set(
        socket,
        libc::IPPROTO_IPV6,
        libc::IPV6_FLOWLABEL_MGR,
        &request,
    )?;
    set::<libc::c_int>(socket, libc::IPPROTO_IPV6, libc::IPV6_FLOWINFO_SEND, &1)
}

/// Lets one call carry many datagrams of `bytes` bytes each (`UDP_SEGMENT`, Linux 4.18).
pub fn set_udp_segment(socket: BorrowedFd<'_>, bytes: u16) -> io::Result<()> {
    Ok(setsockopt(&socket, UdpGsoSegment, &bytes.into())?)
}

/// Lets one call return many datagrams (`UDP_GRO`, Linux 5.0).
pub fn set_udp_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, UdpGroSegment, &true)?)
}

/// Attaches to each datagram the time at which the kernel got it (`SO_TIMESTAMPNS`, Linux 2.6.22).
pub fn set_receive_times(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, ReceiveTimestampns, &true)?)
}

/// Forbids the fragmentation of IPv4 datagrams (`IP_MTU_DISCOVER`); ones that are too long are then refused.
pub fn set_dont_fragment(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(
        socket,
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        &libc::IP_PMTUDISC_DO,
    )
}

/// The largest packet, with its headers, that the path of a connected socket is known to take, in bytes (`IP_MTU`,
/// `IPV6_MTU`).
pub fn path_mtu(socket: BorrowedFd<'_>, v4: bool) -> io::Result<usize> {
    let (level, name) = if v4 {
        (libc::IPPROTO_IP, libc::IP_MTU)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU)
    };
    let mtu = read_int(socket, level, name)?;
    Ok(usize::try_from(mtu).unwrap_or(0))
}

/// The options of buffers are ints.
const LARGEST_BUFFER: u32 = i32::MAX.cast_unsigned();

/// Raises the receive buffer to `bytes`, beyond `net.core.rmem_max` where this process may (`SO_RCVBUFFORCE`).
pub fn raise_receive_buffer(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    let bytes = bytes.min(LARGEST_BUFFER) as usize;
    setsockopt(&socket, RcvBufForce, &bytes).or_else(|_| setsockopt(&socket, RcvBuf, &bytes))?;
    Ok(())
}

/// Raises the send buffer to `bytes`, beyond `net.core.wmem_max` where this process may (`SO_SNDBUFFORCE`).
pub fn raise_send_buffer(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    let bytes = bytes.min(LARGEST_BUFFER) as usize;
    setsockopt(&socket, SndBufForce, &bytes).or_else(|_| setsockopt(&socket, SndBuf, &bytes))?;
    Ok(())
}

/// Lets a blocking read sleep until `bytes` bytes have arrived (`SO_RCVLOWAT`); the kernel lowers the value if its
/// buffers are small.
pub fn set_receive_low_water(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &bytes)
}

/// The low-water mark in bytes, as the kernel has it.
pub fn receive_low_water(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let bytes = read_int(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT)?;
    u32::try_from(bytes).map_err(io::Error::other)
}

/// `SO_MEMINFO`, asm-generic/socket.h (Linux 4.12).
const SO_MEMINFO: libc::c_int = 55;
/// `SK_MEMINFO_VARS` and the indices of what is read among them, linux/sock_diag.h.
const MEMINFO_VARS: usize = 9;
const MEMINFO_RMEM_ALLOC: usize = 0;
const MEMINFO_WMEM_QUEUED: usize = 5;
const MEMINFO_DROPS: usize = 8;

/// Reads how a socket uses its memory.
fn memory(socket: BorrowedFd<'_>) -> io::Result<[u32; MEMINFO_VARS]> {
    let mut bytes = [0; size_of::<[u32; MEMINFO_VARS]>()];
    read(socket, libc::SOL_SOCKET, SO_MEMINFO, &mut bytes)?;
    let mut values = [0; MEMINFO_VARS];
    for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(size_of::<u32>())) {
        *value = bytes.try_into().map_or(0, u32::from_ne_bytes);
    }
    Ok(values)
}

/// Datagrams that the kernel dropped at this socket, because its receive buffer was full or their checksum was wrong
/// (`sk_drops`). It is the number that `SO_RXQ_OVFL` attaches to datagrams, read only when it is needed. Merged datagrams (`UDP_GRO`) count once. Modulo 2^32.
pub fn dropped_datagrams(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(memory(socket)?[MEMINFO_DROPS])
}

/// Bytes of memory that hold what was received and not yet read. Never less than the data.
pub fn received_memory(socket: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(memory(socket)?[MEMINFO_RMEM_ALLOC] as usize)
}

/// Bytes of memory that hold what was written and not yet acknowledged. Never less than the data, and 0 without any.
pub fn queued_memory(socket: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(memory(socket)?[MEMINFO_WMEM_QUEUED] as usize)
}

/// Reads a number of bytes with an ioctl that writes one int.
fn queue_length(socket: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for the borrow's lifetime; FIONREAD and TIOCOUTQ (SIOCOUTQ) write one int,
    // and `bytes` is one.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Bytes that were written and that the peer has not acknowledged (`SIOCOUTQ`).
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<usize> {
    queue_length(socket, libc::TIOCOUTQ)
}

/// Bytes that were received and not yet read (`FIONREAD`).
pub fn readable(socket: BorrowedFd<'_>) -> io::Result<usize> {
    queue_length(socket, libc::FIONREAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    #[test]
    fn queues_are_counted_on_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(&[0; 321]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while unacknowledged(client.as_fd()).unwrap() > 0 {
            assert!(Instant::now() < deadline, "loopback never acknowledged");
        }
        assert_eq!(readable(server.as_fd()).unwrap(), 321);
        assert!(received_memory(server.as_fd()).unwrap() >= 321);
        assert_eq!(queued_memory(client.as_fd()).unwrap(), 0);
        assert_eq!(received_memory(client.as_fd()).unwrap(), 0);
    }

    #[test]
    fn the_kernel_keeps_the_pacing_rate_that_is_set() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut rate = [0; 8];
        let length = read(
            socket.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            &mut rate,
        );
        assert_eq!((length.unwrap(), u64::from_ne_bytes(rate)), (8, u64::MAX));
        // More than 32 bits hold.
        set_max_pacing_rate(socket.as_fd(), ByteRate::new(10_000_000_000)).unwrap();
        read(
            socket.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            &mut rate,
        )
        .unwrap();
        assert_eq!(u64::from_ne_bytes(rate), 10_000_000_000);
    }

    #[test]
    fn datagrams_that_find_no_room_are_counted() {
        use std::net::UdpSocket;
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let room = socket2::SockRef::from(&receiver)
            .recv_buffer_size()
            .unwrap();
        let count = u32::try_from(room / 1000 + 1).unwrap();
        for _ in 0..count {
            sender.send(&[0; 1000]).unwrap();
        }
        receiver.set_nonblocking(true).unwrap();
        let mut came = 0;
        while receiver.recv(&mut [0; 1000]).is_ok() {
            came += 1;
        }
        assert_eq!(came + dropped_datagrams(receiver.as_fd()).unwrap(), count);
    }

    #[test]
    fn buffers_are_raised() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let sockets = socket2::SockRef::from(&socket);
        let before = sockets.recv_buffer_size().unwrap();
        raise_receive_buffer(socket.as_fd(), u32::try_from(before).unwrap()).unwrap();
        raise_send_buffer(socket.as_fd(), 100_000).unwrap();
        assert!(sockets.recv_buffer_size().unwrap() >= before);
        assert!(sockets.send_buffer_size().unwrap() >= 100_000);
    }

    #[test]
    fn flow_label_is_taken_on_ipv6_and_refused_on_ipv4() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(set_flow_label(v4.as_fd(), Ipv6Addr::LOCALHOST, 5).is_err());
        let v6 = TcpListener::bind("[::1]:0").unwrap();
        set_flow_label(v6.as_fd(), Ipv6Addr::LOCALHOST, 5).unwrap();
    }
}
