//! Sends probes on a schedule, whether earlier ones have been answered or not, and receives the answers.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use iperf_model::{ClockRelation, Latencies, Load, ProbeMethod, Probes};
use iperf_proto::probe::{Answer, LENGTH, Message};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::time::TimeSpec;
use socket2::Socket;

use crate::error::EngineError;
use crate::exchange::Schedule;
use crate::probe::answerer::nanos;
use crate::probe::clocks::{Clocks, PeerClock, Times};
use crate::probe::period::{Intervals, Period, Present, Recorded, Recorder};
use crate::stream::Stream;

/// Probes that wait for an answer: more than 16 s of them. Older ones are lost.
const MOST_OUT: usize = 16_384;

/// How long to wait for the answers to the last probes.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The longest wait, after which the period is checked again.
const LOOK: Duration = Duration::from_millis(100);

/// How long the first answer may take.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// The prober of a client.
#[derive(Debug)]
pub struct Prober {
    present: Arc<Present>,
    clock: Arc<PeerClock>,
    intervals: Intervals,
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
        let intervals = Intervals::new();
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
            intervals: intervals.recorder(),
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
            intervals,
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

    /// The round trips of the loaded path whose answers arrived since the last call.
    pub fn interval(&mut self) -> Latencies {
        self.intervals.take()
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
    intervals: Recorder,
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
            let until = if self.present.get() == Period::Over {
                let end = *end.get_or_insert(now + LAST_ANSWERS);
                if now >= end || self.out.is_empty() {
                    break;
                }
                end
            } else {
                self.send_due(now);
                self.schedule.due()
            };
            self.wait(until.saturating_duration_since(now));
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

    /// Waits until something arrives, or until there may be something else to do.
    fn wait(&self, left: Duration) {
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
        self.intervals.record(out.period, times.round_trip());
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
    probes.round_trip.record(times.round_trip(), 1);
    let (up, down) = times.ways(offset);
    for (latencies, nanos) in [(&mut probes.up, up), (&mut probes.down, down)] {
        if let Some(latencies) = latencies {
            latencies.record(nanos, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A prober that has sent three probes, and nothing that answers them.
    fn work() -> Work {
        let (here, _there) = UnixStream::pair().unwrap();
        let present = Arc::<Present>::default();
        present.set(Period::Loaded);
        let out = |number| Out {
            number,
            sent: 1_000_000 * (number + 1),
            period: Period::Loaded,
        };
        Work {
            socket: here.into(),
            present,
            clock: Arc::default(),
            datagrams: true,
            schedule: Schedule::new(Instant::now(), 50),
            out: (5..8).map(out).collect(),
            next: 8,
            buffer: [0; LENGTH],
            filled: 0,
            recorded: Recorded::with_ways(),
            intervals: Intervals::new().recorder(),
            clocks: Clocks::new(false),
            first: None,
        }
    }

    /// Delays of the loaded path: how many, and the longest in nanoseconds, of round trips and of either way.
    fn recorded(work: &Work) -> [(u64, u64); 3] {
        let Probes {
            round_trip,
            up,
            down,
            ..
        } = &work.recorded.loaded;
        let [up, down] = [up, down].map(|way| way.as_ref().unwrap());
        [round_trip, up, down].map(|latencies| {
            let longest = latencies.max().unwrap_or_default().as_nanos();
            (latencies.count(), u64::try_from(longest).unwrap())
        })
    }

    #[test]
    fn only_the_answer_to_a_probe_that_waits_is_timed_and_only_once() {
        let mut work = work();
        let answer = |number, sent| Answer {
            number,
            sent,
            arrived: 500,
            answered: 600,
        };
        let received = 18_000_000_000;
        for (number, sent) in [(6, 0), (4, 5_000_000), (8, 9_000_000), (u64::MAX, 0)] {
            work.take(&answer(number, sent), received);
        }
        assert_eq!(recorded(&work), [(0, 0); 3]);
        for _ in 0..2 {
            work.take(&answer(6, 7_000_000), 7_020_000);
        }
        let [round_trip, up, down] = recorded(&work);
        assert_eq!(round_trip.0, 1);
        assert!((20_000..20_100).contains(&round_trip.1), "{round_trip:?}");
        assert!(up.1 <= round_trip.1 && down.1 <= round_trip.1);
    }

    #[test]
    fn no_way_is_longer_than_the_round_trip_whatever_times_the_peer_claims() {
        let seconds = 1_000_000_000;
        for (arrived, answered) in [(36 * seconds, 0), (0, 36 * seconds), (u64::MAX, 0), (0, 0)] {
            let mut work = work();
            for number in 5..8 {
                let sent = 1_000_000 * (number + 1);
                let answer = Answer {
                    number,
                    sent,
                    arrived,
                    answered,
                };
                work.take(&answer, sent + 20_000);
            }
            for (count, longest) in recorded(&work) {
                assert_eq!(count, 3);
                assert!(longest < 20_100, "{arrived} {answered}: {longest}");
            }
        }
    }
}
