//! Faults of TCP connections, on 127.0.0.1: one change to the bytes of one connection.
//!
//! Data connections are numbered from 1 in the order in which they were opened. The end of the test is forwarded
//! after all data that was sent before it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::{Direction, Faults, Proxy};
use crate::port::Port;
use crate::wire::COOKIE;

/// After this much silence, all data that was sent has passed; the second bounds the wait.
const QUIET: Duration = Duration::from_millis(100);
const QUIET_LIMIT: Duration = Duration::from_secs(2);

/// What is done to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The lowest bit of the byte is flipped.
    Flip,
    /// This many bytes are lost.
    Drop(usize),
    /// This many bytes are sent twice.
    Repeat(usize),
}

/// Where it is done.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which connection, in the order in which they were opened.
    pub connection: usize,
    /// Whether to what the client sends.
    pub from_client: bool,
    /// The byte of the stream, not counting the cookie.
    pub offset: usize,
}

/// Changes bytes at one place. The report is whether they were changed.
#[derive(Debug)]
pub struct TcpFaults {
    server: SocketAddr,
    place: Place,
    damage: Damage,
    done: AtomicBool,
    /// Bytes that have passed on all connections.
    traffic: AtomicUsize,
}

impl Proxy<TcpFaults> {
    /// Starts a proxy to a server on 127.0.0.1.
    pub fn tcp(server: u16, place: Place, damage: Damage) -> Self {
        let faults = TcpFaults {
            server: (Ipv4Addr::LOCALHOST, server).into(),
            place,
            damage,
            done: AtomicBool::new(false),
            traffic: AtomicUsize::new(0),
        };
        Self::on_port(Port::reserve(), faults)
    }
}

impl Faults for TcpFaults {
    type Report = bool;

    fn connect(&self, client: &mut Socket) -> io::Result<Socket> {
        connect_tcp(client, self.server)
    }

    fn pass(&self, direction: &mut Direction, chunk: &[u8]) -> io::Result<()> {
        if direction.ends_test(chunk) {
            self.wait_for_quiet();
        }
        let before = direction.passed;
        direction.passed += chunk.len();
        match self.index(direction, before) {
            Some(index) if index < chunk.len() => {
                self.harm(direction, chunk.split_at(index))?;
                self.done.store(true, Ordering::Relaxed);
            }
            _ => direction.to.write_all(chunk)?,
        }
        self.traffic
            .fetch_add(direction.passed - before, Ordering::Relaxed);
        Ok(())
    }

    fn report(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

/// Connects to a server over TCP; neither side waits to fill a segment.
pub(super) fn connect_tcp(client: &Socket, server: SocketAddr) -> io::Result<Socket> {
    let server = Socket::from(TcpStream::connect(server)?);
    client.set_tcp_nodelay(true)?;
    server.set_tcp_nodelay(true)?;
    Ok(server)
}

impl TcpFaults {
    /// How far behind `passed` the damage is to be done.
    fn index(&self, direction: &Direction, passed: usize) -> Option<usize> {
        let Place {
            connection,
            from_client,
            offset,
        } = self.place;
        let cookie = if from_client { COOKIE } else { 0 };
        let here = (direction.connection, direction.from_client) == (connection, from_client);
        (offset + cookie).checked_sub(passed).filter(|_| here)
    }

    fn wait_for_quiet(&self) {
        let deadline = Instant::now() + QUIET_LIMIT;
        let mut before = None;
        while Instant::now() < deadline {
            let now = Some(self.traffic.load(Ordering::Relaxed));
            if now == before {
                break;
            }
            before = now;
            thread::sleep(QUIET);
        }
    }

    /// Passes on a chunk that is to be damaged between `before` and `rest`.
    fn harm(&self, direction: &mut Direction, (before, rest): (&[u8], &[u8])) -> io::Result<()> {
        direction.to.write_all(before)?;
        let length = match self.damage {
            Damage::Flip => 1,
            Damage::Drop(length) | Damage::Repeat(length) => length,
        };
        let mut piece = rest[..length.min(rest.len())].to_vec();
        let (there, rest) = (piece.len(), &rest[piece.len()..]);
        piece.resize(length, 0);
        direction.from.read_exact(&mut piece[there..])?;
        direction.passed += length - there;
        match self.damage {
            Damage::Flip => direction.to.write_all(&[piece[0] ^ 1])?,
            Damage::Drop(_) => {}
            Damage::Repeat(_) => direction.to.write_all(&piece.repeat(2))?,
        }
        direction.to.write_all(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use super::*;

    /// What arrives of bytes that a client, or a server, sends through a proxy.
    fn arrives(damage: Damage, place: Place) -> Vec<u8> {
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let port = Port::reserve();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
        let proxy = Proxy::tcp(port.number(), place, damage);
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
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
        assert!(proxy.finish(), "the damage is done");
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
