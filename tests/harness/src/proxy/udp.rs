//! Faults of datagrams, on 127.0.0.1. The control connection passes as it is.
//!
//! ```text
//! client ──TCP──► proxy ──TCP──► server
//!        ──UDP──►   │   ──UDP──►             each address of the client has a socket of its own towards the server;
//!                  Plan                      each direction has its plan
//! ```
//!
//! The order is kept: a control message is forwarded after all datagrams that arrived before it.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

use super::datagrams::{FaultyPath, Plan, Record};
use super::tcp::connect_tcp;
use super::{Direction, Faults, Proxy};
use crate::port::Port;

/// What the proxy's sockets can hold, so that it loses nothing by itself; the kernel may give less.
const ROOM: usize = 4 << 20;

/// Loses, repeats and delays datagrams. The report has each stream in the order of their first datagrams.
#[derive(Debug)]
pub struct UdpFaults {
    server: SocketAddr,
    /// What the client sends to.
    front: UdpSocket,
    /// The front and the sockets of all flows.
    sockets: Epoll,
    plans: (Plan, Plan),
    flows: Mutex<Vec<Flow>>,
}

/// What went through on one address of the client, that is, one stream.
#[derive(Clone, Debug)]
pub struct Passed {
    /// From the client to the server.
    pub to_server: Record,
    /// From the server to the client.
    pub to_client: Record,
}

#[derive(Debug)]
struct Flow {
    client: SocketAddr,
    back: UdpSocket,
    to_server: FaultyPath,
    to_client: FaultyPath,
}

impl Proxy<UdpFaults> {
    /// Starts a proxy to a server on 127.0.0.1.
    pub fn udp(server: u16, to_server: Plan, to_client: Plan) -> Self {
        let port = Port::reserve();
        let sockets = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll instance");
        let faults = UdpFaults {
            server: (Ipv4Addr::LOCALHOST, server).into(),
            front: datagram_socket((Ipv4Addr::LOCALHOST, port.number()).into(), &sockets),
            sockets,
            plans: (to_server, to_client),
            flows: Mutex::default(),
        };
        Self::on_port(port, faults)
    }
}

impl Faults for UdpFaults {
    type Report = Vec<Passed>;

    fn connect(&self, client: &mut Socket) -> io::Result<Socket> {
        connect_tcp(client, self.server)
    }

    fn pass(&self, direction: &mut Direction, chunk: &[u8]) -> io::Result<()> {
        // Held until the chunk has gone, so that no later datagram overtakes it.
        let mut flows = self.flows();
        self.pass_datagrams(&mut flows);
        if direction.ends_test(chunk) {
            for flow in flows.iter_mut() {
                send(&flow.back, flow.to_server.end(), self.server);
                send(&self.front, flow.to_client.end(), flow.client);
            }
        }
        direction.to.write_all(chunk)
    }

    fn beside(&self) -> Option<BorrowedFd<'_>> {
        Some(self.sockets.0.as_fd())
    }

    fn pass_beside(&self) {
        self.pass_datagrams(&mut self.flows());
    }

    fn report(&self) -> Vec<Passed> {
        let passed = |flow: Flow| Passed {
            to_server: flow.to_server.into_record(),
            to_client: flow.to_client.into_record(),
        };
        std::mem::take(&mut *self.flows())
            .into_iter()
            .map(passed)
            .collect()
    }
}

impl UdpFaults {
    fn flows(&self) -> MutexGuard<'_, Vec<Flow>> {
        self.flows.lock().expect("no direction failed")
    }

    /// Passes on all datagrams that are there.
    fn pass_datagrams(&self, flows: &mut Vec<Flow>) {
        let mut datagram = vec![0; 1 << 16];
        while let Some((length, from)) = receive(&self.front, &mut datagram) {
            let flow = self.flow_of(from, flows);
            let passed = flow.to_server.offer(&datagram[..length]);
            send(&flow.back, passed, self.server);
        }
        for flow in flows {
            while let Some((length, _)) = receive(&flow.back, &mut datagram) {
                let passed = flow.to_client.offer(&datagram[..length]);
                send(&self.front, passed, flow.client);
            }
        }
    }

    fn flow_of<'a>(&self, client: SocketAddr, flows: &'a mut Vec<Flow>) -> &'a mut Flow {
        let known = flows.iter().position(|flow| flow.client == client);
        let index = known.unwrap_or_else(|| {
            flows.push(Flow {
                client,
                back: datagram_socket((Ipv4Addr::LOCALHOST, 0).into(), &self.sockets),
                to_server: FaultyPath::new(self.plans.0.clone()),
                to_client: FaultyPath::new(self.plans.1.clone()),
            });
            flows.len() - 1
        });
        &mut flows[index]
    }
}

fn datagram_socket(address: SocketAddr, sockets: &Epoll) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a free port");
    socket.set_nonblocking(true).expect("a non-blocking socket");
    // As root without the system's limit.
    if setsockopt(&socket, sockopt::RcvBufForce, &ROOM).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &ROOM).expect("SO_RCVBUF");
    }
    let readable = EpollEvent::new(EpollFlags::EPOLLIN, 0);
    sockets.add(&socket, readable).expect("a pollable socket");
    socket
}

fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(datagram) {
            Ok(received) => return Some(received),
            // An ICMP error for an earlier datagram.
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
            Err(e) => panic!("the proxy can't receive: {e}"),
        }
    }
}

fn send(socket: &UdpSocket, datagrams: Vec<Vec<u8>>, to: SocketAddr) {
    for datagram in datagrams {
        loop {
            match socket.send_to(&datagram, to) {
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Ok(_) => break,
                Err(e) => panic!("the proxy can't send: {e}"),
            }
        }
    }
}
