//! Latency under load as the kernel sees it, for servers that answer no probes: the smoothed round-trip times of the data
//! streams.
//!
//! Anything else would disturb an iperf3 server, which takes any connection between tests for a client that requests
//! one.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use iperf_model::{Latencies, Load, ProbeMethod, Transport};
use iperf_zc::tcp_info::TcpInfo;
use socket2::Socket;

use crate::error::EngineError;
use crate::exchange::Schedule;
use crate::probe::period::{Intervals, Period, Present, Recorded, Recorder};
use crate::run::kernel_view;
use crate::stream::Stream;

/// Reads the round-trip times of the data streams.
#[derive(Debug)]
pub struct KernelProber {
    present: Arc<Present>,
    intervals: Intervals,
    thread: JoinHandle<Recorded>,
}

impl KernelProber {
    /// Starts to read them `rate` times per second. `idle` is the shortest round trip of the control connection so far.
    pub fn start(
        streams: &[Stream],
        transport: Transport,
        rate: u16,
        idle: Duration,
    ) -> Result<Self, EngineError> {
        let copies = streams.iter().map(|stream| {
            let socket = stream.socket.try_clone()?;
            Ok((socket, stream.info.role.sends()))
        });
        let sockets = copies
            .collect::<Result<Vec<_>, std::io::Error>>()
            .map_err(EngineError::system("watch the streams"))?;
        let (present, intervals) = (Arc::<Present>::default(), Intervals::new());
        let mut work = Work {
            sockets,
            transport,
            present: present.clone(),
            schedule: Schedule::new(Instant::now(), rate.into()),
            recorded: Recorded::default(),
            intervals: intervals.recorder(),
        };
        if !idle.is_zero() {
            work.recorded.idle.sent = 1;
            work.recorded.idle.round_trip.record(nanos(idle), 1);
        }
        let thread = thread::Builder::new()
            .name("iperf-probes".to_owned())
            .spawn(move || work.run())
            .map_err(EngineError::system("start the thread of the probes"))?;
        Ok(Self {
            present,
            intervals,
            thread,
        })
    }

    /// What is read from now on belongs to this period.
    pub fn set(&self, period: Period) {
        self.present.set(period);
        self.thread.thread().unpark();
    }

    /// What was read since the last call, of the loaded path.
    pub fn interval(&mut self) -> Latencies {
        self.intervals.take()
    }

    /// Reads no more.
    pub fn finish(self) -> Load {
        self.set(Period::Over);
        let recorded = self.thread.join().unwrap_or_default();
        Load {
            method: ProbeMethod::KernelRoundTrip,
            idle: recorded.idle,
            loaded: recorded.loaded,
            after: recorded.after,
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

struct Work {
    /// The data streams, and whether this end sends on them.
    sockets: Vec<(Socket, bool)>,
    transport: Transport,
    present: Arc<Present>,
    schedule: Schedule,
    recorded: Recorded,
    intervals: Recorder,
}

impl Work {
    fn run(mut self) -> Recorded {
        loop {
            let period = self.present.get();
            // Once nothing is counted any more, the sockets must not be held open.
            if matches!(period, Period::Over | Period::After) {
                return self.recorded;
            }
            let now = Instant::now();
            let due = self.schedule.due();
            if due > now {
                thread::park_timeout(due - now);
                continue;
            }
            while self.schedule.due() <= now {
                self.schedule.advance();
            }
            self.read(period);
        }
    }

    fn read(&mut self, period: Period) {
        let Some(probes) = self.recorded.of(period) else {
            return;
        };
        for (socket, sends) in &self.sockets {
            let info: TcpInfo =
                kernel_view::read(self.transport, socket.as_fd()).unwrap_or_default();
            // A receiver measures from its acknowledgements to the data that they release.
            let micros = if *sends { info.rtt } else { info.rcv_rtt };
            if micros > 0 {
                probes.sent += 1;
                let nanos = u64::from(micros) * 1000;
                probes.round_trip.record(nanos, 1);
                self.intervals.record(period, nanos);
            }
        }
    }
}
