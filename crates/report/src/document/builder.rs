//! Collects the events of one test into its document.

use std::sync::Arc;

use iperf_model::{self as model, Event, Failure, FailureKind, ServerOutput, TestConfig};
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::{Document, End, EndEnvironment, Interval, Line, Start};
use crate::ReportOptions;

/// A test's document as far as the test has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Builder {
    options: ReportOptions,
    document: Document,
    config: Option<Arc<TestConfig>>,
    /// Whether anything has come that is worth a document.
    used: bool,
    /// Rows in the kept intervals, sums included.
    rows: usize,
}

/// The most of them that a server keeps, about 30 MB: days of a small test, hours of one with many streams. It drops
/// the older half then, for a server's memory must not depend on its clients.
const MOST_ROWS: usize = 100_000;

/// The part of a document that is sent to the client: without what the server adds at the end.
#[skip_serializing_none]
#[derive(Serialize)]
pub(crate) struct Measured<'a> {
    start: Start,
    intervals: &'a [Interval],
    end: End,
    intervals_dropped: Option<u64>,
}

impl Builder {
    /// Of a test of which nothing is known yet.
    pub(crate) fn new(options: ReportOptions) -> Self {
        let mut document = Document::default();
        document.start.version.clone_from(&options.version);
        document.start.system_info.clone_from(&options.system_info);
        Self {
            // A client that was started has a result; a server's idle time is none.
            used: options.is_client,
            options,
            document,
            config: None,
            rows: 0,
        }
    }

    /// Takes one event. Intervals are left to [`interval`](Self::interval) and
    /// [`keep_interval`](Self::keep_interval).
    pub(crate) fn record(&mut self, event: &Event) {
        let transport = self.config.as_ref().map(|config| config.transport);
        let start = &mut self.document.start;
        match event {
            Event::Listening { .. }
            | Event::ListeningForMany { .. }
            | Event::Warning(_)
            | Event::TestFinished => return,
            Event::TestBegan(began) => {
                start.began(began);
                self.configure(&began.config);
            }
            Event::Environment(facts) => start.environment = Some((**facts).clone()),
            Event::StreamOpened(stream) => start.opened(stream),
            Event::CarriedBy(carrier) => start.carried_by(carrier, transport),
            Event::BuffersKept(buffers) => start.buffers(*buffers, transport),
            Event::TestStarted(started) => {
                start.started(started);
                self.configure(&started.config);
            }
            Event::Summary(summary) => {
                if let Some(config) = &self.config {
                    let environment = self.document.end.environment.take();
                    self.document.end = End {
                        environment,
                        ..End::of(config, self.options.is_client, summary)
                    };
                }
            }
            Event::EnvironmentAfter(after) => {
                self.document.end.environment = Some(EndEnvironment::of(after));
                self.version_of_peer();
            }
            Event::ServerOutput(output) => self.keep_server_output(output),
            Event::Failed(failure) => self.document.error = Some(self.message(failure)),
            Event::ControlConnected { .. } | Event::Interval(_) | Event::OmitFinished => {}
        }
        self.used = true;
    }

    /// Takes one event, and keeps intervals.
    pub(crate) fn record_all(&mut self, event: &Event) {
        self.record(event);
        if let Event::Interval(interval) = event
            && let Some(interval) = self.interval(interval)
        {
            self.keep_interval(interval);
        }
    }

    /// An element of `intervals`; nothing before the test is known.
    pub(crate) fn interval(&self, interval: &model::Interval) -> Option<Interval> {
        let config = self.config.as_ref()?;
        Some(Interval::of(config, self.options.is_client, interval))
    }

    /// Adds an element to `intervals`.
    pub(crate) fn keep_interval(&mut self, interval: Interval) {
        let rows = |interval: &Interval| interval.streams.len() + 1;
        self.rows += rows(&interval);
        let intervals = &mut self.document.intervals;
        intervals.push(interval);
        if self.rows > MOST_ROWS && !self.options.is_client {
            let half = intervals.len().div_ceil(2);
            self.rows -= intervals
                .drain(..half)
                .map(|interval| rows(&interval))
                .sum::<usize>();
            *self.document.intervals_dropped.get_or_insert(0) += half as u64;
        }
    }

