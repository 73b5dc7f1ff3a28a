//! A VMM made by hand: it carries vsock connections between two programs by Unix sockets, as real ones do for a guest
//! and its host, and keeps a record of whatever a real one would complain about.
//!
//! ```text
//! client ── CONNECT 5201 ──► vm.vsock ── Vmm ──► host.vsock_5201 ◄── server listens
//!        ◄── OK 1073741824 ──            │
//!                                        └──► resets, broken pipes, bytes that found nobody
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

use crate::pair::words;
use crate::peer::Peer;
use crate::process::{POLL, Running, wait_for};

/// No connection of a test is silent for so long.
const LIMIT: Duration = Duration::from_secs(30);

/// How a VMM carries the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// What one side half-closes the other side sees as the end of the stream.
    Passed,
    /// It is kept back until that side has closed its socket altogether, as Firecracker does with what a guest says.
    KeptBack,
}

/// A running VMM. Its sockets lie in a directory of its own.
#[derive(Debug)]
pub struct Vmm {
    dir: TempDir,
    complaints: Complaints,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Complaints = Arc<Mutex<Vec<String>>>;

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
        listener
            .set_nonblocking(true)
            .expect("a non-blocking listener");
        let (complaints, ended) = (Complaints::default(), Arc::new(AtomicBool::new(false)));
        let work = Work {
            server: dir.path().join("host.vsock"),
            half_close,
            pause,
            delay,
            complaints: Arc::clone(&complaints),
        };
        let until = Arc::clone(&ended);
        Self {
            thread: Some(thread::spawn(move || work.run(&listener, &until))),
            dir,
            complaints,
            ended,
        }
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
        let ready = wait_for(Duration::from_secs(30), || {
            (file.exists() || !server.is_alive()).then_some(file.exists())
        });
        if ready != Some(true) {
            let end = server.finish(Duration::ZERO);
            panic!("nobody listens on {}:\n{end}", file.display());
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

    /// Waits until all connections have ended, and says what went wrong on them.
    pub fn finish(mut self) -> Vec<String> {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a VMM ends once");
        thread.join().expect("the VMM does not fail");
        let complaints = self.complaints.lock();
        complaints.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Work {
    server: PathBuf,
    half_close: HalfClose,
    pause: Duration,
    delay: Duration,
    complaints: Complaints,
}

impl Work {
    fn run(self, listener: &UnixListener, ended: &AtomicBool) {
        let mut lanes = Vec::new();
        loop {
            match listener.accept() {
                Ok((client, _)) => {
                    let delay = if lanes.is_empty() {
                        Duration::ZERO
                    } else {
                        self.delay
                    };
                    let work = Self {
                        delay,
                        ..self.clone()
                    };
                    lanes.extend(work.connect(client).unwrap_or_default());
                }
                Err(_) if ended.load(Ordering::Relaxed) => break,
                Err(_) => thread::sleep(POLL),
            }
        }
        for lane in lanes {
            lane.join().expect("a lane does not fail");
        }
    }

    /// Answers `CONNECT`, and carries bytes from then on. Where nobody listens the client sees its connection closed.
    fn connect(&self, mut client: UnixStream) -> io::Result<Vec<JoinHandle<()>>> {
        client.set_nonblocking(false)?;
        client.set_read_timeout(Some(LIMIT))?;
        let port = read_port(&mut client)?;
        let server = UnixStream::connect(format!("{}_{port}", self.server.display()))?;
        server.set_read_timeout(Some(LIMIT))?;
        client.write_all(b"OK 1073741824\n")?;
        Ok(vec![
            self.lane("client", client.try_clone()?, server.try_clone()?),
            self.lane("server", server, client),
        ])
    }

    /// Carries bytes one way until their end.
    fn lane(&self, from: &'static str, source: UnixStream, sink: UnixStream) -> JoinHandle<()> {
        let work = self.clone();
        thread::spawn(move || {
            if let Err(error) = work.carry(&source, &sink) {
                let text = format!("from the {from}: {error}");
                let complaints = work.complaints.lock();
                complaints
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(text);
                let _ = source.shutdown(Shutdown::Both);
                let _ = sink.shutdown(Shutdown::Both);
            }
        })
    }

    fn carry(&self, mut source: &UnixStream, mut sink: &UnixStream) -> io::Result<()> {
        let mut chunk = vec![0; 32 * 1024];
        loop {
            let length = source.read(&mut chunk)?;
            if length == 0 {
                break;
            }
            thread::sleep(self.delay);
            sink.write_all(&chunk[..length])?;
            // Single bytes and JSON are the control connection's, which is no slower than it has to be.
            if length > 4096 {
                thread::sleep(self.pause);
            }
        }
        if self.half_close == HalfClose::KeptBack {
            wait_for_close(source);
        }
        match sink.shutdown(Shutdown::Write) {
            // It has closed already, with nothing under way.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

/// Waits until a peer that has half-closed its socket has closed it.
fn wait_for_close(socket: &UnixStream) {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    let limit = PollTimeout::try_from(LIMIT).expect("a short time");
    poll(&mut fds, limit).expect("a socket can be polled");
}

fn read_port(client: &mut UnixStream) -> io::Result<u32> {
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
