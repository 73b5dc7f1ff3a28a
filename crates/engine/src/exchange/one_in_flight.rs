//! One request at a time over a stream, sent as soon as the last response has arrived: the case of most latency tests,
//! with next to nothing between its calls.
//!
//! ```text
//!   step ──► send ──► record the transaction before ──► receive ──► clock
//! ```

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_model::Exchange;
use iperf_zc::account::Report;
use nix::sys::epoll::EpollFlags;

use crate::exchange::claim::Claim;
use crate::exchange::peer::Peer;
use crate::exchange::stats::Shared;
use crate::exchange::time_limit::TimeLimit;
use crate::worker::counters::Phase;
use crate::worker::own_descriptors::keep_only_the_socket;
use crate::worker::{Ending, Step, Task, Worker, is_pause};

/// The worker of a stream on which this end requests in a closed loop, with one request in flight.
pub(crate) struct OneInFlight {
    task: Task,
    peer: Peer,
    shared: Arc<Shared>,
    exchange: Exchange,
    time_limit: TimeLimit,
    claim: Claim,
    request: Box<[u8]>,
    /// Bytes of the request that are still to be sent.
    unsent: usize,
    response: Box<[u8]>,
    /// Bytes of the response that are still to come. None of a request and none of its response: the next one may go.
    awaited: usize,
    /// The request belongs to the omitted period.
    omitted: bool,
    /// When the request was sent: the end of the transaction before, or of the wait for the start.
    sent: Instant,
    /// The end of the last transaction, or the last time that something arrived.
    now: Instant,
    /// The round trip of a transaction that is not recorded yet, and whether it is omitted.
    completed: Option<(Duration, bool)>,
}

impl OneInFlight {
    /// `payload` is a request.
    pub(crate) fn new(
        task: Task,
        exchange: Exchange,
        payload: &[u8],
        shared: Arc<Shared>,
        time_limit: TimeLimit,
    ) -> Self {
        let now = Instant::now();
        Self {
            peer: Peer::new(task.socket.clone(), exchange.busy_poll),
            task,
            shared,
            time_limit,
            claim: Claim::default(),
            request: payload.into(),
            unsent: 0,
            response: vec![0; exchange.response as usize].into(),
            awaited: 0,
            omitted: false,
            sent: now,
            now,
            completed: None,
            exchange,
        }
    }

    /// Begins a transaction. `false`: the quota allows no more.
    fn begin_next(&mut self) -> bool {
        let omits = self.shared.is_omitting();
        if !self.claim.next(&self.task, &self.exchange, omits) {
            return false;
        }
        self.omitted = self.claim.take();
        self.sent = self.now;
        self.unsent = self.request.len();
        self.awaited = self.response.len();
        true
    }

    fn send(&mut self) -> io::Result<()> {
        let begun = self.request.len() - self.unsent;
        let sent = self.peer.send(&self.request[begun..]);
        // Behind the call, while the peer is at work.
        self.settle();
        self.unsent -= sent?.min(self.unsent);
        Ok(())
    }

    /// Takes what has arrived, or waits for it. `Ok(false)`: the peer has closed the stream.
    fn receive(&mut self, may_wait: bool) -> io::Result<bool> {
        let begun = self.response.len() - self.awaited;
        let rest = &mut self.response[begun..];
        let received = if may_wait {
            self.peer.receive(rest)
        } else {
            self.peer.receive_now(rest)
        }?;
        if received == 0 {
            return Ok(false);
        }
        self.now = Instant::now();
        self.awaited -= received.min(self.awaited);
        if self.awaited == 0 && !self.time_limit.is_over(self.now) {
            let time = self.now.saturating_duration_since(self.sent);
            self.completed = Some((time, self.omitted));
        }
        Ok(true)
    }

    /// Records what was completed and is not recorded yet.
    fn settle(&mut self) {
        let Some((time, omitted)) = self.completed.take() else {
            return;
        };
        self.shared.record_round_trip(time, omitted);
        let bytes = u64::from(self.exchange.request);
        self.task.counters.add(bytes, 1);
        if !omitted {
            self.task.count_for_quota(bytes, 1);
        }
    }

    /// Sends, then receives. What shares its thread with others (`!may_wait`) leaves the wait to that.
    fn advance(&mut self, may_wait: bool) -> io::Result<Step> {
        if self.awaited == 0 && !self.begin_next() {
            return Ok(Step::Ended(Ending::QuotaMet));
        }
        if self.unsent > 0 {
            self.send()?;
            if self.unsent > 0 {
                return Ok(Step::Moved);
            }
            if !may_wait {
                // There can be no response yet.
                return Ok(Step::Blocked);
            }
        }
        if self.receive(may_wait)? {
            Ok(Step::Moved)
        } else {
            Ok(Step::Ended(Ending::EndOfStream))
        }
    }
}

impl Worker for OneInFlight {
    fn task(&self) -> &Task {
        &self.task
    }

    fn own_thread(&mut self) {
        keep_only_the_socket(&self.task);
    }

    fn begin(&mut self, start: Instant) {
        self.time_limit.begin(start);
        self.now = Instant::now();
    }

    /// It may wait for room for its request.
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
                // A response that has arrived by now counts.
                if self.awaited > 0 && self.unsent == 0 {
                    let _ = self.receive(false);
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
        match step {
            Ok(step) => step,
            Err(error) if !may_block && error.kind() == io::ErrorKind::WouldBlock => Step::Blocked,
            Err(error) if is_pause(&error) => Step::Moved,
            Err(error) => Step::Ended(Ending::Failed(error)),
        }
    }

    fn end(&mut self, _: &Ending) {
        self.settle();
        self.task.stop_counting(Report::default());
    }
}
