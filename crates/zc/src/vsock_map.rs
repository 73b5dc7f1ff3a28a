//! Receiving from vsock by mapping: `mmap` of the socket, `getsockopt(SO_VM_SOCKETS_MAP_RX)`,
//! `madvise(MADV_DONTNEED)`.
//!
//! No stock kernel has these calls. They are tried as options of the kernel first, then asked for at the device of this
//! project's kernel module, which gives them to one socket at a time; else the receiver copies and says why.
//!
//! ```text
//! mapping   |packet list|page|page|part|page|part|         |
//!            one page    <- packet ---> <-packet->
//! ```
//!
//! The layouts are those of the module's header `vsock_zerocopy.h`.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::request_code_none;

use crate::account::{Account, Fallback, errno};
use crate::carrier::Carrier;
use crate::map::{Books, MapOptions, wait_readable};
use crate::mapping::{Mapping, page_size};
use crate::receive::{BlockCount, ReceiveMover, flags};
use crate::verify::Verifier;
use crate::{Moved, sockopt};

/// The module's device.
pub(crate) const DEVICE: &str = "/dev/vsock-zerocopy";

/// `VSOCK_ZEROCOPY_ATTACH`: gives a socket the calls below.
const ATTACH: libc::c_ulong = request_code_none!(0xba, 0x90);
/// `SO_VM_SOCKETS_MAP_RX`: takes what fits into the mapping that starts at the given address.
const MAP_RX: libc::c_int = 9;
/// `SO_VM_SOCKETS_ZEROCOPY`: an int, 1 enables.
const ENABLE: libc::c_int = 10;
/// The module's statistics: calls, packets, bytes mapped, bytes copied, each a u64.
const STATISTICS: libc::c_int = 11;

/// Entries of the packet list: a length and flags, 32 bits each.
const ENTRY: usize = 8;
/// The most entries that the list has, whatever the page.
const MOST_PACKETS: usize = 511;
/// A flag of an entry: at least one page of the packet is a copy.
const HAS_COPY: u32 = 1;

/// A packet of the list: where its bytes are in the mapping, and whether some were copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    offset: usize,
    length: usize,
    copied: bool,
}

/// Reads the packet list. Nothing in it is trusted: `None` when its packets do not fit into a mapping of `length` bytes.
fn packets(
    list: &[u8],
    page: usize,
    length: usize,
) -> impl Iterator<Item = Option<Packet>> + use<'_> {
    let mut next = Some(page);
    list.chunks_exact(ENTRY)
        .take(MOST_PACKETS)
        .map_while(move |entry| {
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
            let (bytes, flags) = entry.split_at(ENTRY / 2);
            let (bytes, flags) = (number(bytes) as usize, number(flags));
            let offset = next?;
            if bytes == 0 {
                return None;
            }
            let end = offset.checked_add(bytes).filter(|&end| end <= length);
            next = end.map(|end| end.next_multiple_of(page));
            Some(end.map(|_| Packet {
                offset,
                length: bytes,
                copied: flags & HAS_COPY != 0,
            }))
        })
}

