//! Sending through io_uring: one system call carries many blocks, or one whose pages are sent without a copy.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::Moved;
use crate::account::Report;
use crate::send::ledger::Ledger;
use crate::send::{CopySender, SendMover};
use crate::source::{Cursor, Source};
use crate::sys::uring::no_ring;
use crate::sys::uring::sending::{MOST_BLOCKS, Sending};

/// The most that one call carries, if that is more than a block.
const MOST_BYTES: usize = 1 << 20;

/// How long a call waits for pages to be released before it returns to its caller.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// Sends the blocks of a source through io_uring, and by `send(2)` where that cannot be used.
pub struct UringSender {
    source: Source,
    cursor: Cursor,
    joins: bool,
    /// The sends that were not to be copied.
    ledger: Option<Ledger>,
    state: State,
    report: Report,
}

enum State {
    /// Nothing has been sent.
    Fresh,
    Ring(Sending),
    Calls(CopySender),
}

impl UringSender {
    /// Sends by copy, many blocks at a time.
    pub fn bundles(source: Source) -> Self {
        let cursor = source.cursor();
        Self {
            source,
            cursor,
            joins: false,
            ledger: None,
            state: State::Fresh,
            report: Report::default(),
        }
    }

    /// Sends each block without a copy (`IORING_OP_SEND_ZC`).
    pub fn zerocopy(source: Source) -> Self {
        Self {
            ledger: Some(Ledger::new()),
            ..Self::bundles(source)
        }
    }

    /// As [`CopySender::joined`].
    #[must_use]
    pub fn joined(self, joins: bool) -> Self {
        Self { joins, ..self }
    }

    /// Creates the ring. Only now is it known which thread will use it.
    fn begin(&mut self) {
        self.state = match Sending::new(self.source.clone()) {
            Ok(ring) => State::Ring(ring),
            Err(error) => {
                let refused = no_ring(&error);
                if self.ledger.is_some() {
                    self.report.fallback = Some(refused.clone());
                }
                self.report.calls_because = Some(refused);
                State::Calls(CopySender::new(self.source.clone()).joined(self.joins))
            }
        };
    }

    fn bundle(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved> {
        let State::Ring(ring) = &mut self.state else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let fitting = (MOST_BYTES / self.source.block()).clamp(1, MOST_BLOCKS.into());
        let blocks = u32::try_from(fitting).unwrap_or(1).min(budget);
        let mut next = self.cursor.clone();
        let pieces = (0..blocks).map(|_| {
            let piece = (next.position(), next.rest());
            next.advance(piece.1);
            piece
        });
        let bytes = ring.bundle(socket, pieces, self.joins && budget > blocks)?;
        self.report.account.copy(bytes);
        Ok(self.advance(bytes))
    }

    fn advance(&mut self, bytes: usize) -> Moved {
        let mut moved = Moved::default();
        while moved.bytes < bytes {
            let part = self.cursor.rest().min(bytes - moved.bytes);
            moved.blocks += self.cursor.advance(part).blocks;
            moved.bytes += part;
        }
        moved
    }

    /// Takes note of the pages that were released; waits for some if none were and no more sends fit.
    fn reap(&mut self, wait: bool, limit: Duration) -> io::Result<()> {
        let (State::Ring(ring), Some(ledger)) = (&mut self.state, &mut self.ledger) else {
            return Ok(());
        };
        let waited = if wait { ring.wait(limit) } else { Ok(()) };
        while let Some(completion) = ring.released() {
            let completed = ledger.complete(&completion);
            let account = &mut self.report.account;
            account.completions += completed.calls;
            if completion.copied {
                account.copied += completed.bytes;
                account.copied_completions += completed.calls;
            } else {
                account.uncopied += completed.bytes;
            }
        }
        waited
    }

    fn pass(&mut self, socket: BorrowedFd<'_>) -> io::Result<Moved> {
        let is_full = self.ledger.as_ref().is_some_and(Ledger::is_full);
        match self.reap(is_full, LOOK_AROUND) {
            Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(error),
            _ => {}
        }
        let (State::Ring(ring), Some(ledger)) = (&mut self.state, &mut self.ledger) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if ledger.is_full() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let piece = (self.cursor.position(), self.cursor.rest());
        let sent = ring.zerocopy(socket, piece, ledger.next_number())?;
        self.report.account.calls += 1;
        if sent.notifies && sent.bytes > 0 {
            ledger.sent(sent.bytes);
        } else {
            self.report.account.copied += sent.bytes as u64;
        }
        Ok(self.advance(sent.bytes))
    }
}

impl SendMover for UringSender {
    fn send(&mut self, socket: BorrowedFd<'_>, budget: u32) -> io::Result<Moved> {
        if matches!(self.state, State::Fresh) {
            self.begin();
        }
        match &mut self.state {
            State::Calls(calls) => calls.send(socket, budget),
            _ if self.ledger.is_some() => self.pass(socket),
            _ => self.bundle(socket, budget),
        }
    }

    fn finish(&mut self, _socket: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
        let mut result = Ok(());
        loop {
            let outstanding = self.ledger.as_ref().map_or(0, Ledger::outstanding);
            let rest = deadline.saturating_duration_since(Instant::now());
            if outstanding == 0 {
                break;
            }
            match self.reap(true, rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => result = other,
            }
            if rest.is_zero() {
                break;
            }
        }
        if let Some(ledger) = &mut self.ledger {
            self.report.account.copied += ledger.abandon();
        }
        result
    }

    fn report(&self) -> Report {
        let State::Calls(calls) = &self.state else {
            return self.report.clone();
        };
        Report {
            account: calls.report().account,
            ..self.report.clone()
        }
    }
}
