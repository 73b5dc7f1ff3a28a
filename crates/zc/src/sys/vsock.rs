//! What vsock sockets need beyond safe wrappers: addresses with flags, and buffer sizes of 64 bits.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::sys::sockopt;

/// `SO_VM_SOCKETS_BUFFER_SIZE`, `_MIN_SIZE` and `_MAX_SIZE`, linux/vm_sockets.h.
const BUFFER_SIZE: libc::c_int = 0;
const BUFFER_MAX_SIZE: libc::c_int = 2;
/// `SO_VM_SOCKETS_CONNECT_TIMEOUT` for 64-bit time: the one of Linux before 5.12 where `timeval` already has 64 bits.
const CONNECT_TIMEOUT: libc::c_int = 6;

/// The host passes the connection on to another guest (`VMADDR_FLAG_TO_HOST`, Linux 5.11).
const FLAG_TO_HOST: u8 = 1;

/// `struct sockaddr_vm` of linux/vm_sockets.h. The libc crate has it without its flags.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct SockaddrVm {
    family: libc::sa_family_t,
    reserved: u16,
    port: u32,
    cid: u32,
    flags: u8,
    zero: [u8; 3],
}

const _: () = assert!(size_of::<SockaddrVm>() == size_of::<libc::sockaddr_vm>());

/// Begins to connect a vsock socket; with a non-blocking one the answer is `EINPROGRESS`.
pub fn connect(socket: BorrowedFd<'_>, cid: u32, port: u32, to_host: bool) -> io::Result<()> {
    let family = libc::sa_family_t::try_from(libc::AF_VSOCK).map_err(io::Error::other)?;
    let flags = if to_host { FLAG_TO_HOST } else { 0 };
    let address = SockaddrVm {
        family,
        reserved: 0,
        port,
        cid,
        flags,
        zero: [0; 3],
    };
    let length = libc::socklen_t::try_from(size_of::<SockaddrVm>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the borrow's lifetime; `address` lives across the call, has the layout of
    // sockaddr_vm (its size is asserted above) and is only read, for exactly its length.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The CID of this machine, from the kernel's first transport that has one (`IOCTL_VM_SOCKETS_GET_LOCAL_CID`). Needs
/// permission to open `/dev/vsock`.
pub fn local_cid() -> io::Result<u32> {
    // _IO(7, 0xb9), linux/vm_sockets.h.
    const GET_LOCAL_CID: libc::Ioctl = 0x7b9;
    let device = File::open("/dev/vsock")?;
    let mut cid = 0_u32;
    // SAFETY: the descriptor is open across the call, and the request writes one u32, which `cid` has room for.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), GET_LOCAL_CID, &raw mut cid) };
    if result == 0 {
        Ok(cid)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How long a blocking connect may take (`SO_VM_SOCKETS_CONNECT_TIMEOUT`; default 2 s).
pub fn set_connect_timeout(socket: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    let seconds = libc::c_long::try_from(limit.as_secs()).unwrap_or(libc::c_long::MAX);
    let micros = libc::c_long::from(limit.subsec_micros().cast_signed());
    set(
        socket,
        CONNECT_TIMEOUT,
        libc::timeval {
            tv_sec: seconds,
            tv_usec: micros,
        },
    )
}

/// Sets the buffer size of a socket in bytes, after raising its limit if necessary.
pub fn set_buffer_size(socket: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    if buffer_max_size(socket)? < bytes {
        set(socket, BUFFER_MAX_SIZE, bytes)?;
    }
    set(socket, BUFFER_SIZE, bytes)
}

/// The buffer size that the kernel keeps, in bytes.
pub fn buffer_size(socket: BorrowedFd<'_>) -> io::Result<u64> {
    get(socket, BUFFER_SIZE)
}

fn buffer_max_size(socket: BorrowedFd<'_>) -> io::Result<u64> {
    get(socket, BUFFER_MAX_SIZE)
}

fn set<T: Copy>(socket: BorrowedFd<'_>, option: libc::c_int, value: T) -> io::Result<()> {
    sockopt::set(socket, libc::AF_VSOCK, option, &value)
}

fn get(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<u64> {
    let mut value = [0; size_of::<u64>()];
    sockopt::read(socket, libc::AF_VSOCK, option, &mut value)?;
    Ok(u64::from_ne_bytes(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::os::fd::AsFd;

    #[test]
    fn buffers_grow_beyond_the_usual_limit() {
        let socket = Socket::new(Domain::VSOCK, Type::STREAM, None).unwrap();
        set_buffer_size(socket.as_fd(), 8 << 20).unwrap();
        assert_eq!(buffer_size(socket.as_fd()).unwrap(), 8 << 20);
    }

    #[test]
    fn a_reserved_cid_is_refused() {
        let socket = Socket::new(Domain::VSOCK, Type::STREAM, None).unwrap();
        // CID 0 is reserved for the hypervisor, and no transport reaches it.
        assert!(connect(socket.as_fd(), 0, 1, false).is_err());
    }
}
