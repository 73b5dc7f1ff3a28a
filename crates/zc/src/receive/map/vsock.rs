//! Receiving from vsock by mapping: `mmap` of the socket, `getsockopt(SO_VM_SOCKETS_MAP_RX)`,
//! `madvise(MADV_DONTNEED)`.
//!
//! No stock kernel has these calls. The receiver first tries them as options of the kernel, then requests them from the
//! device of this project's kernel module, which adds them to one socket; otherwise it copies and reports why.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::errno::Errno;

use crate::Moved;
use crate::account::{Fallback, Report, errno};
use crate::guest;
use crate::receive::map::fallback::{CopyFallback, wait_readable};
use crate::receive::map::options::MapOptions;
use crate::receive::{BlockCount, ReceiveMover, flags};
use crate::socket_kind::SocketKind;
use crate::sys::vsock_zerocopy::{self, PacketMapping};
use crate::verify::Verifier;

/// Receives from vsock by mapping.
pub(crate) struct VsockMapReceiver {
    /// `None` once mapping has stopped.
    mapping: Option<PacketMapping>,
    count: BlockCount,
    copying: CopyFallback,
    /// Bytes that were read and not mapped; the module copied the rest of the copied bytes.
    read: u64,
    /// See [`MapOptions::senders_pages`].
    senders_pages: bool,
}

impl VsockMapReceiver {
    pub(crate) fn new(
        socket: BorrowedFd<'_>,
        options: &MapOptions,
        verifier: Option<Verifier>,
        device: &Path,
    ) -> Self {
        let mut copying = CopyFallback::new(options, verifier);
        let mapping = match prepare(socket, options, device) {
            Ok(mapping) => Some(mapping),
            Err(why) => {
                copying.stop_mapping(why);
                None
            }
        };
        Self {
            mapping,
            count: BlockCount::new(options.block),
            copying,
            read: 0,
            senders_pages: options.senders_pages,
        }
    }

    /// Receives by mapping. `None` is the end of the stream, or that nothing can be mapped any more.
    fn map(&mut self, socket: BorrowedFd<'_>) -> Result<Option<usize>, io::Error> {
        let Some(mapping) = &mut self.mapping else {
            return Ok(None);
        };
        mapping.fill(socket)?;
        let (mut bytes, mut copied) = (0, 0);
        for packet in mapping.packets() {
            let packet = packet?;
            self.copying.verify(packet.bytes)?;
            bytes += packet.bytes.len();
            if packet.copied {
                copied += packet.bytes.len();
            }
        }
        mapping.release()?;
        if bytes == 0 {
            return Ok(None);
        }
        let account = &mut self.copying.report.account;
        account.calls += 1;
        account.mappings += u64::from(copied < bytes);
        account.uncopied += (bytes - copied) as u64;
        account.copied += copied as u64;
        if copied > 0 {
            self.refine(socket);
        }
        Ok(Some(bytes))
    }

    /// A packet with one copied page counts as copied, unless the module reports how many bytes it copied.
    fn refine(&mut self, socket: BorrowedFd<'_>) {
        let account = &mut self.copying.report.account;
        let through_mapping = account.bytes() - self.read;
        if let Some((mapped, copied)) = vsock_zerocopy::statistics(socket)
            && mapped.checked_add(copied) == Some(through_mapping)
        {
            account.uncopied = mapped;
            account.copied = copied + self.read;
        }
    }

    fn copy(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        let bytes = self.copying.copy(socket, usize::MAX, flags(wait))?;
        self.read += bytes as u64;
        Ok(bytes)
    }

    fn take(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        while self.mapping.is_some() {
            let error = match self.map(socket) {
                Ok(Some(bytes)) => return Ok(bytes),
                // Reading returns the same error, and finds the data if there is any.
                Ok(None) => return self.copy(socket, wait),
                Err(error) => error,
            };
            match errno(&error) {
                Errno::EAGAIN if wait => wait_readable(socket)?,
                // Reading decides about a connection that has ended.
                Errno::ENOTCONN => return self.copy(socket, wait),
                Errno::ENOMEM
                | Errno::EINVAL
                | Errno::EOPNOTSUPP
                | Errno::ENOPROTOOPT
                | Errno::EFAULT => {
                    self.mapping = None;
                    let why = Fallback::refused("SO_VM_SOCKETS_MAP_RX", &error);
                    self.copying.stop_mapping(why);
                }
                _ => return Err(error),
            }
        }
        self.copy(socket, wait)
    }

    /// Stops mapping if it did not pay in the last stretch.
    fn judge(&mut self) {
        let Some(percent) = self.copying.too_little_mapped() else {
            return;
        };
        self.mapping = None;
        let why = if self.senders_pages {
            Fallback::SendersPages { percent }
        } else {
            Fallback::Packets { percent }
        };
        self.copying.stop_mapping(why);
    }
}

/// Enables mapping and makes a mapping.
fn prepare(
    socket: BorrowedFd<'_>,
    options: &MapOptions,
    device: &Path,
) -> Result<PacketMapping, Fallback> {
    let kind = SocketKind::of(socket).map_err(|error| Fallback::refused("SO_DOMAIN", &error))?;
    if kind != SocketKind::Vsock {
        return Err(Fallback::NotFor {
            mode: "mapping",
            kind: kind.name(),
        });
    }
    if guest::receives_into_single_buffers(socket) {
        return Err(Fallback::SingleBuffers);
    }
    match vsock_zerocopy::enable(socket) {
        Err(error) if errno(&error) == Errno::ENOPROTOOPT => {
            vsock_zerocopy::attach(socket, device).map_err(|error| Fallback::NoVsockMapping {
                device: device.to_string_lossy().into_owned(),
                error: errno(&error),
            })?;
            vsock_zerocopy::enable(socket)
        }
        other => other,
    }
    .map_err(|error| Fallback::refused("SO_VM_SOCKETS_ZEROCOPY", &error))?;
    PacketMapping::new(socket, options.window()).map_err(|error| Fallback::refused("mmap", &error))
}

impl ReceiveMover for VsockMapReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        let bytes = self.take(socket, wait)?;
        if self.mapping.is_some() {
            self.judge();
        }
        Ok(self.count.add(bytes))
    }

    fn obeys_low_water(&self) -> bool {
        self.mapping.is_none()
    }

    fn report(&self) -> Report {
        self.copying.report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::os::fd::AsFd;

    fn fallback(kind: Type) -> Fallback {
        let socket = Socket::new(Domain::VSOCK, kind, None).unwrap();
        let options = MapOptions::new(1000);
        let device = Path::new("/dev/there-is-no-such-device");
        let mover = VsockMapReceiver::new(socket.as_fd(), &options, None, device);
        mover.report().fallback.unwrap()
    }

    #[test]
    fn without_the_module_there_is_a_reason() {
        let expected = Fallback::NoVsockMapping {
            device: "/dev/there-is-no-such-device".to_owned(),
            error: Errno::ENOENT,
        };
        assert_eq!(fallback(Type::STREAM), expected);
    }

    #[test]
    fn seqpacket_sockets_are_not_mapped() {
        let expected = Fallback::NotFor {
            mode: "mapping",
            kind: "vsock SEQPACKET",
        };
        assert_eq!(fallback(Type::SEQPACKET), expected);
    }
}
