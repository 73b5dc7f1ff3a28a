//! A path that is longer one way than the other.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use socket2::Socket;

use super::tcp::connect_tcp;
use super::{Direction, Faults, Proxy};
use crate::port::Port;

/// Delays what passes, each chunk for itself: chunks that come faster than that wait for each other.
#[derive(Debug)]
pub struct Delays {
    server: SocketAddr,
    up: Duration,
    down: Duration,
}

impl Proxy<Delays> {
    /// Starts a proxy to a server on 127.0.0.1: everything takes `up` longer to the server, and `down` longer back.
    pub fn delays(server: u16, up: Duration, down: Duration) -> Self {
        let delays = Delays {
            server: (Ipv4Addr::LOCALHOST, server).into(),
            up,
            down,
        };
        Self::on_port(Port::reserve(), delays)
    }
}

impl Faults for Delays {
    type Report = ();

    fn connect(&self, client: &mut Socket) -> io::Result<Socket> {
        connect_tcp(client, self.server)
    }

    fn pass(&self, direction: &mut Direction, chunk: &[u8]) -> io::Result<()> {
        thread::sleep(if direction.from_client {
            self.up
        } else {
            self.down
        });
        direction.to.write_all(chunk)
    }

    fn report(&self) {}
}
