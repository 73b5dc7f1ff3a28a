//! Whether an open loop kept its schedule.

use std::time::Duration;

use iperf_model::{Summary, TestConfig};

/// The warning about a schedule that was not kept: more than one request in a hundred was sent later than the next one
/// was due.
pub(crate) fn warning(test: &TestConfig, summary: &Summary) -> Option<String> {
    let rate = test.exchange?.rate?;
    let late = summary.exchanges.as_ref()?.late.as_ref()?;
    let spacing = Duration::from_secs(1) / rate;
    let p99 = late.percentile(99.0).filter(|p99| *p99 > spacing)?;
    let late = p99.as_secs_f64() * 1e3;
    let spacing = spacing.as_secs_f64() * 1e3;
    Some(format!(
        "1 % of the requests were sent {late:.3} ms late or later, at one in {spacing:.3} ms: this end or the server did not \
         keep up with --rate {rate}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::{Exchange, ExchangeCounts, Latencies, Transport};
    use std::sync::Arc;

    fn warning_at(late: Duration) -> Option<String> {
        let mut test = TestConfig::new(Transport::Tcp);
        test.exchange = Some(Exchange {
            rate: Some(1000),
            ..Exchange::new(1, 1)
        });
        let mut latencies = Latencies::new();
        latencies.record(u64::try_from(late.as_nanos()).unwrap(), 2000);
        let summary = Summary {
            streams: Vec::new(),
            duration: Duration::from_secs(2),
            remote_duration: None,
            cpu: iperf_model::CpuUsage::default(),
            remote_cpu: None,
            congestion: None,
            remote_congestion: None,
            delays: Box::default(),
            limits: Vec::new(),
            checksum_errors: None,
            remote_checksum_errors: None,
            exchanges: Some(ExchangeCounts {
                late: Some(Arc::new(latencies)),
                ..ExchangeCounts::default()
            }),
        };
        warning(&test, &summary)
    }

    #[test]
    fn a_schedule_that_is_not_kept_is_named() {
        assert_eq!(warning_at(Duration::from_micros(100)), None);
        let text = warning_at(Duration::from_millis(5)).unwrap();
        assert!(text.contains("--rate 1000"), "{text}");
    }
}
