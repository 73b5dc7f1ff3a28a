//! A VMM made by hand: it carries vsock connections between two programs by Unix sockets, as real ones do for a guest
//! and its host, and records everything that a real one would reject.
//!
//! ```text
//! client ── CONNECT 5201 ──► vm.vsock ── Vmm ──► host.vsock_5201 ◄── server listens
//!        ◄── OK 1073741824 ──            │
//!                                        └──► resets, broken pipes, bytes without a reader
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;
use tempfile::TempDir;

use super::{Direction, Faults, Proxy};
use crate::pair::words;
use crate::peer::Peer;
use crate::process::{Finished, HANG, Running, wait_for};
use crate::procfs::listens_on;

/// How a VMM carries the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// A half-close of one side is the end of the stream for the other side.
    Passed,
    /// It is held back until that side has closed its socket completely, as Firecracker does with a guest's.
    KeptBack,
}

/// A running VMM. Its sockets lie in a directory of its own.
#[derive(Debug)]
pub struct Vmm {
    dir: TempDir,
    proxy: Proxy<VmmFaults>,
}

/// What a VMM does to its connections. The report is what went wrong on them.
#[derive(Debug)]
struct VmmFaults {
    server: PathBuf,
    half_close: HalfClose,
    pause: Duration,
    delay: Duration,
    complaints: Mutex<Vec<String>>,
}

impl Vmm {
    /// Begins to carry connections. With a `pause` after each chunk it is slow, so that bytes are under way when a
    /// test ends.
    pub fn start(half_close: HalfClose, pause: Duration) -> Self {
        Self::start_with(half_close, pause, Duration::ZERO)
    }

    /// Begins to carry connections. All but the first, which controls the test, are late by `delay`: each chunk is taken
    /// from its sender and delivered after that time.
    pub fn start_late(delay: Duration) -> Self {
        Self::start_with(HalfClose::Passed, Duration::ZERO, delay)
    }

    fn start_with(half_close: HalfClose, pause: Duration, delay: Duration) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(dir.path().join("vm.vsock")).expect("a socket file");
        let faults = VmmFaults {
            server: dir.path().join("host.vsock"),
            half_close,
            pause,
            delay,
            complaints: Mutex::default(),
        };
        let proxy = Proxy::start(listener.into(), faults);
        Self { dir, proxy }
    }

    /// The socket that clients connect to.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("vm.vsock")
    }

    /// What a server is given with `-B`.
    pub fn server_path(&self) -> PathBuf {
        self.dir.path().join("host.vsock")
    }

    /// The file that a server listens on for connections to `port`.
    pub fn server_file(&self, port: u32) -> PathBuf {
        self.dir.path().join(format!("host.vsock_{port}"))
    }

    /// Starts a server that guests reach on `port`, and waits until it listens.
    pub fn serve(&self, port: u32, args: &str) -> Running {
        let mut command = Peer::Ours.command();
        command
            .args(["-s", "--vsock", "-p", &port.to_string(), "-B"])
            .arg(self.server_path())
            .args(words(args));
        let mut server = Running::start(command);
        let file = self.server_file(port);
        let ready = wait_for(HANG, || {
            let listens = listens_on(&file);
            (listens || !server.is_alive()).then_some(listens)
        });
        if ready != Some(true) {
            let end = server.finish(Duration::ZERO);
            panic!("nothing listens on {}:\n{end}", file.display());
        }
        server
    }

    /// Starts a client of the server on `port`.
    pub fn client(&self, port: u32, args: &str) -> Running {
        let mut command = Peer::Ours.command();
        command
            .args(["--vsock", "-p", &port.to_string(), "-c"])
            .arg(self.socket())
            .args(words(args));
        Running::start(command)
    }

    /// Runs a test over `port` to its end. Returns the client's and the server's.
    pub fn run(&self, port: u32, args: &str) -> (Finished, Finished) {
        let server = self.serve(port, "-1 -J");
        let client = self.client(port, &format!("-J {args}")).finish(HANG);
        (client, server.finish(HANG))
    }

    /// Waits until all connections have ended, and returns what went wrong on them.
    pub fn finish(self) -> Vec<String> {
        self.proxy.finish()
    }
}

impl Faults for VmmFaults {
    type Report = Vec<String>;

    /// Answers `CONNECT`.
    fn connect(&self, client: &mut Socket) -> io::Result<Socket> {
        let port = read_port(client)?;
        let server = UnixStream::connect(format!("{}_{port}", self.server.display()))?;
        client.write_all(b"OK 1073741824\n")?;
        Ok(server.into())
    }

    fn pass(&self, direction: &mut Direction, chunk: &[u8]) -> io::Result<()> {
        if direction.connection > 0 {
            thread::sleep(self.delay);
        }
        direction.to.write_all(chunk)?;
        // Single bytes and JSON are the control connection's, which is no slower than it has to be.
        if chunk.len() > 4096 {
            thread::sleep(self.pause);
        }
        Ok(())
    }

    fn end(&self, direction: &Direction) -> io::Result<()> {
        if self.half_close == HalfClose::KeptBack {
            wait_for_close(&direction.from);
        }
        match direction.to.shutdown(Shutdown::Write) {
            // It has closed already, with nothing under way.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    fn failed(&self, direction: &Direction, error: &io::Error) {
        let from = if direction.from_client {
            "client"
        } else {
            "server"
        };
        let mut complaints = self.complaints.lock().expect("no direction panics");
        complaints.push(format!("from the {from}: {error}"));
    }

    fn report(&self) -> Vec<String> {
        self.complaints.lock().expect("no direction panics").clone()
    }
}

/// Waits until a peer that has half-closed its socket has closed it.
fn wait_for_close(socket: &Socket) {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    let limit = PollTimeout::try_from(HANG).expect("a short time");
    poll(&mut fds, limit).expect("a socket can be polled");
}

fn read_port(client: &mut Socket) -> io::Result<u32> {
    let mut line = Vec::new();
    let mut byte = [0];
    while client.read(&mut byte)? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    let port = line
        .strip_prefix("CONNECT ")
        .and_then(|text| text.parse().ok());
    port.ok_or_else(|| io::Error::other(format!("no CONNECT but {line:?}")))
}