    /// Forgets everything, for the next test.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.options));
    }

    /// The document as it is now, if there is anything to write.
    pub(crate) fn document(&self) -> Option<&Document> {
        self.used.then_some(&self.document)
    }

    /// What a server returns to a client that requested its output. It does not describe its machine: iperf3 does not know
    /// such keys, and a client of this program receives the facts with the results.
    pub(crate) fn returned(&self) -> Option<Measured<'_>> {
        let Document {
            start,
            intervals,
            end,
            intervals_dropped,
            ..
        } = &self.document;
        self.is_returned().then_some(Measured {
            start: Start {
                environment: None,
                ..start.clone()
            },
            intervals,
            end: End {
                limits: Vec::new(),
                clock: None,
                one_way: Vec::new(),
                ..end.clone()
            },
            intervals_dropped: *intervals_dropped,
        })
    }

    /// Whether this end is a server that has to return its output.
    pub(crate) fn is_returned(&self) -> bool {
        let wants_output = |config: &Arc<TestConfig>| config.get_server_output;
        !self.options.is_client && self.config.as_ref().is_some_and(wants_output)
    }

    fn configure(&mut self, config: &Arc<TestConfig>) {
        self.document.title.clone_from(&config.title);
        self.document.extra_data.clone_from(&config.extra_data);
        self.config = Some(Arc::clone(config));
    }

    fn keep_server_output(&mut self, output: &ServerOutput) {
        let document = &mut self.document;
        match output {
            ServerOutput::Text(text) => document.server_output_text = Some(text.clone()),
            // What does not parse is still worth reading.
            ServerOutput::Json(text) => match serde_json::from_str(text) {
                Ok(value) => document.server_output_json = Some(value),
                Err(_) => document.server_output_text = Some(text.clone()),
            },
        }
        self.version_of_peer();
    }

    /// iperf3 does not send its version, but the output of its server has it (`--get-server-output`).
    fn version_of_peer(&mut self) {
        let document = &mut self.document;
        let (Some(environment), Some(output)) =
            (&mut document.end.environment, &document.server_output_json)
        else {
            return;
        };
        if environment.remote_version.is_none() {
            let version = output["start"]["version"].as_str();
            environment.remote_version =
                version.map(|text| text.trim_start_matches("iperf ").to_owned());
        }
    }

    fn message(&self, failure: &Failure) -> String {
        let message = &failure.message;
        match failure.kind {
            FailureKind::Error if self.options.is_client => message.clone(),
            _ => format!("{}{message}", failure.prefix()),
        }
    }
}

impl Document {
    /// The lines that a stream of lines ends with.
    pub(crate) fn last_lines(&self) -> impl Iterator<Item = Line> {
        let error = self.error.clone().map(Line::Error);
        let json = self.server_output_json.clone().map(Line::ServerOutputJson);
        let text = self.server_output_text.clone().map(Line::ServerOutputText);
        let end = Line::End(Box::new(self.end.clone()));
        [error, json, text, Some(end)].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::IntervalRow;

    fn kept(is_client: bool) -> (usize, Option<u64>, f64) {
        let options = ReportOptions {
            is_client,
            ..ReportOptions::default()
        };
        let mut builder = Builder::new(options);
        // A day of sixteen streams.
        for second in 0..86_400_u32 {
            let row = IntervalRow {
                start: second.into(),
                ..IntervalRow::default()
            };
            builder.keep_interval(Interval {
                streams: vec![row; 16],
                ..Interval::default()
            });
        }
        let document = &builder.document;
        let last = document.intervals.last().unwrap().streams[0].start;
        (document.intervals.len(), document.intervals_dropped, last)
    }

    #[test]
    fn a_server_keeps_the_last_intervals_of_a_long_test_and_counts_the_others() {
        let (intervals, dropped, last) = kept(false);
        assert!((2_000..=6_000).contains(&intervals), "{intervals}");
        assert_eq!(intervals as u64 + dropped.unwrap(), 86_400);
        assert!((last - 86_399.0).abs() < 0.5);
        assert_eq!(kept(true).1, None, "a client keeps all");
    }
}
