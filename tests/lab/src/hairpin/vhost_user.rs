//! The part of the vhost-user protocol that QEMU speaks to a vsock device: which memory the guest has, where its rings
//! are, and when they run.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::memory::{Memory, Region};
use super::ring::{Place, Ring};

/// Bits of the device's features: SEQPACKET, the protocol's own, version 1 of virtio.
const FEATURES: u64 = 1 << 1 | 1 << 30 | 1 << 32;
/// Bits of the protocol's features: several queues, and the device's configuration.
const PROTOCOL_FEATURES: u64 = 1 | 1 << 9;

const HEADER: usize = 12;
/// Version 1, and that this is an answer.
const REPLY: u32 = 1 | 1 << 2;
/// Most regions that a guest's memory may have.
const REGIONS: usize = 8;

/// A request of QEMU's.
struct Request {
    code: u32,
    payload: Vec<u8>,
    files: Vec<OwnedFd>,
}

/// What the device knows of its guest.
#[derive(Default)]
pub(super) struct Guest {
    pub(super) memory: Memory,
    /// Receiving, sending.
    pub(super) rings: [Ring; 2],
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).expect("QEMU sends whole requests");
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..at + 8).expect("QEMU sends whole requests");
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// The next request; `None` when QEMU has ended.
fn next(stream: &mut UnixStream) -> Option<Request> {
    let mut header = [0; HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REGIONS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut pieces = [IoSliceMut::new(&mut header)];
    let received = recvmsg(&stream, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    stream.read_exact(&mut header[received.bytes..]).ok()?;
    let mut payload = vec![0; u32_at(&header, 8) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some(Request {
        code: u32_at(&header, 0),
        payload,
        files,
    })
}

fn reply(stream: &mut UnixStream, code: u32, payload: &[u8]) {
    let size = u32::try_from(payload.len()).expect("an answer is short");
    let mut message = Vec::new();
    for number in [code, REPLY, size] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message.extend_from_slice(payload);
    // QEMU may have ended.
    let _ = stream.write_all(&message);
}

/// Answers requests until QEMU ends. `with` gives the guest for the time of one request.
pub(super) fn serve(mut stream: UnixStream, cid: u64, with: impl Fn(&mut dyn FnMut(&mut Guest))) {
    while let Some(mut request) = next(&mut stream) {
        let mut answer = None;
        with(&mut |guest| answer = carry_out(guest, &mut request, cid));
        if let Some(payload) = answer {
            reply(&mut stream, request.code, &payload);
        }
    }
}

/// Returns the answer if there is to be one.
fn carry_out(guest: &mut Guest, request: &mut Request, cid: u64) -> Option<Vec<u8>> {
    let Request {
        code,
        payload,
        files,
    } = request;
    let number = |value: u64| Some(value.to_le_bytes().to_vec());
    match code {
        // GET_FEATURES, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM
        1 => return number(FEATURES),
        15 => return number(PROTOCOL_FEATURES),
        17 => return number(2),
        // GET_CONFIG: offset, size, flags, and as many bytes of the guest's CID
        24 => {
            let (offset, size) = (u32_at(payload, 0) as usize, u32_at(payload, 4) as usize);
            let cid = cid.to_le_bytes();
            let wanted = cid.get(offset..offset + size).unwrap_or_default();
            payload.truncate(HEADER);
            payload.extend_from_slice(wanted);
            return Some(payload.clone());
        }
        // SET_MEM_TABLE: number, padding, and for each region where it is in the guest, its size, where QEMU has it,
        // and where in its file it begins
        5 => {
            let regions = files.drain(..).enumerate().map(|(index, file)| {
                let at = |field: usize| u64_at(payload, 8 + 32 * index + 8 * field);
                Region {
                    file: File::from(file),
                    in_guest: at(0),
                    size: at(1),
                    in_qemu: at(2),
                    in_file: at(3),
                }
            });
            guest.memory = Memory::new(regions.collect());
        }
        // SET_OWNER, SET_FEATURES, SET_PROTOCOL_FEATURES need nothing.
        _ if (8..=18).contains(code) && *code != 16 => {
            let index = (u32_at(payload, 0) & 0xff) as usize;
            let ring = guest.rings.get_mut(index).expect("there are two rings");
            return of_ring(ring, *code, payload, files);
        }
        _ => {}
    }
    None
}

fn of_ring(
    ring: &mut Ring,
    code: u32,
    payload: &[u8],
    files: &mut Vec<OwnedFd>,
) -> Option<Vec<u8>> {
    match code {
        // SET_VRING_NUM, _ADDR, _BASE
        8 => ring.size = u16::try_from(u32_at(payload, 4)).expect("at most 32768 places"),
        9 => {
            ring.place = Some(Place {
                descriptors: u64_at(payload, 8),
                used: u64_at(payload, 16),
                available: u64_at(payload, 24),
            });
        }
        10 => ring.next = u16::try_from(u32_at(payload, 4)).expect("an index of a ring"),
        // GET_VRING_BASE stops it.
        11 => {
            ring.runs = false;
            let state = [u32_at(payload, 0), ring.next.into()];
            return Some(state.iter().flat_map(|word| word.to_le_bytes()).collect());
        }
        // SET_VRING_KICK starts it: the rings are looked at anyway.
        12 => ring.runs = true,
        // SET_VRING_CALL: how the guest is interrupted
        13 => ring.call = files.pop().map(File::from),
        // SET_VRING_ENABLE
        18 => ring.runs = u32_at(payload, 4) == 1,
        _ => {}
    }
    None
}
