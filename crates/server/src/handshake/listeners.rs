//! The listening sockets of transports that do not use the server's, and what a client of ours is granted.

use std::pin::pin;
use std::sync::Arc;

use iperf_control::spawn_blocking;
use iperf_engine::EngineError;
use iperf_engine::net::transactions::{self, Transactions};
use iperf_engine::net::{StreamPlan, sctp, tcp};
use iperf_model::{CID_ANY, Listen, TestConfig, Transport};
use iperf_proto::code::Code;
use iperf_proto::extensions::Granted;

use super::opening::Source;
use super::{Handshake, Obstacle};
use crate::data_listener::DataListener;
use crate::error::TestError;
use crate::port_permit::{Contention, PortPermit};
use crate::udp_listener::{Expected, UdpListener};

impl Handshake {
    /// Listens for the streams of a test. A client of ours is granted extensions.
    pub(super) async fn listen(
        &mut self,
        test: &Arc<TestConfig>,
        ours: bool,
    ) -> Result<(Source, Option<Granted>), Obstacle> {
        let file = self.client.config.local.file.is_some();
        let mut granted = ours.then(|| Granted::for_test(test, file));
        let source = match test.transport {
            Transport::Udp => {
                let named = granted.as_ref().is_some_and(|granted| granted.hello);
                let (permit, contention) = self.acquire_port(test).await?;
                Source::Hellos(self.udp_listener(named, permit)?, contention)
            }
            Transport::Sctp => {
                let (permit, contention) = self.acquire_port(test).await?;
                let listener = self.sctp_listener(test, permit).await?;
                Source::Aside(listener, Some(contention))
            }
            Transport::VsockSeqpacket => {
                let (listener, port) = self.message_listener(test)?;
                if let Some(granted) = &mut granted {
                    granted.seqpacket = Some(port);
                }
                Source::Aside(listener, None)
            }
            Transport::Tcp | Transport::Mptcp | Transport::Vsock => Source::Shared {
                numbered: granted.as_ref().is_some_and(|granted| granted.numbered),
            },
        };
        let reconnects = test.exchange.is_some_and(|exchange| exchange.reconnects);
        if let Some(granted) = granted.as_mut().filter(|_| reconnects)
            && let Some((listener, port)) = self.transactions_listener(test)?
        {
            granted.crr = Some(port);
            self.transactions = Some(Transactions::Accept(Arc::new(listener)));
        }
        Ok((source, granted))
    }

    /// Listens for a connection for each transaction; `None` where a VMM would have to make them.
    fn transactions_listener(
        &self,
        test: &TestConfig,
    ) -> Result<Option<(transactions::Listener, u32)>, TestError> {
        let plan = StreamPlan {
            bind_dev: self.client.config.local.bind_dev.as_deref(),
            ..StreamPlan::new(test, &self.client.config.local)
        };
        let listening = match self.client.config.listen {
            Listen::Inet { .. } => {
                let local = self.talk.control.local()?;
                let peer = self.talk.control.peer()?;
                transactions::Listener::inet(&plan, local, peer.ip())
            }
            Listen::Vsock { cid, .. } => {
                let Ok(peer) = self.client.peer.host.parse() else {
                    return Ok(None);
                };
                transactions::Listener::vsock(&plan, cid, peer)
            }
            Listen::Vmm(_) => return Ok(None),
        };
        listening.map(Some).map_err(TestError::Streams)
    }

    /// Waits until no other handshake listens for streams: two can't share a port, and a hello must not open a stream of
    /// another test.
    async fn acquire_port(
        &mut self,
        test: &TestConfig,
    ) -> Result<(PortPermit, Contention), Obstacle> {
        let permits = self.client.port_permits.clone();
        let mut permit = pin!(permits.acquire());
        let permit = loop {
            tokio::select! {
                permit = &mut permit => break permit,
                connection = self.client.connections.recv() => match connection {
                    Some(connection) => self.client.refusals.refuse(connection.stream),
                    // Another test has begun.
                    None => break None,
                },
            }
        };
        let permit = permit.ok_or(TestError::Refused(Code::BUSY))?;
        let round_trip = tcp::round_trip(&*self.talk.control.socket());
        let contention = permits.contention(test.total_streams(), round_trip, self.reaction);
        Ok((permit, contention))
    }

    fn udp_listener(&self, named: bool, permit: PortPermit) -> Result<UdpListener, TestError> {
        let local = self.talk.control.local()?;
        let peer = self.talk.control.peer()?;
        let device = self.client.config.local.bind_dev.clone();
        let expected = Expected::new(&self.client.cookie, named);
        UdpListener::open(local, peer, expected, device, permit).map_err(TestError::Streams)
    }

    async fn sctp_listener(
        &self,
        test: &Arc<TestConfig>,
        permit: PortPermit,
    ) -> Result<DataListener, TestError> {
        let local = self.talk.control.local()?;
        let (test, config) = (test.clone(), self.client.config.clone());
        let warnings = self.warnings.clone();
        let listen = move || {
            let plan = StreamPlan {
                bind_dev: config.local.bind_dev.as_deref(),
                warnings,
                ..StreamPlan::new(&test, &config.local)
            };
            sctp::listen(local, &plan)
        };
        // The names of -X may have to be looked up.
        let listening = spawn_blocking(listen).await;
        let socket = listening.unwrap_or_else(|e| Err(EngineError::system("start a thread")(e)));
        let (cookie, refusals) = (self.client.cookie.clone(), self.client.refusals.clone());
        let listener =
            socket.and_then(|socket| DataListener::for_sctp(socket, cookie, permit, refusals));
        listener.map_err(|error| match error {
            EngineError::NoSctp(_) => TestError::Refused(Code::NO_SCTP),
            other => TestError::Streams(other),
        })
    }

    /// Listens for messages at the server's CID; the port is returned.
    fn message_listener(&self, test: &TestConfig) -> Result<(DataListener, u32), TestError> {
        let cid = match self.client.config.listen {
            Listen::Vsock { cid, .. } => cid,
            _ => CID_ANY,
        };
        let plan = StreamPlan::new(test, &self.client.config.local);
        let (cookie, refusals) = (self.client.cookie.clone(), self.client.refusals.clone());
        DataListener::for_messages(cid, cookie, &plan, refusals).map_err(TestError::Streams)
    }
}
