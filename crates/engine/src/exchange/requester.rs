//! Sends requests and waits for their responses.
//!
//! ```text
//!            room in the window, due, quota left
//!   step ──► send ─────────────────────────────► window ──► receive ──► record
//! ```
//!
//! With one request in flight both calls block. With more, sending does not: a peer that waits for this end to read its
//! responses reads no more requests.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_model::Exchange;
use iperf_proto::exchange::{number, number_of};
use iperf_zc::account::Report;
use nix::sys::epoll::EpollFlags;

use crate::exchange::claim::Claim;
use crate::exchange::peer::Peer;
use crate::exchange::schedule::Schedule;
use crate::exchange::stats::Shared;
use crate::exchange::time_limit::TimeLimit;
use crate::exchange::window::{Waiting, Window};
use crate::worker::counters::Phase;
use crate::worker::own_descriptors::keep_only_the_socket;
use crate::worker::{Ending, Step, Task, Worker, is_pause};

/// The most bytes of requests that go in one call.
const BATCH: usize = 64 << 10;

/// The worker of a stream on which this end requests.
pub(crate) struct Requester {
    task: Task,
    peer: Peer,
    shared: Arc<Shared>,
    exchange: Exchange,
    /// Messages have numbers, may be lost, and may arrive in any order.
    datagrams: bool,
    window: Window,
    schedule: Option<Schedule>,
    time_limit: TimeLimit,
    /// Requests, one after another.
    requests: Box<[u8]>,
    /// Bytes of requests in the window that are still to be sent.
    unsent: usize,
    responses: Box<[u8]>,
    /// Bytes of a response of which the rest has not arrived.
    partial: usize,
    /// The end of the last transaction.
    now: Instant,
    claim: Claim,
    /// A transaction that is not recorded yet: with one request in flight, the next one is sent first.
    completed: Option<(Waiting, Instant)>,
}

impl Requester {
    /// `payload` is a request; `datagrams`: as under [`Requester::datagrams`]; `messages`: what is received at once is
    /// one message.
    pub(crate) fn new(
        task: Task,
        exchange: Exchange,
        payload: &[u8],
        shared: Arc<Shared>,
        datagrams: bool,
        messages: bool,
        time_limit: TimeLimit,
    ) -> Self {
        let in_flight = usize::from(exchange.in_flight);
        let together = if datagrams || messages || exchange.is_open_loop() {
            1
        } else {
            (BATCH / payload.len().max(1)).clamp(1, in_flight)
        };
        let response = exchange.response as usize;
        let room = response.max(BATCH.min(response * in_flight));
        Self {
            peer: Peer::new(task.socket.clone(), exchange.busy_poll),
            task,
            shared,
            datagrams,
            window: Window::new(exchange.in_flight),
            schedule: None,
            time_limit,
            requests: payload.repeat(together).into(),
            unsent: 0,
            // A byte more shows that a datagram is too long.
            responses: vec![0; room + usize::from(datagrams)].into(),
            partial: 0,
            now: Instant::now(),
            claim: Claim::default(),
            completed: None,
            exchange,
        }
    }

    fn request_bytes(&self) -> usize {
        self.exchange.request as usize
    }

    fn claim(&mut self) -> bool {
        self.claim
            .next(&self.task, &self.exchange, self.shared.is_omitting())
    }

    /// Puts requests into the window that are to be sent now. `false` if none may be.
    fn fill(&mut self) -> bool {
        let most = self.window.room();
        let most = if most > 1 {
            most.min(self.requests_together())
        } else {
            most
        };
        for _ in 0..most {
            if !self.claim() {
                break;
            }
            let sent = self.now;
            let due = match &mut self.schedule {
                None => sent,
                Some(schedule) => {
                    let due = schedule.due();
                    if due > sent {
                        break;
                    }
                    schedule.advance();
                    due
                }
            };
            let omitted = self.claim.take();
            if self.datagrams {
                number(&mut self.requests, self.window.next());
            }
            self.window.send(Waiting { due, sent, omitted });
            self.unsent += self.request_bytes();
        }
        self.unsent > 0
    }

