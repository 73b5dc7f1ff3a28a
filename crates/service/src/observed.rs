//! The output of a test, observed: its events pass through, and are counted.

use std::io;
use std::sync::Arc;

use iperf_model::{Event, ServerOutput, Sink, TestId};

use crate::record::TestRecord;
use crate::stats::Stats;

/// Takes a test that is over.
type Done = Box<dyn FnMut(&TestRecord) + Send>;

/// A sink around another.
pub struct Observed {
    inner: Box<dyn Sink>,
    stats: Arc<Stats>,
    id: TestId,
    test: Option<TestRecord>,
    done: Done,
}

impl Observed {
    /// Observes the output of a test. `done` gets the record of the test when it is over.
    pub fn new(inner: Box<dyn Sink>, stats: Arc<Stats>, id: TestId, done: Done) -> Self {
        Self {
            inner,
            stats,
            id,
            test: None,
            done,
        }
    }

    fn observe(&mut self, event: &Event) {
        match (event, &mut self.test) {
            (Event::TestBegan(began), test) => {
                self.stats.begin();
                *test = Some(TestRecord::begin(self.id.0, began));
            }
            (Event::Interval(interval), Some(_)) => self.stats.moved(interval),
            (Event::Summary(summary), Some(test)) => test.summarize(summary),
            (Event::Failed(failure), Some(test)) => test.fail(failure),
            (Event::TestFinished, _) => {
                if let Some(test) = self.test.take() {
                    (self.done)(&test);
                    self.stats.end(test);
                }
            }
            _ => {}
        }
    }
}

impl Sink for Observed {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.observe(event);
        self.inner.event(event)
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        self.inner.server_output()
    }
}

/// A test that panicked does not run any more.
impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(mut test) = self.test.take() {
            test.outcome = "failed";
            self.stats.end(test);
        }
    }
}
