//! A guest's memory: files that QEMU shares. It is read and written by calls, not mapped.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// A part of it.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) file: File,
    /// Where the guest has it, and QEMU.
    pub(super) in_guest: u64,
    pub(super) in_qemu: u64,
    /// Where it begins in the file.
    pub(super) in_file: u64,
    pub(super) size: u64,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    regions: Vec<Region>,
}

/// Which address space an address is of: descriptors have guest addresses, rings have QEMU's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Address {
    OfGuest(u64),
    OfQemu(u64),
}

impl Address {
    pub(super) fn plus(self, bytes: u64) -> Self {
        match self {
            Self::OfGuest(at) => Self::OfGuest(at + bytes),
            Self::OfQemu(at) => Self::OfQemu(at + bytes),
        }
    }
}

impl Memory {
    pub(super) fn new(regions: Vec<Region>) -> Self {
        Self { regions }
    }

    fn find(&self, address: Address) -> (&File, u64) {
        let found = self.regions.iter().find_map(|region| {
            let (at, start) = match address {
                Address::OfGuest(at) => (at, region.in_guest),
                Address::OfQemu(at) => (at, region.in_qemu),
            };
            let offset = at
                .checked_sub(start)
                .filter(|offset| *offset < region.size)?;
            Some((&region.file, region.in_file + offset))
        });
        found.unwrap_or_else(|| panic!("{address:x?} is not in the guest's memory"))
    }

    pub(super) fn read(&self, address: Address, bytes: &mut [u8]) {
        let (file, offset) = self.find(address);
        file.read_exact_at(bytes, offset).expect("memory");
    }

    pub(super) fn write(&self, address: Address, bytes: &[u8]) {
        let (file, offset) = self.find(address);
        file.write_all_at(bytes, offset).expect("memory");
    }

    pub(super) fn u16(&self, address: Address) -> u16 {
        let mut bytes = [0; 2];
        self.read(address, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// The addresses of all pages, as the guest knows them.
    pub(super) fn pages(&self) -> impl Iterator<Item = Address> {
        self.regions.iter().flat_map(|region| {
            let pages = (0..region.size).step_by(4096);
            pages.map(|at| Address::OfGuest(region.in_guest + at))
        })
    }
}
