//! Requests, each on its own connection.
//!
//! ```text
//! step:  connect ──► send request ──► receive response ──► receive its end, close
//!        └─ connect_us ─┘                                 └──── close_us ───────┘
//!        └──────────────────────────── latency_us ──────────────────────────────┘
//! ```
//!
//! Over TCP the peer closes first, so that this end's port is free again at once.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use iperf_model::Exchange;
use iperf_zc::account::Report;
use iperf_zc::sockopt;

use crate::exchange::claim::Claim;
use crate::exchange::peer::Peer;
use crate::exchange::schedule::Schedule;
use crate::exchange::stats::Shared;
use crate::exchange::time_limit::TimeLimit;
use crate::exchange::window::Waiting;
use crate::net::transactions::Connector;
use crate::worker::counters::Phase;
use crate::worker::{Ending, Step, Task, Worker, is_pause};

/// The worker of a stream on which this end requests.
pub(crate) struct Reconnecting {
    task: Task,
    exchange: Exchange,
    shared: Arc<Shared>,
    connector: Arc<Connector>,
    request: Box<[u8]>,
    response: Box<[u8]>,
    schedule: Option<Schedule>,
    time_limit: TimeLimit,
    claim: Claim,
    /// The end of the last transaction.
    now: Instant,
    /// What is to be connected for next, once it is due.
    next: Option<Waiting>,
    /// The transaction that is under way.
    current: Option<Transaction>,
}

/// A transaction that is under way.
struct Transaction {
    waiting: Waiting,
    connection: Peer,
    stage: Stage,
    /// Bytes of the request that were sent.
    sent: usize,
    /// Bytes of the response that were received.
    received: usize,
    connected: Instant,
    answered: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Requesting,
    Responding,
    Closing,
}

impl Reconnecting {
    /// `request` is a request.
    pub(crate) fn new(
        task: Task,
        exchange: Exchange,
        request: &[u8],
        shared: Arc<Shared>,
        connector: Arc<Connector>,
        time_limit: TimeLimit,
    ) -> Self {
        Self {
            task,
            shared,
            connector,
            request: request.into(),
            // A byte more shows that a response is too long.
            response: vec![0; exchange.response as usize + 1].into(),
            schedule: None,
            time_limit,
            claim: Claim::default(),
            now: Instant::now(),
            next: None,
            current: None,
            exchange,
        }
    }

    /// Chooses the next transaction, if it is due and the quota allows it.
    fn choose(&mut self) -> Result<Waiting, Step> {
        let omits = self.shared.is_omitting();
        if !self.claim.next(&self.task, &self.exchange, omits) {
            return Err(Step::Ended(Ending::QuotaMet));
        }
        let mut due = self.now;
        if let Some(schedule) = &mut self.schedule {
            self.now = Instant::now();
            due = schedule.due();
            if due > self.now {
                return Err(Step::Wait(due));
            }
            schedule.advance();
        }
        let omitted = self.claim.take();
        let sent = self.now;
        Ok(Waiting { due, sent, omitted })
    }

    /// Opens the connection of the next transaction.
    fn open(&mut self, waiting: Waiting) -> io::Result<()> {
        let (socket, is_connected) = self.connector.connect()?;
        let spin = self.exchange.busy_poll;
        if !spin.is_zero() {
            // Without it the worker spins all the same; the driver of the network card does not.
            let _ = sockopt::set_busy_poll(socket.as_fd(), spin);
        }
        let now = Instant::now();
        self.next = None;
        self.current = Some(Transaction {
            waiting,
            connection: Peer::new(Arc::new(socket), spin),
            stage: if is_connected {
                Stage::Requesting
            } else {
                Stage::Connecting
            },
            sent: 0,
            received: 0,
            connected: now,
            answered: now,
        });
        Ok(())
    }

    /// Goes on with the transaction. `true` when it is over.
    fn go_on(&mut self) -> io::Result<bool> {
        let Some(current) = &mut self.current else {
            return Ok(false);
        };
        let connection = &current.connection;
        match current.stage {
            Stage::Connecting => {
                if connection.is_writable() {
                    self.connector.finish(&connection.socket)?;
                    current.connected = Instant::now();
                    current.stage = Stage::Requesting;
                }
            }
            Stage::Requesting => {
                current.sent += connection.send(&self.request[current.sent..])?;
                if current.sent == self.request.len() {
                    current.stage = Stage::Responding;
                }
            }
            Stage::Responding => {
                let received = connection.receive(&mut self.response[current.received..])?;
                if received == 0 {
                    let text = "the server closed a connection before its response was complete";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
                }
                current.received += received;
                let wanted = self.exchange.response as usize;
                if current.received > wanted {
                    return Err(io::Error::other("the peer sent more than was requested"));
                }
                if current.received == wanted {
                    current.answered = Instant::now();
                    current.stage = Stage::Closing;
                    return Ok(self.connector.closes_first());
                }
            }
            Stage::Closing => {
                if connection.receive(&mut self.response)? > 0 {
                    return Err(io::Error::other("the peer sent more than was requested"));
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Closes the connection and counts the transaction.
    fn complete(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        drop(current.connection);
        self.now = Instant::now();
        if self.time_limit.is_over(self.now) {
            return;
        }
        let since = |end: Instant, start| end.saturating_duration_since(start);
        let connect = since(current.connected, current.waiting.sent);
        let close = since(self.now, current.answered);
        self.shared
            .record_connection(&current.waiting, connect, close);
        self.shared.record(&current.waiting, self.now);
        let bytes = u64::from(self.exchange.request);
        self.task.counters.add(bytes, 1);
        if !current.waiting.omitted {
            self.task.count_for_quota(bytes, 1);
        }
    }

    fn advance(&mut self) -> io::Result<Step> {
        if self.current.is_some() {
            if self.go_on()? {
                self.complete();
            }
            return Ok(Step::Moved);
        }
        let waiting = match self.next {
            Some(waiting) => waiting,
            None => match self.choose() {
                Ok(waiting) => waiting,
                Err(step) => return Ok(step),
            },
        };
        self.next = Some(waiting);
        self.open(waiting)?;
        Ok(Step::Moved)
    }
}

impl Worker for Reconnecting {
    fn task(&self) -> &Task {
        &self.task
    }

    fn begin(&mut self, start: Instant) {
        self.schedule = Schedule::begin(start, self.exchange);
        self.time_limit.begin(start);
        self.now = Instant::now();
    }

    fn step(&mut self, _: bool) -> Step {
        if self.task.counters.phase() != Phase::Counting || self.time_limit.is_over(self.now) {
            // What is under way does not count.
            return Step::Ended(Ending::Stopped);
        }
        match self.advance() {
            Ok(step) => step,
            // A signal: the call is repeated unless the worker has to end.
            Err(error) if is_pause(&error) => Step::Moved,
            Err(error) => Step::Ended(Ending::Failed(error)),
        }
    }

    fn end(&mut self, _: &Ending) {
        self.current = None;
        self.task.stop_counting(Report::default());
    }
}
