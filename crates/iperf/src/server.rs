//! A server: on a thread of its own or on the calling one.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use iperf_control::Stop;
use iperf_model::{
    CID_ANY, Concurrency, Family, Listen, Outputs, ServerAuth, ServerConfig, Sink, TestId,
    VsockAddress,
};
use iperf_report::{Document, beside, null_sink};
use iperf_server::{ServerError, Service};
use socket2::SockAddr;
use tokio::sync::{mpsc, oneshot};

use crate::embed::runtime;
use crate::system::report_options;
use crate::{Error, Stopper};

/// How far a client's clock may be off when it logs in, as in iperf3.
const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// Documents that wait for [`RunningServer::next_test`].
const KEPT: usize = 64;

/// A server that can be started.
#[derive(Clone, Debug)]
pub struct Server {
    config: ServerConfig,
}

impl Server {
    /// Begins the description of a server. By default it listens on all addresses and port 5201, and serves everyone, one
    /// test after another.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), iperf::Error> {
    /// let server = iperf::Server::builder()
    ///     .bind("127.0.0.1")
    ///     .port(0)
    ///     .max_duration(60)
    ///     .start()
    ///     .await?;
    /// println!("listening on {}", server.address().expect("an internet address"));
    /// server.stop();
    /// server.stopped().await
    /// # }
    /// ```
    pub fn builder() -> ServerBuilder {
        ServerBuilder(ServerConfig::default())
    }

    /// A server with this configuration.
    pub fn new(config: ServerConfig) -> Self {
        Self { config }
    }

