//! The tests that a server runs, by number: whether one more may run, and where each one's output goes.

use std::collections::HashMap;

use iperf_model::{Outputs, TestId};

use crate::tasks::SharedSink;

/// How many tests run at the same time. iperf3 runs one.
pub(crate) const LIMIT: usize = 1;

/// The running tests. Nothing else decides whether a server is busy.
pub(crate) struct Tests {
    limit: usize,
    running: HashMap<TestId, SharedSink>,
    begun: u64,
}

impl Tests {
    /// No test yet, and room for `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            running: HashMap::new(),
            begun: 0,
        }
    }

    /// Whether one more test may run.
    pub(crate) fn have_room(&self) -> bool {
        self.running.len() < self.limit
    }

    /// Whether none runs.
    pub(crate) fn are_over(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes a test in and opens its output, if it may run.
    pub(crate) fn begin(&mut self, outputs: &dyn Outputs) -> Option<(TestId, SharedSink)> {
        if !self.have_room() {
            return None;
        }
        self.begun += 1;
        let id = TestId(self.begun);
        let sink = SharedSink::new(outputs.open(Some(id)));
        self.running.insert(id, sink.clone());
        Some((id, sink))
    }

    /// A test is over. Its output is returned, in case the test could not finish it.
    pub(crate) fn end(&mut self, id: TestId) -> Option<SharedSink> {
        self.running.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::{Event, Sink};
    use std::io;
    use std::sync::{Arc, Mutex};

    /// Notes which test each event belongs to.
    struct Noted(Option<TestId>, Arc<Mutex<Vec<Option<TestId>>>>);

    impl Sink for Noted {
        fn event(&mut self, _: &Event) -> io::Result<()> {
            self.1.lock().unwrap().push(self.0);
            Ok(())
        }
    }

    #[test]
    fn no_more_tests_run_than_the_limit_and_each_has_its_own_output() {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let outputs = {
            let notes = notes.clone();
            move |id| Box::new(Noted(id, notes.clone())) as Box<dyn Sink>
        };
        let mut tests = Tests::new(2);
        let (first, mut output) = tests.begin(&outputs).unwrap();
        output.event(&Event::TestFinished).unwrap();
        let (second, mut output) = tests.begin(&outputs).unwrap();
        output.event(&Event::TestFinished).unwrap();
        assert_eq!(*notes.lock().unwrap(), [Some(first), Some(second)]);
        assert!(first != second && !tests.have_room());
        assert!(tests.begin(&outputs).is_none());
        assert!(tests.end(first).is_some() && tests.end(first).is_none());
        assert!(tests.have_room() && !tests.are_over());
        let (third, _) = tests.begin(&outputs).unwrap();
        assert!(third != first && third != second);
        tests.end(second);
        tests.end(third);
        assert!(tests.are_over());
    }
}
