//! A client: one test with a server, on a thread of its own or on the calling one.

mod builder;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use iperf_client::{ClientError, Login};
use iperf_control::Stop;
use iperf_model::{ClientConfig, DEFAULT_PORT, Endpoint, Sink, VmmSocket};
use iperf_report::Document;
use tokio::sync::oneshot;

use crate::embed::runtime;
use crate::events::{Events, Recorder};
use crate::{Error, Stopper};

pub use builder::ClientBuilder;

/// A test that can be run, as often as you like.
#[derive(Clone, Debug)]
pub struct Client {
    config: ClientConfig,
    login: Option<Arc<Login>>,
}

impl Client {
    /// Begins the description of a test with the server on this host: a name or an IP address.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let client = iperf::Client::builder("192.0.2.1")
    ///     .udp()
    ///     .bitrate(50_000_000)
    ///     .streams(2)
    ///     .duration(Duration::from_secs(5))
    ///     .build()?;
    /// assert_eq!(client.config().test.total_streams(), 2);
    /// # Ok::<_, iperf::Error>(())
    /// ```
    pub fn builder(host: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(Endpoint::Inet {
            host: host.into(),
            port: DEFAULT_PORT,
        })
    }

    /// Begins the description of a test over vsock with virtual machine `cid`; 2 is the host, 1 this machine.
    pub fn vsock(cid: u32) -> ClientBuilder {
        ClientBuilder::new(Endpoint::Vsock(iperf_model::VsockAddress {
            cid,
            port: DEFAULT_PORT.into(),
            sibling: false,
        }))
    }

    /// Begins the description of a test with a guest, through the Unix socket by which its VMM offers vsock: that of
    /// Firecracker, Cloud Hypervisor or vhost-device-vsock. For libkrun's, which serve one port each, and for sibling
    /// machines see [`endpoint`](Self::endpoint).
    pub fn vmm(path: impl Into<PathBuf>) -> ClientBuilder {
        ClientBuilder::new(Endpoint::Vmm(VmmSocket::hybrid(path, DEFAULT_PORT.into())))
    }

    /// Begins the description of a test with a server anywhere.
    pub fn endpoint(endpoint: Endpoint) -> ClientBuilder {
        ClientBuilder::new(endpoint)
    }

    /// A client with this configuration, which is not checked. [`with_login`](Self::with_login) adds a login.
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            login: None,
        }
    }

    /// The same client, as a user of the server.
    pub fn with_login(mut self, login: Option<Login>) -> Self {
        self.login = login.map(Arc::new);
        self
    }

    /// What it will do.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Runs the test to its end. Dropping the future ends the test.
    ///
    /// # Errors
    ///
    /// [`Error::Test`] if the test failed, with what was measured until then; [`Error::Thread`] if no thread could be
    /// started.
    pub async fn run(&self) -> Result<Document, Error> {
        self.start()?.document().await
    }

    /// Starts the test on a thread of its own. Dropping the [`Test`] ends it.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`] if no thread could be started.
    pub fn start(&self) -> Result<Test, Error> {
        let (stop, stopped) = Stop::new();
        let (mut recorder, events) = Recorder::new();
        let (done, outcome) = oneshot::channel();
        let client = self.clone();
        thread::Builder::new()
            .name("iperf-client".to_owned())
            .spawn(move || {
                let outcome = match runtime() {
                    Err(error) => Err(Error::Thread(error)),
                    Ok(runtime) => {
                        let test = client.run_in_place(&mut recorder, stopped);
                        let result = runtime.block_on(test);
                        runtime.shutdown_background();
                        finish(result, recorder)
                    }
                };
                // There is no receiver if the test was dropped.
                drop(done.send(outcome));
            })
            .map_err(Error::Thread)?;
        Ok(Test {
            events,
            stop: Stopper::new(stop),
            outcome: Some(outcome),
        })
    }

    /// Runs the test on the calling thread, whose CPU time counts as the test's. Every event goes to `sink`, a failure
    /// included. It needs a [`runtime`](crate::embed::runtime) of one thread.
    ///
    /// # Errors
    ///
    /// The failure that `sink` got too; [`ClientError::Interrupted`] when `stop` ended the test.
    pub async fn run_in_place(&self, sink: &mut dyn Sink, stop: Stop) -> Result<(), ClientError> {
        iperf_client::run(&self.config, self.login.as_deref(), sink, stop).await
    }
}

fn finish(result: Result<(), ClientError>, recorder: Recorder) -> Result<Document, Error> {
    let document = recorder.into_document();
    match result {
        Ok(()) | Err(ClientError::Interrupted(_)) => Ok(document),
        Err(source) => Err(Error::Test {
            source,
            document: Box::new(document),
        }),
    }
}

/// A test that runs. Dropping it ends the test.
///
/// ```
/// # use std::time::Duration;
/// # use iperf::{Client, Error, Event, Server};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let server = Server::builder().bind("127.0.0.1").port(0).start().await?;
/// # let port = server.address().unwrap().port();
/// let client = Client::builder("127.0.0.1").port(port).duration(Duration::from_secs(3600));
/// let mut test = client.build()?.start()?;
/// while let Some(event) = test.events().next().await {
///     if let Event::TestStarted(_) = event {
///         test.stop();
///     }
/// }
/// let document = test.document().await?;
/// assert!(document.error.is_some_and(|error| error.contains("the client has terminated")));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Test {
    events: Events,
    stop: Stopper,
    outcome: Option<oneshot::Receiver<Result<Document, Error>>>,
}

impl Test {
    /// What happens, as it happens.
    pub fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Ends the test early: the server is notified, and [`document`](Self::document) has what was measured.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// A handle that ends the test from another task or thread.
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Waits for the end of the test. Dropping the future ends the test.
    ///
    /// A test that was [stopped](Self::stop) has a document whose `error` states that.
    ///
    /// # Errors
    ///
    /// [`Error::Test`] if the test failed.
    pub async fn document(mut self) -> Result<Document, Error> {
        match self.outcome.take() {
            Some(outcome) => outcome.await.unwrap_or_else(|_| Err(Error::lost())),
            None => Err(Error::lost()),
        }
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        self.stop();
    }
}
