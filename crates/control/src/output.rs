//! A sink that reports an error once: a full disk must not end a test that runs well.

use iperf_model::{Event, ServerOutput, Sink};
use tracing::warn;

/// Where a driver's events go.
pub struct Output<'a> {
    sink: &'a mut dyn Sink,
    broken: bool,
}

impl<'a> Output<'a> {
    /// Events go to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            broken: false,
        }
    }

    /// Takes one event.
    pub fn event(&mut self, event: &Event) {
        if let Err(error) = self.sink.event(event)
            && !std::mem::replace(&mut self.broken, true)
        {
            warn!(%error, "can't write output");
        }
    }

    /// What was written since the parameters were exchanged, see [`Sink::server_output`].
    pub fn server_output(&mut self) -> Option<ServerOutput> {
        self.sink.server_output()
    }
}
