//! `--log-format json`: one line per test, and one for each other report of a server.

use std::io::{self, Write};
use std::time::SystemTime;

use iperf_model::{Concurrency, Event, Sink, since_1970};
use serde::Serialize;

use crate::record::TestRecord;

/// A line, by the name of its event.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    /// The server listens.
    Listening { time: f64, port: u32, tests: u32 },
    /// A test is over.
    Test(&'a TestRecord),
    /// Something differs from what was requested.
    Warning { time: f64, message: &'a str },
    /// The options of a file apply from now on.
    Reloaded { time: f64, file: &'a str },
    /// A handshake or the server itself failed.
    Error {
        time: f64,
        outcome: &'a str,
        error: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<&'a str>,
    },
}

/// Writes the lines of a server. Clones of what it writes to may be used by tests at the same time.
pub struct LogSink<W> {
    output: W,
    /// The client of the handshake that is reported.
    client: Option<TestRecord>,
    is_announced: bool,
}

impl<W: Write + Send> LogSink<W> {
    /// Lines go to `output`.
    pub fn new(output: W) -> Self {
        Self {
            output,
            client: None,
            is_announced: false,
        }
    }

    /// Writes the line of a test that is over.
    pub fn test(&mut self, test: &TestRecord) -> io::Result<()> {
        write(&mut self.output, &Line::Test(test))
    }

    /// Writes that the options of `file` apply from now on.
    pub fn reloaded(&mut self, file: &str) -> io::Result<()> {
        let time = now();
        write(&mut self.output, &Line::Reloaded { time, file })
    }

    fn listening(&mut self, port: u32, tests: Concurrency) -> io::Result<()> {
        // A server that runs one test after another reports it each time.
        if std::mem::replace(&mut self.is_announced, true) {
            return Ok(());
        }
        let tests = match tests {
            Concurrency::Tests(tests) => tests.get(),
            Concurrency::Resources => 0,
        };
        let time = now();
        write(&mut self.output, &Line::Listening { time, port, tests })
    }
}

impl<W: Write + Send> Sink for LogSink<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let time = now();
        match event {
            Event::Listening { port, .. } => self.listening(*port, Concurrency::ONE),
            Event::ListeningForMany { port, tests } => self.listening(*port, *tests),
            Event::TestBegan(began) => {
                self.client = Some(TestRecord::begin(0, began));
                Ok(())
            }
            Event::Warning(message) => write(&mut self.output, &Line::Warning { time, message }),
            Event::Failed(failure) => {
                let mut record = self.client.take().unwrap_or_default();
                record.fail(failure);
                let line = Line::Error {
                    time,
                    outcome: record.outcome,
                    error: &failure.message,
                    client: Some(record.client.as_str()).filter(|client| !client.is_empty()),
                };
                write(&mut self.output, &line)
            }
            _ => Ok(()),
        }
    }
}

fn write(output: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    // At once: other tests write to the same place.
    output.write_all(&text)?;
    output.flush()
}

fn now() -> f64 {
    since_1970(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::{Failure, FailureKind};

    #[test]
    fn each_report_is_one_line() {
        let mut text = Vec::new();
        let mut sink = LogSink::new(&mut text);
        for _ in 0..2 {
            let event = Event::Listening {
                port: 5201,
                test_number: 1,
            };
            sink.event(&event).unwrap();
        }
        sink.test(&TestRecord {
            test: 7,
            outcome: "completed",
            ..TestRecord::default()
        })
        .unwrap();
        let failure = Failure {
            kind: FailureKind::ClientLeft,
            message: "the client has \"left\"".to_owned(),
        };
        sink.event(&Event::Failed(failure)).unwrap();
        let lines: Vec<serde_json::Value> = String::from_utf8(text)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str()).collect();
        assert_eq!(events, [Some("listening"), Some("test"), Some("error")]);
        assert_eq!(lines[1]["test"], 7);
        assert_eq!(lines[2]["outcome"], "client_left");
    }
}