    fn requests_together(&self) -> u64 {
        (self.requests.len() / self.request_bytes().max(1)) as u64
    }

    /// Whether calls that send may wait: with one request in flight the peer reads it before it sends.
    fn may_block(&self) -> bool {
        self.exchange.in_flight == 1
    }

    fn send(&mut self) -> io::Result<()> {
        let size = self.request_bytes();
        // The first of them may have begun.
        let begun = match self.unsent {
            unsent if unsent == size => 0,
            unsent => (size - unsent % size) % size,
        };
        let bytes = &self.requests[begun..];
        let bytes = &bytes[..self.unsent.min(bytes.len())];
        let sent = if self.may_block() {
            self.peer.send(bytes)?
        } else {
            self.peer.send_now(bytes)?
        };
        self.unsent -= sent.min(self.unsent);
        Ok(())
    }

    /// Takes what has arrived. `Ok(false)`: the peer has closed the stream.
    fn receive(&mut self, may_wait: bool) -> io::Result<bool> {
        let received = if may_wait {
            self.peer.receive(&mut self.responses)
        } else {
            self.peer.receive_now(&mut self.responses)
        }?;
        if received == 0 && !self.datagrams {
            return Ok(false);
        }
        self.now = Instant::now();
        let response = self.exchange.response as usize;
        if self.datagrams {
            let datagram = &self.responses[..received];
            // Anything else is the reply to a hello, or late.
            let waiting = number_of(datagram).filter(|_| received == response);
            match waiting.and_then(|number| self.window.answer(number)) {
                Some(waiting) => self.complete(waiting),
                None => self.expire(),
            }
            return Ok(true);
        }
        let all = self.partial + received;
        let answered = if all == response {
            self.partial = 0;
            1
        } else {
            self.partial = all % response;
            all / response
        };
        for _ in 0..answered {
            let Some(waiting) = self.window.answer_oldest() else {
                return Err(io::Error::other("the peer sent more than was requested"));
            };
            self.complete(waiting);
        }
        Ok(true)
    }

