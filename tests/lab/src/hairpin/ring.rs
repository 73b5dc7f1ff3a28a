//! A split ring (virtio 1.2, section 2.7), seen by the device.

use std::fs::File;
use std::io::Write;

use super::memory::{Address, Memory};

/// Where QEMU has its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) size: u16,
    pub(super) place: Option<Place>,
    /// The next entry of the available ring; as many have been taken.
    pub(super) next: u16,
    pub(super) call: Option<File>,
    pub(super) runs: bool,
}

/// A piece of a buffer.
#[derive(Clone, Copy, Debug)]
struct Piece {
    at: u64,
    len: u32,
}

/// A buffer that the guest has given to the device.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) head: u16,
    pieces: Vec<Piece>,
}

impl Chain {
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len as usize).sum()
    }

    pub(super) fn read(&self, memory: &Memory) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        let mut at = 0;
        for piece in &self.pieces {
            let part = &mut bytes[at..at + piece.len as usize];
            memory.read(Address::OfGuest(piece.at), part);
            at += part.len();
        }
        bytes
    }

    /// Writes as much as there is room for.
    pub(super) fn write(&self, memory: &Memory, mut bytes: &[u8]) {
        for piece in &self.pieces {
            let (part, rest) = bytes.split_at(bytes.len().min(piece.len as usize));
            memory.write(Address::OfGuest(piece.at), part);
            bytes = rest;
        }
    }
}

const NEXT: u16 = 1;

impl Ring {
    fn place(&self) -> Option<Place> {
        self.place.filter(|_| self.runs && self.size > 0)
    }

    /// Takes the next buffer.
    pub(super) fn pop(&mut self, memory: &Memory) -> Option<Chain> {
        let place = self.place()?;
        let available = Address::OfQemu(place.available);
        if memory.u16(available.plus(2)) == self.next {
            return None;
        }
        let slot = u64::from(self.next % self.size);
        let head = memory.u16(available.plus(4 + 2 * slot));
        self.next = self.next.wrapping_add(1);
        let mut pieces = Vec::new();
        let mut index = head;
        loop {
            let mut descriptor = [0; 16];
            let at = Address::OfQemu(place.descriptors).plus(16 * u64::from(index));
            memory.read(at, &mut descriptor);
            let word = |at: usize| u16::from_le_bytes([descriptor[at], descriptor[at + 1]]);
            pieces.push(Piece {
                at: u64::from_le_bytes(descriptor[..8].try_into().expect("eight bytes")),
                len: u32::from_le_bytes(descriptor[8..12].try_into().expect("four bytes")),
            });
            if word(12) & NEXT == 0 {
                return Some(Chain { head, pieces });
            }
            index = word(14);
            assert!(pieces.len() <= self.size.into(), "a chain ends");
        }
    }

    /// Returns a buffer, with this many bytes reported as written.
    pub(super) fn push(&mut self, memory: &Memory, head: u32, written: u32) {
        let Some(place) = self.place() else { return };
        let used = Address::OfQemu(place.used);
        let index = memory.u16(used.plus(2));
        let slot = u64::from(index % self.size);
        let mut element = head.to_le_bytes().to_vec();
        element.extend_from_slice(&written.to_le_bytes());
        memory.write(used.plus(4 + 8 * slot), &element);
        memory.write(used.plus(2), &index.wrapping_add(1).to_le_bytes());
        self.interrupt();
    }

    pub(super) fn interrupt(&mut self) {
        if let Some(call) = &mut self.call {
            // An eventfd: if it is full, the guest is about to be interrupted anyway.
            let _ = call.write_all(&1_u64.to_ne_bytes());
        }
    }
}
