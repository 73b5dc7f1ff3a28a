//! What all tests of sinks need: samples, and a sink with output that can be read back.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "samples hold small numbers, and what does not fit should fail its test"
)]

pub mod from_json;
pub mod from_text;
pub mod keys;
pub mod outcomes;
mod row;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iperf_model::{Event, ServerOutput};
use iperf_report::document::{Document, Line};
use iperf_report::{Format, Output, ReportOptions, Writer, sink};

/// A directory of real outputs of iperf3 3.22.
pub fn sample_path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data/samples", name]
        .iter()
        .collect()
}

/// A real output of iperf3 3.22.
pub fn sample(name: &str) -> String {
    let path = sample_path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all samples with this ending, servers' and clients' alike.
pub fn samples(ending: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(sample_path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(ending) && name != "index.json")
        .collect();
    names.sort();
    names
}

pub fn is_client(sample: &str) -> bool {
    !sample.starts_with("server-")
}

/// Options that make output comparable with the samples.
pub fn options(is_client: bool) -> ReportOptions {
    ReportOptions {
        program: "iperf3".into(),
        is_client,
        version: "iperf 3.22".into(),
        system_info: "Linux host.example 6.1.0 #1 SMP x86_64".into(),
        ..ReportOptions::default()
    }
}

/// What a sink has written.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    pub out: String,
    pub err: String,
    pub server_output: Option<ServerOutput>,
}

/// Sends events through a sink. The server's output is requested before the last event.
pub fn render(format: Format, options: ReportOptions, events: &[Event]) -> Written {
    let (out, err) = (Buffer::default(), Buffer::default());
    let (main, errors) = (Box::new(out.clone()), Box::new(err.clone()));
    let writer = Writer::start("iperf3", "stdout", main, errors).unwrap();
    let mut sink = sink(format, options, Output::queued(writer.clone()));
    let mut server_output = None;
    for event in events {
        if *event == Event::TestFinished {
            server_output = sink.server_output();
        }
        sink.event(event).unwrap();
        assert!(writer.wait(Duration::from_secs(60)));
    }
    match format {
        Format::Text => {}
        Format::Json => documents_are_read_back(&out.text()),
        Format::JsonStream => lines_are_read_back(&out.text()),
    }
    Written {
        out: out.text(),
        err: err.text(),
        server_output,
    }
}

/// Everything printed can be read back, and prints the same again.
fn documents_are_read_back(out: &str) {
    for document in out.split_inclusive("\n}\n") {
        let read = Document::from_json(document).unwrap();
        assert_eq!(read.to_json().unwrap(), document);
    }
}

fn lines_are_read_back(out: &str) {
    let (lines, rest) = out.split_at(out.find("\n{\n").map_or(out.len(), |at| at + 1));
    for line in lines.lines() {
        let read = Line::from_json(line).unwrap();
        assert_eq!(read.to_json().unwrap(), line);
    }
    documents_are_read_back(rest);
}

/// A writer that remembers.
#[derive(Clone, Default)]
pub struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn micros(seconds: f64) -> Duration {
    Duration::from_micros((seconds * 1e6).round() as u64)
}

/// Drops a `target_bitrate` right after `system_info`: the first one of two.
pub fn without_repeated_rate(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in text.split_inclusive('\n') {
        let repeated = line.contains("\"target_bitrate\":\t")
            && kept
                .last()
                .is_some_and(|last| last.contains("\"system_info\":\t"));
        if !repeated {
            kept.push(line);
        }
    }
    let mut text = kept.concat();
    let compact = "x86_64\",\"target_bitrate\":";
    while let Some(at) = text.find(compact) {
        let from = at + "x86_64\",".len();
        let to = from + text[from..].find(',').unwrap() + 1;
        text.replace_range(from..to, "");
    }
    text
}

/// Our document without the index of fairness, which iperf3 does not have.
pub fn without_fairness(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(key) = text.find("\"jain_index\":") {
        let line = text[..key].trim_end_matches('\t');
        let (from, to) = (line.len(), key + text[key..].find(',').unwrap() + 1);
        let to = to + usize::from(text[to..].starts_with('\n'));
        text.replace_range(from..to, "");
    }
    text
}
