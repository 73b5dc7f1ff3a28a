//! The lines of `--probe` and `--one-way`. iperf3 has none.

use std::fmt::Write as _;

use iperf_model::{Interval, ProbeMethod, Summary, TestConfig};

use super::exchange::{figures, short, time};
use crate::document::{EndClock, EndLoad, EndOneWay, IntervalLoad, Latency, Probes};

/// The latency of the loaded path in an interval.
pub(super) fn interval(interval: &Interval) -> Option<String> {
    let load = IntervalLoad::of(interval.probes.as_ref()?);
    let (start, end) = (interval.start.as_secs_f64(), interval.end.as_secs_f64());
    let IntervalLoad {
        answered,
        latency_us,
    } = &load;
    Some(format!(
        "[RTT] {start:>6.2}-{end:<6.2} sec  {answered:>4} probes{}",
        short(latency_us)
    ))
}

/// What was measured beside the test.
pub(super) fn lines(config: &TestConfig, is_client: bool, summary: &Summary) -> Vec<String> {
    let delays = &summary.delays;
    let mut lines = Vec::new();
    if let Some(load) = &delays.load {
        let has_after = load.after.sent > 0;
        let by_messages = load.method == ProbeMethod::Messages;
        under_load(
            &EndLoad::of(config, load),
            by_messages,
            has_after,
            &mut lines,
        );
    }
    for way in &delays.one_way {
        let EndOneWay {
            direction,
            delay_us,
            ..
        } = EndOneWay::of(way, is_client);
        lines.push(figures(&format!("One way, {direction}"), &delay_us));
    }
    if let Some(clock) = &delays.clock {
        lines.push(clocks(&EndClock::of(clock)));
    }
    lines
}

fn under_load(load: &EndLoad, by_messages: bool, has_after: bool, lines: &mut Vec<String>) {
    let EndLoad {
        rate,
        tos,
        direction,
        ..
    } = load;
    let loaded = match direction.as_str() {
        "both" => "both ways".to_owned(),
        way => way.to_owned(),
    };
    lines.push(if by_messages {
        format!("Latency under load ({loaded}), by {rate} probes/s, tos {tos}")
    } else {
        // A receiver has no acknowledgements to time: its kernel goes by TCP's timestamps, which count milliseconds.
        let resolution = match direction.as_str() {
            "client to server" => "",
            _ => " (to 1 ms where this end receives)",
        };
        format!(
            "Latency under load ({loaded}), by the kernel's smoothed round trips of the streams{resolution}"
        )
    });
    lines.push(period("Idle  ", &load.idle));
    lines.push(period("Loaded", &load.loaded));
    if has_after {
        lines.push(period("After ", &load.after));
    }
    // Writing to a string does not fail.
    let mut increase = format!("Increase  {}", signed(load.increase_us));
    if let (Some(up), Some(down)) = (load.up_increase_us, load.down_increase_us) {
        let _ = write!(
            increase,
            "  up {}  down {}",
            signed(Some(up)),
            signed(Some(down))
        );
    }
    if let Some(factor) = load.increase_factor {
        let _ = write!(increase, "  ({factor:.1} times the idle latency)");
    }
    if let Some(rpm) = load.rpm {
        let _ = write!(increase, "  {rpm:.0} round trips/minute");
    }
    lines.push(increase);
}

fn period(name: &str, probes: &Probes) -> String {
    let Latency { mean, .. } = probes.latency_us;
    let mut line = figures(name, &probes.latency_us);
    if mean.is_none() {
        line += "  nothing measured";
    }
    if probes.lost > 0 {
        let _ = write!(line, "  {} of {} lost", probes.lost, probes.sent);
    }
    line
}

/// A difference may be negative.
fn signed(micros: Option<f64>) -> String {
    match micros {
        Some(micros) if micros < 0.0 => format!("-{}", time(Some(-micros))),
        other => time(other),
    }
}

fn clocks(clock: &EndClock) -> String {
    if clock.exact {
        return "Clocks  one and the same: one-way delays are exact".to_owned();
    }
    let drift = clock.drift_ppm.map(|ppm| format!(", drift {ppm:.1} ppm"));
    format!(
        "Clocks  differ by {:.6} s{}: one-way delays to within {}",
        clock.offset_us / 1e6,
        drift.unwrap_or_default(),
        time(Some(clock.error_us)),
    )
}
