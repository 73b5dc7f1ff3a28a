//! A thread between the sinks and the places they write to. Neither a measurement nor a signal waits for a reader.
//!
//! ```text
//! sinks, log ──► queue ──► thread ──► stdout or a log file
//!                                └──► stderr
//! ```
//!
//! The queue is bounded. Interval reports that do not fit are dropped and counted; everything else, results and
//! documents above all, is kept up to a limit that only an output that is never read reaches.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use iperf_model::reason;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Interval reports and log lines are dropped while more bytes than this wait to be read.
const ROOM_FOR_INTERVALS: usize = 256 << 10;

/// Everything else is dropped while more bytes than this wait. A single document may be longer.
const ROOM_FOR_RESULTS: usize = 64 << 20;

/// Bytes of one call to `write`, and of a piece of the queue.
const PIECE: usize = 64 << 10;

/// How often to try again when stdout is non-blocking and full.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// A destination of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Main,
    Errors,
}

/// How much a text matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// One of many similar reports; the next one replaces it.
    Interval,
    /// Results, errors, documents.
    Result,
}

/// A handle on the thread that writes. Clones share it.
#[derive(Clone)]
pub struct Writer(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Reports dropped since the last one that had room, of all outputs together.
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<(Place, Vec<u8>)>,
    /// Bytes that wait, the piece that is being written included.
    waiting: usize,
    /// Some output could not be written, and not because its reader has closed it.
    failed: bool,
    /// Log lines dropped since the last one that was not.
    unlogged: u64,
}

impl Writer {
    /// Starts the thread. `program` and `name` are for the error on `errors` when `main` can't be written.
    pub fn start(
        program: &str,
        name: &str,
        main: Box<dyn Write + Send>,
        errors: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let worker = Worker {
            shared: shared.clone(),
            prefix: format!("{program}: error - unable to write to {name}"),
            main: Target::new(main),
            errors: Target::new(errors),
        };
        thread::Builder::new()
            .name("iperf-output".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self(shared))
    }

    /// The counter of dropped reports.
    pub(crate) fn dropped(&self) -> &AtomicU64 {
        &self.0.dropped
    }

    /// Whether a text of this weight has room now.
    pub(crate) fn has_room(&self, weight: Weight) -> bool {
        let room = match weight {
            Weight::Interval => ROOM_FOR_INTERVALS,
            Weight::Result => ROOM_FOR_RESULTS,
        };
        self.0.lock().waiting < room
    }

    /// Adds text to the queue.
    pub(crate) fn push(&self, place: Place, bytes: &[u8]) {
        let mut queue = self.0.lock();
        queue.waiting += bytes.len();
        match queue.pieces.back_mut() {
            Some((last, piece)) if *last == place && piece.len() + bytes.len() <= PIECE => {
                piece.extend_from_slice(bytes);
            }
            _ => queue.pieces.push_back((place, bytes.to_vec())),
        }
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Adds a line for stderr, behind what was output before it.
    pub fn error_line(&self, line: &str) {
        if self.has_room(Weight::Result) {
            self.push(Place::Errors, format!("{line}\n").as_bytes());
        }
    }

    /// Adds a line of the log, which goes to stderr too. Without a reader, lines are dropped, and their number is
    /// logged.
    pub fn log(&self, line: &[u8]) {
        if !self.has_room(Weight::Interval) {
            self.0.lock().unlogged += 1;
            return;
        }
        let unlogged = std::mem::take(&mut self.0.lock().unlogged);
        if unlogged > 0 {
            let note = format!("({unlogged} log lines dropped: stderr was read too slowly)\n");
            self.push(Place::Errors, note.as_bytes());
        }
        self.push(Place::Errors, line);
    }

    /// Waits until everything is written, but not longer than `limit`; whether it is.
    pub fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut queue = self.0.lock();
        while queue.waiting > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Whether nothing was lost, except to a reader that has closed its end.
    pub fn is_intact(&self) -> bool {
        !self.0.lock().failed
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
struct Worker {
    shared: Arc<Shared>,
    prefix: String,
    main: Target,
    errors: Target,
}

impl Worker {
    fn run(mut self) {
        loop {
            let (place, bytes) = self.next();
            match place {
                Place::Main => self.write(&bytes),
                // There is no place left to report its failure.
                Place::Errors => drop(self.errors.write(&bytes)),
            }
            self.shared.lock().waiting -= bytes.len();
            self.shared.changed.notify_all();
        }
    }

    fn next(&self) -> (Place, Vec<u8>) {
        let mut queue = self.shared.lock();
        loop {
            if let Some(piece) = queue.pieces.pop_front() {
                return piece;
            }
            let waited = self.shared.changed.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let was_failing = self.main.failing;
        if let Err(error) = self.main.write(bytes) {
            self.shared.lock().failed = true;
            // A server may run for months with a full disk: it reports each failure once.
            if !was_failing {
                let line = format!("{}: {}\n", self.prefix, reason(&error));
                drop(self.errors.write(line.as_bytes()));
            }
        }
    }
}

/// One of the places, and how it fares.
struct Target {
    writer: Box<dyn Write + Send>,
    /// Its reader has closed its end.
    closed: bool,
    failing: bool,
}

impl Target {
    fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            writer,
            closed: false,
            failing: false,
        }
    }

    /// Writes everything; a reader that has closed its end is no error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.write_through(bytes);
        if matches!(&result, Err(error) if error.kind() == ErrorKind::BrokenPipe) {
            self.closed = true;
            return Ok(());
        }
        self.failing = result.is_err();
        result
    }

    fn write_through(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.writer.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => bytes = &bytes[length..],
                Err(error) => patient(error)?,
            }
        }
        while let Err(error) = self.writer.flush() {
            patient(error)?;
        }
        Ok(())
    }
}

/// A signal arrived, or the output is non-blocking and full: neither is an error.
fn patient(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            thread::sleep(FULL_PAUSE);
            Ok(())
        }
        _ => Err(error),
    }
}

/// Opens a log file for appending. A FIFO without a reader is an error, not a wait.
pub fn open_log(path: &Path) -> io::Result<File> {
    let file = File::options()
        .append(true)
        .create(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
