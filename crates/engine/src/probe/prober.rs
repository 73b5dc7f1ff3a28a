//! Sends probes by a schedule, whether those before are answered or not, and takes their answers.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use iperf_model::{ClockRelation, Load, ProbeMethod, Probes};
use iperf_proto::probe::{Answer, LENGTH, Message};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::time::TimeSpec;
use socket2::Socket;

use crate::error::EngineError;
use crate::exchange::Schedule;
use crate::probe::answerer::nanos;
use crate::probe::clocks::{Clocks, PeerClock, Times};
use crate::probe::period::{Period, Present, Recorded};
use crate::stream::Stream;

/// Probes that wait for an answer: more than 16 s of them. Older ones are lost.
const MOST_OUT: usize = 16_384;

/// How long to wait for the answers to the last probes.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The longest wait, after which the period is looked at again.
const LOOK: Duration = Duration::from_millis(100);

/// How long the first answer may take.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// The prober of a client.
#[derive(Debug)]
pub struct Prober {
    present: Arc<Present>,
    clock: Arc<PeerClock>,
    thread: JoinHandle<(Recorded, Clocks)>,
}

impl Prober {
    /// Starts to send `rate` probes per second on their connection, and waits for the first answer: then the server has
    /// taken it for what it is. `same_clock`: the server has the clock of this machine.
    pub fn start(
        stream: Stream,
        datagrams: bool,
        rate: u16,
        same_clock: bool,
    ) -> Result<Self, EngineError> {
        let (present, clock) = (Arc::<Present>::default(), Arc::<PeerClock>::default());
        let (first, answered) = channel();
        let work = Work {
            socket: stream.socket,
            present: present.clone(),
            clock: clock.clone(),
            datagrams,
            schedule: Schedule::new(Instant::now(), rate.into()),
            out: VecDeque::with_capacity(64),
            next: 0,
            buffer: [0; LENGTH],
            filled: 0,
            recorded: Recorded::with_ways(),
            clocks: Clocks::new(same_clock),
            first: Some(first),
        };
        let thread = thread::Builder::new()
            .name("iperf-probes".to_owned())
            .spawn(move || work.run())
            .map_err(EngineError::system("start the thread of the probes"))?;
        let prober = Self {
            present,
            clock,
            thread,
        };
        prober.await_first(&answered)?;
        Ok(prober)
    }