    /// What it will do.
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Starts the server on a thread of its own, and waits until clients can connect. Dropping the [`RunningServer`] ends
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::Server`] if it cannot listen; [`Error::Thread`] if no thread could be started.
    pub async fn start(&self) -> Result<RunningServer, Error> {
        let (stop, stopped) = Stop::new();
        let (documents, tests) = mpsc::channel(KEPT);
        let (listening, ready) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let server = self.clone();
        thread::Builder::new()
            .name("iperf-server".to_owned())
            .spawn(move || {
                let outcome = match runtime() {
                    Err(error) => Err(Error::Thread(error)),
                    Ok(runtime) => {
                        let outputs = |test: Option<TestId>| output(test, &documents);
                        // There is no receiver if the future was dropped.
                        let ready = |address| {
                            let _ = listening.send(address);
                        };
                        let served = server.serve_in_place(&outputs, stopped, ready);
                        let result = runtime.block_on(served);
                        runtime.shutdown_background();
                        match result {
                            Ok(()) | Err(ServerError::Interrupted(_)) => Ok(()),
                            Err(error) => Err(Error::Server(error)),
                        }
                    }
                };
                drop(done.send(outcome));
            })
            .map_err(Error::Thread)?;
        let mut running = RunningServer {
            address: None,
            tests,
            stop: Stopper::new(stop),
            ended: Some(ended),
        };
        match ready.await {
            Ok(address) => {
                running.address = Some(address);
                Ok(running)
            }
            // It ended before it listened.
            Err(_) => match running.stopped().await {
                Err(error) => Err(error),
                Ok(()) => Err(Error::lost()),
            },
        }
    }

    /// Serves on the calling thread, which needs a [`runtime`](crate::embed::runtime) of one thread. `outputs` opens a sink
    /// for each test, and one for what belongs to no test; `ready` gets the address of the listening socket when clients can
    /// connect.
    ///
    /// # Errors
    ///
    /// It cannot listen; [`ServerError::Interrupted`] when `stop` ended it.
    pub async fn serve_in_place(
        &self,
        outputs: &dyn Outputs,
        stop: Stop,
        ready: impl FnOnce(SockAddr),
    ) -> Result<(), ServerError> {
        let service = Service::default();
        self.serve_as_service(outputs, service, stop, ready).await
    }

    /// As [`serve_in_place`](Self::serve_in_place), for a service that watches and steers the server.
    ///
    /// # Errors
    ///
    /// The same.
    pub async fn serve_as_service(
        &self,
        outputs: &dyn Outputs,
        service: Service,
        stop: Stop,
        ready: impl FnOnce(SockAddr),
    ) -> Result<(), ServerError> {
        iperf_server::run(self.config.clone(), outputs, service, stop, ready).await
    }
}

/// The sink of a test: its document goes to the caller that waits for tests.
fn output(test: Option<TestId>, documents: &mpsc::Sender<Document>) -> Box<dyn Sink> {
    if test.is_none() {
        return null_sink();
    }
    let documents = documents.clone();
    let done = move |document: &Document| {
        // A server's memory must not depend on how often this is called.
        let _ = documents.try_send(document.clone());
    };
    beside(null_sink(), report_options(false), Box::new(done))
}

/// Describes a server. Nothing is checked before it is [started](Self::start).
#[derive(Clone, Debug)]
pub struct ServerBuilder(ServerConfig);

impl ServerBuilder {
    /// The port \[5201\]; 0 lets the system choose one.
    pub fn port(mut self, number: u16) -> Self {
        match &mut self.0.listen {
            Listen::Inet { port } => *port = number,
            Listen::Vsock { port, .. } => *port = number.into(),
            Listen::Vmm(socket) => socket.port = number.into(),
        }
        self
    }

    /// Listens on this local address only: a name or a number.
    pub fn bind(mut self, address: impl Into<String>) -> Self {
        self.0.local.bind = Some(address.into());
        self
    }

    /// Listens on IPv4 only.
    pub fn ipv4(mut self) -> Self {
        self.0.local.family = Family::V4;
        self
    }

    /// Listens on IPv6 only.
    pub fn ipv6(mut self) -> Self {
        self.0.local.family = Family::V6;
        self
    }

    /// Listens on `AF_VSOCK` instead, on all context ids of this machine.
    pub fn vsock(mut self) -> Self {
        let port = self.0.listen.port();
        self.0.listen = Listen::Vsock { cid: CID_ANY, port };
        self
    }

    /// Ends after one test.
    pub fn one_off(mut self) -> Self {
        self.0.one_off = true;
        self
    }

    /// Refuses tests that are longer than this many seconds, omitted time included, and as iperf3 does those without a
    /// time: by an amount, or endless.
    pub fn max_duration(mut self, seconds: u32) -> Self {
        self.0.max_duration = Some(seconds);
        self
    }

    /// Runs up to this many tests at the same time \[1\]; 0 is as many as descriptors and threads suffice for.
    pub fn tests(mut self, limit: u32) -> Self {
        self.0.tests = NonZeroU32::new(limit).map_or(Concurrency::Resources, Concurrency::Tests);
        self
    }

    /// Serves only these users: `private_key` is the PEM file of the RSA key that decrypts logins, `users` a file with a
    /// line `name,hash` for each, where the hash is the SHA-256 of `{name}password` in hexadecimal. It is read at each
    /// login.
    pub fn logins(mut self, private_key: impl Into<PathBuf>, users: impl Into<PathBuf>) -> Self {
        self.0.auth = Some(ServerAuth {
            private_key: private_key.into(),
            users: users.into(),
            skew: CLOCK_SKEW,
            pkcs1: false,
        });
        self
    }

    /// Changes anything else. The types are in [`model`](crate::model).
    pub fn configure(mut self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        change(&mut self.0);
        self
    }

    /// The server.
    pub fn build(self) -> Server {
        Server::new(self.0)
    }

    /// Builds the server and starts it; see [`Server::start`].
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub async fn start(self) -> Result<RunningServer, Error> {
        self.build().start().await
    }
}

/// A server that runs. Dropping it ends the server and its tests.
///
/// ```
/// # use iperf::{Client, Error, Server};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let mut server = Server::builder().bind("127.0.0.1").port(0).one_off().start().await?;
/// # let port = server.address().unwrap().port();
/// # let client = Client::builder("127.0.0.1").port(port).bytes(1_000_000).build()?;
/// # client.run().await?;
/// while let Some(test) = server.next_test().await {
///     let received = test.end.sum_received.expect("a sum");
///     println!("{} bytes in {} s", received.bytes, received.seconds);
/// #   assert!(received.bytes >= 1_000_000);
/// }
/// server.stopped().await
/// # }
/// ```
#[derive(Debug)]
pub struct RunningServer {
    address: Option<SockAddr>,
    tests: mpsc::Receiver<Document>,
    stop: Stopper,
    ended: Option<oneshot::Receiver<Result<(), Error>>>,
}

impl RunningServer {
    /// Where it listens, if that is an internet address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address.as_ref()?.as_socket()
    }

    /// Where it listens, if that is `AF_VSOCK`. The `cid` is [`CID_ANY`] unless it listens on one.
    pub fn vsock_address(&self) -> Option<VsockAddress> {
        let (cid, port) = self.address.as_ref()?.as_vsock_address()?;
        Some(VsockAddress {
            cid,
            port,
            sibling: false,
        })
    }

    /// Waits for the end of a test, and gives it as the server saw it; `None` when the server has ended. At most 64
    /// tests are kept until they are fetched; later ones are dropped.
    pub async fn next_test(&mut self) -> Option<Document> {
        self.tests.recv().await
    }

    /// Ends the server, and the test that runs. [`stopped`](Self::stopped) waits until that is done.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// A handle that ends the server from another task or thread.
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// Waits until the server has ended: after [`stop`](Self::stop), or after the one test of
    /// [`one_off`](ServerBuilder::one_off).
    ///
    /// # Errors
    ///
    /// [`Error::Server`] if it ended for any reason other than its own end or a stop.
    pub async fn stopped(mut self) -> Result<(), Error> {
        match self.ended.take() {
            Some(ended) => ended.await.unwrap_or_else(|_| Err(Error::lost())),
            None => Err(Error::lost()),
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop();
    }
}
