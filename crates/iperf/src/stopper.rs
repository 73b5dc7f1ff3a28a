//! A handle that ends a test or a server from elsewhere: another task, another thread, a signal handler's task.

use std::sync::Arc;

use iperf_control::{StopHandle, StopReason};

/// Ends a [`Test`](crate::Test) or a [`RunningServer`](crate::RunningServer), as their `stop` does. Clones end the same
/// one. It does not keep it running, and does nothing when it is over.
///
/// ```
/// # use std::time::Duration;
/// # use iperf::{Client, Server};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), iperf::Error> {
/// # let server = Server::builder().bind("127.0.0.1").port(0).start().await?;
/// # let port = server.address().unwrap().port();
/// let client = Client::builder("127.0.0.1").port(port).duration(Duration::from_secs(3600));
/// let test = client.build()?.start()?;
/// let stopper = test.stopper();
/// tokio::spawn(async move {
///     tokio::time::sleep(Duration::from_millis(300)).await; // or a signal
///     stopper.stop();
/// });
/// let document = test.document().await?;
/// assert!(document.error.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stopper(Arc<StopHandle>);

impl Stopper {
    pub(crate) fn new(handle: StopHandle) -> Self {
        Self(Arc::new(handle))
    }

    /// Ends the test or the server. It returns at once; `document` or `stopped` waits until that is done.
    pub fn stop(&self) {
        self.0.stop(StopReason::Requested);
    }
}
