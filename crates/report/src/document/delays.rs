//! What is measured beside a throughput test: `end.load` and `intervals[].load` (`--probe`), `end.clock` and `end.one_way` (`--one-way`). Times are
//! microseconds.

use iperf_model as model;
use iperf_model::{Latencies, ProbeMethod};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Histogram, Latency, ShortLatency, direction_of};

/// **Own**: the latency under load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndLoad {
    /// `messages`: probes that the server answered; `tcp_info`: round-trip times that the kernel smooths for the streams.
    pub method: String,
    /// What was loaded: `client to server`, `server to client` or `both`.
    pub direction: String,
    /// Probes per second.
    pub rate: u64,
    /// The type of service of the probes.
    pub tos: u64,
    /// Before the load.
    pub idle: Probes,
    /// While data flowed, without the omitted time.
    pub loaded: Probes,
    /// After the load.
    pub after: Probes,
    /// How much the median latency of the loaded path is above that of the idle one.
    pub increase_us: Option<f64>,
    /// How many times as long the one is as the other.
    pub increase_factor: Option<f64>,
    /// The increase from client to server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_increase_us: Option<f64>,
    /// The increase from server to client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_increase_us: Option<f64>,
    /// Round trips per minute under load: a minute over the median latency.
    pub rpm: Option<f64>,
}

/// **Own**: the probes of one period.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probes {
    /// Probes that were sent, or times that were read.
    pub sent: u64,
    /// Those that were not answered.
    pub lost: u64,
    /// Round trips.
    pub latency_us: Latency,
    /// Client to server.
    pub up_us: Option<Latency>,
    /// Server to client.
    pub down_us: Option<Latency>,
}

/// **Own**: the probes of an interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntervalLoad {
    /// Probes whose answers arrived, or times that were read.
    pub answered: u64,
    /// Round trips.
    pub latency_us: ShortLatency,
}

/// **Own**: how the clocks of both ends relate.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndClock {
    /// They are one clock: one-way delays are exact.
    pub exact: bool,
    /// The server's clock less the client's.
    pub offset_us: f64,
    /// How far one-way delays may be off.
    pub error_us: f64,
    /// How fast the offset grows, in millionths.
    pub drift_ppm: Option<f64>,
}

/// **Own**: the delays of the datagrams of a direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndOneWay {
    /// `client to server` or `server to client`.
    pub direction: String,
    /// Datagrams whose delay was measured.
    pub datagrams: u64,
    /// From the time in a datagram to its arrival.
    pub delay_us: Latency,
    /// The distribution.
    pub histogram: Histogram,
}

/// The median, or where there are too few samples for one the mean.
fn typical(latencies: &Latencies) -> Option<f64> {
    let median = latencies.percentile(50.0);
    let median = median.map(|time| time.as_nanos() as f64 / 1e3);
    median.or_else(|| latencies.mean().map(|nanos| nanos / 1e3))
}

fn increase(idle: Option<&Latencies>, loaded: Option<&Latencies>) -> Option<f64> {
    Some(typical(loaded?)? - typical(idle?)?)
}

/// A minute in microseconds.
const MINUTE: f64 = 60e6;

impl Probes {
    fn of(probes: &model::Probes) -> Self {
        let latency = |way: &Option<Latencies>| way.as_ref().map(Latency::of);
        Self {
            sent: probes.sent,
            lost: probes.lost,
            latency_us: Latency::of(&probes.round_trip),
            up_us: latency(&probes.up),
            down_us: latency(&probes.down),
        }
    }
}

impl IntervalLoad {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        Self {
            answered: latencies.count(),
            latency_us: ShortLatency::of(latencies),
        }
    }
}

impl EndLoad {
    pub(crate) fn of(config: &model::TestConfig, load: &model::Load) -> Self {
        let (idle, loaded) = (&load.idle, &load.loaded);
        let probe = config.probe;
        let tos = probe.and_then(|probe| probe.tos);
        let ratio = |a: Option<f64>, b: Option<f64>| {
            let (a, b) = (a?, b?);
            (b > 0.0).then_some(a / b)
        };
        let (before, during) = (typical(&idle.round_trip), typical(&loaded.round_trip));
        Self {
            method: match load.method {
                ProbeMethod::Messages => "messages",
                ProbeMethod::KernelRoundTrip => "tcp_info",
            }
            .to_owned(),
            direction: match config.direction {
                model::Direction::Forward => "client to server",
                model::Direction::Reverse => "server to client",
                model::Direction::Bidirectional => "both",
            }
            .to_owned(),
            rate: probe.map_or(0, |probe| probe.rate.into()),
            tos: tos.unwrap_or(config.socket.tos).into(),
            idle: Probes::of(idle),
            loaded: Probes::of(loaded),
            after: Probes::of(&load.after),
            increase_us: increase(Some(&idle.round_trip), Some(&loaded.round_trip)),
            increase_factor: ratio(during, before),
            up_increase_us: increase(idle.up.as_ref(), loaded.up.as_ref()),
            down_increase_us: increase(idle.down.as_ref(), loaded.down.as_ref()),
            rpm: ratio(Some(MINUTE), during),
        }
    }
}

impl EndClock {
    pub(crate) fn of(clock: &model::ClockRelation) -> Self {
        Self {
            exact: clock.exact,
            offset_us: clock.offset as f64 / 1e3,
            error_us: clock.error as f64 / 1e3,
            drift_ppm: clock.drift_ppm,
        }
    }
}

impl EndOneWay {
    pub(crate) fn of(delays: &model::OneWayDelays, is_client: bool) -> Self {
        Self {
            direction: direction_of(delays.role, is_client).to_owned(),
            datagrams: delays.delays.count(),
            delay_us: Latency::of(&delays.delays),
            histogram: Histogram::of(&delays.delays),
        }
    }
}
