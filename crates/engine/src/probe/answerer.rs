//! Answers probes, on a thread that a server starts as soon as their connection is open.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use iperf_proto::probe::{Answer, LENGTH, Message};
use iperf_proto::udp::{REPLY, is_repeated_hello};
use iperf_zc::udp::monotonic;
use socket2::Socket;

use crate::error::EngineError;
use crate::probe::PeerClock;
use crate::stream::Stream;

/// How often the thread looks whether it has to end although nothing comes.
const LOOK: Duration = Duration::from_millis(250);

/// How long the answers may find no room: a client that reads none gets none.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// A thread that answers. It ends when this is dropped, or with the connection.
#[derive(Debug)]
pub struct Answerer {
    socket: Arc<Socket>,
    is_over: Arc<AtomicBool>,
    clock: Arc<PeerClock>,
}

impl Answerer {
    /// Starts it on the connection of the probes.
    pub fn start(stream: Stream, datagrams: bool) -> Result<Self, EngineError> {
        let socket = Arc::new(stream.socket);
        let clock = Arc::new(PeerClock::default());
        let is_over = Arc::new(AtomicBool::new(false));
        socket
            .set_read_timeout(Some(LOOK))
            .and_then(|()| socket.set_write_timeout(Some(SEND_LIMIT)))
            .map_err(EngineError::system("bound the time of a probe"))?;
        let work = Work {
            socket: socket.clone(),
            clock: clock.clone(),
            is_over: is_over.clone(),
            datagrams,
        };
        thread::Builder::new()
            .name("iperf-answers".to_owned())
            .spawn(move || work.run())
            .map_err(EngineError::system("start the thread that answers probes"))?;
        Ok(Self {
            socket,
            is_over,
            clock,
        })
    }

    /// The client's clock, as the client reports it.
    pub fn clock(&self) -> Arc<PeerClock> {
        self.clock.clone()
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // This wakes the thread; if it does not, the thread looks.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

struct Work {
    socket: Arc<Socket>,
    clock: Arc<PeerClock>,
    is_over: Arc<AtomicBool>,
    datagrams: bool,
}

impl Work {
    fn run(self) {
        // A byte more shows that a datagram is too long.
        let mut buffer = [0; LENGTH + 32];
        let mut filled = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let end = if self.datagrams { LENGTH + 32 } else { LENGTH };
            let received = io::Read::read(&mut &*self.socket, &mut buffer[filled..end]);
            match received {
                Ok(0) if !self.datagrams => return,
                Ok(length) => {
                    filled += length;
                    if !self.take(&buffer[..filled]) {
                        return;
                    }
                    if filled == LENGTH || self.datagrams {
                        filled = 0;
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {}
                    // About an answer that did not arrive.
                    io::ErrorKind::ConnectionRefused if self.datagrams => {}
                    _ => return,
                },
            }
        }
    }

    /// Answers a probe, or a hello whose reply was lost; anything else waits for its rest. `false` if it can't.
    fn take(&self, bytes: &[u8]) -> bool {
        let arrived = nanos();
        let answer = if let Ok(bytes) = bytes.try_into() {
            let probe = Message::decode(bytes);
            if probe.error != u64::MAX {
                // The offset is the server's time less the client's.
                self.clock.set(probe.offset, probe.error);
            }
            let answer = Answer {
                number: probe.number,
                sent: probe.sent,
                arrived,
                answered: nanos(),
            };
            self.socket.send(&answer.encode())
        } else if self.datagrams && is_repeated_hello(bytes, bytes.len()) {
            self.socket.send(&REPLY)
        } else {
            return true;
        };
        // A datagram may be lost; a part of an answer on a stream would make nonsense of the rest.
        self.datagrams || answer.is_ok_and(|sent| sent == LENGTH)
    }
}

/// This machine's monotonic clock.
pub(super) fn nanos() -> u64 {
    u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX)
}
