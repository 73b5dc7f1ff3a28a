//! The events of a running test as a stream, and the sink that collects its document.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use iperf_model::{Event, Sink};
use iperf_report::{Document, beside, null_sink};
use tokio::sync::mpsc;

use crate::system::report_options;

/// The events of a test, in the order of [`Event`]: the connection, the streams, each interval, the totals.
///
/// It is a [`Stream`], and [`next`](Self::next) waits for one event without an extension trait. It ends with the test.
/// Events that are not fetched are kept; a test has about one for each interval.
///
/// ```
/// # use std::time::Duration;
/// # use iperf::{Client, Event, Server};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), iperf::Error> {
/// # let server = Server::builder().bind("127.0.0.1").port(0).start().await?;
/// # let port = server.address().unwrap().port();
/// let client = Client::builder("127.0.0.1")
///     .port(port)
///     .duration(Duration::from_secs(1))
///     .interval(Duration::from_millis(200))
///     .build()?;
/// let mut test = client.start()?;
/// let mut intervals = 0;
/// while let Some(event) = test.events().next().await {
///     if let Event::Interval(interval) = event {
///         intervals += interval.streams.len();
///     }
/// }
/// let document = test.document().await?;
/// # assert_eq!(document.intervals.len(), intervals);
/// # assert!(intervals > 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    /// The next event; `None` when the test is over.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.0.poll_recv(context)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(context)
    }
}

/// Collects a client's document, and hands on its events.
pub(crate) struct Recorder {
    collector: Box<dyn Sink>,
    document: Arc<Mutex<Document>>,
    events: mpsc::UnboundedSender<Event>,
}

impl Recorder {
    pub(crate) fn new() -> (Self, Events) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let document = Arc::<Mutex<Document>>::default();
        let finished = document.clone();
        let done = move |test: &Document| {
            *finished.lock().unwrap_or_else(PoisonError::into_inner) = test.clone();
        };
        let recorder = Self {
            collector: beside(null_sink(), report_options(true), Box::new(done)),
            document,
            events: sender,
        };
        (recorder, Events(receiver))
    }

    /// The document of the test that is over.
    pub(crate) fn into_document(self) -> Document {
        let mut document = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *document)
    }
}

impl Sink for Recorder {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.collector.event(event)?;
        // A program that has dropped the stream needs no events.
        let _ = self.events.send(event.clone());
        Ok(())
    }
}
