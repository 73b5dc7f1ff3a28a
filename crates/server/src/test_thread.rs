//! The thread of a running test. It has its own runtime, so that CPU time and CPU binding are per test, and no test
//! waits for another.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;

use iperf_control::{Detached, Stop};
use iperf_model::{ServerConfig, TestId};
use iperf_proto::server::Server as Machine;
use tokio::runtime::{Builder, Runtime};
use tracing::{Instrument, info_span};

use crate::error::TestError;
use crate::rate_watch::SharedRateWatch;
use crate::session::{self, TestPlan};
use crate::slots::HeldSlot;
use crate::tasks::SharedSink;

/// A test, on its way to its thread.
pub(crate) struct Job {
    pub(crate) id: TestId,
    pub(crate) talk: Detached<Machine>,
    pub(crate) plan: TestPlan,
    pub(crate) sink: SharedSink,
    pub(crate) config: Arc<ServerConfig>,
    /// The limits that the test falls under.
    pub(crate) rates: Vec<SharedRateWatch>,
    pub(crate) stop: Stop,
}

/// A thread that waits for its test.
pub(crate) struct TestThread(mpsc::Sender<(HeldSlot, Job)>);

impl TestThread {
    /// Starts the thread. Whatever the system may refuse, it refuses here. At the end of the test `done` gets its result;
    /// `None` after a panic.
    pub(crate) fn start(
        done: impl FnOnce(Option<Result<(), TestError>>) + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = TestRuntime::new()?;
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new()
            .name("iperf-test".to_owned())
            .spawn(move || {
                // Without a test the server has ended.
                if let Ok(job) = receiver.recv() {
                    let (mut slot, job) = job;
                    let test = AssertUnwindSafe(|| run(&runtime, job, &mut slot));
                    done(catch_unwind(test).ok());
                    // After a panic it is free only now, and the server knows why.
                    drop(slot);
                }
            })?;
        Ok(Self(sender))
    }

    /// Runs the test.
    pub(crate) fn run(self, job: Job, slot: HeldSlot) {
        // The thread lives until it has got its job.
        drop(self.0.send((slot, job)));
    }
}

/// A runtime that may be dropped within another one, as it is when its thread is refused.
struct TestRuntime(Option<Runtime>);

impl TestRuntime {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self(Some(runtime)))
    }
}

impl Drop for TestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn run(runtime: &TestRuntime, job: Job, slot: &mut HeldSlot) -> Result<(), TestError> {
    let Job {
        id,
        talk,
        plan,
        mut sink,
        config,
        rates,
        stop,
    } = job;
    let test = session::run(talk, plan, &mut sink, &config, &rates, stop, slot);
    let test = test.instrument(info_span!("test", %id));
    match &runtime.0 {
        Some(runtime) => runtime.block_on(test),
        // It is taken by its end alone.
        None => Err(TestError::Panicked),
    }
}
