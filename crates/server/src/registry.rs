//! The tests that a server runs, by number, and where each one's output goes.

use std::collections::HashMap;

use iperf_model::{Outputs, TestId};

use crate::slots::Slot;
use crate::tasks::SharedSink;

/// The running tests.
#[derive(Default)]
pub(crate) struct Tests {
    running: HashMap<TestId, (SharedSink, Slot)>,
    begun: u64,
}

impl Tests {
    /// Whether none runs.
    pub(crate) fn are_over(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes a test in, with its place, and opens its output.
    pub(crate) fn begin(&mut self, outputs: &dyn Outputs, slot: Slot) -> (TestId, SharedSink) {
        self.begun += 1;
        let id = TestId(self.begun);
        let sink = SharedSink::new(outputs.open(Some(id)));
        self.running.insert(id, (sink.clone(), slot));
        (id, sink)
    }

    /// A test is over, and its place is free. Its output is returned, in case the test could not finish it.
    pub(crate) fn end(&mut self, id: TestId) -> Option<SharedSink> {
        self.running.remove(&id).map(|(sink, _)| sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;
    use crate::waiting::Origin;
    use iperf_model::{Concurrency, Event, Listen, ServerConfig, Sink, SocketName};
    use std::io;
    use std::num::NonZeroU32;
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
    fn each_test_has_its_own_output_and_gives_its_place_back() {
        let slots = Slots::new(&ServerConfig {
            tests: Concurrency::Tests(NonZeroU32::new(2).unwrap()),
            ..ServerConfig::new(Listen::Inet { port: 0 })
        });
        let take = || {
            let host = "10.0.0.1".to_owned();
            slots.take(Origin::of(&SocketName { host, port: 1 }), 1)
        };
        let notes = Arc::new(Mutex::new(Vec::new()));
        let outputs = {
            let notes = notes.clone();
            move |id| Box::new(Noted(id, notes.clone())) as Box<dyn Sink>
        };
        let mut tests = Tests::default();
        let (first, mut output) = tests.begin(&outputs, take().unwrap());
        output.event(&Event::TestFinished).unwrap();
        let (second, mut output) = tests.begin(&outputs, take().unwrap());
        output.event(&Event::TestFinished).unwrap();
        assert_eq!(*notes.lock().unwrap(), [Some(first), Some(second)]);
        assert!(first != second && take().is_none());
        assert!(tests.end(first).is_some() && tests.end(first).is_none());
        assert!(!tests.are_over());
        let (third, _) = tests.begin(&outputs, take().unwrap());
        assert!(third != first && third != second);
        tests.end(second);
        tests.end(third);
        assert!(tests.are_over());
    }
}
