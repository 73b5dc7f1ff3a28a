//! A proxy between a client and a server: it accepts connections, connects each to the server, and copies bytes in both
//! directions until their end. What else it does is its [`Faults`]: [`TcpFaults`] change bytes of one connection,
//! [`UdpFaults`] lose, repeat or delay datagrams, [`Delays`] make a way longer, and a [`Vmm`] carries vsock connections over Unix sockets.
//!
//! ```text
//! client ──► accept ── Faults::connect ──► server
//!               └── two threads: read a chunk ── Faults::pass ──► write it
//! ```

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use crate::port::Port;
use crate::process::HANG;
use crate::wire::TEST_END;

mod datagrams;
mod delays;
mod tcp;
mod udp;
mod vmm;

pub use datagrams::{Fate, Plan, Record};
pub use delays::Delays;
pub use tcp::{Damage, Place, TcpFaults};
pub use udp::{Passed, UdpFaults};
pub use vmm::{HalfClose, Vmm};

/// How often the proxy checks whether it is to end, in milliseconds.
const TICK: u16 = 20;

/// What a proxy does to what passes.
pub trait Faults: Send + Sync + 'static {
    /// What is known at the end.
    type Report;

    /// Connects an accepted client to the server. On an error the client sees its connection closed.
    fn connect(&self, client: &mut Socket) -> io::Result<Socket>;

    /// Passes a chunk on.
    fn pass(&self, direction: &mut Direction, chunk: &[u8]) -> io::Result<()> {
        direction.to.write_all(chunk)
    }

    /// Passes the end of a stream on.
    fn end(&self, direction: &Direction) -> io::Result<()> {
        direction.to.shutdown(Shutdown::Write)
    }

    /// One direction failed; both connections are shut down then, so the programs learn of it.
    fn failed(&self, _direction: &Direction, _error: &io::Error) {}

    /// Traffic beside the connections: what becomes readable when there is some.
    fn beside(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Passes on what arrived beside the connections.
    fn pass_beside(&self) {}

    /// Called when the proxy has ended.
    fn report(&self) -> Self::Report;
}

/// One direction of one connection.
#[derive(Debug)]
pub struct Direction {
    /// Which connection, in the order in which they were opened: 0 is the control connection.
    connection: usize,
    from_client: bool,
    from: Socket,
    to: Socket,
    /// Bytes that were passed on, as far as the faults count them.
    passed: usize,
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy<F> {
    port: Option<Port>,
    faults: Arc<F>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<F: Faults> Proxy<F> {
    /// Accepts connections on a reserved port of 127.0.0.1.
    fn on_port(port: Port, faults: F) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()));
        let mut proxy = Self::start(listener.expect("a reserved port").into(), faults);
        proxy.port = Some(port);
        proxy
    }

    fn start(listener: Socket, faults: F) -> Self {
        let faults = Arc::new(faults);
        let ended = Arc::new(AtomicBool::new(false));
        let (does, until) = (Arc::clone(&faults), Arc::clone(&ended));
        Self {
            port: None,
            faults,
            ended,
            thread: Some(thread::spawn(move || run(&listener, &does, &until))),
        }
    }

    /// The port that the client is to connect to.
    pub fn port(&self) -> u16 {
        self.port.as_ref().expect("a proxy on TCP").number()
    }

    /// Waits until all connections have ended, and reports what was done.
    pub fn finish(mut self) -> F::Report {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a proxy ends once");
        thread.join().expect("the proxy does not fail");
        self.faults.report()
    }
}

impl<F> Drop for Proxy<F> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn run<F: Faults>(listener: &Socket, faults: &Arc<F>, ended: &AtomicBool) {
    let mut threads = Vec::new();
    let mut connections = 0;
    loop {
        // Read first: what was there before the end still passes.
        let over = ended.load(Ordering::Relaxed);
        let fds = [Some(listener.as_fd()), faults.beside()];
        let mut fds: Vec<_> = fds.into_iter().flatten().map(to_read).collect();
        let waits = if over { PollTimeout::ZERO } else { TICK.into() };
        poll(&mut fds, waits).expect("sockets can be polled");
        if over && fds.iter().all(|fd| fd.any() != Some(true)) {
            break;
        }
        faults.pass_beside();
        if fds[0].any() == Some(true)
            && let Ok((client, _)) = listener.accept()
            && let Ok(pair) = open(client, connections, faults)
        {
            threads.extend(pair);
            connections += 1;
        }
    }
    for thread in threads {
        thread.join().expect("a direction does not fail");
    }
}

fn to_read(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

/// Connects a client to the server and starts to copy.
fn open<F: Faults>(
    mut client: Socket,
    connection: usize,
    faults: &Arc<F>,
) -> io::Result<[JoinHandle<()>; 2]> {
    client.set_read_timeout(Some(HANG))?;
    let server = faults.connect(&mut client)?;
    let ends = [&client, &server];
    for end in ends {
        end.set_read_timeout(Some(HANG))?;
        end.set_write_timeout(Some(HANG))?;
    }
    let copy = |from_client: bool| {
        let [from, to] = if from_client {
            ends
        } else {
            [ends[1], ends[0]]
        };
        let mut direction = Direction {
            connection,
            from_client,
            from: from.try_clone()?,
            to: to.try_clone()?,
            passed: 0,
        };
        let faults = Arc::clone(faults);
        io::Result::Ok(thread::spawn(move || direction.copy(&*faults)))
    };
    Ok([copy(true)?, copy(false)?])
}

impl Direction {
    fn copy(&mut self, faults: &impl Faults) {
        if let Err(error) = self.copy_to_end(faults) {
            faults.failed(self, &error);
            // Either may be closed already.
            let _ = self.from.shutdown(Shutdown::Both);
            let _ = self.to.shutdown(Shutdown::Both);
        }
    }

    fn copy_to_end(&mut self, faults: &impl Faults) -> io::Result<()> {
        let mut chunk = vec![0; 32 * 1024];
        loop {
            match self.from.read(&mut chunk)? {
                0 => return faults.end(self),
                length => faults.pass(self, &chunk[..length])?,
            }
        }
    }

    /// Whether the client ends the test with this.
    fn ends_test(&self, chunk: &[u8]) -> bool {
        self.connection == 0 && self.from_client && chunk == [TEST_END]
    }
}
