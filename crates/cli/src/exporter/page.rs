//! What a probe found, as metrics: under the names of existing iperf3 exporters, and under base-unit names.

use std::time::Duration;

use iperf_report::Document;
use iperf_report::document::EndSum;
use iperf_service::exposition::{Exposition, Kind, TextFormat};

/// The outcome of a probe.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The document of the test, if it succeeded.
    pub(super) document: Option<Document>,
    /// How long it took, with connecting.
    pub(super) took: Duration,
}

/// The page of a probe.
pub(super) fn page(outcome: &Outcome, target: &str, port: &str, format: TextFormat) -> String {
    let mut page = Exposition::new(format);
    let labels = [("target", target), ("port", port)];
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            page.family(name, Kind::Gauge, help).sample(&labels, value);
        }
    };
    let success = if outcome.document.is_some() { 1.0 } else { 0.0 };
    gauge("iperf3_up", "Whether the test succeeded.", Some(success));
    gauge(
        "iperf_probe_success",
        "Whether the test succeeded.",
        Some(success),
    );
    gauge(
        "iperf_probe_duration_seconds",
        "How long the probe took, with connecting.",
        Some(outcome.took.as_secs_f64()),
    );
    if let Some(document) = &outcome.document {
        let end = &document.end;
        let (sent, received) = (end.sum_sent.as_ref(), end.sum_received.as_ref());
        side("sent", sent, &mut gauge);
        side("received", received, &mut gauge);
        let udp = end.sum.as_ref().filter(|sum| sum.packets.is_some());
        if udp.is_none() {
            let retransmits = sent.and_then(|sum| sum.retransmits).map(|n| n as f64);
            let help = "Segments that the sender sent again.";
            gauge("iperf3_retransmits", help, retransmits);
            gauge("iperf_retransmits", help, retransmits);
            let rtt = mean_rtt(document);
            gauge(
                "iperf_rtt_seconds",
                "Mean round trip of the streams, as the sender's TCP measures it.",
                rtt,
            );
        }
        base_units(udp, &mut gauge);
    }
    page.finish()
}

/// What one side counted, under the names of existing exporters.
fn side(name: &str, sum: Option<&EndSum>, gauge: &mut impl FnMut(&str, &str, Option<f64>)) {
    let Some(sum) = sum else {
        return;
    };
    let mut figure =
        |what: &str, help: &str, value| gauge(&format!("iperf3_{name}_{what}"), help, value);
    figure(
        "seconds",
        "Length of the test on this side.",
        Some(sum.seconds),
    );
    figure("bytes", "Bytes of payload.", Some(sum.bytes as f64));
    figure("packets", "Datagrams.", sum.packets.map(|n| n as f64));
    figure("jitter_ms", "Jitter in milliseconds.", sum.jitter_ms);
    figure(
        "lost_packets",
        "Datagrams that did not arrive.",
        sum.lost_packets.map(|n| n as f64),
    );
    figure(
        "lost_percent",
        "Datagrams that did not arrive, in percent.",
        sum.lost_percent,
    );
    gauge(
        &format!("iperf_{name}_bytes_per_second"),
        "Payload per second.",
        Some(sum.bits_per_second / 8.0),
    );
}

fn base_units(udp: Option<&EndSum>, gauge: &mut impl FnMut(&str, &str, Option<f64>)) {
    let Some(sum) = udp else {
        return;
    };
    gauge(
        "iperf_jitter_seconds",
        "Jitter of the datagrams.",
        sum.jitter_ms.map(|ms| ms / 1000.0),
    );
    gauge(
        "iperf_loss_ratio",
        "Lost datagrams over all.",
        sum.lost_percent.map(|percent| percent / 100.0),
    );
}

fn mean_rtt(document: &Document) -> Option<f64> {
    let senders = document.end.streams.iter();
    let times: Vec<_> = senders
        .filter_map(|stream| stream.sender.as_ref()?.mean_rtt)
        .filter(|microseconds| *microseconds > 0)
        .collect();
    let sum: u64 = times.iter().sum();
    (!times.is_empty()).then(|| sum as f64 / times.len() as f64 / 1e6)
}