    /// Takes what has arrived, or waits until something has, or there is room to send, or it is `until`.
    fn receive_until(&mut self, until: Option<Instant>) -> io::Result<bool> {
        match self.receive(false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.peer.wait(self.unsent > 0, until);
                Err(error)
            }
            other => other,
        }
    }

    /// When something is to be done although nothing arrives: the next request is due, or the oldest one is lost.
    fn wakes_at(&mut self) -> Option<Instant> {
        let due = self.schedule.map(|schedule| schedule.due());
        let due = due.filter(|_| self.window.room() > 0);
        let late = self.window.oldest_sent().filter(|_| self.datagrams);
        let late = late.map(|sent| sent + self.exchange.timeout);
        due.into_iter().chain(late).min()
    }

    fn complete(&mut self, waiting: Waiting) {
        if self.time_limit.is_over(self.now) {
            return;
        }
        if self.may_block() {
            self.completed = Some((waiting, self.now));
        } else {
            self.record(&waiting, self.now);
        }
    }

    /// Records what was completed and is not recorded yet.
    fn settle(&mut self) {
        if let Some((waiting, now)) = self.completed.take() {
            self.record(&waiting, now);
        }
    }

    fn record(&self, waiting: &Waiting, now: Instant) {
        self.shared.record(waiting, now);
        self.task.counters.add(u64::from(self.exchange.request), 1);
        self.count(waiting);
    }

    /// Counts a transaction, or a lost one, for the quota.
    fn count(&self, waiting: &Waiting) {
        if !waiting.omitted {
            self.task.count_for_quota(self.exchange.request.into(), 1);
        }
    }

    fn expire(&mut self) {
        if !self.datagrams {
            return;
        }
        self.now = Instant::now();
        let now = self.time_limit.within(self.now);
        while let Some(lost) = self.window.expire(now, self.exchange.timeout) {
            // What was not sent is lost as well.
            self.unsent = 0;
            self.shared.add_timeout(&lost);
            self.count(&lost);
        }
    }

    /// Sends, receives or waits. What shares its thread with others (`!may_wait`) leaves the wait to that.
    fn advance(&mut self, may_wait: bool) -> io::Result<Step> {
        if self.schedule.is_some() {
            self.now = Instant::now();
        }
        let sends = self.unsent > 0 || self.fill();
        let sent = sends.then(|| self.send());
        // Behind the send, and before anything waits.
        self.settle();
        match sent {
            // There can be no response yet; datagrams may be late ones.
            Some(Ok(())) if self.unsent == 0 && self.may_block() => {
                if !may_wait && !self.datagrams {
                    return Ok(Step::Blocked);
                }
            }
            // With several in flight the next one may go as well.
            Some(Ok(())) => return Ok(Step::Moved),
            Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Some(Err(_)) | None => {}
        }
        let is_empty = self.window.oldest_sent().is_none();
        let due = self.schedule.map(|schedule| schedule.due());
        if is_empty {
            // Nothing is out: the next request has its time, or there is none.
            return Ok(match due {
                _ if !self.claim() => Step::Ended(Ending::QuotaMet),
                Some(due) if due > self.now + self.exchange.busy_poll => Step::Wait(due),
                _ => Step::Moved,
            });
        }
        let wakes = due.is_some() && self.window.room() > 0;
        let must_wait = self.unsent > 0 || wakes || (self.datagrams && !self.may_block());
        let received = if !may_wait {
            self.receive(false)
        } else if must_wait {
            let until = self.wakes_at();
            self.receive_until(until)
        } else {
            self.receive(true)
        };
        if received? {
            Ok(Step::Moved)
        } else {
            Ok(Step::Ended(Ending::EndOfStream))
        }
    }

    /// Nothing has arrived.
    fn blocked(&mut self) -> Step {
        let room = self.window.room();
        self.expire();
        if self.window.room() > room {
            return Step::Moved;
        }
        self.wakes_at().map_or(Step::Blocked, Step::BlockedUntil)
    }

    /// What to do about an error.
    fn failed(&mut self, error: io::Error, may_wait: bool) -> Step {
        if !may_wait && error.kind() == io::ErrorKind::WouldBlock {
            return self.blocked();
        }
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        if is_pause(&error) {
            self.expire();
            return Step::Moved;
        }
        if self.datagrams && refused {
            // The datagram did not arrive: its time-out will report that.
            self.expire();
            return Step::Wait(Instant::now() + Duration::from_millis(1));
        }
        Step::Ended(Ending::Failed(error))
    }
}

impl Worker for Requester {
    fn task(&self) -> &Task {
        &self.task
    }

    fn own_thread(&mut self) {
        keep_only_the_socket(&self.task);
        if self.datagrams {
            // However that fails, the worker wakes for its end.
            let _ = self.peer.limit(self.exchange.timeout);
        }
    }

    fn begin(&mut self, start: Instant) {
        self.schedule = Schedule::begin(start, self.exchange);
        self.time_limit.begin(start);
        self.now = Instant::now();
    }

    /// It may wait for room for its requests.
    fn readiness(&self) -> EpollFlags {
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT
    }

    fn step(&mut self, may_block: bool) -> Step {
        match self.task.counters.phase() {
            Phase::Counting if self.time_limit.is_over(self.now) => {
                return Step::Ended(Ending::Stopped);
            }
            Phase::Counting => {}
            Phase::Discarding | Phase::Finishing => {
                // What has arrived by now counts.
                for _ in 0..self.exchange.in_flight {
                    if !matches!(self.receive(false), Ok(true)) {
                        break;
                    }
                }
                return Step::Ended(Ending::Stopped);
            }
            Phase::Stopping => return Step::Ended(Ending::Stopped),
        }
        let step = match self.advance(may_block) {
            // What shares its thread sends the next request in the same turn: it would wait for all others otherwise.
            Ok(Step::Moved) if !may_block && !self.time_limit.is_over(self.now) => {
                self.advance(may_block)
            }
            step => step,
        };
        step.unwrap_or_else(|error| self.failed(error, may_block))
    }

    fn end(&mut self, _: &Ending) {
        self.settle();
        self.task.stop_counting(Report::default());
    }
}