/// Receives from vsock by mapping.
pub(crate) struct VsockMapReceiver {
    /// Until mapping is given up.
    mapping: Option<Mapping>,
    count: BlockCount,
    books: Books,
    /// Bytes that were read and not mapped; the rest of what the books call copied the module copied.
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
    ) -> io::Result<Self> {
        let mut books = Books::new(options, verifier);
        let mapping = match prepare(socket, options, device) {
            Ok(mapping) => Some(mapping),
            Err(why) => {
                books.give_up(why, true)?;
                None
            }
        };
        Ok(Self {
            mapping,
            count: BlockCount::new(options.block),
            books,
            read: 0,
            senders_pages: options.senders_pages,
        })
    }

    /// Takes what is there by mapping. `None` is the end of the stream, or nothing that can be mapped any more.
    fn map(&mut self, socket: BorrowedFd<'_>) -> Result<Option<usize>, io::Error> {
        let Some(mapping) = &mut self.mapping else {
            return Ok(None);
        };
        if let Err(error) = map_rx(socket, mapping) {
            if error != Errno::EBUSY {
                return Err(error.into());
            }
            // Something of an earlier call is still mapped: nothing is lost, it only has to go.
            let whole = mapping.length();
            mapping.release(whole)?;
            map_rx(socket, mapping)?;
        }
        let page = page_size();
        let mut bytes = 0;
        let mut end = page;
        let mut copied = 0;
        // SAFETY: a call that succeeds has put the list into the first page; it stays until the release below.
        let list = unsafe { mapping.bytes(0, page) };
        for packet in packets(list, page, mapping.length()) {
            let nonsense = || {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a list of packets that do not fit",
                )
            };
            let packet = packet.ok_or_else(nonsense)?;
            // SAFETY: the list says that these bytes are mapped, and that they fit was checked; nobody writes to
            // them, and they stay until the release below.
            let content = unsafe { mapping.bytes(packet.offset, packet.length) };
            self.books.verify(content)?;
            bytes += packet.length;
            end = packet.offset + packet.length;
            if packet.copied {
                copied += packet.length;
            }
        }
        mapping.release(end.next_multiple_of(page))?;
        if bytes == 0 {
            return Ok(None);
        }
        let account = &mut self.books.account;
        account.calls += 1;
        account.mappings += u64::from(copied < bytes);
        account.uncopied += (bytes - copied) as u64;
        account.copied += copied as u64;
        if copied > 0 {
            self.refine(socket);
        }
        Ok(Some(bytes))
    }

    /// A packet with one copied page counts as copied, unless the module says how many bytes it really copied.
    fn refine(&mut self, socket: BorrowedFd<'_>) {
        let account = &mut self.books.account;
        let through_mapping = account.bytes() - self.read;
        if let Some((mapped, copied)) = statistics(socket)
            && mapped.checked_add(copied) == Some(through_mapping)
        {
            account.uncopied = mapped;
            account.copied = copied + self.read;
        }
    }

    fn copy(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        let bytes = self.books.copy(socket, usize::MAX, flags(wait))?;
        self.read += bytes as u64;
        Ok(bytes)
    }

    fn take(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        while self.mapping.is_some() {
            let error = match self.map(socket) {
                Ok(Some(bytes)) => return Ok(bytes),
                // Reading says so again, and would find what there is.
                Ok(None) => return self.copy(socket, wait),
                Err(error) => error,
            };
            match errno(&error) {
                Errno::EAGAIN if wait => wait_readable(socket)?,
                // A connection that has ended is for reading to judge.
                Errno::ENOTCONN => return self.copy(socket, wait),
                Errno::ENOMEM
                | Errno::EINVAL
                | Errno::EOPNOTSUPP
                | Errno::ENOPROTOOPT
                | Errno::EFAULT => {
                    self.mapping = None;
                    self.books
                        .give_up(Fallback::refused("SO_VM_SOCKETS_MAP_RX", &error), true)?;
                }
                _ => return Err(error),
            }
        }
        self.copy(socket, wait)
    }

    /// Gives up when the last stretch brought next to nothing.
    fn judge(&mut self) -> io::Result<()> {
        let Some(percent) = self.books.too_little_mapped() else {
            return Ok(());
        };
        self.mapping = None;
        let why = if self.senders_pages {
            Fallback::SendersPages { percent }
        } else {
            Fallback::Packets { percent }
        };
        self.books.give_up(why, false)
    }
}

/// Enables mapping and makes a mapping.
fn prepare(
    socket: BorrowedFd<'_>,
    options: &MapOptions,
    device: &Path,
) -> Result<Mapping, Fallback> {
    let carrier = Carrier::of(socket).map_err(|error| Fallback::refused("SO_DOMAIN", &error))?;
    if carrier != Carrier::Vsock {
        return Err(Fallback::NotFor {
            mode: "mapping",
            carrier: carrier.name(),
        });
    }
    match enable(socket) {
        Err(error) if errno(&error) == Errno::ENOPROTOOPT => {
            attach(socket, device).map_err(|error| Fallback::NoVsockMapping {
                device: device.to_string_lossy().into_owned(),
                error: errno(&error),
            })?;
            enable(socket)
        }
        other => other,
    }
    .map_err(|error| Fallback::refused("SO_VM_SOCKETS_ZEROCOPY", &error))?;
    // The list of packets has a page of its own.
    let length = options.window() + page_size();
    Mapping::of_socket(socket, length).map_err(|error| Fallback::refused("mmap", &error))
}

fn enable(socket: BorrowedFd<'_>) -> io::Result<()> {
    sockopt::set::<libc::c_int>(socket, libc::AF_VSOCK, ENABLE, &1)
}

