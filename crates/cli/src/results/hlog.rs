//! `--hlog`: the distribution of latencies in each interval, as a log that HdrHistogram's tools read (version 1.3).

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use iperf_model::{Event, ExchangeCounts, Latencies, ServerOutput, Sink, since_1970};

use super::output::{named, note, replace};

/// Writes the log in addition to another output.
pub(crate) struct Hlog {
    inner: Box<dyn Sink>,
    path: PathBuf,
    log: String,
    intervals: usize,
    /// Set if it cannot be written.
    failed: Arc<AtomicBool>,
}

impl Hlog {
    pub(crate) fn new(inner: Box<dyn Sink>, path: PathBuf, failed: Arc<AtomicBool>) -> Self {
        Self {
            inner,
            path,
            log: String::new(),
            intervals: 0,
            failed,
        }
    }

    fn begin(&mut self, at: SystemTime) {
        self.log = format!(
            "#[Histogram log format version 1.3]\n#[StartTime: {:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
            since_1970(at)
        );
        self.intervals = 0;
    }

    /// Adds a line. The longest latency is in milliseconds, as in the logs of other programs.
    fn add(&mut self, start: Duration, length: Duration, latencies: &Latencies) {
        let max = latencies.max().unwrap_or_default().as_secs_f64() * 1e3;
        let (start, length) = (start.as_secs_f64(), length.as_secs_f64());
        let data = latencies.to_base64();
        // Writing to a string does not fail.
        let _ = writeln!(self.log, "{start:.3},{length:.3},{max:.3},{data}");
        self.intervals += 1;
    }

    fn record(&mut self, event: &Event) {
        match event {
            Event::TestBegan(began) => self.begin(began.at),
            Event::Interval(interval) if !interval.omitted => {
                if let Some(latencies) = interval.exchanges().as_ref().and_then(latencies) {
                    self.add(interval.start, interval.length(), latencies);
                }
            }
            // With -R only the server measures, and its intervals stay there.
            Event::Summary(summary) if self.intervals == 0 => {
                if let Some(latencies) = summary.exchanges.as_ref().and_then(latencies) {
                    self.add(Duration::ZERO, summary.duration, latencies);
                }
            }
            Event::TestFinished => {
                if let Err(error) = replace(&self.path, &self.log) {
                    note(&format!("error - {}", named("--hlog", &self.path, &error)));
                    self.failed.store(true, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

/// What the log is about: with a schedule, the latency from when a request was due.
fn latencies(counts: &ExchangeCounts) -> Option<&Latencies> {
    counts.response.as_deref().or(counts.service.as_deref())
}

impl Sink for Hlog {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.record(event);
        self.inner.event(event)
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        self.inner.server_output()
    }
}
