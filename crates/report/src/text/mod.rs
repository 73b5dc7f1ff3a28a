//! Text: lines for people, the same as iperf3's.
//!
//! Every line begins with the time (`--timestamps`) and, on a client, with the title (`-T`); on a server that runs
//! several tests at a time with `#` and the number of the test. A server keeps a copy, without that number, for a
//! client that requested it (`--get-server-output`).

mod delays;
mod exchange;
mod header;
mod line;
mod summary;
mod zerocopy_report;

use std::io;
use std::sync::Arc;

use iperf_model::environment::Interface;
use iperf_model::{
    self as model, BitRate, Carrier, Concurrency, Direction, Event, Failure, Limit, Peer,
    ServerOutput, Sink, StreamInfo, Summary, TestBegan, TestConfig, TestStarted, Transport,
};
use serde_json::Value;

use self::line::Lines;
use crate::document::Interval;
use crate::json::{NOT_READ, indented};
use crate::scaled::Unit;
use crate::stamp::{self, Stamp};
use crate::{Output, ReportOptions};

/// Writes lines as things happen.
pub(crate) struct TextSink {
    options: ReportOptions,
    output: Output,
    stamp: Stamp,
    test: Test,
}

/// The state of the running test.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each records whether one thing has happened"
)]
#[derive(Default)]
struct Test {
    config: Option<Arc<TestConfig>>,
    /// The interface of this end.
    interface: Option<Interface>,
    /// What carries a vsock test, until it is printed.
    carrier: Option<Carrier>,
    /// Verbose lines that a client has before it knows the title which they begin with.
    held: Vec<Held>,
    /// The lines of program and system are out.
    introduced: bool,
    /// An interval was shown, so the columns have their header.
    has_header: bool,
    /// Reports come only at the end of the test.
    reports_once: bool,
    outcome: Outcome,
    /// What a client's server printed, until the summary in which it is shown.
    server_output: Option<ServerOutput>,
    /// A server's copy of its lines, for a client that requested them.
    copy: Option<String>,
    /// Intervals were left out of it.
    copy_is_cut: bool,
    /// The lines at hand are those of an interval.
    in_interval: bool,
}

/// A line that waits for the title.
struct Held {
    stamp: String,
    prefix: Prefix,
    text: String,
}

/// How often time and title precede a line.
#[derive(Clone, Copy)]
enum Prefix {
    /// iperf3 prints a few lines past its own printf.
    None,
    Once,
    /// And before the system's name it prints an empty text first.
    Twice,
}

/// How a test ended, as far as it has.
#[derive(Default, PartialEq, Eq)]
enum Outcome {
    #[default]
    Open,
    Summarized,
    Failed,
}

/// Bytes of a copy from which on it takes results alone: a client's request must not fill a server's memory.
const MOST_COPY: usize = 16 << 20;

impl TextSink {
    pub(crate) fn new(options: ReportOptions, output: Output) -> Self {
        Self {
            stamp: Stamp::new(options.timestamps.clone()),
            options,
            output,
            test: Test::default(),
        }
    }

    fn line(&mut self, text: impl Into<String>) {
        self.prefixed(Prefix::Once, text.into());
    }

