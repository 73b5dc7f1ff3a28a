//! Mappings of memory, each unmapped once, when its owner is dropped.
//!
//! Pages that the kernel still has when they are unmapped stay until it is done with them, and are not reused before.

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| usize::try_from(size).ok())
        .unwrap_or(4096)
}

/// A read-only mapping of a file or a socket.
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this value is the only one that unmaps it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of a file, privately: what is read is the file.
    pub(crate) fn of_file(file: impl AsFd, length: usize) -> io::Result<Self> {
        Self::new(file, length, MapFlags::MAP_PRIVATE)
    }

    /// Maps `length` bytes, a multiple of the page, that stay empty until the socket fills them.
    ///
    /// The mapping holds the socket: closing its descriptor does not end the connection while this lives.
    pub(crate) fn of_socket(socket: impl AsFd, length: usize) -> io::Result<Self> {
        Self::new(socket, length, MapFlags::MAP_SHARED)
    }

    fn new(what: impl AsFd, length: usize, flags: MapFlags) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: without an address the kernel chooses one where nothing is, so no other memory changes; the
        // descriptor is open during the call and need not be afterwards.
        let start = unsafe { mmap(None, bytes, ProtFlags::PROT_READ, flags, what, 0) }?;
        Ok(Self { start, length })
    }

    /// Where it starts, for system calls that take an address as a number. The pointer's provenance is exposed: through
    /// that number the kernel changes memory that this program then reads.
    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    /// Bytes of address space.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The `length` bytes from `offset` on, cut at the end of the mapping.
    ///
    /// # Safety
    /// Pages are there for all of them and stay, unchanged, while the slice lives. Of a file that means: nothing can
    /// shorten or write it. Of a socket: the kernel reported them mapped, and nothing releases them or asks for more
    /// before the slice is gone.
    pub(crate) unsafe fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        let offset = offset.min(self.length);
        let length = length.min(self.length - offset);
        // SAFETY: `offset` is not beyond the mapping, which is one allocation.
        let start = unsafe { self.start.as_ptr().cast::<u8>().add(offset) };
        // SAFETY: the range is inside the mapping, which lives as long as `self`; the caller vouches for its pages.
        unsafe { std::slice::from_raw_parts(start, length) }
    }

    /// Returns the pages of the first `length` bytes (`MADV_DONTNEED`); no slice of them may live any more, which the
    /// exclusive borrow ensures.
    pub(crate) fn release(&mut self, length: usize) -> io::Result<()> {
        let length = length.min(self.length);
        // SAFETY: the range is inside the mapping, and the exclusive borrow excludes slices of it.
        unsafe { madvise(self.start, length, MmapAdvise::MADV_DONTNEED) }?;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is what `mmap` returned, it is unmapped only here, and slices borrow `self`.
        let result = unsafe { munmap(self.start, self.length) };
        debug_assert!(result.is_ok(), "a mapping can be unmapped: {result:?}");
    }
}

/// Anonymous memory, in whole pages that begin with zeros.
///
/// It can be unmapped while the kernel still uses it. Memory of the allocator can't: it would be reused.
pub(crate) struct Arena {
    mapping: Mapping,
}

impl Arena {
    /// At least `length` bytes, which must not be 0.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        let length = length.next_multiple_of(page_size());
        let bytes = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: without an address the kernel chooses one where nothing is, so no other memory changes.
        let start = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE) }?;
        Ok(Self {
            mapping: Mapping { start, length },
        })
    }

    /// Where `offset` is, for system calls that write there; not beyond the end.
    pub(crate) fn pointer(&self, offset: usize) -> *mut c_void {
        let offset = offset.min(self.mapping.length);
        // SAFETY: `offset` is not beyond the mapping, which is one allocation.
        unsafe { self.mapping.start.as_ptr().cast::<u8>().add(offset) }.cast()
    }

    /// The `length` bytes from `offset` on, cut at the end.
    pub(crate) fn bytes_mut(&mut self, offset: usize, length: usize) -> &mut [u8] {
        let offset = offset.min(self.mapping.length);
        let length = length.min(self.mapping.length - offset);
        // SAFETY: `offset` is not beyond the mapping, which is one allocation.
        let start = unsafe { self.mapping.start.as_ptr().cast::<u8>().add(offset) };
        // SAFETY: the range is inside an anonymous mapping, which is readable, writable and initialised (with zeros),
        // lives as long as `self`, and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(start, length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_is_zeros_to_begin_with_and_ends_with_its_last_page() {
        let mut arena = Arena::new(1).unwrap();
        let page = page_size();
        assert_eq!(arena.bytes_mut(0, page), vec![0; page]);
        arena.bytes_mut(page - 2, 10).fill(3);
        assert_eq!(arena.bytes_mut(page - 3, 10), [0, 3, 3]);
        assert_eq!(arena.bytes_mut(page, 1), []);
        assert!(Arena::new(0).is_err());
    }

    use std::os::unix::net::UnixStream;

    #[test]
    fn pages_are_powers_of_two() {
        assert!(page_size().is_power_of_two() && page_size() >= 4096);
    }

    #[test]
    fn what_cannot_be_mapped_is_an_error() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let error = Mapping::of_socket(&socket, page_size()).err().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        assert!(Mapping::of_socket(&socket, 0).is_err());
    }
}
