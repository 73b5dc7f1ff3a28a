//! Answers requests.

use std::io;
use std::time::{Duration, Instant};

use iperf_model::Exchange;
use iperf_proto::udp::is_repeated_hello;
use iperf_zc::account::Report;
use nix::sys::epoll::EpollFlags;

use crate::exchange::peer::Peer;
use crate::worker::counters::Phase;
use crate::worker::own_descriptors::keep_only_the_socket;
use crate::worker::{Ending, Step, Task, Worker, is_pause};

/// The most bytes of requests received at once.
const BATCH: usize = 64 << 10;

/// The worker of a stream on which this end responds.
pub(crate) struct Responder {
    task: Task,
    peer: Peer,
    exchange: Exchange,
    /// Each message is one request, which begins with its number.
    datagrams: bool,
    requests: Box<[u8]>,
    /// Bytes of a request of which the rest has not arrived.
    partial: usize,
    /// Responses, one after another.
    responses: Box<[u8]>,
    /// Bytes of responses that are still to be sent.
    unsent: usize,
}

impl Responder {
    /// `payload` is a response; `messages`: as for a requester.
    pub(crate) fn new(
        task: Task,
        exchange: Exchange,
        payload: &[u8],
        datagrams: bool,
        messages: bool,
    ) -> Self {
        let many = if datagrams || messages {
            1
        } else {
            usize::from(exchange.in_flight)
        };
        let request = exchange.request as usize;
        let together = (BATCH / payload.len().max(1)).clamp(1, many);
        Self {
            peer: Peer::new(task.socket.clone(), exchange.busy_poll),
            task,
            exchange,
            datagrams,
            // A byte more shows that a datagram is too long.
            requests: vec![0; request.max(BATCH.min(request * many)) + usize::from(datagrams)]
                .into(),
            partial: 0,
            responses: payload.repeat(together).into(),
            unsent: 0,
        }
    }

    /// Sends some of the responses that are due.
    fn send(&mut self) -> io::Result<()> {
        let size = self.exchange.response as usize;
        let begun = match self.unsent {
            unsent if unsent == size => 0,
            unsent => (size - unsent % size) % size,
        };
        let bytes = &self.responses[begun..];
        let bytes = &bytes[..self.unsent.min(bytes.len())];
        let sent = self.peer.send(bytes)?;
        if sent == size && self.unsent == size {
            self.unsent = 0;
            self.count(1);
            return Ok(());
        }
        let before = self.unsent.div_ceil(size);
        self.unsent -= sent.min(self.unsent);
        self.count(before - self.unsent.div_ceil(size));
        Ok(())
    }

    fn count(&self, answered: usize) {
        if answered > 0 && self.task.is_counting() {
            let answered = answered as u64;
            let bytes = answered * u64::from(self.exchange.request);
            self.task.counters.add(bytes, answered);
        }
    }

    fn receive(&mut self) -> io::Result<bool> {
        let received = self.peer.receive(&mut self.requests)?;
        let request = self.exchange.request as usize;
        if self.datagrams {
            let start = &self.requests[..received];
            if received == request && !is_repeated_hello(start, received) {
                let number = request.min(self.exchange.response as usize).min(8);
                self.responses[..number].copy_from_slice(&self.requests[..number]);
                self.unsent = self.exchange.response as usize;
            }
            return Ok(true);
        }
        let all = self.partial + received;
        if all == request {
            self.partial = 0;
            self.unsent += self.exchange.response as usize;
            return Ok(received > 0);
        }
        self.partial = all % request;
        self.unsent += all / request * self.exchange.response as usize;
        Ok(received > 0)
    }

    /// Whether nothing can be in the socket: the requester waits for what was sent. Datagrams may have been repeated.
    fn has_taken_all(&self) -> bool {
        self.exchange.in_flight == 1 && self.partial == 0 && !self.datagrams
    }

    fn advance(&mut self) -> io::Result<Step> {
        if self.unsent == 0 && !self.receive()? {
            return Ok(Step::Ended(Ending::EndOfStream));
        }
        while self.unsent > 0 {
            self.send()?;
        }
        Ok(Step::Moved)
    }
}

impl Worker for Responder {
    fn task(&self) -> &Task {
        &self.task
    }

    fn own_thread(&mut self) {
        keep_only_the_socket(&self.task);
    }

    /// It may wait for room for its responses.
    fn readiness(&self) -> EpollFlags {
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT
    }

    fn step(&mut self, may_block: bool) -> Step {
        match self.task.counters.phase() {
            Phase::Counting => {}
            // The requester may still wait for what ends its part of the test.
            Phase::Discarding => self.task.stop_counting(Report::default()),
            Phase::Finishing | Phase::Stopping => return Step::Ended(Ending::Stopped),
        }
        match self.advance() {
            Ok(Step::Moved) if !may_block && self.has_taken_all() => Step::Blocked,
            Ok(step) => step,
            Err(error) if !may_block && error.kind() == io::ErrorKind::WouldBlock => Step::Blocked,
            Err(error) if is_pause(&error) => Step::Moved,
            Err(error) if self.datagrams && error.kind() == io::ErrorKind::ConnectionRefused => {
                self.unsent = 0;
                Step::Wait(Instant::now() + Duration::from_millis(1))
            }
            Err(error) => Step::Ended(Ending::Failed(error)),
        }
    }
}
