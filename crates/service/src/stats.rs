//! What a server has done, and the page that shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use iperf_model::{Interval, ServerCounters, VERSION, since_1970};

use crate::exposition::{Exposition, Kind, TextFormat};
use crate::http::{Handler, Request, Response};
use crate::record::{Moved, TestRecord};

/// How a test can end.
const OUTCOMES: [&str; 4] = ["completed", "failed", "client_left", "interrupted"];

/// Counts what tests do.
#[derive(Debug, Default)]
pub struct Stats {
    running: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES.len()],
    received: AtomicU64,
    sent: AtomicU64,
    /// The last test of each transport and direction.
    last: Mutex<BTreeMap<(&'static str, &'static str), TestRecord>>,
}

impl Stats {
    pub(crate) fn begin(&self) {
        self.running.fetch_add(1, Relaxed);
    }

    pub(crate) fn moved(&self, interval: &Interval) {
        for stream in &interval.streams {
            let counter = if stream.role.sends() {
                &self.sent
            } else {
                &self.received
            };
            counter.fetch_add(stream.bytes, Relaxed);
        }
    }

    pub(crate) fn end(&self, test: TestRecord) {
        self.running.fetch_sub(1, Relaxed);
        let outcome = OUTCOMES.iter().position(|name| *name == test.outcome);
        if let Some(counter) = outcome.and_then(|outcome| self.outcomes.get(outcome)) {
            counter.fetch_add(1, Relaxed);
        }
        if test.outcome == "completed" {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.insert((test.transport, test.direction), test);
        }
    }
}

/// A figure of a test, if it has it.
type Figure = fn(&Moved) -> Option<f64>;

/// The pages of a server: `/metrics`, `/health`, `/ready`.
#[derive(Debug)]
pub struct ServerPage {
    stats: Arc<Stats>,
    counters: Arc<ServerCounters>,
    started: SystemTime,
}

impl ServerPage {
    /// Shows what these count.
    pub fn new(stats: Arc<Stats>, counters: Arc<ServerCounters>) -> Self {
        Self {
            stats,
            counters,
            started: SystemTime::now(),
        }
    }

    /// The metrics.
    pub fn metrics(&self, format: TextFormat) -> String {
        let mut page = Exposition::new(format);
        self.server(&mut page);
        self.tests(&mut page);
        self.last(&mut page);
        page.finish()
    }

    fn server(&self, page: &mut Exposition) {
        use Kind::{Counter, Gauge};
        let counters = &self.counters;
        let ready = if counters.is_ready() { 1.0 } else { 0.0 };
        page.family("iperf_server_info", Gauge, "The version of the server.")
            .sample(&[("version", VERSION)], 1.0)
            .single(
                "iperf_server_start_time_seconds",
                Gauge,
                "When the server started, in seconds since 1970.",
                since_1970(self.started),
            )
            .single(
                "iperf_server_ready",
                Gauge,
                "1 while the server takes new tests.",
                ready,
            )
            .single(
                "iperf_server_connections",
                Counter,
                "Connections that were accepted: control and data.",
                counters.connections.load(Relaxed) as f64,
            )
            .single(
                "iperf_server_handshakes",
                Counter,
                "Clients that began a handshake.",
                counters.handshakes.load(Relaxed) as f64,
            )
            .single(
                "iperf_server_handshakes_failed",
                Counter,
                "Handshakes that ended without a test, other than refused ones.",
                counters.failed_handshakes.load(Relaxed) as f64,
            )
            .single(
                "iperf_server_refused_clients",
                Counter,
                "Clients that were refused because the server is busy.",
                counters.refused.load(Relaxed) as f64,
            );
    }

    fn tests(&self, page: &mut Exposition) {
        let stats = &self.stats;
        page.single(
            "iperf_server_tests_running",
            Kind::Gauge,
            "Tests that run now.",
            stats.running.load(Relaxed) as f64,
        )
        .family(
            "iperf_server_tests",
            Kind::Counter,
            "Tests that are over, by outcome.",
        );
        for (name, count) in OUTCOMES.iter().zip(&stats.outcomes) {
            page.sample(&[("outcome", name)], count.load(Relaxed) as f64);
        }
        page.single(
            "iperf_server_received_bytes",
            Kind::Counter,
            "Payload that was received.",
            stats.received.load(Relaxed) as f64,
        )
        .single(
            "iperf_server_sent_bytes",
            Kind::Counter,
            "Payload that was sent.",
            stats.sent.load(Relaxed) as f64,
        );
    }

    /// The last completed test of each kind.
    fn last(&self, page: &mut Exposition) {
        let last = self.stats.last.lock();
        let last = last.unwrap_or_else(PoisonError::into_inner);
        let figures: [(&str, &str, Figure); 4] = [
            (
                "iperf_server_last_test_bytes_per_second",
                "Payload per second of the last completed test.",
                |moved| Some(moved.bits_per_second / 8.0),
            ),
            (
                "iperf_server_last_test_retransmits",
                "Segments that the last completed test sent again.",
                |moved| moved.retransmits.map(|count| count as f64),
            ),
            (
                "iperf_server_last_test_loss_ratio",
                "Lost datagrams of the last completed test over all.",
                |moved| {
                    let packets = moved.packets.filter(|packets| *packets > 0)?;
                    Some(moved.lost? as f64 / packets as f64)
                },
            ),
            (
                "iperf_server_last_test_jitter_seconds",
                "Jitter of the datagrams of the last completed test.",
                |moved| moved.jitter_seconds,
            ),
        ];
        for (name, help, figure) in figures {
            page.family(name, Kind::Gauge, help);
            for ((transport, direction), test) in last.iter() {
                for (way, moved) in [("received", &test.received), ("sent", &test.sent)] {
                    if let Some(value) = moved.as_ref().and_then(figure) {
                        let labels = [
                            ("transport", *transport),
                            ("direction", *direction),
                            ("way", way),
                        ];
                        page.sample(&labels, value);
                    }
                }
            }
        }
        page.family(
            "iperf_server_last_test_timestamp_seconds",
            Kind::Gauge,
            "When the last completed test began, in seconds since 1970.",
        );
        for ((transport, direction), test) in last.iter() {
            page.sample(
                &[("transport", transport), ("direction", direction)],
                test.time,
            );
        }
    }
}

impl Handler for ServerPage {
    async fn answer(&self, request: Request) -> Response {
        match request.path.as_str() {
            "/metrics" => {
                let format = TextFormat::accepted(&request.accept);
                Response {
                    status: 200,
                    content_type: format.content_type(),
                    body: self.metrics(format),
                }
            }
            "/health" if self.counters.is_alive(SystemTime::now()) => Response::text(200, "ok\n"),
            "/health" => Response::text(503, "the server does not react\n"),
            "/ready" if self.counters.is_ready() => Response::text(200, "ready\n"),
            "/ready" => Response::text(503, "the server takes no tests\n"),
            "/" => Response::text(200, "/metrics\n/health\n/ready\n"),
            _ => Response::text(404, "not found\n"),
        }
    }
}
