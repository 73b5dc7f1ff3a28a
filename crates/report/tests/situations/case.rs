//! A short test, and the events of its parts.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use iperf_model::{
    Buffers, ByteTotals, CpuUsage, DatagramSample, Event, Failure, FailureKind, Interval, Limit,
    Peer, Role, SocketName, StreamInfo, StreamInterval, StreamOutcome, StreamSummary, Summary,
    TestBegan, TestConfig, TestStarted, Transport,
};
use iperf_report::{Format, ReportOptions};
use serde_json::Value;

use crate::support::{options, outcomes, render};

/// A test of one second with one interval.
pub(crate) struct Case {
    pub(crate) is_client: bool,
    pub(crate) config: TestConfig,
}

impl Case {
    pub(crate) fn new(transport: Transport, is_client: bool) -> Self {
        let mut config = TestConfig::new(transport);
        config.limit = Limit::Seconds(1);
        Self { is_client, config }
    }

    pub(crate) fn options(&self) -> ReportOptions {
        options(self.is_client)
    }

    pub(crate) fn began(&self) -> Event {
        let name = |host: &str| SocketName {
            host: host.into(),
            port: 5201,
        };
        Event::TestBegan(TestBegan {
            peer: if self.is_client {
                Peer::ConnectingTo(name("server"))
            } else {
                Peer::AcceptedFrom(name("client"))
            },
            at: UNIX_EPOCH,
            cookie: "cookie".into(),
            control_mss: 1448,
            config: Arc::new(self.config.clone()),
        })
    }

    pub(crate) fn started(&self) -> Vec<Event> {
        let name = |host: &str, port| SocketName {
            host: host.into(),
            port,
        };
        vec![
            self.began(),
            Event::StreamOpened(StreamInfo {
                id: 1,
                socket: 4,
                local: name("3", u32::MAX),
                remote: name("2", 5201),
                role: Role::of(self.is_client),
            }),
            Event::BuffersKept(Buffers::default()),
            Event::TestStarted(TestStarted {
                config: Arc::new(self.config.clone()),
                interval: Some(Duration::from_secs(1)),
                gso: false,
                gro: false,
            }),
        ]
    }

    pub(crate) fn interval(&self, bytes: u64, datagrams: Option<DatagramSample>) -> Event {
        Event::Interval(Interval {
            start: Duration::ZERO,
            end: Duration::from_secs(1),
            omitted: false,
            probes: None,
            streams: vec![StreamInterval {
                exchanges: None,
                socket: 4,
                role: Role::of(self.is_client),
                bytes,
                tcp: None,
                datagrams,
            }],
        })
    }

    pub(crate) fn summary(
        &self,
        sent: Option<StreamOutcome>,
        received: Option<StreamOutcome>,
    ) -> Event {
        let stream = outcomes::stream(4, self.is_client, sent, received);
        summary_of(vec![stream])
    }

    /// The summary of streams of bytes that the client sends, given what was sent and received on each. A server knows only
    /// what it received.
    pub(crate) fn summary_of_bytes(&self, streams: &[(u64, u64)]) -> Event {
        let streams = streams.iter().map(|&(sent, received)| {
            let sent = self.is_client.then(|| bytes(sent));
            outcomes::stream(4, self.is_client, sent, Some(bytes(received)))
        });
        summary_of(streams.collect())
    }

    pub(crate) fn document(&self, events: &[Event]) -> Value {
        let written = render(Format::Json, self.options(), events);
        assert_eq!(written.err, "");
        serde_json::from_str(&written.out).unwrap()
    }
}

fn summary_of(streams: Vec<StreamSummary>) -> Event {
    Event::Summary(Summary {
        streams,
        duration: Duration::from_secs(1),
        remote_duration: None,
        cpu: CpuUsage::default(),
        remote_cpu: None,
        congestion: Some("cubic".into()),
        remote_congestion: None,
        delays: Box::default(),
        limits: Vec::new(),
        exchanges: None,
        checksum_errors: None,
        remote_checksum_errors: None,
    })
}

pub(crate) fn lines_of(options: ReportOptions, events: &[Event]) -> Vec<String> {
    let written = render(Format::Text, options, events);
    written.out.lines().map(str::to_owned).collect()
}

pub(crate) fn failed(kind: FailureKind, message: &str) -> Event {
    Event::Failed(Failure {
        kind,
        message: message.into(),
    })
}

pub(crate) fn listening(test_number: u64) -> Event {
    Event::Listening {
        port: 5201,
        test_number,
    }
}

pub(crate) fn bytes(bytes: u64) -> StreamOutcome {
    outcomes::bytes(bytes, ByteTotals::default())
}

pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}
