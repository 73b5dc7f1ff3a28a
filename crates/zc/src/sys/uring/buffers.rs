//! Buffers that the kernel takes from a ring of their own (`IORING_REGISTER_PBUF_RING`, Linux 5.19), one after the other.
//!
//! ```text
//! entry   | address: u64 | length: u32 | id: u16 | u16 |    the last two bytes of the first entry are the tail
//! ```

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use super::Ring;
use crate::sys::mapping::Arena;

/// Bytes of `struct io_uring_buf` (linux/io_uring.h).
const ENTRY: usize = 16;

/// Where the tail is.
const TAIL: usize = 14;

/// The only group of buffers of a ring.
pub(super) const GROUP: u16 = 0;

/// The ring of entries.
pub(super) struct Buffers {
    entries: Arena,
    count: u16,
    /// Entries added so far, modulo 2^16.
    tail: u16,
}

impl Buffers {
    /// Gives `ring` room for `count` buffers, a power of two.
    pub(super) fn new(ring: &Ring, count: u16) -> io::Result<Self> {
        let entries = Arena::new(usize::from(count) * ENTRY)?;
        let address = entries.pointer(0).expose_provenance() as u64;
        let submitter = ring.io.submitter();
        // SAFETY: the memory is page-aligned and has `count` entries. The kernel keeps its pages, so it may be unmapped
        // before the ring is closed.
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, 0) }?;
        Ok(Self {
            entries,
            count,
            tail: 0,
        })
    }

    /// Forgets the buffers that the kernel has not used.
    pub(super) fn clear(&mut self, ring: &Ring) -> io::Result<()> {
        ring.io.submitter().unregister_buf_ring(GROUP)?;
        *self = Self::new(ring, self.count)?;
        Ok(())
    }

    /// Adds a buffer behind the others; the kernel sees it after [`publish`](Self::publish). What the kernel does with
    /// the memory is up to the request that uses it.
    pub(super) fn add(&mut self, address: u64, length: u32, id: u16) {
        let place = usize::from(self.tail % self.count) * ENTRY;
        let entry = self.entries.bytes_mut(place, TAIL);
        entry[..8].copy_from_slice(&address.to_ne_bytes());
        entry[8..12].copy_from_slice(&length.to_ne_bytes());
        entry[12..].copy_from_slice(&id.to_ne_bytes());
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was added.
    pub(super) fn publish(&mut self) {
        let tail = self.entries.pointer(TAIL).cast();
        // SAFETY: the place is inside the mapping, aligned to two bytes, and accessed in no other way.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }
}
