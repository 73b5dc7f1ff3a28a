//! A vsock device of the lab's own that connects a guest to itself: what it sends to CID 9 arrives from CID 9.
//!
//! ```text
//! guest 3, port A ──► device ──► guest 3, port B        the guest sees its own packets as CID 9's
//! ```
//!
//! So one guest runs both ends of a test over its transport, also with `SOCK_SEQPACKET`, which vhost-device-vsock lacks.
//! The device can also do what no real one does: [`Forged`] packets whose lengths contradict each other, buffers that
//! were never its own, a reset of the transport, answers that it does not take.

mod memory;
mod ring;
mod vhost_user;

use std::collections::VecDeque;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use self::memory::Address;
use self::ring::Ring;
use self::vhost_user::Guest;

/// The guest's CID.
pub const GUEST_CID: u64 = 3;

/// Where the guest reaches itself.
pub const HAIRPIN_CID: u64 = 9;

/// Bytes of a packet's header.
pub const HEADER: usize = 44;

/// Buffers for events that `virtio_vsock_pages` gives to its device. The stock driver, whose ring may still lie in freed
/// memory, has more.
const EVENTS: u16 = 4;

/// From one of them to the next, in bytes: each has a cache line.
const EVENT_STRIDE: u64 = 64;

const IDLE: Duration = Duration::from_micros(200);

/// A packet that the device passes to the guest, and what it reports about it.
#[derive(Clone, Debug)]
pub struct Forged {
    /// Header and payload, as they are written into the guest's buffer.
    pub bytes: Vec<u8>,
    /// The bytes that the device reports as written; `None`: as many as there are.
    pub written: Option<u32>,
    /// The buffer that the device reports as returned; `None`: the one that it took.
    pub buffer: Option<u32>,
}

impl Forged {
    /// What an honest device would send.
    pub fn honest(header: &Header, payload: &[u8]) -> Self {
        let mut bytes = header.bytes().to_vec();
        bytes.extend_from_slice(payload);
        Self {
            bytes,
            written: None,
            buffer: None,
        }
    }
}

/// A packet's header (virtio 1.2, section 5.10.6), from [`HAIRPIN_CID`] to the guest.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct Header {
    pub src_cid: u64,
    pub dst_cid: u64,
    pub src_port: u32,
    pub dst_port: u32,
    pub len: u32,
    pub kind: u16,
    pub op: u16,
    pub flags: u32,
    pub buf_alloc: u32,
    pub fwd_cnt: u32,
}

impl Header {
    /// A packet of a byte stream, without payload.
    pub fn new(op: u16, src_port: u32, dst_port: u32) -> Self {
        Self {
            src_cid: HAIRPIN_CID,
            dst_cid: GUEST_CID,
            src_port,
            dst_port,
            len: 0,
            kind: 1,
            op,
            flags: 0,
            buf_alloc: 1 << 18,
            fwd_cnt: 0,
        }
    }

    fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.src_cid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.dst_cid.to_le_bytes());
        let words = [self.src_port, self.dst_port, self.len];
        for (at, word) in (16..).step_by(4).zip(words) {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[28..30].copy_from_slice(&self.kind.to_le_bytes());
        bytes[30..32].copy_from_slice(&self.op.to_le_bytes());
        let words = [self.flags, self.buf_alloc, self.fwd_cnt];
        for (at, word) in (32..).step_by(4).zip(words) {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

#[derive(Default)]
struct State {
    guest: Guest,
    /// What the guest has sent, on its way back. Only credit bounds it: a device that stopped taking packets until the
    /// guest takes others could wait for it while it waits for the device.
    held: VecDeque<Forged>,
    forged: VecDeque<Forged>,
    /// The device takes nothing of what the guest sends.
    stalled: bool,
    /// Packets taken from the guest.
    taken: u64,
}

/// A running device.
pub struct Hairpin {
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    folder: TempDir,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hairpin {
    /// Starts it, for one guest.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let state = Arc::new(Mutex::new(State::default()));
        let ends = Arc::new(AtomicBool::new(false));
        let listener = UnixListener::bind(folder.path().join("device")).expect("a socket");
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                vhost_user::serve(stream, GUEST_CID, |change| {
                    change(&mut lock(&shared).guest);
                });
            }
        });
        let (shared, is_over) = (Arc::clone(&state), Arc::clone(&ends));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                if !lock(&shared).step() {
                    thread::sleep(IDLE);
                }
            }
        });
        Self {
            state,
            ends,
            folder,
        }
    }

    /// The socket to which QEMU connects the device.
    pub(super) fn device(&self) -> PathBuf {
        self.folder.path().join("device")
    }

    /// The folder in which its socket is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the guest a packet that nothing sent.
    pub fn forge(&self, packet: Forged) {
        lock(&self.state).forged.push_back(packet);
    }

    /// Whether the guest has been given all that was forged.
    pub fn is_done(&self) -> bool {
        lock(&self.state).forged.is_empty()
    }

    /// From now on the device takes what the guest sends, or does not.
    pub fn takes_packets(&self, takes: bool) {
        lock(&self.state).stalled = !takes;
    }

    /// How many packets the guest has sent.
    pub fn taken(&self) -> u64 {
        lock(&self.state).taken
    }

    /// Puts an event into the event queue, which QEMU keeps to itself: a reset of the transport, as after a migration.
    /// The ring is found by its content. Whether one was found.
    pub fn reset_transport(&self) -> bool {
        let mut state = lock(&self.state);
        let Guest { memory, rings } = &mut state.guest;
        let size = u64::from(rings[0].size);
        let event_rings: Vec<Address> = memory
            .pages()
            .filter(|page| is_event_ring(memory, *page, size))
            .collect();
        let [ring] = event_rings[..] else {
            return false;
        };
        // The first event: id 0, a reset, in the buffer of the descriptor 0.
        let mut descriptor = [0; 16];
        memory.read(ring, &mut descriptor);
        let buffer = u64::from_le_bytes(descriptor[..8].try_into().expect("eight bytes"));
        memory.write(Address::OfGuest(buffer), &[0; 4]);
        let used = ring.plus((18 * size + 6).next_multiple_of(64));
        memory.write(used.plus(4), &[0, 0, 0, 0, 4, 0, 0, 0]);
        memory.write(used.plus(2), &1_u16.to_le_bytes());
        // All queues of this device have the same interrupt.
        rings[0].interrupt();
        true
    }
}

