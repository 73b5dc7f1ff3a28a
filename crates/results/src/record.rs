//! One run of one tool.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{ReadError, ReadErrorKind};
use crate::figures::quantile;
use crate::metric::{Metric, definition, order};
use crate::stats::Summary;
use crate::tool::Tool;

/// At most this many samples are kept of a run; a note counts the others.
pub const MAX_SAMPLES: usize = 100_000;

/// One run: its parameters, where it ran, and what it measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Where it was read.
    pub source: Source,
    /// The tool that ran it.
    pub tool: Tool,
    /// The tool's version, as it names it itself.
    pub version: Option<String>,
    /// The parameters.
    pub parameters: Parameters,
    /// The peer: the server that a client names, or the client that a server served.
    pub target: Option<Target>,
    /// Facts of the machines: `kernel`, `cpu`, `governor`, `mtu`…
    pub environment: BTreeMap<String, String>,
    /// The figures, in the order of reports.
    pub metrics: Vec<Metric>,
    /// The figures over time, where there are any.
    pub samples: Vec<Sample>,
    /// What was corrected, and what limits the figures.
    pub notes: Vec<String>,
    /// When the run began, in seconds since 1970.
    pub started: Option<f64>,
    /// The number of the pair, for runs that were interleaved with runs of another side.
    pub pair: Option<u64>,
}

/// Where a record was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The file, `-` for stdin.
    pub file: Arc<str>,
    /// The line in which the run begins, from 1.
    pub line: u64,
}

/// The other end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name or address, as the client has it.
    pub host: String,
    /// The server's port; a client's own port is irrelevant.
    pub port: Option<u16>,
}

/// A run without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    /// What reports call it.
    pub run: String,
    /// The other end.
    pub target: Option<Target>,
    /// Why there is no result.
    pub reason: String,
}

/// The parameters of a run. What the output does not show is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Parameters {
    /// Bulk data, or requests and responses.
    pub kind: Option<TestKind>,
    /// `tcp`, `udp`, `sctp`, `mptcp`, `vsock`, `unix`.
    pub transport: Option<String>,
    /// Which way the data went, as the client sees it.
    pub direction: Option<Direction>,
    /// Bytes of a block, datagram or request.
    pub block: Option<u64>,
    /// Bytes of a response.
    pub response: Option<u64>,
    /// Streams, flows or threads with a connection each.
    pub parallel: Option<u64>,
    /// The requested seconds.
    pub duration: Option<f64>,
    /// The requested rate in bits per second.
    pub rate: Option<f64>,
    /// The requested zero-copy mode.
    pub zerocopy: Option<String>,
    /// Others, under the tool's own names.
    pub other: BTreeMap<String, String>,
}

/// What a test does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestKind {
    /// Bulk data.
    Stream,
    /// Requests and responses over a standing connection.
    RequestResponse,
    /// A connection per request.
    ConnectRequestResponse,
    /// Requests at a given rate, answered or not.
    UnderLoad,
}

/// Which way the data went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From client to server.
    Forward,
    /// From server to client.
    Reverse,
    /// Both at once.
    Bidirectional,
}

/// Figures of one interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    /// The stream, `None` for all together.
    pub stream: Option<u64>,
    /// Whether it belongs to the reverse half of a bidirectional test.
    pub reverse: bool,
    /// Seconds from the start of the test.
    pub start: f64,
    /// Seconds from the start of the test.
    pub end: f64,
    /// Bits per second.
    pub throughput: Option<f64>,
    /// Transactions per second.
    pub transactions: Option<f64>,
    /// Round-trip time in seconds.
    pub rtt: Option<f64>,
    /// Congestion window in bytes.
    pub cwnd: Option<u64>,
    /// Retransmitted segments.
    pub retransmits: Option<u64>,
    /// Lost datagrams over all.
    pub loss: Option<f64>,
    /// Jitter in seconds.
    pub jitter: Option<f64>,
    /// Latencies in seconds: `p50`, `p99`…
    pub latency: Vec<(String, f64)>,
}

impl Sample {
    /// The throughput of an interval of all streams together.
    pub(crate) fn rate(start: f64, end: f64, throughput: f64) -> Self {
        Self {
            start,
            end,
            throughput: Some(throughput),
            ..Self::default()
        }
    }
}

impl Record {
    /// A record without figures.
    pub(crate) fn new(tool: Tool, file: &Arc<str>, line: u64) -> Self {
        Self {
            source: Source {
                file: Arc::clone(file),
                line,
            },
            tool,
            version: None,
            target: None,
            parameters: Parameters::default(),
            environment: BTreeMap::new(),
            metrics: Vec::new(),
            samples: Vec::new(),
            notes: Vec::new(),
            started: None,
            pair: None,
        }
    }

