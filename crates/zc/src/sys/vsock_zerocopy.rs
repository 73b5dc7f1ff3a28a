//! The calls that map what a vsock received: an option that enables them, one that fills a mapping, and the device of
//! this project's kernel module, which gives them to one socket at a time.
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

use crate::sys::mapping::{Mapping, page_size};
use crate::sys::sockopt;

/// The module's device.
pub(crate) const DEVICE: &str = "/dev/vsock-zerocopy";

/// `VSOCK_ZEROCOPY_ATTACH`: adds the calls below to a socket.
const ATTACH: libc::Ioctl = request_code_none!(0xba, 0x90);
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

pub(crate) fn enable(socket: BorrowedFd<'_>) -> io::Result<()> {
    sockopt::set::<libc::c_int>(socket, libc::AF_VSOCK, ENABLE, &1)
}

/// Has the module provide the calls. They stay with the socket; the device need not stay open.
pub(crate) fn attach(socket: BorrowedFd<'_>, device: &Path) -> io::Result<()> {
    let device = File::options().read(true).write(true).open(device)?;
    // SAFETY: both descriptors are open; the request has no argument in memory, its value is a descriptor, which the
    // module only looks up.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), ATTACH, socket.as_raw_fd()) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::EALREADY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Bytes mapped and bytes copied since the socket was attached; a kernel with built-in options may not report it.
pub(crate) fn statistics(socket: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let mut numbers = [0_u8; 32];
    let filled = sockopt::read(socket, libc::AF_VSOCK, STATISTICS, &mut numbers).ok()?;
    let number = |at: usize| Some(u64::from_ne_bytes(numbers[at..at + 8].try_into().ok()?));
    (filled == numbers.len()).then_some((number(16)?, number(24)?))
}

/// One entry of the packet list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    /// Its bytes, in the mapping.
    pub(crate) bytes: &'a [u8],
    /// Whether at least one of its pages is a copy.
    pub(crate) copied: bool,
}

/// A mapping of a vsock that is filled with what was received, call by call.
pub(crate) struct PacketMapping {
    mapping: Mapping,
    /// Whether the last call put a packet list there that was not released since.
    filled: bool,
}

impl PacketMapping {
    /// Maps a socket, with room for `window` bytes of packets. It holds the socket as [`Mapping::of_socket`] does.
    pub(crate) fn new(socket: BorrowedFd<'_>, window: usize) -> io::Result<Self> {
        // The list of packets has its own page.
        let mapping = Mapping::of_socket(socket, window + page_size())?;
        Ok(Self {
            mapping,
            filled: false,
        })
    }

    /// Fills the mapping with what was received. `EAGAIN` when there is nothing.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if let Err(error) = map_rx(socket, &mut self.mapping) {
            if error != Errno::EBUSY {
                return Err(error.into());
            }
            // Pages of an earlier call are still mapped. Nothing is lost; they must be released first.
            self.filled = false;
            self.mapping.release(self.mapping.length())?;
            map_rx(socket, &mut self.mapping)?;
        }
        self.filled = true;
        Ok(())
    }

    /// The packets of the last call. An entry that does not fit into the mapping is an error, and the last.
    pub(crate) fn packets(&self) -> impl Iterator<Item = io::Result<Received<'_>>> {
        let page = page_size();
        let list_length = if self.filled { page } else { 0 };
        // SAFETY: a call that succeeded has put the list into the first page, and `release` has not been called since.
        let list = unsafe { self.mapping.bytes(0, list_length) };
        packets(list, page, self.mapping.length()).map(|packet| {
            let packet = packet.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the kernel's packet list is longer than the mapping",
                )
            })?;
            Ok(Received {
                // SAFETY: the list reports these bytes as mapped, and that they fit was checked; nothing writes to
                // them, and they stay until `release` or `fill`, which need this borrow to have ended.
                bytes: unsafe { self.mapping.bytes(packet.offset, packet.length) },
                copied: packet.copied,
            })
        })
    }

    /// Returns the pages of the last call.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        let page = page_size();
        let last = self.packets().filter_map(Result::ok).last();
        let start = self.mapping.address();
        let end = last.map_or(page, |packet| {
            let end = packet.bytes.as_ptr().addr() as u64 + packet.bytes.len() as u64;
            usize::try_from(end - start).unwrap_or(self.mapping.length())
        });
        self.filled = false;
        self.mapping.release(end.next_multiple_of(page))
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

/// A packet of the list: where its bytes are in the mapping, and whether some were copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    offset: usize,
    length: usize,
    copied: bool,
}

/// Reads the packet list. Nothing in it is trusted: `None` when its packets do not fit into a mapping of `length`
/// bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_packet_that_continues_in_the_next_call_is_not_a_copy() {
        assert_eq!(read(&[(4096, 2)], 2), [Some((PAGE, 4096, false))]);
    }

    #[test]
    fn nothing_is_the_end() {
        assert_eq!(read(&[], 2), []);
        assert_eq!(read(&[(0, 7), (5, 0)], 2), []);
    }

    #[test]
    fn packets_beyond_the_mapping_are_errors_and_end_the_list() {
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
}