    fn await_first(&self, answered: &Receiver<()>) -> Result<(), EngineError> {
        answered.recv_timeout(FIRST_ANSWER).map_err(|_| {
            self.present.set(Period::Over);
            let text = "the server does not answer probes";
            EngineError::system("probe the path")(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }

    /// What is sent from now on belongs to this period.
    pub fn set(&self, period: Period) {
        self.present.set(period);
    }

    /// The server's clock in terms of this end's.
    pub fn clock(&self) -> Arc<PeerClock> {
        self.clock.clone()
    }

    /// Sends no more probes, and waits a moment for the last answers.
    pub fn finish(self) -> (Load, Option<ClockRelation>) {
        self.present.set(Period::Over);
        let (recorded, clocks) = self.thread.join().unwrap_or_default();
        let load = Load {
            method: ProbeMethod::Messages,
            idle: recorded.idle,
            loaded: recorded.loaded,
            after: recorded.after,
        };
        (load, clocks.relation())
    }
}

/// A probe that waits for its answer.
struct Out {
    number: u64,
    sent: u64,
    period: Period,
}

struct Work {
    socket: Socket,
    present: Arc<Present>,
    clock: Arc<PeerClock>,
    datagrams: bool,
    schedule: Schedule,
    out: VecDeque<Out>,
    next: u64,
    buffer: [u8; LENGTH],
    filled: usize,
    recorded: Recorded,
    clocks: Clocks,
    first: Option<Sender<()>>,
}

impl Work {
    fn run(mut self) -> (Recorded, Clocks) {
        // The system's 50 µs of slack would be in every wait.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut end: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if self.present.get() == Period::Over {
                let end = *end.get_or_insert(now + LAST_ANSWERS);
                if now >= end || self.out.is_empty() {
                    break;
                }
            } else {
                self.send_due(now);
            }
            self.wait(now);
            if self.receive().is_err() {
                break;
            }
        }
        while let Some(out) = self.out.pop_front() {
            self.lose(&out);
        }
        (self.recorded, self.clocks)
    }

    /// Sends the probe that is due, if one is. Those that were missed are left out.
    fn send_due(&mut self, now: Instant) {
        if self.schedule.due() > now {
            return;
        }
        while self.schedule.due() <= now {
            self.schedule.advance();
        }
        let (offset, error) = self.clocks.offset().unwrap_or((0, u64::MAX));
        let probe = Message {
            number: self.next,
            sent: nanos(),
            offset,
            error,
        };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = send(self.socket.as_raw_fd(), &probe.encode(), flags);
        let period = self.present.get();
        if let Some(probes) = self.recorded.of(period) {
            probes.sent += 1;
            if sent != Ok(LENGTH) {
                probes.lost += 1;
            }
        }
        if sent != Ok(LENGTH) {
            // There is no room: the path takes nothing.
            return;
        }
        self.next += 1;
        if self.out.len() == MOST_OUT
            && let Some(oldest) = self.out.pop_front()
        {
            self.lose(&oldest);
        }
        self.out.push_back(Out {
            number: probe.number,
            sent: probe.sent,
            period,
        });
    }

    fn lose(&mut self, out: &Out) {
        if let Some(probes) = self.recorded.of(out.period) {
            probes.lost += 1;
        }
    }

    /// Until the next probe is due, or something comes.
    fn wait(&self, now: Instant) {
        let left = self.schedule.due().saturating_duration_since(now);
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let left = TimeSpec::from_duration(left.min(LOOK));
        // The outcome does not matter: the next call reads the socket.
        let _ = ppoll(&mut sockets, Some(left), None);
    }

    /// Takes what has come. An error ends the probes.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            let fd = self.socket.as_raw_fd();
            let room = &mut self.buffer[self.filled..];
            let received = recv(fd, room, MsgFlags::MSG_DONTWAIT);
            match received.map_err(io::Error::from) {
                Ok(0) if !self.datagrams => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.filled += length,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(()),
                    io::ErrorKind::ConnectionRefused if self.datagrams => return Ok(()),
                    _ => return Err(error),
                },
            }
            if self.filled == LENGTH {
                let received = nanos();
                let answer = Answer::decode(&self.buffer);
                self.take(&answer, received);
            }
            if self.filled == LENGTH || self.datagrams {
                self.filled = 0;
            }
        }
    }

    /// Takes an answer. One to no probe that waits, or with another time than it had, is dropped.
    fn take(&mut self, answer: &Answer, received: u64) {
        let Some(first) = self.out.front() else {
            return;
        };
        // On a stream answers keep their order. Datagrams may be lost, and overtake each other.
        let mut place = usize::try_from(answer.number.wrapping_sub(first.number)).unwrap_or(0);
        place = place.min(self.out.len() - 1);
        let found = (0..=place).rev().find(|&at| {
            let out = &self.out[at];
            (out.number, out.sent) == (answer.number, answer.sent)
        });
        let Some(out) = found.and_then(|at| self.out.remove(at)) else {
            return;
        };
        if let Some(first) = self.first.take() {
            // The thread that started this one may no longer wait.
            let _ = first.send(());
        }
        let times = Times {
            sent: out.sent,
            arrived: answer.arrived,
            answered: answer.answered,
            received,
        };
        self.clocks.learn(&times);
        if let Some((offset, error)) = self.clocks.offset() {
            self.clock.set(offset.saturating_neg(), error);
            if let Some(probes) = self.recorded.of(out.period) {
                self.clocks.is_used();
                record(probes, &times, offset);
            }
        }
    }
}

/// Records a probe that was answered; `offset` is the server's time less the client's.
fn record(probes: &mut Probes, times: &Times, offset: i64) {
    probes
        .round_trip
        .record(times.received.saturating_sub(times.sent), 1);
    let (up, down) = times.ways(offset);
    for (latencies, nanos) in [(&mut probes.up, up), (&mut probes.down, down)] {
        if let Some(latencies) = latencies {
            latencies.record(nanos, 1);
        }
    }
}