    /// The figure `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics
            .iter()
            .find(|metric| metric.name == name)
            .map(|metric| metric.value)
    }

    /// The spread of the throughput of its own intervals, as standard deviation over mean, and how many there are: of
    /// whole intervals, three at least. It describes this run; other runs differ by other amounts.
    pub fn within(&self) -> Option<(f64, usize)> {
        let forward = || self.samples.iter().filter(|sample| !sample.reverse);
        let sums = forward().any(|sample| sample.stream.is_none());
        let first = forward().next()?.stream;
        if !sums && forward().any(|sample| sample.stream != first) {
            return None;
        }
        let of_all = || forward().filter(|sample| !sums || sample.stream.is_none());
        let longest = of_all().map(|sample| sample.end - sample.start);
        let longest = longest.fold(0.0, f64::max);
        let rates: Vec<f64> = of_all()
            .filter(|sample| sample.end - sample.start > 0.9 * longest)
            .filter_map(|sample| sample.throughput)
            .collect();
        let summary = (rates.len() > 2).then(|| Summary::of(&rates))?;
        Some((summary.spread, summary.n)).filter(|(spread, _)| spread.is_finite())
    }

    /// Adds or replaces a figure. What is not a finite number was not measured and is left out.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Option<f64>>) {
        debug_assert!(definition(name).is_some(), "no metric {name}");
        let Some(value) = value.into().filter(|value| value.is_finite()) else {
            return;
        };
        match self.metrics.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => metric.value = value,
            None => self.metrics.push(Metric {
                name: name.to_owned(),
                value,
            }),
        }
    }

    /// Sets an end's CPU time per 10⁹ bytes of its share of a processor in percent. Bytes and seconds must be set before.
    pub(crate) fn set_cpu(&mut self, name: &str, percent: impl Into<Option<f64>>) {
        let bytes = self.get("bytes").filter(|bytes| *bytes > 0.0);
        if let (Some(percent), Some(bytes), Some(seconds)) =
            (percent.into(), bytes, self.get("seconds"))
        {
            self.set(name, percent / 100.0 * seconds / (bytes / 1e9));
        }
    }

    /// Sets how many datagrams were lost, and their share of all. Names end with `suffix`.
    pub(crate) fn set_loss(&mut self, suffix: &str, lost: f64, all: f64) {
        self.set(&format!("lost{suffix}"), lost);
        self.set(&format!("loss{suffix}"), (all > 0.0).then_some(lost / all));
    }

    /// Adds the figures of a distribution under the names `group.min`, `group.mean` and so on.
    pub(crate) fn set_distribution(&mut self, group: &str, mut values: Vec<f64>) {
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return;
        };
        for (name, value) in [
            ("min", *min),
            ("mean", values.iter().sum::<f64>() / values.len() as f64),
            ("p50", quantile(&values, 0.5)),
            ("p99", quantile(&values, 0.99)),
            ("max", *max),
        ] {
            self.set(&format!("{group}.{name}"), value);
        }
    }

    /// Sets a parameter that only this tool has.
    pub(crate) fn set_other(&mut self, name: &str, value: &impl ToString) {
        let other = &mut self.parameters.other;
        other.insert(name.to_owned(), value.to_string());
    }

    /// Adds a note once.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Adds a sample while there is room.
    pub(crate) fn sample(&mut self, sample: Sample) {
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push(sample);
        } else if self.samples.len() == MAX_SAMPLES {
            self.note(format!("only the first {MAX_SAMPLES} intervals are kept"));
        }
    }

    /// An error that names where the run begins.
    pub(crate) fn fault(&self, kind: ReadErrorKind) -> ReadError {
        ReadError::new(&self.source.file, self.source.line, kind)
    }

    /// Puts the figures in the order of reports.
    pub(crate) fn sort(&mut self) {
        self.metrics
            .sort_by_cached_key(|metric| order(&metric.name));
    }
}

impl TestKind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::RequestResponse => "rr",
            Self::ConnectRequestResponse => "crr",
            Self::UnderLoad => "under load",
        }
    }
}

impl Direction {
    /// The direction in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
            Self::Bidirectional => "bidir",
        }
    }
}

impl Parameters {
    /// The parameters as name and value, in the order of reports; what is unknown has no value.
    pub fn named(&self) -> Vec<(&str, Option<String>)> {
        let text = |value: Option<u64>| value.map(|value| value.to_string());
        let mut named = vec![
            ("kind", self.kind.map(|kind| kind.name().to_owned())),
            ("transport", self.transport.clone()),
            (
                "direction",
                self.direction.map(|direction| direction.name().to_owned()),
            ),
            ("block", text(self.block)),
            ("response", text(self.response)),
            ("parallel", text(self.parallel)),
            ("duration", self.duration.map(|seconds| seconds.to_string())),
            ("rate", self.rate.map(|rate| rate.to_string())),
            ("zerocopy", self.zerocopy.clone()),
        ];
        named.extend(
            self.other
                .iter()
                .map(|(name, value)| (name.as_str(), Some(value.clone()))),
        );
        named
    }
}