    fn add(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.line(line);
        }
    }

    fn prefixed(&mut self, prefix: Prefix, text: String) {
        let stamp = self.stamp.now();
        let line = Held {
            stamp,
            prefix,
            text,
        };
        if self.options.is_client && self.test.config.is_none() {
            self.test.held.push(line);
        } else {
            self.stamped_line(&line);
        }
    }

    fn stamped_line(&mut self, line: &Held) {
        let Held {
            stamp,
            prefix,
            text,
        } = line;
        let config = self.test.config.as_ref();
        let title = config
            .filter(|_| self.options.is_client)
            .and_then(|config| config.title.as_ref())
            .map(|title| format!("{title}:  "))
            .unwrap_or_default();
        let prefix = match prefix {
            Prefix::None => String::new(),
            Prefix::Once => format!("{stamp}{title}"),
            Prefix::Twice => format!("{stamp}{title}{stamp}{title}"),
        };
        let line = format!("{prefix}{text}\n");
        let number = self.number();
        if let Some(copy) = &mut self.test.copy {
            if copy.len() < MOST_COPY || !self.test.in_interval {
                copy.push_str(&line);
            } else if !std::mem::replace(&mut self.test.copy_is_cut, true) {
                copy.push_str("(further intervals are not returned)\n");
            }
        }
        // A server's lines have no newline within.
        self.output.write_text(&format!("{number}{line}"));
    }

    /// What names the test in a line, if several may run.
    fn number(&self) -> String {
        self.options
            .test
            .map(|number| format!("#{number} "))
            .unwrap_or_default()
    }

    fn write_held(&mut self) {
        let held = std::mem::take(&mut self.test.held);
        for line in &held {
            self.stamped_line(line);
        }
    }

    /// Program and system: what a client's verbose output begins with, and each banner of a server's.
    fn introduce(&mut self) {
        if self.options.verbose && !self.test.introduced {
            self.line(self.options.version.clone());
            self.prefixed(Prefix::Twice, self.options.system_info.clone());
        }
        self.test.introduced = true;
    }

    fn listening(&mut self, port: u32, test_number: u64) {
        self.line(header::RULE);
        self.line(format!("Server listening on {port} (test #{test_number})"));
        self.line(header::RULE);
    }

    fn listening_for_many(&mut self, port: u32, tests: Concurrency) {
        let at_a_time = match tests {
            Concurrency::Tests(tests) => format!("up to {tests} tests at a time"),
            Concurrency::Resources => "as many tests at a time as resources allow".to_owned(),
        };
        self.line(header::RULE);
        self.line(format!("Server listening on {port} ({at_a_time})"));
        self.line(header::RULE);
    }

    fn control_connected(&mut self, mss: Option<u32>, block: Option<u32>) {
        if !self.options.verbose {
            return;
        }
        if let Some(mss) = mss {
            self.prefixed(Prefix::None, format!("Control connection MSS {mss}"));
        }
        if let Some(block) = block {
            self.prefixed(Prefix::None, format!("Setting UDP block size to {block}"));
        }
    }

    fn test_began(&mut self, began: &TestBegan) {
        let config = &began.config;
        self.test.config = Some(Arc::clone(config));
        self.write_held();
        if config.get_server_output && !self.options.is_client {
            self.test.copy = Some(String::new());
        }
        let verbose = self.options.verbose;
        if verbose {
            self.line(format!("Time: {}", stamp::rfc1123(began.at)));
        }
        match &began.peer {
            Peer::ConnectingTo(peer) => {
                let host = &peer.host;
                self.line(format!("Connecting to host {host}, port {}", peer.port));
                if config.direction == Direction::Reverse {
                    self.line(format!("Reverse mode, remote host {host} is sending"));
                }
            }
            Peer::AcceptedFrom(peer) => {
                let (host, port) = (&peer.host, peer.port);
                self.line(format!("Accepted connection from {host}, port {port}"));
            }
        }
        if !verbose {
            return;
        }
        self.line(format!("      Cookie: {}", began.cookie));
        if config.transport.is_tcp() {
            self.line(match config.socket.mss {
                Some(mss) => format!("      TCP MSS: {mss}"),
                None => format!("      TCP MSS: {} (default)", began.control_mss),
            });
        }
        if let Some(rate) = config.pacing.rate.and_then(BitRate::limit) {
            self.line(format!("      Target Bitrate: {}", rate.bits()));
        }
    }

    fn stream_opened(&mut self, stream: &StreamInfo) {
        let StreamInfo {
            socket,
            local,
            remote,
            ..
        } = stream;
        self.line(format!("[{socket:>3}] local {local} connected to {remote}"));
    }

    fn test_started(&mut self, started: &TestStarted) {
        self.test.config = Some(Arc::clone(&started.config));
        self.test.reports_once = started.interval.is_none_or(|interval| interval.is_zero());
        if !self.options.verbose {
            return;
        }
        let config = &started.config;
        let limit = match config.limit {
            Limit::Bytes(bytes) => format!("{bytes} bytes to send"),
            Limit::Blocks(blocks) => format!("{blocks} blocks to send"),
            Limit::Seconds(_) | Limit::Endless => {
                format!("{} second test", config.limit.seconds())
            }
        };
        self.line(format!(
            "Starting Test: protocol: {}, {} streams, {} byte blocks, omitting {} seconds, {limit}, tos {}",
            config.transport.name(),
            config.streams,
            config.block,
            config.omit,
            config.socket.tos,
        ));
    }

    fn interval(&mut self, config: &TestConfig, interval: &model::Interval) {
        if config.exchange.is_some() {
            self.add(exchange::interval(config, interval));
            return;
        }
        let lines = self.lines(config);
        let latency = delays::interval(interval);
        let interval = Interval::of(config, self.options.is_client, interval);
        if !self.test.has_header {
            self.line(header::of_intervals(config, &interval));
        } else if config.streams > 1 {
            self.line(header::SEPARATOR);
        }
        self.test.has_header |= !self.output.is_muted();
        for sum in interval.sums() {
            let rows = interval.streams.iter();
            for row in rows.filter(|row| row.sender == sum.sender) {
                self.line(lines.interval(row));
            }
            if config.streams > 1 {
                self.line(lines.interval(sum));
            }
        }
        self.add(latency);
    }

    fn summary(&mut self, config: &TestConfig, summary: &Summary) {
        self.test.outcome = Outcome::Summarized;
        if config.exchange.is_some() {
            self.add(exchange::summary(config, summary));
            self.server_output_of_peer();
            return;
        }
        let options = &self.options;
        let mode_given = options.copies || config.verify || config.zerocopy.names_a_mode();
        let extras = summary::Extras {
            verbose: options.verbose,
            copies: mode_given || options.verbose,
        };
        for group in summary::lines(config, self.lines(config), extras, summary) {
            self.add(group);
            // As in iperf3, before the other direction of a bidirectional test.
            self.server_output_of_peer();
        }
        self.add(delays::lines(config, self.options.is_client, summary));
        if self.options.limits || self.options.verbose && self.options.is_client {
            self.add(summary::limits(config, self.options.is_client, summary));
            let interface = self.test.interface.as_ref();
            let interface = interface.filter(|_| self.options.limits);
            self.add(interface.map(summary::interface));
        }
    }

    fn lines(&self, config: &TestConfig) -> Lines {
        Lines {
            is_client: self.options.is_client,
            bidirectional: config.direction == Direction::Bidirectional,
            udp: config.transport == Transport::Udp,
            rate: Unit::of_rate(self.options.format),
        }
    }

    /// One block with a prefix before its first, empty line only, as a whole and not line by line.
    fn server_output_of_peer(&mut self) {
        match self.test.server_output.take() {
            None => {}
            Some(ServerOutput::Text(text)) => self.line(format!("\nServer output:\n{text}")),
            Some(ServerOutput::Json(text)) => {
                let document = serde_json::from_str::<Value>(&text)
                    .map_err(io::Error::from)
                    .and_then(|value| indented(&value));
                // What does not parse is still worth reading.
                let document = document.as_deref().unwrap_or(&text);
                self.line(format!("\nServer JSON output:\n{document}"));
            }
        }
    }

    fn failed(&mut self, failure: &Failure) {
        self.test.outcome = Outcome::Failed;
        self.write_held();
        let number = self.number();
        let (stamp, program) = (self.stamp.now(), &self.options.program);
        let (prefix, message) = (failure.prefix(), &failure.message);
        self.output
            .write_error(&format!("{number}{stamp}{program}: {prefix}{message}\n"));
    }

    fn test_finished(&mut self) {
        self.write_held();
        self.server_output_of_peer();
        if self.options.is_client && self.test.outcome == Outcome::Summarized {
            self.line("");
            self.line("iperf Done.");
        }
        self.test = Test::default();
    }

    fn write(&mut self, event: &Event) {
        match event {
            Event::Listening { port, test_number } => self.listening(*port, *test_number),
            Event::ListeningForMany { port, tests } => self.listening_for_many(*port, *tests),
            Event::ControlConnected { mss, derived_block } => {
                self.control_connected(*mss, *derived_block);
            }
            Event::TestBegan(began) => self.test_began(began),
            Event::StreamOpened(stream) => self.stream_opened(stream),
            Event::TestStarted(started) => self.test_started(started),
            Event::Interval(interval) => {
                if let Some(config) = self.test.config.clone() {
                    self.interval(&config, interval);
                }
            }
            Event::OmitFinished if self.options.verbose && self.test.reports_once => {
                self.line("Finished omit period, starting real test");
            }
            Event::CarriedBy(carrier) => self.test.carrier = Some(carrier.clone()),
            Event::BuffersKept(buffers) => {
                if let Some(carrier) = self.test.carrier.take().filter(|_| self.options.verbose) {
                    let transport = self.test.config.as_ref().map(|config| config.transport);
                    self.line(header::of_carrier(&carrier, transport, *buffers));
                }
            }
            Event::Environment(facts) => self.test.interface.clone_from(&facts.interface),
            Event::OmitFinished | Event::EnvironmentAfter(_) => {}
            Event::Summary(summary) => {
                if let Some(config) = self.test.config.clone() {
                    self.summary(&config, summary);
                }
            }
            Event::ServerOutput(output) => self.test.server_output = Some(output.clone()),
            Event::Warning(message) => {
                let number = self.number();
                self.output
                    .write_error(&format!("{number}warning: {message}\n"));
            }
            Event::Failed(failure) => self.failed(failure),
            Event::TestFinished => self.test_finished(),
        }
    }
}

impl Sink for TextSink {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let is_interval = matches!(event, Event::Interval(_));
        self.test.in_interval = is_interval;
        if let Some(reports) = self.output.begin(is_interval) {
            self.line(format!("({reports} reports dropped: {NOT_READ})"));
        }
        let opens = match event {
            Event::Listening { .. } | Event::ListeningForMany { .. } => true,
            Event::TestFinished | Event::Warning(_) => false,
            _ => self.options.is_client,
        };
        if matches!(event, Event::Listening { .. }) {
            // A banner starts over, regardless of what was reported before.
            self.test = Test::default();
        }
        if opens {
            self.introduce();
        }
        self.write(event);
        Ok(())
    }

    fn server_output(&mut self) -> Option<ServerOutput> {
        self.test.copy.clone().map(ServerOutput::Text)
    }
}

#[cfg(test)]
mod tests;
