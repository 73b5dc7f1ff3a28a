//! A relay between a client and a server, on 127.0.0.1, whose way for datagrams is as bad as planned.
//!
//! ```text
//! client ──TCP──► relay ──TCP──► server      the control connection passes as it is
//!        ──UDP──►   │   ──UDP──►             each address of the client has a socket of its own towards the server;
//!                  Plan                      each direction has its plan
//! ```
//!
//! What was sent first arrives first: before a control message goes on, all datagrams that came before it have gone.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use crate::port::Port;
use crate::udp_faults::FaultyPath;
pub use crate::udp_faults::{Fate, Plan, Record};
use crate::wire::TEST_END;

/// How often the relay looks whether it is to end, in milliseconds.
const TICK: u16 = 20;

/// What the relay's sockets can hold, so that it loses nothing by itself; the kernel may give less.
const ROOM: usize = 4 << 20;

/// A running relay. Dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    port: Port,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Flow>>>,
}

/// What went through on one address of the client, that is, one stream.
#[derive(Debug)]
pub struct Passed {
    /// From the client to the server.
    pub to_server: Record,
    /// From the server to the client.
    pub to_client: Record,
}

impl Relay {
    /// Starts a relay to a server on 127.0.0.1.
    pub fn start(server: u16, to_server: Plan, to_client: Plan) -> Self {
        let port = Port::reserve();
        let here = (Ipv4Addr::LOCALHOST, port.number());
        let listener = TcpListener::bind(here).expect("a reserved port");
        let front = datagram_socket(here.into());
        let ended = Arc::new(AtomicBool::new(false));
        let work = Work {
            listener,
            front,
            server: (Ipv4Addr::LOCALHOST, server).into(),
            plans: (to_server, to_client),
            controls: Vec::new(),
            flows: Vec::new(),
        };
        let until = Arc::clone(&ended);
        let thread = thread::spawn(move || work.run(&until));
        Self {
            port,
            ended,
            thread: Some(thread),
        }
    }

    /// The port that the client is to connect to.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Ends the relay and says what went through, stream by stream in the order of their first datagrams.
    pub fn finish(mut self) -> Vec<Passed> {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a relay ends once");
        let flows = thread.join().expect("the relay does not fail");
        let passed = flows.into_iter().map(|flow| Passed {
            to_server: flow.to_server.into_record(),
            to_client: flow.to_client.into_record(),
        });
        passed.collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

struct Work {
    listener: TcpListener,
    front: UdpSocket,
    server: SocketAddr,
    plans: (Plan, Plan),
    controls: Vec<Control>,
    flows: Vec<Flow>,
}

/// A connection of the client and the one to the server that belongs to it.
struct Control {
    client: TcpStream,
    server: TcpStream,
    open: [bool; 2],
}

#[derive(Debug)]
struct Flow {
    client: SocketAddr,
    back: UdpSocket,
    to_server: FaultyPath,
    to_client: FaultyPath,
}

impl Work {
    fn run(mut self, ended: &AtomicBool) -> Vec<Flow> {
        while !ended.load(Ordering::Relaxed) {
            let readable = self.wait();
            if readable {
                self.pass_datagrams();
                self.accept();
                for index in 0..self.controls.len() {
                    self.pass_control(index, true);
                    self.pass_control(index, false);
                }
            }
        }
        self.flows
    }

    /// Waits until there is something to read, or for a tick.
    fn wait(&self) -> bool {
        let mut fds = vec![self.listener.as_fd(), self.front.as_fd()];
        fds.extend(self.flows.iter().map(|flow| flow.back.as_fd()));
        for control in &self.controls {
            let ends = [&control.client, &control.server];
            let open = ends.into_iter().zip(control.open);
            fds.extend(open.filter(|(_, open)| *open).map(|(end, _)| end.as_fd()));
        }
        let mut fds: Vec<_> = fds
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        poll(&mut fds, PollTimeout::from(TICK)).is_ok_and(|ready| ready > 0)
    }

    fn accept(&mut self) {
        if !readable(self.listener.as_fd()) {
            return;
        }
        let (client, _) = self.listener.accept().expect("a connection");
        let Ok(server) = TcpStream::connect(self.server) else {
            return;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("TCP_NODELAY");
        }
        self.controls.push(Control {
            client,
            server,
            open: [true; 2],
        });
    }

    /// Passes on what the client, or the server, has to say. What came as datagrams before it goes first.
    fn pass_control(&mut self, index: usize, from_client: bool) {
        let control = &self.controls[index];
        let (from, side) = if from_client {
            (&control.client, 0)
        } else {
            (&control.server, 1)
        };
        if !control.open[side] || !readable(from.as_fd()) {
            return;
        }
        let mut chunk = [0; 16 * 1024];
        let length = { from }.read(&mut chunk).unwrap_or(0);
        self.pass_datagrams();
        if from_client && length == 1 && chunk[0] == TEST_END {
            self.end();
        }
        let control = &mut self.controls[index];
        let mut to = if from_client {
            &control.server
        } else {
            &control.client
        };
        // The other end may be gone; the one that writes learns it by itself.
        if length == 0 {
            control.open[side] = false;
            let _ = to.shutdown(Shutdown::Write);
        } else {
            let _ = to.write_all(&chunk[..length]);
        }
    }

    /// Passes on all datagrams that are there.
    fn pass_datagrams(&mut self) {
        let mut datagram = vec![0; 1 << 16];
        while let Some((length, from)) = receive(&self.front, &mut datagram) {
            let index = self.flow_of(from);
            let flow = &mut self.flows[index];
            for datagram in flow.to_server.offer(&datagram[..length]) {
                send(&flow.back, &datagram, self.server);
            }
        }
        for flow in &mut self.flows {
            while let Some((length, _)) = receive(&flow.back, &mut datagram) {
                for datagram in flow.to_client.offer(&datagram[..length]) {
                    send(&self.front, &datagram, flow.client);
                }
            }
        }
    }

    /// The client says that the test is over.
    fn end(&mut self) {
        for flow in &mut self.flows {
            for datagram in flow.to_server.end() {
                send(&flow.back, &datagram, self.server);
            }
            for datagram in flow.to_client.end() {
                send(&self.front, &datagram, flow.client);
            }
        }
    }

    fn flow_of(&mut self, client: SocketAddr) -> usize {
        let known = self.flows.iter().position(|flow| flow.client == client);
        known.unwrap_or_else(|| {
            self.flows.push(Flow {
                client,
                back: datagram_socket((Ipv4Addr::LOCALHOST, 0).into()),
                to_server: FaultyPath::new(self.plans.0.clone()),
                to_client: FaultyPath::new(self.plans.1.clone()),
            });
            self.flows.len() - 1
        })
    }
}

fn datagram_socket(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a free port");
    socket.set_nonblocking(true).expect("a non-blocking socket");
    // As root without the system's limit.
    if setsockopt(&socket, sockopt::RcvBufForce, &ROOM).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &ROOM).expect("SO_RCVBUF");
    }
    socket
}

fn readable(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(datagram) {
            Ok(received) => return Some(received),
            // About an earlier datagram that nobody wanted.
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
            Err(e) => panic!("the relay can't receive: {e}"),
        }
    }
}

fn send(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) {
    loop {
        match socket.send_to(datagram, to) {
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Ok(_) => return,
            Err(e) => panic!("the relay can't send: {e}"),
        }
    }
}
