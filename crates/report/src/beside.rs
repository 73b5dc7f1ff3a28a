//! A sink around another that passes on each test's document when the test is over, and leaves the output unchanged.

use std::io;

use iperf_model::{Event, ServerOutput, Sink};

use crate::document::Builder;
use crate::{Document, ReportOptions};

/// Takes a finished test.
pub type Done = Box<dyn FnMut(&Document) + Send>;

pub(crate) struct Beside {
    inner: Box<dyn Sink>,
    test: Builder,
    done: Done,
}

impl Beside {
    pub(crate) fn new(inner: Box<dyn Sink>, options: ReportOptions, done: Done) -> Self {
        Self {
            inner,
            test: Builder::new(options),
            done,
        }
    }
}

impl Sink for Beside {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.inner.event(event)?;
        self.test.record_all(event);
        if matches!(event, Event::TestFinished) {
            if let Some(document) = self.test.document() {
                (self.done)(document);
            }
            self.test.reset();
        }
        Ok(())
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        self.inner.server_output()
    }
}
