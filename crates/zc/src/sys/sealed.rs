//! Memory that can't change: a memory file, sealed against every change, and a mapping of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::sys::mapping::Mapping;

/// A sealed memory file and its mapping: the same bytes are at the same offsets of both.
pub(crate) struct SealedMemory {
    /// `None` once it is closed. The mapping keeps the memory.
    file: Option<File>,
    mapping: Mapping,
}

// SAFETY: the memory can only be read: the file is sealed against writes, and nothing but `bytes` gives out its mapping.
unsafe impl Sync for SealedMemory {}

impl SealedMemory {
    /// Memory that holds `parts`, one after the other. They must not all be empty.
    pub(crate) fn new(parts: &[&[u8]]) -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create(c"iperf-block", flags)?);
        for part in parts {
            file.write_all(part)?;
        }
        let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
        let length = parts.iter().map(|part| part.len()).sum();
        let mapping = Mapping::of_file(&file, length)?;
        Ok(Self {
            file: Some(file),
            mapping,
        })
    }

    /// The `length` bytes from `offset` on, cut at the end.
    pub(crate) fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        // SAFETY: the file is sealed, so its pages are there for the whole mapping and nothing can change them.
        unsafe { self.mapping.bytes(offset, length) }
    }

    /// The memory file.
    ///
    /// # Errors
    ///
    /// It was closed.
    pub(crate) fn file(&self) -> io::Result<BorrowedFd<'_>> {
        let file = self.file.as_ref().map(File::as_fd);
        file.ok_or_else(|| io::Error::other("the file of the block is closed"))
    }

    /// Closes the file.
    pub(crate) fn close_file(&mut self) {
        self.file = None;
    }
}