/// Whether a page begins with the ring of event buffers: four bytes each, in adjacent cache lines, and none used yet.
fn is_event_ring(memory: &memory::Memory, page: Address, size: u64) -> bool {
    let mut bytes = [0; 32];
    memory.read(page, &mut bytes);
    let of_four_bytes = |at: usize| bytes[at + 8..at + 14] == [4, 0, 0, 0, 2, 0];
    let start = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if !of_four_bytes(0)
        || !of_four_bytes(16)
        || start(0).checked_add(EVENT_STRIDE) != Some(start(16))
    {
        return false;
    }
    let available = page.plus(16 * size);
    let used = page.plus((18 * size + 6).next_multiple_of(64));
    memory.u16(available.plus(2)) == EVENTS && memory.u16(used.plus(2)) == 0
}

impl State {
    /// Moves what can be moved; whether anything was.
    fn step(&mut self) -> bool {
        let took = !self.stalled && self.take();
        self.give() || took
    }

    /// A packet of the guest's comes back to it.
    fn take(&mut self) -> bool {
        let Guest { memory, rings } = &mut self.guest;
        let Some(chain) = rings[1].pop(memory) else {
            return false;
        };
        let mut bytes = chain.read(memory);
        rings[1].push(memory, chain.head.into(), 0);
        self.taken += 1;
        if bytes.len() >= HEADER {
            let (from, to) = bytes.split_at_mut(8);
            from.swap_with_slice(&mut to[..8]);
            self.held.push_back(Forged {
                bytes,
                written: None,
                buffer: None,
            });
        }
        true
    }

    fn give(&mut self) -> bool {
        let queue = if self.forged.is_empty() {
            &mut self.held
        } else {
            &mut self.forged
        };
        if queue.is_empty() {
            return false;
        }
        let Guest { memory, rings } = &mut self.guest;
        let Some(chain) = rings[0].pop(memory) else {
            return false;
        };
        let mut packet = queue.pop_front().expect("there is one");
        let room = chain.len();
        if packet.written.is_none() && packet.bytes.len() > room {
            let rest = cut(&mut packet.bytes, room);
            queue.push_front(Forged {
                bytes: rest,
                ..packet.clone()
            });
        }
        chain.write(memory, &packet.bytes);
        let written = u32::try_from(packet.bytes.len()).expect("a packet is short");
        give_back(&mut rings[0], memory, &packet, chain.head, written);
        true
    }
}

fn give_back(ring: &mut Ring, memory: &memory::Memory, packet: &Forged, head: u16, written: u32) {
    let head = packet.buffer.unwrap_or(head.into());
    ring.push(memory, head, packet.written.unwrap_or(written));
}

/// Shortens a packet to the buffer's length, and returns one with the rest. Marks of a message's end stay with that.
fn cut(bytes: &mut Vec<u8>, room: usize) -> Vec<u8> {
    let payload = bytes.split_off(room);
    let mut rest = bytes[..HEADER].to_vec();
    rest.extend_from_slice(&payload);
    for (bytes, is_last) in [(bytes, false), (&mut rest, true)] {
        let len = u32::try_from(bytes.len() - HEADER).expect("a packet is short");
        bytes[24..28].copy_from_slice(&len.to_le_bytes());
        if !is_last {
            bytes[32..36].fill(0);
        }
    }
    rest
}

impl Drop for Hairpin {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}
