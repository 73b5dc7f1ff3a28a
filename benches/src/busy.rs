//! Threads that use the processors while a test runs.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// How many there are for each processor.
const EACH: usize = 2;

/// The threads; they end when this is dropped.
pub struct BusyLoops {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyLoops {
    /// Starts them, `EACH` for each processor.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let work = || {
            let stop = stop.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    spin_loop();
                }
            })
        };
        let threads = (0..EACH * processors).map(|_| work()).collect();
        Self { stop, threads }
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loops_run_until_they_are_dropped() {
        let loops = BusyLoops::start();
        let stop = Arc::downgrade(&loops.stop);
        assert!(loops.threads.len() >= EACH);
        assert!(loops.threads.iter().all(|thread| !thread.is_finished()));
        drop(loops);
        assert!(stop.upgrade().is_none(), "every thread has let go");
    }
}
