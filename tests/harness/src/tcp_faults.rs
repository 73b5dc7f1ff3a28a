//! A relay between a client and a server, on 127.0.0.1, that does one thing to the bytes of one TCP connection.
//!
//! ```text
//! client ──► FaultyStream ──► server      connection 0 is the control connection, 1 and so on are the data streams in the
//!               │                   order in which they were opened
//!             Damage                at an offset behind the cookie with which the client's side of each begins
//! ```
//!
//! The word that the test is over goes on when the data that was sent before it has gone.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::port::Port;
use crate::process::POLL;
use crate::wire::{COOKIE, TEST_END};

/// No connection of a test is silent for so long.
const LIMIT: Duration = Duration::from_secs(30);

/// When nothing has passed for so long, the data that was sent has gone; and nobody waits longer than the second.
const QUIET: Duration = Duration::from_millis(100);
const QUIET_LIMIT: Duration = Duration::from_secs(2);

/// What is done to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The lowest bit of the byte is another.
    Flip,
    /// So many bytes are lost.
    Drop(usize),
    /// So many bytes come twice.
    Repeat(usize),
}

/// Where it is done.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which connection, in the order in which they were opened.
    pub connection: usize,
    /// Whether to what the client sends.
    pub from_client: bool,
    /// The byte of the stream, the cookie left aside.
    pub offset: usize,
}

/// A running relay. Dropping it ends it.
#[derive(Debug)]
pub struct FaultyStream {
    port: Port,
    ended: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FaultyStream {
    /// Starts a relay to a server on 127.0.0.1.
    pub fn start(server: u16, place: Place, damage: Damage) -> Self {
        let port = Port::reserve();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).expect("a port");
        listener.set_nonblocking(true).expect("it does not wait");
        let ended = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicBool::new(false));
        let (until, did) = (Arc::clone(&ended), Arc::clone(&done));
        let traffic = Arc::new(AtomicU64::new(0));
        let thread = thread::spawn(move || {
            let mut count = 0;
            let mut lanes = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    thread::sleep(POLL);
                    continue;
                };
                // Without a server the client sees its connection closed.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
                    continue;
                };
                let lane = |from_client| Plan {
                    is_control: count == 0 && from_client,
                    damage: (count == place.connection && from_client == place.from_client).then(
                        || {
                            let cookie = if from_client { COOKIE } else { 0 };
                            (place.offset + cookie, damage)
                        },
                    ),
                    done: Arc::clone(&did),
                    traffic: Arc::clone(&traffic),
                };
                lanes.push(carry(&client, &server, lane(true)));
                lanes.push(carry(&server, &client, lane(false)));
                count += 1;
            }
            for lane in lanes {
                lane.join().expect("a lane does not fail");
            }
        });
        Self {
            port,
            ended,
            done,
            thread: Some(thread),
        }
    }

    /// The port that the client is to connect to.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Waits until all connections have ended, and says whether the damage was done.
    pub fn finish(mut self) -> bool {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a relay ends once");
        thread.join().expect("the relay does not fail");
        self.done.load(Ordering::Relaxed)
    }
}

impl Drop for FaultyStream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// What a lane is to do besides carrying.
struct Plan {
    /// What the client says on the control connection.
    is_control: bool,
    damage: Option<(usize, Damage)>,
    done: Arc<AtomicBool>,
    /// Bytes that have passed on all lanes.
    traffic: Arc<AtomicU64>,
}

/// Carries one direction of a connection.
fn carry(from: &TcpStream, to: &TcpStream, plan: Plan) -> JoinHandle<()> {
    from.set_nonblocking(false).expect("it waits");
    from.set_nodelay(true).expect("TCP_NODELAY");
    from.set_read_timeout(Some(LIMIT)).expect("a limit");
    to.set_write_timeout(Some(LIMIT)).expect("a limit");
    let lane = Lane {
        from: from.try_clone().expect("a descriptor"),
        to: to.try_clone().expect("a descriptor"),
        passed: 0,
        plan,
    };
    thread::spawn(move || {
        // An end that is gone, or silent: the other end learns of it by losing its connection, too.
        let _ = lane.run();
    })
}

