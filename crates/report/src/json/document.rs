//! One test as a document: collects events, and is the document as far as the test has come.
//!
//! Events are kept as they are and turned into JSON only while the document is written, one interval at a time.

use iperf_model::{Event, Failure, FailureKind, Interval, ServerOutput, Summary, TestConfig};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::start::Start;
use super::{end, interval};
use crate::ReportOptions;

/// Everything that is known of one test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    options: ReportOptions,
    start: Start,
    config: Option<Arc<TestConfig>>,
    intervals: Vec<Interval>,
    summary: Option<Summary>,
    error: Option<String>,
    server_output: Option<ServerOutput>,
    /// Whether anything has come that is worth a document.
    used: bool,
}

/// Without what the server itself adds at the end: the part of a document that travels to the client.
pub(crate) struct Measured<'a>(pub(crate) &'a Document);

impl Document {
    /// An empty document.
    pub(crate) fn new(options: ReportOptions) -> Self {
        Self {
            // A client that was started has a result; a server's idle time is none.
            used: options.is_client,
            options,
            ..Self::default()
        }
    }

    /// Takes one event. Intervals are left to [`keep_interval`](Self::keep_interval).
    pub(crate) fn record(&mut self, event: &Event) {
        match event {
            Event::Listening { .. } | Event::Warning(_) | Event::TestFinished => return,
            Event::TestBegan(began) => self.config = Some(Arc::clone(&began.config)),
            Event::TestStarted(started) => self.config = Some(Arc::clone(&started.config)),
            Event::Summary(summary) => self.summary = Some(summary.clone()),
            Event::ServerOutput(output) => self.server_output = Some(output.clone()),
            Event::Failed(failure) => self.error = Some(self.message(failure)),
            Event::ControlConnected { .. }
            | Event::StreamOpened(_)
            | Event::CarriedBy(_)
            | Event::BuffersKept(_)
            | Event::Interval(_)
            | Event::OmitFinished => {}
        }
        self.start.record(event);
        self.used = true;
    }

    /// Adds an element to `intervals`.
    pub(crate) fn keep_interval(&mut self, interval: &Interval) {
        self.intervals.push(interval.clone());
    }

    /// Empties the document for the next test.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.options));
    }

    /// Whether there is something to write.
    pub(crate) fn is_used(&self) -> bool {
        self.used
    }

    /// Whether this end is a server that has to return its output.
    pub(crate) fn is_to_be_returned(&self) -> bool {
        let asked = |config: &Arc<TestConfig>| config.get_server_output;
        !self.options.is_client && self.config.as_ref().is_some_and(asked)
    }

    /// The member `start`.
    pub(crate) fn start(&self) -> Value {
        self.start.value(&self.options)
    }

    /// An element of `intervals`; nothing before the test is known.
    pub(crate) fn interval(&self, interval: &Interval) -> Option<Value> {
        let config = self.config.as_ref()?;
        Some(interval::value(config, self.options.is_client, interval))
    }

    /// The member `end`.
    pub(crate) fn end(&self) -> Value {
        match (&self.config, &self.summary) {
            (Some(config), Some(summary)) => end::value(config, self.options.is_client, summary),
            _ => Value::Object(Map::new()),
        }
    }

    /// The member `error`.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The member that holds the server's output: its key and its value.
    pub(crate) fn server_output(&self) -> Option<(&'static str, Value)> {
        self.server_output.as_ref().map(|output| match output {
            ServerOutput::Text(text) => ("server_output_text", json!(text)),
            // What does not parse is still worth reading.
            ServerOutput::Json(text) => match serde_json::from_str::<Value>(text) {
                Ok(value) => ("server_output_json", value),
                Err(_) => ("server_output_text", json!(text)),
            },
        })
    }

    fn message(&self, failure: &Failure) -> String {
        let message = &failure.message;
        match failure.kind {
            FailureKind::Error if self.options.is_client => message.clone(),
            _ => format!("{}{message}", failure.prefix()),
        }
    }

    fn measured<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("start", &self.start())?;
        map.serialize_entry("intervals", &Intervals(self))?;
        map.serialize_entry("end", &self.end())
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.measured(&mut map)?;
        if let Some(error) = self.error() {
            map.serialize_entry("error", error)?;
        }
        if let Some(config) = &self.config {
            if let Some(title) = &config.title {
                map.serialize_entry("title", title)?;
            }
            if let Some(extra_data) = &config.extra_data {
                map.serialize_entry("extra_data", extra_data)?;
            }
        }
        if let Some((key, value)) = self.server_output() {
            map.serialize_entry(key, &value)?;
        }
        map.end()
    }
}

impl Serialize for Measured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.measured(&mut map)?;
        map.end()
    }
}

struct Intervals<'a>(&'a Document);

impl Serialize for Intervals<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.0;
        serializer.collect_seq(
            document
                .intervals
                .iter()
                .filter_map(|interval| document.interval(interval)),
        )
    }
}