/// Asks the module for the calls. They stay with the socket; the device need not stay open.
fn attach(socket: BorrowedFd<'_>, device: &Path) -> io::Result<()> {
    let device = File::options().read(true).write(true).open(device)?;
    // SAFETY: both descriptors are open; the request has no argument in memory, its value is a descriptor, which the
    // module only looks up.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), ATTACH, socket.as_raw_fd()) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::EALREADY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Fills the mapping.
fn map_rx(socket: BorrowedFd<'_>, mapping: &mut Mapping) -> Result<(), Errno> {
    let mut address = mapping.address() as libc::c_ulong;
    let mut length = libc::socklen_t::try_from(size_of_val(&address)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the descriptor is open for the borrow's lifetime; the kernel reads and writes at most `length` bytes of
    // `address`, and puts pages only into the mapping that starts there, in which no slice is alive because it is
    // borrowed exclusively.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::AF_VSOCK,
            MAP_RX,
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    Errno::result(result).map(drop)
}

/// Bytes mapped and bytes copied since the socket was attached; a kernel with options of its own may not say it.
fn statistics(socket: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let mut numbers = [0_u64; 4];
    let size = size_of_val(&numbers);
    let mut length = libc::socklen_t::try_from(size).ok()?;
    // SAFETY: the descriptor is open for the borrow's lifetime; `numbers` is writable for `length` bytes, which is all
    // that the kernel writes, and any bytes are valid u64s; `length` is a live socklen_t.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::AF_VSOCK,
            STATISTICS,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (result == 0 && length as usize == size).then_some((numbers[2], numbers[3]))
}

impl ReceiveMover for VsockMapReceiver {
    fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<Moved> {
        self.books.check_failed()?;
        let bytes = self.take(socket, wait)?;
        if self.mapping.is_some() {
            self.judge()?;
        }
        Ok(self.count.add(bytes))
    }

    fn obeys_low_water(&self) -> bool {
        self.mapping.is_none()
    }

    fn account(&self) -> Account {
        self.books.account
    }

    fn fallback(&self) -> Option<&Fallback> {
        self.books.fallback.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::os::fd::AsFd;

    const PAGE: usize = 4096;

    fn list(entries: &[(u32, u32)]) -> Vec<u8> {
        let mut page: Vec<u8> = entries
            .iter()
            .flat_map(|(length, flags)| [length.to_ne_bytes(), flags.to_ne_bytes()].concat())
            .collect();
        page.resize(PAGE, 0);
        page
    }

    fn read(entries: &[(u32, u32)], pages: usize) -> Vec<Option<(usize, usize, bool)>> {
        packets(&list(entries), PAGE, pages * PAGE)
            .map(|packet| packet.map(|p| (p.offset, p.length, p.copied)))
            .collect()
    }

    #[test]
    fn packets_begin_on_pages() {
        let found = read(&[(56, 1), (4096, 0), (8200, 3)], 6);
        let expected = [
            (PAGE, 56, true),
            (2 * PAGE, 4096, false),
            (3 * PAGE, 8200, true),
        ];
        assert_eq!(found, expected.map(Some));
    }

    #[test]
    fn a_packet_that_goes_on_in_the_next_call_is_no_copy() {
        assert_eq!(read(&[(4096, 2)], 2), [Some((PAGE, 4096, false))]);
    }

    #[test]
    fn nothing_is_the_end() {
        assert_eq!(read(&[], 2), []);
        assert_eq!(read(&[(0, 7), (5, 0)], 2), []);
    }

    #[test]
    fn packets_beyond_the_mapping_are_nonsense_and_end_the_list() {
        let fits = Some((PAGE, 4096, false));
        assert_eq!(read(&[(4096, 0), (1, 0)], 2), [fits, None]);
        assert_eq!(read(&[(4097, 0), (1, 0)], 2), [None]);
        assert_eq!(read(&[(u32::MAX, 0), (u32::MAX, 0)], 2), [None]);
        // The rounding up of an odd end does not reach beyond either.
        assert_eq!(
            read(&[(4095, 0), (1, 0)], 2),
            [Some((PAGE, 4095, false)), None]
        );
    }

    #[test]
    fn a_list_without_end_has_511_packets() {
        let found = read(&vec![(1, 0); 512], 1000);
        assert_eq!(found.len(), 511);
        assert_eq!(found[510], Some((511 * PAGE, 1, false)));
    }

    fn fallback(kind: Type) -> Fallback {
        let socket = Socket::new(Domain::VSOCK, kind, None).unwrap();
        let options = MapOptions::new(1000);
        let device = Path::new("/dev/there-is-no-such-device");
        let mover = VsockMapReceiver::new(socket.as_fd(), &options, None, device).unwrap();
        let strict = MapOptions {
            strict: true,
            ..options
        };
        let error = VsockMapReceiver::new(socket.as_fd(), &strict, None, device).err();
        let error = error.expect("a strict mover fails");
        let fallback = error.get_ref().unwrap().downcast_ref::<Fallback>();
        assert_eq!(fallback, mover.fallback());
        mover.fallback().unwrap().clone()
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
            carrier: "vsock SEQPACKET",
        };
        assert_eq!(fallback(Type::SEQPACKET), expected);
    }
}
