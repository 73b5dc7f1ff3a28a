//! A thread with many workers. They take turns of equal length, so that all streams get equal shares.
//!
//! ```text
//! ready queue ──► step one worker ──► moved: to the back of the queue
//!      ▲                         ├──► blocked: until its socket is ready (edge-triggered epoll)
//!      └── events, due times ◄── ┴──► waits for its pace, or for a response until a time: until that has come
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;

use crate::sleep::sleep_until;
use crate::worker::{Ending, Step, Worker};

/// Events that one call takes.
const EVENTS: usize = 64;

/// Turns between two looks for sockets that have become ready, while there is something to do.
const TURNS_BETWEEN_LOOKS: usize = 64;

/// The resolution of epoll's timeout.
const EPOLL_TICK: Duration = Duration::from_millis(1);

/// The longest wait: the request to stop may arrive just before it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What a worker does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Blocked,
    Waiting,
    Ended,
}

/// What a thread does while none of its workers is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// It sleeps this long before it waits for events, so that a batch gathers: receivers. Less than [`EPOLL_TICK`].
    Nap(Duration),
    /// It waits for events, but sleeps through the last millisecond before a due time: senders.
    Sleep,
    /// It is there for events at any time: a response that waits would be late.
    Listen,
}

/// Workers that share a thread, each with its state.
pub(crate) struct SharedWorkers {
    /// Those that have ended are gone, and with them their hold on their sockets.
    workers: Vec<Option<Box<dyn Worker>>>,
    states: Vec<State>,
    ready: VecDeque<usize>,
    /// When workers are to continue, each with the earliest time in `armed`; others in the heap are obsolete.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    armed: Vec<Option<Instant>>,
    epoll: Epoll,
    /// System calls of a turn, unless the socket blocks before.
    calls: u32,
    idle: Idle,
    /// Nothing has moved since the last nap.
    is_rested: bool,
}

impl SharedWorkers {
    /// Takes over the workers, whose sockets become non-blocking ones. `calls`: system calls of a turn, at least one.
    pub(crate) fn new(workers: Vec<Box<dyn Worker>>, calls: u32, idle: Idle) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, worker) in workers.iter().enumerate() {
            let socket = worker.socket();
            socket.set_nonblocking(true)?;
            let what = worker.readiness() | EpollFlags::EPOLLET;
            epoll.add(socket, EpollEvent::new(what, index as u64))?;
        }
        Ok(Self {
            states: vec![State::Ready; workers.len()],
            armed: vec![None; workers.len()],
            ready: (0..workers.len()).collect(),
            due: BinaryHeap::new(),
            workers: workers.into_iter().map(Some).collect(),
            epoll,
            calls,
            idle,
            is_rested: true,
        })
    }

    /// Drives all workers from the start of the test to the end of each, which it reports to `ended`.
    pub(crate) fn run(mut self, start: Instant, mut ended: impl FnMut(usize, Ending)) {
        for worker in self.workers.iter_mut().flatten() {
            worker.begin(start);
        }
        let mut left = self.workers.len();
        while left > 0 {
            left -= self.step_ready(&mut ended);
            if left > 0 {
                self.look();
            }
        }
    }

    /// Gives workers that are ready a turn each; returns how many ended.
    fn step_ready(&mut self, ended: &mut impl FnMut(usize, Ending)) -> usize {
        let mut count = 0;
        for _ in 0..TURNS_BETWEEN_LOOKS {
            let Some(index) = self.ready.pop_front() else {
                break;
            };
            let Some(worker) = &mut self.workers[index] else {
                continue;
            };
            let mut step = worker.step(false);
            for _ in 1..self.calls {
                if !matches!(step, Step::Moved) {
                    break;
                }
                step = worker.step(false);
            }
            self.states[index] = match step {
                Step::Moved => {
                    self.is_rested = false;
                    self.ready.push_back(index);
                    State::Ready
                }
                Step::Blocked => State::Blocked,
                Step::BlockedUntil(due) => {
                    self.arm(index, due);
                    State::Blocked
                }
                Step::Wait(due) => {
                    self.arm(index, due);
                    State::Waiting
                }
                Step::Ended(ending) => {
                    worker.end(&ending);
                    // What reads the rest expects a blocking socket.
                    let _ = worker.socket().set_nonblocking(false);
                    let _ = self.epoll.delete(worker.socket());
                    self.workers[index] = None;
                    ended(index, ending);
                    count += 1;
                    State::Ended
                }
            };
        }
        count
    }

    /// Finds out which workers have become ready, and waits for one if none is.
    fn look(&mut self) {
        let timeout = if self.ready.is_empty() {
            self.idle()
        } else {
            EpollTimeout::ZERO
        };
        let mut events = [EpollEvent::empty(); EVENTS];
        match self.epoll.wait(&mut events, timeout) {
            Ok(count) => {
                for event in &events[..count] {
                    let index = usize::try_from(event.data()).unwrap_or(usize::MAX);
                    if self.states.get(index) == Some(&State::Blocked) {
                        self.make_ready(index);
                    }
                }
            }
            // The signal that stops a worker.
            Err(Errno::EINTR) => self.wake_all(),
            Err(_) => {}
        }
        let now = Instant::now();
        while let Some(&Reverse((due, index))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            if self.armed[index].take_if(|armed| *armed == due).is_some()
                && matches!(self.states[index], State::Waiting | State::Blocked)
            {
                self.make_ready(index);
            }
        }
    }

    /// Nothing is ready: sleeps for what epoll has no timer for, and returns how long it may wait for an event.
    fn idle(&mut self) -> EpollTimeout {
        let now = Instant::now();
        let due = self.due.peek().map(|Reverse((due, _))| *due);
        let mut wait = due.map_or(LONGEST_WAIT, |due| due.saturating_duration_since(now));
        if let Idle::Nap(nap) = self.idle
            && !std::mem::replace(&mut self.is_rested, true)
        {
            wait = wait.min(nap);
        }
        if wait < EPOLL_TICK {
            if self.idle == Idle::Listen {
                self.wait_for_events(wait);
            } else {
                sleep_until(now + wait);
            }
            return EpollTimeout::ZERO;
        }
        EpollTimeout::try_from(wait.min(LONGEST_WAIT)).unwrap_or(EpollTimeout::ZERO)
    }

    /// Waits for events with a finer timer than epoll's.
    fn wait_for_events(&self, limit: Duration) {
        let mut epoll = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        // However it ends, the caller takes the events that there are.
        let _ = ppoll(&mut epoll, Some(TimeSpec::from_duration(limit)), None);
    }

    /// Lets the worker continue at `due`, unless it does earlier.
    fn arm(&mut self, index: usize, due: Instant) {
        if self.armed[index].is_none_or(|armed| due < armed) {
            self.armed[index] = Some(due);
            self.due.push(Reverse((due, index)));
        }
    }

    fn make_ready(&mut self, index: usize) {
        self.states[index] = State::Ready;
        self.ready.push_back(index);
    }

    fn wake_all(&mut self) {
        for index in 0..self.states.len() {
            if matches!(self.states[index], State::Blocked | State::Waiting) {
                self.make_ready(index);
            }
        }
    }
}
