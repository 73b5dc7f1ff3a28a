//! Opening the data streams: one after another, because a server identifies them by their order alone, or many at a time
//! if the server accepts numbered connections.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use iperf_engine::net::transactions::Transactions;
use iperf_engine::net::{self, Hello, SocketBuffers, StreamPlan, StreamSpec, Target, Warnings};
use iperf_engine::probe::{self, Period, Prober};
use iperf_engine::{EngineError, Stream, limits};
use iperf_model::{LocalOptions, Probe, Role, TestConfig, Transport, stream_number};
use iperf_proto::cookie::Cookie;
use iperf_proto::stream_id::{index_bytes, stream_id};

/// How long one connection may take (iperf3 3.22 allows as much).
const CONNECT_LIMIT: Duration = Duration::from_secs(120);

/// Streams that are opened at the same time: far fewer than a server's backlog.
const AT_A_TIME: usize = 32;

/// How long a UDP server may take to reply to the hello (iperf3 waits as long).
const HELLO_LIMIT: Duration = Duration::from_secs(30);

/// How long the path is probed before it is loaded. An iperf3 server waits as long for its streams as it takes, one of
/// this program 4 s.
const IDLE: Duration = Duration::from_secs(2);

/// The same where only the clocks have to be known.
const CLOCKS: Duration = Duration::from_millis(300);

/// Opens the streams, on another thread.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(crate) test: Arc<TestConfig>,
    pub(crate) options: LocalOptions,
    pub(crate) target: Target,
    /// Where the probes go.
    pub(crate) probe_target: Target,
    /// Local address of the first stream, with its port, or with 0 for any.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) cookie: Cookie,
    pub(crate) hello: Hello,
    pub(crate) warnings: Warnings,
    pub(crate) socket_buffers: SocketBuffers,
    /// Each connection carries the number of its stream.
    pub(crate) numbered: bool,
    /// The probes that begin before the streams are opened.
    pub(crate) probes: Option<Probes>,
    /// How to open a connection for each transaction.
    pub(crate) transactions: Option<Transactions>,
}

/// The probes of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probes {
    pub(crate) probe: Probe,
    /// The server has the clock of this machine.
    pub(crate) same_clock: bool,
}

/// What was opened.
pub(crate) struct Opened {
    pub(crate) streams: Vec<Stream>,
    pub(crate) prober: Option<Prober>,
    pub(crate) transactions: Option<Transactions>,
}

impl Opener {
    /// Opens all streams; it blocks. Where there are probes, the first of them have been sent by then.
    pub(crate) fn open(self) -> Result<Opened, EngineError> {
        let total = self.test.total_streams();
        limits::check_files(total + usize::from(self.probes.is_some()))?;
        let prober = self.probes.map(|probes| self.probe(probes)).transpose()?;
        let streams = if self.numbered {
            self.open_side_by_side(total)
        } else {
            (0..total).map(|index| self.open_one(index)).collect()
        };
        let streams = streams?;
        Ok(Opened {
            streams,
            prober,
            transactions: self.transactions.clone(),
        })
    }

    /// Probes the path before it is loaded.
    fn probe(&self, probes: Probes) -> Result<Prober, EngineError> {
        let Probes { probe, same_clock } = probes;
        let test = probe::config_of(&self.test);
        let plan = StreamPlan {
            bind: self.local.map(|local| nth_port(local, usize::MAX)),
            ..self.plan(&test)
        };
        let spec = StreamSpec {
            id: 0,
            number: 0,
            role: Role::Requester,
        };
        let deadline = Instant::now() + self.limit();
        // A seqpacket test has its streams on another port.
        let target = &self.probe_target;
        let stream = net::connect(&plan, target, self.cookie.as_bytes(), spec, deadline)?;
        let datagrams = test.transport == Transport::Udp;
        let prober = Prober::start(stream, datagrams, probe.rate, same_clock)?;
        if probe.reports {
            prober.set(Period::Idle);
            thread::sleep(IDLE);
            prober.set(Period::Uncounted);
        } else {
            thread::sleep(CLOCKS);
        }
        Ok(prober)
    }

    /// Opens several streams at a time, so that many do not take a round trip each.
    fn open_side_by_side(&self, total: usize) -> Result<Vec<Stream>, EngineError> {
        let next = AtomicUsize::new(0);
        let open_some = || {
            let mut opened = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= total {
                    return Ok(opened);
                }
                match self.open_one(index) {
                    Ok(stream) => opened.push((index, stream)),
                    Err(error) => {
                        // The others need not continue.
                        next.store(total, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        };
        let mut streams = thread::scope(|scope| {
            let openers: Vec<_> = (1..total.min(AT_A_TIME))
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, open_some).ok())
                .collect();
            let mut all = open_some()?;
            for opener in openers {
                all.extend(opener.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok(all)
        })?;
        streams.sort_by_key(|(index, _)| *index);
        Ok(streams.into_iter().map(|(_, stream)| stream).collect())
    }

    fn plan<'a>(&'a self, test: &'a TestConfig) -> StreamPlan<'a> {
        StreamPlan {
            bind_dev: self.options.bind_dev.as_deref(),
            hello: self.hello.clone(),
            warnings: self.warnings.clone(),
            ..StreamPlan::new(test, &self.options)
        }
    }

    fn limit(&self) -> Duration {
        if self.test.transport == Transport::Udp {
            HELLO_LIMIT
        } else {
            CONNECT_LIMIT
        }
    }

    fn open_one(&self, index: usize) -> Result<Stream, EngineError> {
        let (test, local) = (self.test.as_ref(), &self.options);
        let plan = StreamPlan {
            bind: self.local.map(|local| nth_port(local, index)),
            hello: self.hello_of(test, index),
            socket_buffers: self.socket_buffers.clone(),
            ..self.plan(test)
        };
        let deadline = Instant::now() + self.limit();
        let role = StreamSpec {
            id: stream_id(index),
            number: stream_number(true, test.transport, local.file.is_some(), index),
            role: test.role_on(index, true),
        };
        let mut preamble = self.cookie.as_bytes().to_vec();
        if self.numbered {
            preamble.extend(index_bytes(index));
        }
        net::connect(&plan, &self.target, &preamble, role, deadline)
    }

    /// If the server has all streams, it has the last one too.
    fn hello_of(&self, test: &TestConfig, index: usize) -> Hello {
        match &self.hello {
            Hello::OnceUntil(_) if index + 1 < test.total_streams() => Hello::Once,
            other => other.clone(),
        }
    }
}

/// With `--cport` the n-th stream uses the n-th port from there on.
fn nth_port(first: SocketAddr, index: usize) -> SocketAddr {
    let port = match (first.port(), u16::try_from(index)) {
        (0, _) | (_, Err(_)) => 0,
        (port, Ok(index)) => port.wrapping_add(index),
    };
    // Only the port changes: a link-local address means nothing without its scope.
    let mut address = first;
    address.set_port(port);
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddrV6;

    #[test]
    fn ports_count_up_from_cport() {
        let first: SocketAddr = "127.0.0.1:6000".parse().unwrap();
        assert_eq!(nth_port(first, 3).port(), 6003);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert_eq!(nth_port(any, 3).port(), 0);
    }

    #[test]
    fn a_link_local_address_keeps_its_scope() {
        let first = SocketAddrV6::new("fe80::1".parse().unwrap(), 6000, 5, 7);
        let second = SocketAddrV6::new("fe80::1".parse().unwrap(), 6001, 5, 7);
        assert_eq!(nth_port(first.into(), 1), second.into());
    }
}
