//! How a client opens its streams, and prepares their workers.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use iperf_control::spawn_blocking;
use iperf_engine::net::tcp::shortest_round_trip;
use iperf_engine::net::transactions::{Connector, Transactions};
use iperf_engine::net::udp::hello_patience;
use iperf_engine::net::{Hello, Target};
use iperf_engine::probe::KernelProber;
use iperf_engine::{CpuMeter, EngineError, Prepared, RunPlan};
use iperf_model::{Event, MAX_BLOCK, MAX_STREAMS, Transport};

use super::{Driver, Next, out_of_place};
use crate::phase::{Opening, Phase};
use crate::probing::Probing;
use crate::streams::{Opened, Opener, Probes};
use crate::{ClientError, connect};

impl Driver<'_, '_> {
    pub(super) async fn open(&mut self) -> Result<Opening, ClientError> {
        if let Some(facts) = self.surroundings.event().await {
            self.output.event(&facts);
        }
        if self.test.verify {
            match &self.granted {
                Some(granted) if granted.verify => {}
                Some(_) => return Err(ClientError::Declined("--verify")),
                None => return Err(ClientError::NotGranted("--verify")),
            }
        }
        let several = self.test.server_affinity.as_ref();
        if several.is_some_and(|placement| !placement.is_single()) {
            match &self.granted {
                Some(granted) if granted.cpus => {}
                _ => {
                    return Err(ClientError::NotGranted(
                        "-A with several CPUs for the server",
                    ));
                }
            }
        }
        let transactions = self.transactions_port()?;
        if self.test.streams > MAX_STREAMS && self.granted.is_none() {
            return Err(ClientError::NotGranted("-P above 128"));
        }
        if self.test.block > MAX_BLOCK && self.granted.is_none() {
            return Err(ClientError::NotGranted("-l above 1M"));
        }
        let mut target = self.target.clone();
        if let (Transport::VsockSeqpacket, Target::Vsock(address)) =
            (self.test.transport, &mut target)
        {
            let port = self.granted.as_ref().and_then(|granted| granted.seqpacket);
            address.port = port.ok_or(ClientError::NotGranted("--seqpacket"))?;
        }
        let local = match self.target {
            Target::Inet(address) => {
                let cport = self.config.cport.unwrap_or(0);
                connect::local_address(&self.config.local, cport, address).await?
            }
            Target::Vsock(_) | Target::Vmm(_) => None,
        };
        let hello = if self.granted.as_ref().is_some_and(|granted| granted.hello) {
            Hello::Repeated(hello_patience(self.talk.control.socket().as_fd()))
        } else {
            Hello::OnceUntil(self.accepted.clone())
        };
        let transactions = transactions
            .map(|port| {
                let (test, options) = (self.test.clone(), self.config.local.clone());
                Connector::new(test, options, &self.target, port, local)
                    .map_err(EngineError::system("open connections for --crr"))
                    .map_err(ClientError::Streams)
            })
            .transpose()?;
        let probes = self.probes()?;
        let opener = Opener {
            probes,
            probe_target: self.target.clone(),
            transactions: transactions.map(|connector| Transactions::Open(Arc::new(connector))),
            test: self.test.clone(),
            options: self.config.local.clone(),
            target,
            local,
            cookie: self.cookie.clone(),
            hello,
            warnings: self.warnings.clone(),
            socket_buffers: self.socket_buffers.clone(),
            numbered: self
                .granted
                .as_ref()
                .is_some_and(|granted| granted.numbered),
        };
        Ok(spawn_blocking(move || opener.open()))
    }

    /// The probes that the server answers. If it does not, the kernel may know enough.
    fn probes(&self) -> Result<Option<Probes>, ClientError> {
        let Some(probe) = self.test.probe else {
            return Ok(None);
        };
        match &self.granted {
            Some(granted) if granted.probe => Ok(Some(Probes {
                probe,
                same_clock: granted.same_clock,
            })),
            _ if probe.one_way => Err(ClientError::NotGranted("--one-way")),
            _ => match self.test.transport {
                Transport::Tcp | Transport::Mptcp | Transport::Sctp => Ok(None),
                Transport::Udp => Err(ClientError::NotGranted("--probe over UDP")),
                Transport::Vsock | Transport::VsockSeqpacket => {
                    Err(ClientError::NotGranted("--probe over vsock"))
                }
            },
        }
    }

    /// Where the connections of `--crr` go, if there are any.
    fn transactions_port(&self) -> Result<Option<u32>, ClientError> {
        let Some(exchange) = &self.test.exchange else {
            return Ok(None);
        };
        match &self.granted {
            Some(granted) if exchange.reconnects => {
                let port = granted.crr.ok_or(ClientError::Declined("--crr"))?;
                Ok(Some(port))
            }
            Some(granted) if granted.exchange => Ok(None),
            _ if exchange.reconnects => Err(ClientError::NotGranted("--crr")),
            _ => Err(ClientError::NotGranted("--rr")),
        }
    }

    pub(super) fn opened(&mut self, phase: Phase, opened: Result<Opened, EngineError>) -> Next {
        for text in self.warnings.take() {
            self.output.event(&Event::Warning(text));
        }
        let Phase::Opening(_, meter) = phase else {
            return out_of_place("prepare the data streams", phase);
        };
        match opened.and_then(|opened| self.prepare(opened, meter)) {
            Ok(prepared) => {
                self.talk.machine.streams_opened(Instant::now());
                Next::Phase(Phase::Ready(Box::new(prepared)))
            }
            Err(error) => {
                self.report_buffers();
                Next::Over(Phase::Closing(None), Err(ClientError::Streams(error)))
            }
        }
    }

    /// A stream that can't be connected had its buffers before.
    pub(super) fn report_buffers(&mut self) {
        if let Some(buffers) = self.socket_buffers.get() {
            self.output.event(&Event::BuffersKept(buffers));
        }
    }

    pub(super) fn prepare(
        &mut self,
        opened: Opened,
        meter: CpuMeter,
    ) -> Result<Prepared, EngineError> {
        let Opened {
            streams,
            prober,
            transactions,
        } = opened;
        self.probing = match (prober, self.test.probe) {
            (Some(prober), _) => Probing::Messages(prober),
            (None, Some(probe)) => {
                let control = self.talk.control.socket();
                let idle = shortest_round_trip(control.as_fd());
                let transport = self.test.transport;
                let prober = KernelProber::start(&streams, transport, probe.rate, idle)?;
                Probing::Kernel(prober)
            }
            (None, None) => Probing::None,
        };
        for stream in &streams {
            self.output.event(&Event::StreamOpened(stream.info.clone()));
        }
        if let Some(carrier) = self.config.endpoint.carrier() {
            self.output.event(&Event::CarriedBy(carrier));
        }
        if let Some(first) = streams.first() {
            self.output.event(&Event::BuffersKept(first.buffers));
        }
        let wake = self.wake.clone();
        let plan = RunPlan {
            config: &self.test,
            local: &self.config.local,
            outlasts_quota: false,
            exact: self.granted.as_ref().is_some_and(|granted| granted.exact),
            placement: self.config.local.affinity.as_ref(),
            clock: self.probing.clock(),
            transactions,
            wake: Arc::new(move || wake.notify_one()),
        };
        Prepared::new(streams, &plan, meter, true)
    }
}

/// The end of the task that opens the streams.
pub(super) async fn join(task: Option<&mut Opening>) -> Result<Opened, EngineError> {
    match task {
        Some(task) => task.await.unwrap_or_else(|source| {
            Err(EngineError::System {
                operation: "open the streams",
                source,
            })
        }),
        None => std::future::pending().await,
    }
}
