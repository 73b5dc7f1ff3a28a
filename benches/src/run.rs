//! One run, as `iperf bench` saved it: what was read from the output, and what the kernel counted.

use serde::Deserialize;

/// What one command and all of its processes used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU seconds, user and system.
    pub cpu: f64,
    /// The largest resident memory of a process, in bytes.
    pub memory: u64,
}

/// Which of the commands takes data out of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    Client,
    Server,
    Both,
}

/// Whole round trips, times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exchanges {
    /// Transactions per second.
    pub per_second: f64,
    /// The median; qperf has the mean alone.
    pub median: f64,
    /// The 99th percentile.
    pub tail: Option<f64>,
}

/// The result of a run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Received bits per second, both directions together; what was sent, where a tool prints nothing else.
    pub bits_per_second: f64,
    /// The same in bytes.
    pub bytes: f64,
    /// Received datagrams per second.
    pub datagrams_per_second: Option<f64>,
    /// Lost datagrams in percent of the sent ones.
    pub loss_percent: Option<f64>,
    /// The result of a request/response test.
    pub exchanges: Option<Exchanges>,
    /// What the client used.
    pub client: Usage,
    /// What the server used.
    pub server: Usage,
    /// Seconds from the client's start to its end.
    pub wall: f64,
    receiver: Receiver,
}

/// A line of the file of runs.
#[derive(Debug, Deserialize)]
pub(crate) struct Saved {
    pub(crate) pair: u64,
    pub(crate) side: String,
    seconds: f64,
    cpu_seconds: Option<f64>,
    server_cpu_seconds: Option<f64>,
    peak_memory: Option<u64>,
    server_peak_memory: Option<u64>,
    pub(crate) error: Option<String>,
    records: Vec<SavedRecord>,
}

/// What was read from an output.
#[derive(Debug, Deserialize)]
struct SavedRecord {
    parameters: SavedParameters,
    metrics: Vec<SavedMetric>,
}

#[derive(Debug, Deserialize)]
struct SavedParameters {
    transport: Option<String>,
    direction: Option<String>,
    block: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct SavedMetric {
    name: String,
    value: f64,
}

impl SavedRecord {
    fn exchanges(&self) -> Option<Exchanges> {
        let median = self.get("latency.p50").or(self.get("latency.mean"))?;
        // Tools with one request in flight that do not report how many there were.
        let mean = self.get("latency.mean").filter(|mean| *mean > 0.0);
        Some(Exchanges {
            per_second: self.get("transactions").or(mean.map(|mean| 1.0 / mean))?,
            median,
            tail: self.get("latency.p99"),
        })
    }

    fn get(&self, name: &str) -> Option<f64> {
        let metric = self.metrics.iter().find(|metric| metric.name == name);
        metric.map(|metric| metric.value)
    }
}

impl Saved {
    /// The run, or why there is none.
    pub(crate) fn run(&self) -> Result<Run, String> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let [record] = &self.records[..] else {
            return Err(format!(
                "{} results in the output of a run",
                self.records.len()
            ));
        };
        let exchanges = record.exchanges();
        let rate = record
            .get("throughput")
            .or_else(|| record.get("throughput.sent"))
            .filter(|rate| *rate > 0.0)
            // The bytes of exchanges are no figure.
            .or(exchanges.map(|_| 0.0))
            .ok_or("nothing was received")?;
        let bits_per_second = rate + record.get("throughput.reverse").unwrap_or(0.0);
        let is_udp = record.parameters.transport.as_deref() == Some("udp");
        let block = record.parameters.block.filter(|_| is_udp);
        let usage = |cpu: Option<f64>, memory: Option<u64>| Usage {
            cpu: cpu.unwrap_or_default(),
            memory: memory.unwrap_or_default(),
        };
        Ok(Run {
            bits_per_second,
            bytes: bits_per_second / 8.0 * record.get("seconds").unwrap_or(self.seconds),
            datagrams_per_second: block.map(|block| bits_per_second / 8.0 / block as f64),
            loss_percent: record.get("loss").map(|loss| loss * 100.0),
            exchanges,
            client: usage(self.cpu_seconds, self.peak_memory),
            server: usage(self.server_cpu_seconds, self.server_peak_memory),
            wall: self.seconds,
            receiver: match record.parameters.direction.as_deref() {
                Some("reverse") => Receiver::Client,
                Some("bidirectional") => Receiver::Both,
                _ => Receiver::Server,
            },
        })
    }
}

impl Run {
    /// The command that received, if one alone did.
    pub fn receiver(&self) -> Option<Usage> {
        match self.receiver {
            Receiver::Client => Some(self.client),
            Receiver::Server => Some(self.server),
            Receiver::Both => None,
        }
    }

    /// Seconds for each 10⁹ received bytes.
    pub fn per_gb(&self, seconds: f64) -> Option<f64> {
        (self.bytes > 0.0).then(|| seconds / (self.bytes / 1e9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(parameters: &serde_json::Value, metrics: &serde_json::Value) -> Result<Run, String> {
        let line = json!({
            "pair": 1, "side": "ours", "seconds": 1.5, "cpu_seconds": 1.0, "server_cpu_seconds": 2.0,
            "peak_memory": 1000, "server_peak_memory": 2000, "error": null,
            "records": [{ "parameters": parameters, "metrics": metrics }],
        });
        serde_json::from_value::<Saved>(line).unwrap().run()
    }

    #[test]
    fn both_directions_count() {
        let run = run(
            &json!({"transport": "tcp", "direction": "bidirectional", "block": 131_072}),
            &json!([{"name": "throughput", "value": 4e9}, {"name": "throughput.reverse", "value": 4e9},
                {"name": "seconds", "value": 1.0}]),
        )
        .unwrap();
        assert!((run.bits_per_second - 8e9).abs() < 1.0);
        assert_eq!(run.per_gb(3.0), Some(3.0));
        assert!(run.receiver().is_none() && run.datagrams_per_second.is_none());
    }

    #[test]
    fn datagrams_are_those_that_arrived() {
        let run = run(
            &json!({"transport": "udp", "direction": "reverse", "block": 100}),
            &json!([{"name": "throughput", "value": 32_000.0}, {"name": "loss", "value": 0.2},
                {"name": "seconds", "value": 2.0}]),
        )
        .unwrap();
        assert_eq!(run.datagrams_per_second, Some(40.0));
        assert_eq!(run.loss_percent, Some(20.0));
        assert!((run.receiver().unwrap().cpu - 1.0).abs() < 1e-9);
    }

    #[test]
    fn exchanges_have_a_rate_and_a_median_or_what_can_stand_for_them() {
        let of = |metrics| run(&json!({}), &metrics).unwrap().exchanges.unwrap();
        let all = of(
            json!([{"name": "transactions", "value": 5e4}, {"name": "latency.mean", "value": 19e-6},
            {"name": "latency.p50", "value": 18e-6}, {"name": "latency.p99", "value": 40e-6}]),
        );
        assert_eq!((all.median, all.tail), (18e-6, Some(40e-6)));
        let mean = of(json!([{"name": "latency.mean", "value": 20e-6}]));
        assert!((mean.per_second - 5e4).abs() < 1.0);
        assert_eq!((mean.median, mean.tail), (20e-6, None));
    }

    #[test]
    fn a_run_without_data_is_an_error() {
        let nothing = json!([{"name": "throughput", "value": 0.0}]);
        assert!(run(&json!({}), &nothing).is_err());
    }
}
