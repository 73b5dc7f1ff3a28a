//! The tests that a server runs, by number, and where each one's output goes.

use std::collections::HashMap;

use iperf_model::{Outputs, TestId};

use crate::tasks::SharedSink;

/// The running tests.
#[derive(Default)]
pub(crate) struct Tests {
    running: HashMap<TestId, Running>,
    begun: u64,
}

struct Running {
    sink: SharedSink,
    /// It has written its output, and its slot is free.
    is_over: bool,
}

impl Tests {
    /// Whether none runs.
    pub(crate) fn are_over(&self) -> bool {
        self.running.values().all(|test| test.is_over)
    }

    /// Whether all have closed their connections, too.
    pub(crate) fn have_left(&self) -> bool {
        self.running.is_empty()
    }

    /// Adds a test, and opens its output.
    pub(crate) fn begin(&mut self, outputs: &dyn Outputs) -> (TestId, SharedSink) {
        self.begun += 1;
        let id = TestId(self.begun);
        let sink = SharedSink::new(outputs.open(Some(id)));
        let test = Running {
            sink: sink.clone(),
            is_over: false,
        };
        self.running.insert(id, test);
        (id, sink)
    }

    /// A test is over, and closes its connections.
    pub(crate) fn over(&mut self, id: TestId) {
        if let Some(test) = self.running.get_mut(&id) {
            test.is_over = true;
        }
    }

    /// A test has left. Its output is returned if it was not over and could not finish it.
    pub(crate) fn left(&mut self, id: TestId) -> Option<SharedSink> {
        let test = self.running.remove(&id)?;
        (!test.is_over).then_some(test.sink)
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
    fn each_test_has_its_own_output_and_is_over_before_it_has_left() {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let outputs = {
            let notes = notes.clone();
            move |id| Box::new(Noted(id, notes.clone())) as Box<dyn Sink>
        };
        let mut tests = Tests::default();
        let (first, mut output) = tests.begin(&outputs);
        output.event(&Event::TestFinished).unwrap();
        let (second, mut output) = tests.begin(&outputs);
        output.event(&Event::TestFinished).unwrap();
        assert_eq!(*notes.lock().unwrap(), [Some(first), Some(second)]);
        assert!(first != second && !tests.are_over());
        tests.over(first);
        assert!(!tests.are_over() && tests.left(first).is_none());
        tests.over(second);
        assert!(tests.are_over() && !tests.have_left());
        assert!(tests.left(second).is_none() && tests.have_left());
        let (third, _) = tests.begin(&outputs);
        assert!(third != first && third != second);
        assert!(tests.left(third).is_some() && tests.left(third).is_none());
        assert!(tests.are_over() && tests.have_left());
    }
}
