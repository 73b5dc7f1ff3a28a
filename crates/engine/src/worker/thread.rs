//! Worker threads: starting them, waking them, and learning how their workers ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};

use iperf_zc::interrupt;
use tracing::debug_span;

use crate::error::EngineError;
use crate::run::affinity::Place;
use crate::worker::gate::Gate;
use crate::worker::shared::SharedWorkers;
use crate::worker::{Ending, Wake, Worker, alone};

/// A running thread. It ends when its workers have.
pub(crate) struct WorkerThread(JoinHandle<()>);

impl WorkerThread {
    pub(crate) fn id(&self) -> ThreadId {
        self.0.thread().id()
    }

    /// Makes a blocking call of the thread return.
    pub(crate) fn wake(&self) {
        interrupt::wake(&self.0);
    }
}

/// Where a worker leaves its ending. It is full, too, when its thread panicked.
#[derive(Clone, Default)]
pub(crate) struct EndingSlot(Arc<SharedSlot>);

#[derive(Default)]
struct SharedSlot {
    is_known: AtomicBool,
    ending: Mutex<Option<Ending>>,
}

impl EndingSlot {
    /// Takes the ending, once it is known, and once only.
    pub(crate) fn take(&self) -> Option<Ending> {
        if !self.0.is_known.load(Ordering::Acquire) {
            return None;
        }
        self.slot().take()
    }

    fn set(&self, ending: Ending) {
        let mut slot = self.slot();
        if !self.0.is_known.load(Ordering::Relaxed) {
            *slot = Some(ending);
            self.0.is_known.store(true, Ordering::Release);
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Ending>> {
        self.0.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records how each worker of a thread ended, also if the thread panics.
struct Endings {
    endings: Vec<EndingSlot>,
    wake: Wake,
}

impl Endings {
    fn set(&self, index: usize, ending: Ending) {
        if let Some(slot) = self.endings.get(index) {
            slot.set(ending);
        }
        (self.wake)();
    }
}

impl Drop for Endings {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        for slot in &self.endings {
            slot.set(if panicked {
                Ending::Failed(std::io::Error::other("the worker thread panicked"))
            } else {
                Ending::Stopped
            });
        }
        (self.wake)();
    }
}

/// Starts a thread for one worker, which waits at the gate for the test to begin.
pub(crate) fn start_alone(
    name: String,
    mut worker: Box<dyn Worker>,
    slot: EndingSlot,
    place: Place,
    gate: Arc<Gate>,
    wake: Wake,
) -> Result<WorkerThread, EngineError> {
    let endings = Endings {
        endings: vec![slot],
        wake,
    };
    spawn(name, move || {
        if let Some(start) = gate.pass() {
            place.take(Some(worker.socket()));
            let ending = alone::run(worker.as_mut(), start);
            // Nothing holds the socket any more when its owner learns of the end.
            drop(worker);
            endings.set(0, ending);
        }
    })
}

/// Starts a thread that many workers share, which wait at the gate for the test to begin. `endings` are theirs, in
/// their order.
pub(crate) fn start_shared(
    name: String,
    workers: SharedWorkers,
    endings: Vec<EndingSlot>,
    place: Place,
    gate: Arc<Gate>,
    wake: Wake,
) -> Result<WorkerThread, EngineError> {
    let endings = Endings { endings, wake };
    spawn(name, move || {
        place.take(None);
        if let Some(start) = gate.pass() {
            workers.run(start, |index, ending| endings.set(index, ending));
        }
    })
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<WorkerThread, EngineError> {
    let span = debug_span!("worker", name);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || span.in_scope(work))
        .map(WorkerThread)
        .map_err(EngineError::system("start a worker thread"))
}
