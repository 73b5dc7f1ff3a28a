//! Tasks whose end is always observed: a panic in one of them is reported as its end, and the server continues.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use iperf_model::{Event, ServerOutput, Sink};
use tokio::sync::mpsc::UnboundedSender;

/// Runs a task that sends its result, or `lost` if it panics.
pub(crate) fn spawn<T: Send + 'static>(
    events: UnboundedSender<T>,
    lost: impl FnOnce() -> T + Send + 'static,
    task: impl Future<Output = T> + Send + 'static,
) {
    tokio::spawn(async move {
        let event = tokio::spawn(task).await.unwrap_or_else(|_| lost());
        // There is no receiver once the server has ended.
        drop(events.send(event));
    });
}

/// A sink that outlives a test that panics.
#[derive(Clone)]
pub(crate) struct SharedSink(Arc<Mutex<Box<dyn Sink>>>);

impl SharedSink {
    pub(crate) fn new(sink: Box<dyn Sink>) -> Self {
        Self(Arc::new(Mutex::new(sink)))
    }
}

impl Sink for SharedSink {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        catch_unwind(AssertUnwindSafe(|| sink.event(event)))
            .unwrap_or_else(|_| Err(io::Error::other("the output has panicked")))
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        catch_unwind(AssertUnwindSafe(|| sink.server_output())).unwrap_or(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    #[tokio::test]
    async fn a_task_that_panics_reports_its_end_too() {
        let (events, mut received) = unbounded_channel();
        spawn(events.clone(), || "lost", async { "ended" });
        assert_eq!(received.recv().await, Some("ended"));
        spawn(events, || "lost", async {
            tokio::task::yield_now().await;
            panic!("as the test wants it")
        });
        assert_eq!(received.recv().await, Some("lost"));
    }

    struct Fragile(u32);

    impl Sink for Fragile {
        fn event(&mut self, _: &Event) -> io::Result<()> {
            self.0 += 1;
            assert!(self.0 != 2, "as the test wants it");
            Ok(())
        }
    }

    #[test]
    fn a_sink_is_there_after_the_test_that_had_it() {
        let mut sink = SharedSink::new(Box::new(Fragile(0)));
        let mut other = sink.clone();
        let lost = std::thread::spawn(move || {
            other.event(&Event::TestFinished).unwrap();
            panic!("as the test wants it");
        });
        assert!(lost.join().is_err());
        assert!(sink.event(&Event::TestFinished).is_err());
        assert!(sink.event(&Event::TestFinished).is_ok());
    }
}