/// One direction of one connection.
struct Lane {
    from: TcpStream,
    to: TcpStream,
    passed: usize,
    plan: Plan,
}

impl Lane {
    fn run(mut self) -> io::Result<()> {
        let result = self.pass();
        match &result {
            Ok(()) => self.to.shutdown(Shutdown::Write)?,
            Err(_) => self.from.shutdown(Shutdown::Both)?,
        }
        result
    }

    fn pass(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; 1 << 16];
        loop {
            let length = self.from.read(&mut chunk)?;
            if length == 0 {
                return Ok(());
            }
            if self.plan.is_control && chunk[..length] == [TEST_END] {
                self.wait_for_quiet();
            }
            match self.plan.damage {
                Some((offset, damage)) if offset < self.passed + length => {
                    self.plan.damage = None;
                    let index = offset - self.passed;
                    self.harm(&chunk[..length], index, damage)?;
                    self.plan.done.store(true, Ordering::Relaxed);
                }
                _ => self.to.write_all(&chunk[..length])?,
            }
            self.passed += length;
            self.plan
                .traffic
                .fetch_add(length as u64, Ordering::Relaxed);
        }
    }

    fn wait_for_quiet(&self) {
        let deadline = Instant::now() + QUIET_LIMIT;
        let passed = || self.plan.traffic.load(Ordering::Relaxed);
        let mut seen = None;
        while seen.replace(passed()) != Some(passed()) && Instant::now() < deadline {
            thread::sleep(QUIET);
        }
    }

    /// Passes on a chunk, and does what is to be done at `index` of it.
    fn harm(&mut self, chunk: &[u8], index: usize, damage: Damage) -> io::Result<()> {
        let (before, rest) = chunk.split_at(index);
        self.to.write_all(before)?;
        let more = |length: usize, lane: &mut Self| {
            let mut piece = rest[..length.min(rest.len())].to_vec();
            let there = piece.len();
            piece.resize(length, 0);
            lane.from.read_exact(&mut piece[there..])?;
            lane.passed += length - there;
            io::Result::Ok((piece, &rest[there..]))
        };
        match damage {
            Damage::Flip => {
                let (first, rest) = (rest[0] ^ 1, &rest[1..]);
                self.to.write_all(&[first])?;
                self.to.write_all(rest)
            }
            Damage::Drop(length) => {
                let (_, rest) = more(length, self)?;
                self.to.write_all(rest)
            }
            Damage::Repeat(length) => {
                let (piece, rest) = more(length, self)?;
                self.to.write_all(&piece)?;
                self.to.write_all(&piece)?;
                self.to.write_all(rest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives of bytes that a client, or a server, sends through a relay.
    fn arrives(damage: Damage, place: Place) -> Vec<u8> {
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let port = Port::reserve();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
        let relay = FaultyStream::start(port.number(), place, damage);
        let mut client = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (from, to) = if place.from_client {
            (&mut client, &mut server)
        } else {
            (&mut server, &mut client)
        };
        if place.from_client {
            from.write_all(&[0; COOKIE]).unwrap();
            to.read_exact(&mut [0; COOKIE]).unwrap();
        }
        let mut got = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                from.write_all(&sent).unwrap();
                from.shutdown(Shutdown::Write).unwrap();
            });
            to.read_to_end(&mut got).unwrap();
        });
        drop((client, server));
        assert!(relay.finish(), "the damage is done");
        got
    }

    #[test]
    fn the_damage_is_done_where_it_is_to_be() {
        for (from_client, offset) in [(true, 0), (true, 65_530), (false, 65_530), (false, 7)] {
            let place = Place {
                connection: 0,
                from_client,
                offset,
            };
            let plain: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            let mut flipped = plain.clone();
            flipped[offset] ^= 1;
            assert!(arrives(Damage::Flip, place) == flipped, "{place:?}");
            let less = [&plain[..offset], &plain[offset + 4096..]].concat();
            assert!(arrives(Damage::Drop(4096), place) == less, "{place:?}");
            let more = [&plain[..offset + 4096], &plain[offset..]].concat();
            assert!(arrives(Damage::Repeat(4096), place) == more, "{place:?}");
        }
    }
}
