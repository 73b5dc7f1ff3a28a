//! How a handshake gets its data streams: from the server's listening socket, or from one of its own.

use std::net::SocketAddr;
use std::time::Instant;

use iperf_control::Wire;
use iperf_engine::net::{StreamPlan, StreamSpec, sctp, tcp, vsock};
use iperf_engine::{EngineError, Stream};
use iperf_model::{CID_ANY, Listen, TestConfig, Transport, stream_number};
use iperf_proto::code::Code;
use iperf_proto::stream_id::stream_id;

use super::{Handshake, STREAM_LIMIT};
use crate::data_listener::DataListener;
use crate::error::TestError;
use crate::identify::Identified;
use crate::port_permit::PortPermit;
use crate::udp_listener::{Expected, UdpListener};

impl Handshake {
    /// Takes a data connection of the kind of the control connection.
    pub(super) fn take(&mut self, connection: Identified) -> Result<(), TestError> {
        let expected = self
            .test
            .as_ref()
            .is_some_and(|(test, _)| !uses_data_listener(test.transport));
        if expected {
            return self.arrive(connection);
        }
        self.refusals.refuse(connection.stream);
        Ok(())
    }

    /// Takes a data connection. When all have come, they become streams in the order in which they were made.
    pub(super) fn arrive(&mut self, connection: Identified) -> Result<(), TestError> {
        let Some((test, _)) = &self.test else {
            return Ok(());
        };
        let wanted = test.total_streams();
        self.arrived.push(connection);
        self.deadline = Some(Instant::now() + STREAM_LIMIT);
        if self.arrived.len() == wanted {
            self.arrived.sort_by_key(|connection| connection.order);
            for connection in std::mem::take(&mut self.arrived) {
                self.adopt(connection.stream)?;
            }
        }
        Ok(())
    }

    fn adopt(&mut self, connection: Wire) -> Result<(), TestError> {
        let Some((test, _)) = &self.test else {
            return Ok(());
        };
        let plan = self.plan(test);
        let role = self.next_role(test);
        let adopted = match (&self.config.listen, connection) {
            (_, connection @ Wire::Tcp(_)) => {
                let socket = connection.into_socket().map_err(TestError::Control)?;
                match test.transport {
                    Transport::Sctp => sctp::adopt(socket, &plan, role),
                    _ => tcp::adopt(socket, &plan, role),
                }
            }
            (Listen::Hybrid { path, port } | Listen::Unix { path, port }, connection) => {
                let socket = connection.into_socket().map_err(TestError::Control)?;
                vsock::adopt(vsock::forwarded(socket, path, *port), &plan, role)
            }
            (_, connection) => {
                let socket = connection.into_socket().map_err(TestError::Control)?;
                let connection = vsock::accepted(socket).map_err(TestError::Control)?;
                vsock::adopt(connection, &plan, role)
            }
        };
        self.attach(adopted.map_err(TestError::Streams)?);
        Ok(())
    }

    /// Waits until no other handshake listens for streams: two can't share a port, and a hello must not open a stream of
    /// another test.
    async fn acquire_port(&mut self, test: &TestConfig) -> Result<PortPermit, TestError> {
        let permits = self.port_permits.clone();
        let mut permit = std::pin::pin!(permits.acquire());
        let permit = loop {
            tokio::select! {
                permit = &mut permit => break permit,
                connection = self.connections.recv() => match connection {
                    Some(connection) => self.refusals.refuse(connection.stream),
                    // Another test has begun.
                    None => break None,
                },
            }
        };
        let permit = permit.ok_or(TestError::Refused(Code::BUSY))?;
        let round_trip = tcp::round_trip(&*self.talk.control.socket());
        self.contention = Some(permits.contention(test.total_streams(), round_trip));
        Ok(permit)
    }

    pub(super) async fn open_udp_listener(
        &mut self,
        test: &TestConfig,
        named: bool,
    ) -> Result<UdpListener, TestError> {
        let permit = self.acquire_port(test).await?;
        let local = self.talk.control.local().map_err(TestError::Control)?;
        let peer = self.talk.control.peer().map_err(TestError::Control)?;
        let device = self.config.local.bind_dev.clone();
        let expected = Expected::new(&self.cookie, named);
        UdpListener::open(local, peer, expected, device, permit).map_err(TestError::Streams)
    }

    pub(super) async fn open_sctp_listener(
        &mut self,
        test: &TestConfig,
    ) -> Result<DataListener, TestError> {
        let permit = self.acquire_port(test).await?;
        let local = self.talk.control.local().map_err(TestError::Control)?;
        let plan = StreamPlan {
            bind_dev: self.config.local.bind_dev.clone(),
            ..self.plan(test)
        };
        let (cookie, refusals) = (self.cookie.clone(), self.refusals.clone());
        let listener = DataListener::for_sctp(local, cookie, plan, permit, refusals).await;
        listener.map_err(|error| match error {
            EngineError::NoSctp(_) => TestError::Refused(Code::NO_SCTP),
            other => TestError::Streams(other),
        })
    }

    /// Listens for messages at the server's CID; the port is returned.
    pub(super) fn open_message_listener(&mut self, test: &TestConfig) -> Result<u32, TestError> {
        let cid = match self.config.listen {
            Listen::Vsock { cid, .. } => cid,
            _ => CID_ANY,
        };
        let plan = self.plan(test);
        let (cookie, refusals) = (self.cookie.clone(), self.refusals.clone());
        let (listener, port) =
            DataListener::for_messages(cid, cookie, &plan, refusals).map_err(TestError::Streams)?;
        self.side = Some(listener);
        Ok(port)
    }

    /// Makes a stream of a hello, and listens for the next.
    pub(super) fn on_hello(&mut self, from: SocketAddr) -> Result<(), TestError> {
        let (Some((test, _)), Some(listener)) = (&self.test, self.udp.take()) else {
            return Ok(());
        };
        let plan = self.plan(test);
        let role = self.next_role(test);
        let more = self.streams.len() + 1 < test.total_streams();
        let (stream, next) = listener
            .accept(from, &plan, role, more)
            .map_err(TestError::Streams)?;
        self.udp = next;
        self.attach(stream);
        Ok(())
    }

    fn plan(&self, test: &TestConfig) -> StreamPlan {
        StreamPlan {
            warnings: self.warnings.clone(),
            ..StreamPlan::new(test, &self.config.local)
        }
    }

    fn next_role(&self, test: &TestConfig) -> StreamSpec {
        let index = self.streams.len();
        StreamSpec {
            id: stream_id(index),
            number: stream_number(
                false,
                test.transport,
                self.config.local.file.is_some(),
                index,
            ),
            role: test.role_on(index, false),
        }
    }

    fn attach(&mut self, stream: Stream) {
        self.streams.push(stream);
        self.deadline = Some(Instant::now() + STREAM_LIMIT);
    }
}

/// Whether streams are accepted on a socket of their own.
fn uses_data_listener(transport: Transport) -> bool {
    match transport {
        Transport::Udp | Transport::Sctp | Transport::VsockSeqpacket => true,
        Transport::Tcp | Transport::Mptcp | Transport::Vsock => false,
    }
}

pub(super) async fn next_hello(
    listener: Option<&mut UdpListener>,
    last: Option<&Stream>,
) -> std::io::Result<SocketAddr> {
    match listener {
        Some(listener) => listener.next(last).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_aside(listener: Option<&mut DataListener>) -> Identified {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}
